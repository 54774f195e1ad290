"""Keys that more than one of our sources has, in groups; each source's section is put together from them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from counterset import marks
from counterset.config_sections import OPEN_LICENSES, LocalPath, Section, web_address
from counterset.licenses import LICENSES, OWN

QUALITY_GRADES = ("research", "needs_id", "casual")
"""Of iNaturalist's observations."""


class PathKeys(Section):
    """Where a source's photos or tables lie."""

    path: Annotated[LocalPath, marks.OFFERED] = ""
    """File, folder or address that the source reads."""


class OwnLicenseKeys(Section):
    """Under which licence photos lie of which nobody says it."""

    license: Annotated[str, marks.OFFERED] = ""
    """Licence of photos that state none: a code such as cc-by, or own = they are yours, and may be shown and bundled;
    empty = unknown, so that they are neither."""

    @field_validator("license")
    @classmethod
    def _is_license(cls, code: str) -> str:
        return _known("a licence", (code,), (*LICENSES, OWN))[0] if code else code


class LicenseKeys(Section):
    """Which licences are accepted."""

    licenses: Annotated[tuple[str, ...], marks.OFFERED] = OPEN_LICENSES
    """Accepted licences of photos, by their codes."""

    @field_validator("licenses")
    @classmethod
    def _are_licenses(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        return _known("a licence", codes, tuple(LICENSES))


class PlaceKeys(Section):
    """How near to each other photos are taken in one place."""

    place_km: Annotated[float, marks.OFFERED] = Field(default=1.0, ge=0, le=100)
    """Side of the cells of the globe that count as one place, in kilometres: observers of a class who share one are one
    unit. Photos whose coordinates are obscured, unknown or less exact than that have no place. 0 = no photo has."""


class ObservationKeys(Section):
    """Which of iNaturalist's observations are asked for, and how."""

    api_url: str = "https://api.inaturalist.org/v1"
    """Address of the iNaturalist API."""
    quality_grades: Annotated[tuple[str, ...], marks.OFFERED] = ("research",)
    """Accepted quality grades of iNaturalist observations: research, needs_id, casual."""
    include_captive: Annotated[bool, marks.OFFERED] = False
    """Whether captive or cultivated organisms are accepted."""
    photo_size: Annotated[Literal["small", "medium", "large", "original"], marks.ANSWERS] = "medium"
    """Which of iNaturalist's sizes is downloaded: longest side 240 px, 500 px, 1024 px, or 2048 px at most."""
    observed_from: Annotated[str, marks.OFFERED] = ""
    """First day of observation, as 2024-01-31; empty = no limit."""
    observed_to: Annotated[str, marks.OFFERED] = ""
    """Last day of observation, as 2024-12-31; empty = no limit."""
    requests_per_minute: Annotated[int, marks.TIRELESS] = Field(default=60, ge=1)
    """Most requests to the API in one minute."""
    requests_per_day: Annotated[int, marks.TIRELESS] = Field(default=10_000, ge=1)
    """Most requests to the API in one day; a build that needs more stops, and goes on when it is run again."""
    timeout_s: Annotated[float, marks.TIRELESS] = Field(default=30.0, gt=0)
    """Seconds to wait for an answer of the source before a retry."""

    @field_validator("quality_grades")
    @classmethod
    def _are_grades(cls, grades: tuple[str, ...]) -> tuple[str, ...]:
        return _known("a quality grade", grades, QUALITY_GRADES)

    @field_validator("observed_from", "observed_to")
    @classmethod
    def _is_day(cls, text: str, info: ValidationInfo) -> str:
        try:
            is_day = not text or date.fromisoformat(text).isoformat() == text
        except ValueError:
            is_day = False
        if not is_day:
            raise ValueError("not a day; write it as 2024-12-31, or leave it empty")
        first = info.data.get("observed_from", "") if info.field_name == "observed_to" else ""
        if text and text < first:
            raise ValueError(f"before observed_from {first}, so no photo is between them; exchange them")
        return text

    @field_validator("api_url")
    @classmethod
    def _is_address_of_api(cls, text: str) -> str:
        return web_address(text)


def _known(what: str, names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError(f"nothing is named; name {what} of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is not {what}; use some of {', '.join(known)}")
    return names
