"""One config line switches between the sources; the rest of the build does not know. One is built by the command."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import counterset
from counterset.demo.server.catalog import Catalog
from counterset.demo.server.look_alike import LookAlikeServer, serve
from counterset.demo.world.observations import demo_catalog

from ..steps import whole_build
from .small_build import SMALL_SETTINGS

CONFIG = (
    """
name = "a-build"
workspace = "{kind}"
releases = "{kind}/releases"
[classes]
list = "demo"
only = ["ice_bear", "lion"]
[source]
kind = "{kind}"
{source}
photos_per_class = 1000
"""
    + SMALL_SETTINGS
)


def bulk_world() -> Any:
    """The writer of Open Data tables that the sources' own tests use."""
    path = Path(__file__).resolve().parents[1] / "sources" / "inaturalist" / "bulk_world.py"
    spec = importlib.util.spec_from_file_location("bulk_world", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def world() -> tuple[Catalog, dict[int, str]]:
    catalog, truth = demo_catalog(40, 5)
    good = {
        row["photo_id"]: row["class_id"]
        for row in truth.to_pylist()
        if row["fault"] is None and row["class_id"] in ("ice_bear", "lion")
    }
    return catalog, good


@pytest.fixture(scope="module")
def server(world: tuple[Catalog, dict[int, str]]) -> Iterator[LookAlikeServer]:
    with serve(world[0]) as running:
        yield running


def settings(kind: str, work: Path, server: LookAlikeServer, world: tuple[Catalog, dict[int, str]]) -> str:
    """The source's lines of the config, and the files that they name."""
    catalog, good = world
    api = f'api_url = "{server.api_url}"\nphoto_url = "{server.photo_url}"\ncontact = "tests@localhost"\n'
    api += "requests_per_minute = 6000\nrequests_per_day = 100000\n"
    if kind == "inaturalist":
        return api
    if kind == "open_data":
        bulk_world().write_tables(catalog, work / "tables")
        return api + 'path = "tables"'
    if kind == "folder":
        for photo_id, class_id in good.items():
            path = work / "photos" / class_id / f"{photo_id}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(catalog.original_bytes(photo_id))
        return 'path = "photos"'
    with (work / "list.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["url", "class"])
        rows.writerows((f"{server.photo_url}/photos/{number}/original.jpg", name) for number, name in good.items())
    return 'path = "list.csv"\nallowed_hosts = ["127.0.0.1"]'


@pytest.mark.parametrize("kind", ["inaturalist", "open_data", "url_list", "folder"])
def test_each_source_ends_in_a_release(
    kind: str, sandbox: Any, server: LookAlikeServer, world: tuple[Catalog, dict[int, str]]
) -> None:
    work = sandbox.folder / f"source-{kind}"
    work.mkdir()
    config = work / "build.toml"
    config.write_text(CONFIG.format(kind=kind, source=settings(kind, work, server, world)))
    if kind == "inaturalist":
        run = sandbox.here("build", str(config))
        assert run.returncode == 0, run.stderr
    else:
        whole_build.build(config)
    release = counterset.load(work / kind / "releases" / "a-build" / "1.0.0")
    photos = release.all_photos
    assert set(photos["class_id"].to_pylist()) == {"ice_bear", "lion"}
    assert photos.num_rows > 0.8 * len(world[1])
    assert set(photos["source"].to_pylist()) <= {kind, "inaturalist"}
    if kind == "open_data":  # the tables' own day, which is that of their files here
        day = (work / "tables" / "photos.csv.gz").stat().st_mtime
        assert str(release.metadata["source_snapshot"]) == f"{datetime.fromtimestamp(day, UTC):%Y-%m-%d}"
