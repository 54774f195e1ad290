"""Records as no service should send them, and URLs of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from counterset.errors import SourceError
from counterset.schemas import RejectReason
from counterset.sources.inaturalist.observations import credit, offers_of, photo_id_of, photo_url, refusal
from counterset.sources.inaturalist.schemas import OFFERS
from counterset.sources.inaturalist.settings import INaturalistConfig
from counterset.sources.places import place_of
from counterset.tables import read_table, table_of

GOOD: dict[str, Any] = {
    "id": 5,
    "uuid": "u-5",
    "quality_grade": "research",
    "captive": False,
    "observed_on": "2024-05-01",
    "taxon": {"id": 42069, "name": "Vulpes vulpes", "ancestor_ids": [48460, 1, 42069]},
    "user": {"id": 9, "login": "ann"},
    "photos": [
        {
            "id": 50,
            "license_code": "cc-by",
            "url": "https://inaturalist-open-data.s3.amazonaws.com/photos/50/square.jpg",
            "attribution": "(c) ann, some rights reserved (CC BY)",
        }
    ],
}


def with_photo(**fields: object) -> dict[str, Any]:
    return GOOD | {"photos": [GOOD["photos"][0] | fields]}


def refused(record: dict[str, Any]) -> RejectReason | None:
    (offer,) = offers_of(record)
    table_of(OFFERS, [offer])
    found = refusal(offer, (42069,), INaturalistConfig())
    return found[0] if found else None


def test_a_good_record_is_accepted_though_optional_keys_are_absent() -> None:
    assert refused(GOOD) is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (GOOD | {"taxon": None}, RejectReason.UNIDENTIFIED),
        (GOOD | {"taxon": "fox"}, RejectReason.UNIDENTIFIED),
        (GOOD | {"taxon": {"id": 42069.5, "ancestor_ids": [42069]}}, RejectReason.UNIDENTIFIED),
        (GOOD | {"taxon": {"id": 7, "name": "x", "ancestor_ids": None}}, RejectReason.UNIDENTIFIED),
        (GOOD | {"quality_grade": None}, RejectReason.NOT_RESEARCH_GRADE),
        (with_photo(license_code="CC BY 4.0"), None),
        (with_photo(license_code="CC BY-NC or so"), RejectReason.LICENSE),
        (GOOD | {"user": {"id": 9, "spam": True}}, RejectReason.HIDDEN),
        (GOOD | {"user": {"id": 9, "suspended": True}}, RejectReason.HIDDEN),
        (with_photo(flags=[{"flag": "spam", "resolved": False}]), RejectReason.HIDDEN),
        (with_photo(hidden=True), RejectReason.HIDDEN),
        (with_photo(license_code=""), RejectReason.LICENSE),
        (with_photo(license_code=3), RejectReason.LICENSE),
        (with_photo(license_code="cc-by-nd"), RejectReason.LICENSE),
        (with_photo(url=None), RejectReason.URL_REFUSED),
        (
            with_photo(url="http://inaturalist-open-data.s3.amazonaws.com/photos/50/square.jpg"),
            RejectReason.URL_REFUSED,
        ),
        (with_photo(url="https://evil.example/photos/50/square.jpg"), RejectReason.URL_REFUSED),
        (with_photo(url="https://static.inaturalist.org.evil.example/photos/50/square.jpg"), RejectReason.URL_REFUSED),
        (with_photo(url="https://static.inaturalist.org/photos/50/../../etc/square.jpg"), RejectReason.URL_REFUSED),
        (with_photo(url="https://static.inaturalist.org/photos/50/square.jpg\n"), RejectReason.URL_REFUSED),
        (
            with_photo(url="https://www.inaturalist.org/attachment_defaults/local_photos/square.png"),
            RejectReason.HIDDEN,
        ),
        (GOOD | {"annotations": [{"controlled_attribute_id": 17, "controlled_value_id": 19}]}, RejectReason.DEAD),
    ],
)
def test_odd_records_are_turned_away_with_a_reason(record: dict[str, Any], reason: RejectReason) -> None:
    assert refused(record) is reason


@pytest.mark.parametrize(
    "record",
    [
        with_photo(flags=[{"flag": "spam", "resolved": True}]),
        with_photo(license_code="CC-BY"),
        with_photo(url="https://static.inaturalist.org/photos/50/square.JPG?1536150664"),
        GOOD | {"annotations": [{"controlled_attribute_id": 17, "controlled_value_id": 19, "vote_score": -1}]},
        GOOD | {"annotations": [None, 3, {"controlled_attribute_id": None}]},
        GOOD | {"observed_on": "spring"},
        GOOD | {"tags": [{"tag": "snow"}, None, 3]},
    ],
)
def test_odd_but_harmless_records_are_accepted(record: dict[str, Any]) -> None:
    assert refused(record) is None


@pytest.mark.parametrize("identifier", [None, "5", True, 0, -1, 2**63, 5.0])
def test_an_observation_without_an_id_is_an_error_and_such_a_photo_a_reject(identifier: object) -> None:
    with pytest.raises(SourceError, match="without an id"):
        offers_of(GOOD | {"id": identifier})
    (offer,) = offers_of(with_photo(id=identifier))
    assert refusal(offer, [9], INaturalistConfig()) == (RejectReason.MALFORMED, "the service gives it without an id")
    assert photo_id_of(offer) == "inaturalist-5-0"


@pytest.mark.parametrize("photos", [None, {}, "x", [None, 3, "x"]])
def test_an_observation_without_photos_gives_no_rows(photos: object) -> None:
    assert offers_of(GOOD | {"photos": photos}) == []


def test_a_photo_without_a_user_belongs_to_nobody_else() -> None:
    (offer,) = offers_of(GOOD | {"user": None})
    assert offer["observer_id"] == "unknown-5"


def test_credits_and_urls() -> None:
    assert credit("cc0", "no rights reserved", "Ann") == "Ann, no rights reserved (CC0)"
    assert credit("cc-by-nc-sa", None, "Ann") == "(c) Ann, some rights reserved (CC BY-NC-SA)"
    assert credit("cc-by", "(c) , some rights reserved (CC BY)", " ") is credit("cc-by", None, "") is None
    assert credit("cc-by", "(c) , some rights reserved (CC BY)", "Ann") == "(c) Ann, some rights reserved (CC BY)"
    assert credit("cc0", None, "") == "no rights reserved (CC0)"
    nameless = offers_of(with_photo(attribution=None) | {"user": {"id": 9}})[0]
    assert refusal(nameless, [42069], INaturalistConfig()) == (
        RejectReason.UNCREDITED,
        "cc-by asks for a credit line, and nobody is named",
    )
    assert credit("pd", "Ann, no known copyright restrictions (public domain)", "x").startswith("Ann")
    with pytest.raises(ValueError, match="not a photo"):
        photo_url("https://evil.example/photos/1/square.jpg", "medium")


HERE: dict[str, Any] = {
    "geojson": {"type": "Point", "coordinates": [13.4, 52.5]},
    "positional_accuracy": 30,
    "public_positional_accuracy": 30,
    "obscured": False,
    "geoprivacy": None,
    "taxon_geoprivacy": "open",
}


def place_in(record: dict[str, Any], place_km: float = 1.0) -> str | None:
    (offer,) = offers_of(GOOD | record, place_km)
    assert not {"geojson", "latitude", "longitude", "location"} & set(offer)
    table_of(OFFERS, [offer])
    place: str | None = offer["place"]
    return place


def test_of_where_a_photo_was_taken_only_its_place_is_kept() -> None:
    assert place_in(HERE) == place_of(52.5, 13.4, 30, cell_km=1.0)
    assert place_in(HERE, 5.0) == place_of(52.5, 13.4, 30, cell_km=5.0) != place_in(HERE)
    assert place_in(HERE, 0.0) is None
    assert place_in(HERE | {"geojson": {"coordinates": ["13.4", "52.5"]}}) == place_in(HERE)
    assert place_in(HERE | {"public_positional_accuracy": None}) == place_in(HERE)


@pytest.mark.parametrize(
    "changes",
    [
        {"obscured": True},
        {"geoprivacy": "obscured"},
        {"geoprivacy": "private"},
        {"taxon_geoprivacy": "obscured"},
        {"public_positional_accuracy": 27_754},
        {"positional_accuracy": 1_001},
        {"positional_accuracy": None, "public_positional_accuracy": None},
        {"geojson": None},
        {"geojson": {"coordinates": [13.4]}},
        {"geojson": {"coordinates": "13.4,52.5"}},
        {"geojson": {"coordinates": [True, False]}},
        {"geojson": {"coordinates": ["here", "there"]}},
        {"geojson": {"coordinates": [13.4, 152.5]}},
    ],
)
def test_what_is_obscured_coarse_or_broken_has_no_place(changes: dict[str, Any]) -> None:
    assert place_in(HERE | changes) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2018-09-05T14:06:00+02:00", 14),
        ("2020-08-26T22:46:10-11:00", 22),  # as the observer's clock had it
        ("2020-08-27T00:30:00+00:00", 0),
        ("2020-08-27T00:00:00+00:00", None),
        ("2020-08-27", None),
        ("yesterday at 9:00", None),
        (14, None),
        (None, None),
    ],
)
def test_the_hour_is_the_observers_own(given: object, expected: int | None) -> None:
    (offer,) = offers_of(GOOD | {"time_observed_at": given})
    assert offer["hour"] == expected
    assert table_of(OFFERS, [offer])["hour"].to_pylist() == [expected]


def test_offers_that_an_earlier_version_kept_have_no_hour(tmp_path: Path) -> None:
    table = table_of(OFFERS, offers_of(GOOD | {"time_observed_at": "2024-05-01T09:00:00+02:00"}))
    metadata = table.schema.metadata
    pq.write_table(table.drop_columns(["hour"]).replace_schema_metadata(metadata), tmp_path / "page.parquet")
    assert read_table(tmp_path / "page.parquet", OFFERS).to_pylist() == [table.to_pylist()[0] | {"hour": None}]
