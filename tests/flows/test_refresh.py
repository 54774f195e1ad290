"""The source changes between two builds: what is new comes in, what is gone goes out with its reason."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import counterset
from counterset.demo.server.catalog import Catalog, Observation
from counterset.demo.server.look_alike import serve
from counterset.demo.world.observations import demo_catalog

from .small_build import SMALL_BUILD

CONFIG = (
    """
name = "refreshed"
"""
    + SMALL_BUILD
)


def changed(catalog: Catalog, known: set[int], gone: str, closed: str) -> Catalog:
    """The catalogue without the observation of one photo, with another photo's licence closed, and
    with every observation that is not `known` uploaded just now."""
    now = datetime.now(UTC)

    def close(observation: Observation) -> Observation:
        photos = tuple(
            dataclasses.replace(photo, license_code=None) if str(photo.photo_id) == closed else photo
            for photo in observation.photos
        )
        if observation.observation_id in known:
            return dataclasses.replace(observation, photos=photos)
        return dataclasses.replace(observation, photos=photos, created_at=now, updated_at=now)

    kept = [
        close(observation)
        for observation in catalog.observations
        if gone not in {str(photo.photo_id) for photo in observation.photos}
    ]
    return dataclasses.replace(catalog, observations=tuple(kept))


def photo_ids(folder: Path) -> set[str]:
    return set(counterset.load(folder).all_photos["photo_id"].to_pylist())


def test_a_refresh_follows_the_source(sandbox: Any) -> None:
    work = sandbox.folder / "refresh"
    work.mkdir()
    config, releases = work / "refreshed.toml", work / "releases" / "refreshed"
    small, _ = demo_catalog(40, 3)
    with serve(small) as server:
        config.write_text(CONFIG.format(url=server.photo_url))
        run = sandbox.here("build", str(config))
        assert run.returncode == 0, run.stderr
        port = server.server_port  # a service at another address is another source
    first = photo_ids(releases / "1.0.0")
    gone, closed = sorted(first)[3], sorted(first)[7]
    larger, _ = demo_catalog(44, 3)  # contains the smaller world unchanged
    known = {observation.observation_id for observation in small.observations}
    world = changed(larger, known, gone.removeprefix("inaturalist-"), closed.removeprefix("inaturalist-"))
    with serve(world, port=port) as server:
        config.write_text(CONFIG.format(url=server.photo_url))
        run = sandbox.here("build", str(config), "--refresh")
        assert run.returncode == 0, run.stderr
        downloads = sum(1 for record in server.requests if "/photos/" in record.path)
        again = sandbox.here("build", str(config), "--refresh")
        assert again.returncode == 0, again.stderr
    assert sorted(path.name for path in releases.glob("[0-9]*")) == ["1.0.0", "2.0.0"]  # removals are major
    second = photo_ids(releases / "2.0.0")
    assert first - second == {gone, closed}
    assert 4 <= len(second - first) <= 12  # four more of each of two classes, less the bad ones
    assert downloads <= 3 * len(second - first) + 10  # nothing was downloaded again
    release = counterset.load(releases / "2.0.0")
    tombs = {row["photo_id"]: row for row in release.tombstones.to_pylist()}
    assert {gone, closed} <= tombs.keys()
    assert all("withdrawn" in str(tombs[photo_id]) for photo_id in (gone, closed)), tombs
