"""What the look-alike server serves: taxa, observations and photos, as plain records.

The demo's world and a folder of real photos each give a `Catalog`; the server turns
one into the iNaturalist API's answers and photo files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(frozen=True)
class Taxon:
    """One taxon. `ancestor_ids` runs from the root to the taxon itself."""

    taxon_id: int
    name: str
    rank: str
    rank_level: float
    ancestor_ids: tuple[int, ...]
    common_name: str = ""
    is_active: bool = True
    synonym_ids: tuple[int, ...] = ()
    """Where an inactive taxon went."""


@dataclass(frozen=True)
class Photo:
    """One photo of an observation. `extension` is case-sensitive, as on the real host."""

    photo_id: int
    license_code: str | None
    width: int
    height: int
    extension: str = "jpg"
    is_hidden: bool = False
    placeholder: str = ""
    """Path of the placeholder image that replaces the URL, e.g. assets/copyright-infringement-square.png."""
    gone_status: int = 0
    """403 or 404 when the file is no longer there."""


@dataclass(frozen=True)
class Observation:
    """One observation. `annotations` are (attribute id, value id) pairs with vote score 0."""

    observation_id: int
    uuid: str
    taxon_id: int | None
    user_id: int
    user_login: str
    user_name: str
    observed_on: date
    created_at: datetime
    photos: tuple[Photo, ...]
    quality_grade: str = "research"
    is_captive: bool = False
    annotations: tuple[tuple[int, int], ...] = ()
    description: str | None = None
    tags: tuple[str, ...] = ()
    license_code: str | None = "cc-by-nc"
    updated_at: datetime | None = None
    """None = as created."""


@dataclass(frozen=True)
class Catalog:
    """Everything a server serves. `original_bytes(photo_id)` gives the `original` variant's file."""

    taxa: tuple[Taxon, ...]
    observations: tuple[Observation, ...]
    original_bytes: Callable[[int], bytes] = field(repr=False)
    photo_host: str = ""
    """Scheme and host of all photos' URLs; empty = the real hosts, by licence."""
