"""The iNaturalist API's observation records as rows: one row per photo, and the rules that turn photos away."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from counterset.errors import SourceError
from counterset.licenses import license_code, needs_credit
from counterset.schemas import RejectReason
from counterset.sources.cells import day_of, number_of, time_of
from counterset.sources.inaturalist.settings import ServiceConfig
from counterset.sources.places import place_of

OPEN_HOST = "https://inaturalist-open-data.s3.amazonaws.com"
PAGES = "https://www.inaturalist.org/photos/"
PHOTO_ID_PREFIX = "inaturalist-"
"""Of both the API and the bulk tables, so that a photo is one photo whichever way it came."""

PHOTO_URL = re.compile(
    r"https://(?:static\.inaturalist\.org|inaturalist-open-data\.s3\.amazonaws\.com|(?:[a-z0-9-]+\.)+invalid)"
    r"/photos/(\d+)/(?:square|thumb|small|medium|large|original)\.(\w+)(?:\?.*)?"
)
"""Of the service's hosts, or of a generated world's: nobody has a host under .invalid."""
PLACEHOLDER_URL = re.compile(r"https://www\.inaturalist\.org/(?:assets|attachment_defaults)/.*")

NAMELESS = re.compile(r"(?:\(c\)|\u00a9)?\s*,?\s*(?:(?:some|no) rights reserved.*)?", re.IGNORECASE)
"""A credit line of the service in which the name is empty."""

EVIDENCE, ORGANISM = 22, 24
ALIVE_OR_DEAD, DEAD = 17, 19
LIFE_STAGE, EARLY_STAGES = 1, {4: "pupa", 6: "larva", 7: "egg"}
LIFE_STAGES = EARLY_STAGES | {2: "adult", 3: "teneral", 5: "nymph", 8: "juvenile", 16: "subimago"}
SEX, SEXES = 9, {10: "female", 11: "male"}
MAX_TEXT_CHARS = 20_000

Offer = dict[str, Any]
"""One row of `OFFERS`."""


def offers_of(record: dict[str, Any], place_km: float = 0.0) -> list[Offer]:
    """The photos of one API record, in order of position; of where they were taken only the place's hash.

    Older recordings lack `hidden` and `moderator_actions`; absent is false.

    Args:
        record: as the API gives it.
        place_km: side of the cells that count as one place.

    Raises:
        SourceError: the record has no id, so that nothing can be said about it.
    """
    observation_id = observation_id_of(record)
    taxon, user = _object(record.get("taxon")), _object(record.get("user"))
    taxon_id, user_id = _id(taxon.get("id")), _id(user.get("id"))
    ancestors = [part for part in (_id(value) for value in _list(taxon.get("ancestor_ids"))) if part is not None]
    if taxon_id is not None and taxon_id not in ancestors:
        ancestors.append(taxon_id)
    shared: Offer = {
        "observation_id": observation_id,
        "uuid": _text(record.get("uuid")) or str(observation_id),
        "observer_id": str(user_id) if user_id is not None else f"unknown-{observation_id}",
        "observer_name": _text(user.get("name")) or _text(user.get("login")) or "",
        "place": _place(record, place_km),
        "observed_on": day_of(record.get("observed_on")),
        "hour": _hour(record.get("time_observed_at")),
        "taxon_id": taxon_id,
        "taxon_name": _text(taxon.get("name")),
        "ancestor_ids": ancestors,
        "quality_grade": _text(record.get("quality_grade")),
        "is_captive": record.get("captive") is True,
        "annotations": sorted(_annotations(record)),
        "title": _text(record.get("species_guess")),
        "description": _text(record.get("description")),
        "tags": [text for text in (_tag(tag) for tag in _list(record.get("tags"))) if text],
    }
    is_bad_user = user.get("spam") is True or user.get("suspended") is True
    offers = []
    for position, value in enumerate(_list(record.get("photos"))):
        if not isinstance(value, dict):
            continue
        photo = _object(value)
        has_open_flag = any(_object(flag).get("resolved") is not True for flag in _list(photo.get("flags")))
        offers.append(
            shared
            | {
                "position": position,
                "photo_id": _id(photo.get("id")),
                "license": offered_license(_text(photo.get("license_code"))),
                "url": _text(photo.get("url")),
                "attribution": _text(photo.get("attribution")),
                "is_hidden": photo.get("hidden") is True or has_open_flag or is_bad_user,
            }
        )
    return offers


def offered_license(text: str | None) -> str | None:
    """A licence's code; a text that is none stays, for the rejects to show."""
    return license_code(text) or (text.lower() if text else None)


def photo_id_of(offer: Offer) -> str:
    """The id of a photo in all tables; of one without an id, its place in its observation."""
    if offer["photo_id"] is None:
        return f"{PHOTO_ID_PREFIX}{offer['observation_id'] or offer['uuid']}-{offer['position']}"
    return f"{PHOTO_ID_PREFIX}{offer['photo_id']}"


def observation_id_of(record: dict[str, Any]) -> int:
    """The integer id of an API record.

    Raises:
        SourceError: it has none.
    """
    observation_id = _id(record.get("id"))
    if observation_id is None:
        raise SourceError(f"the service gives an observation without an id ({str(record)[:100]}); check source.api_url")
    return observation_id


def refusal(offer: Offer, taxon_ids: Sequence[int], config: ServiceConfig) -> tuple[RejectReason, str] | None:
    """Why a photo is turned away, looking at it alone; None = it is acceptable."""
    if offer["photo_id"] is None:
        return RejectReason.MALFORMED, "the service gives it without an id"
    if offer["taxon_id"] is None:
        return RejectReason.UNIDENTIFIED, "the observation has no taxon"
    if not set(taxon_ids) & set(offer["ancestor_ids"]):
        return RejectReason.UNIDENTIFIED, f"identified as {offer['taxon_name']}"
    if offer["quality_grade"] not in config.quality_grades:
        return RejectReason.NOT_RESEARCH_GRADE, str(offer["quality_grade"])
    if offer["is_captive"] and not config.include_captive:
        return RejectReason.CAPTIVE, "marked captive or cultivated"
    sign = _not_an_animal(offer["annotations"])
    if sign is not None:
        return sign
    url = offer["url"] or ""
    if offer["is_hidden"]:
        return RejectReason.HIDDEN, "hidden or flagged, or its observer is suspended"
    if PLACEHOLDER_URL.fullmatch(url):
        return RejectReason.HIDDEN, f"replaced by {url.rpartition('/')[2]}"
    if offer["license"] not in config.licenses:
        return RejectReason.LICENSE, offer["license"] or "all rights reserved"
    if needs_credit(offer["license"]) and _credit(offer) is None:
        return RejectReason.UNCREDITED, f"{offer['license']} asks for a credit line, and nobody is named"
    if not PHOTO_URL.fullmatch(url):
        return RejectReason.URL_REFUSED, url[:200] or "no URL"
    return None


def photo_url(url: str, size: str) -> str:
    """The URL of another size, on the source's own host and without the old time-stamp suffix."""
    match = PHOTO_URL.fullmatch(url)
    if match is None:
        raise ValueError(f"not a photo's URL: {url}")
    host = url.partition("/photos/")[0]
    return f"{host}/photos/{match[1]}/{size}.{match[2]}"


def page_url(photo_id: str) -> str | None:
    """The address of a photo's page; None for one that the service gave without an id."""
    number = photo_id.removeprefix(PHOTO_ID_PREFIX)
    return f"{PAGES}{number}" if number.isdigit() else None


def credit(license_code: str, attribution: str | None, name: str) -> str | None:
    """The credit line; None = it would name nobody. The service's own for cc0 does so, so the name is put before it."""
    name, given = name.strip(), (attribution or "").strip()
    if license_code == "cc0":
        return f"{name}, no rights reserved (CC0)" if name else "no rights reserved (CC0)"
    if given and not NAMELESS.fullmatch(given):
        return given
    return f"(c) {name}, some rights reserved ({license_code.upper().replace('-', ' ', 1)})" if name else None


def _credit(offer: Offer) -> str | None:
    return credit(offer["license"], offer["attribution"], offer["observer_name"])


def annotated(annotations: Sequence[str], attribute: int, names: Mapping[int, str]) -> str | None:
    """What people say of a photo's animal; None = nothing, or not the same of all that it shows."""
    said = {value for given, value in _pairs(tuple(annotations)) if given == attribute}
    return names.get(said.pop()) if len(said) == 1 else None


@functools.lru_cache(maxsize=10_000)  # few are said of many photos
def _pairs(annotations: tuple[str, ...]) -> frozenset[tuple[int, int]]:
    """Attribute and value of each."""
    parts = (pair.partition("|") for pair in annotations)
    return frozenset((int(attribute), int(value)) for attribute, _, value in parts)


def _not_an_animal(annotations: Sequence[str]) -> tuple[RejectReason, str] | None:
    """Evidence other than the organism itself, death, or an early life stage."""
    pairs = _pairs(tuple(annotations))
    evidence = {value for attribute, value in pairs if attribute == EVIDENCE}
    if evidence and ORGANISM not in evidence:
        return RejectReason.NOT_ORGANISM, f"evidence of presence {sorted(evidence)}"
    if (ALIVE_OR_DEAD, DEAD) in pairs:
        return RejectReason.DEAD, "annotated as dead"
    stages = sorted(
        EARLY_STAGES[value] for attribute, value in pairs if attribute == LIFE_STAGE and value in EARLY_STAGES
    )
    return (RejectReason.LIFE_STAGE, ", ".join(stages)) if stages else None


def _hour(given: object) -> int | None:
    """The hour of an observation on the observer's own clock: the service gives none where it knows only the day."""
    found = time_of(given) if isinstance(given, str) else None
    return found.hour if found is not None else None


def _place(record: dict[str, Any], place_km: float) -> str | None:
    """The place of an observation. Where several accuracies or signs of obscuring are given, the worst counts."""
    protections = {record.get("geoprivacy"), record.get("taxon_geoprivacy")} - {None, "", "open"}
    longitude, latitude, *_ = [*_list(_object(record.get("geojson")).get("coordinates")), None, None]
    given = (number_of(record.get(name)) for name in ("positional_accuracy", "public_positional_accuracy"))
    return place_of(
        number_of(latitude),
        number_of(longitude),
        max((value for value in given if value is not None), default=None),
        cell_km=place_km,
        is_obscured=record.get("obscured") is True or bool(protections),
    )


def _annotations(record: dict[str, Any]) -> set[str]:
    pairs = set()
    for value in _list(record.get("annotations")):
        annotation = _object(value)
        attribute, term = _id(annotation.get("controlled_attribute_id")), _id(annotation.get("controlled_value_id"))
        score = annotation.get("vote_score", 0)
        if attribute is not None and term is not None and (not isinstance(score, int | float) or score >= 0):
            pairs.add(f"{attribute}|{term}")
    return pairs


def _id(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63 else None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    """Text that any file can hold: no lone surrogates or NULs, no end of pages."""
    if not isinstance(value, str) or not value:
        return None
    return value[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode().replace("\0", "")


def _tag(value: object) -> str | None:
    return _text(value) or _text(_object(value).get("tag"))
