"""A small catalogue of known truth, and a config that points at the server which serves it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from counterset.classes import ClassSpec
from counterset.config import source_config
from counterset.demo.server.catalog import Catalog, Observation, Photo, Taxon
from counterset.demo.server.look_alike import LookAlikeServer
from counterset.sources.inaturalist.client import RetryPolicy

FOX, HARE = 42069, 43128
CANIDS, LEPUS = (48460, 1, 42043), (48460, 1, 43127)
TAXA = (
    Taxon(48460, "Life", "stateofmatter", 100, (48460,)),
    Taxon(FOX, "Vulpes vulpes", "species", 10, (*CANIDS, FOX), "Red Fox"),
    Taxon(420691, "Vulpes vulpes crucigera", "subspecies", 5, (*CANIDS, FOX, 420691), "European Red Fox"),
    Taxon(HARE, "Lepus europaeus", "species", 10, (*LEPUS, HARE), "European Hare"),
    Taxon(500, "Neovison vison", "species", 10, (48460, 1, 500), "Mink", is_active=False, synonym_ids=(501,)),
    Taxon(501, "Neogale vison", "species", 10, (48460, 1, 501), "American Mink"),
    Taxon(502, "Mustela lutreola", "species", 10, (48460, 1, 502), "European Mink"),
    Taxon(503, "Vulpes perdita", "species", 10, (48460, 1, 503), "Lost Fox", is_active=False),
)
RED_FOX = ClassSpec("red_fox", "red fox", 277, (FOX,), "Vulpes vulpes", "species")
HARE_CLASS = ClassSpec("hare", "hare", 331, (HARE,), "Lepus europaeus", "species")
QUICK = RetryPolicy(throttled_waits_s=(0.01, 0.01, 0.01), first_wait_s=0.01)

MakeConfig = Callable[..., Any]


def observation(number: int, *photos: Photo, taxon_id: int | None = FOX, **fields: object) -> Observation:
    """Observation `number`: by an observer of three, on a day of its own."""
    values: dict[str, object] = {
        "observation_id": number,
        "uuid": str(uuid.UUID(int=number)),
        "taxon_id": taxon_id,
        "user_id": 100 + number // 3,
        "user_login": f"user{number // 3}",
        "user_name": "",
        "observed_on": date(2020, 1, 1) + timedelta(days=number % 1000),
        "created_at": datetime(2021, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
        "photos": photos or (photo(number * 10),),
    }
    return Observation(**(values | fields))  # type: ignore[arg-type]


def photo(photo_id: int, license_code: str | None = "cc-by-nc", **fields: object) -> Photo:
    """A photo of 64 x 48 pixels."""
    return Photo(photo_id, license_code, 64, 48, **fields)  # type: ignore[arg-type]


def catalog(*rows: Observation) -> Catalog:
    """A catalogue whose photos are not asked for."""
    return Catalog(TAXA, rows, lambda photo_id: b"")


def foxes(num: int) -> tuple[Observation, ...]:
    """`num` plain observations of foxes, ids 1, 4, 7, ..."""
    return tuple(observation(3 * number + 1) for number in range(num))


@pytest.fixture
def config_of() -> MakeConfig:
    """Makes a config for a running server, without limits that would slow a test; of tables where a path is given."""

    def make(server: LookAlikeServer, **fields: object) -> Any:
        values: dict[str, object] = {
            "kind": "open_data" if "path" in fields else "inaturalist",
            "api_url": server.api_url,
            "requests_per_minute": 1_000_000,
            "requests_per_day": 1_000_000,
            "photos_per_class": 10_000,
            "timeout_s": 5.0,
        }
        return source_config(values | fields)

    return make
