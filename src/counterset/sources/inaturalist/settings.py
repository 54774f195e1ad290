"""The keys of both sources of iNaturalist's photos."""

from __future__ import annotations

from typing import Literal

from counterset.config_sections import SourceConfig
from counterset.sources.settings import LicenseKeys, ObservationKeys, PathKeys, PlaceKeys


class ServiceConfig(ObservationKeys, PlaceKeys, LicenseKeys, SourceConfig):
    """The keys that both have."""


class INaturalistConfig(ServiceConfig):
    """The iNaturalist API: small builds, with annotations and the licences of the day."""

    FORMER = (PathKeys,)

    kind: Literal["inaturalist"] = "inaturalist"


class OpenDataConfig(PathKeys, ServiceConfig):
    """The iNaturalist Open Data tables, at `path`: large builds, with the API asked only about what was drawn."""

    kind: Literal["open_data"] = "open_data"
