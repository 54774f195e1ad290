"""The iNaturalist API."""

from counterset.sources.inaturalist.api import INaturalistSource as source

__all__ = ["source"]
