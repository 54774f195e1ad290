"""The iNaturalist Open Data tables."""

from counterset.sources.inaturalist.open_data import OpenDataSource as source

__all__ = ["source"]
