"""A shard that cannot be worked on is set aside and tried again later; too many of them stop the build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from counterset_flows import shards

import counterset
from counterset.demo.world.observations import demo_catalog
from counterset.stages import curate, embed
from counterset.stages.curate import inspect_photos

from ..steps import whole_build
from .small_build import SMALL_SETTINGS

CONFIG = (
    """
name = "a-build"
max_failed_share = {share}
[classes]
list = "demo"
only = ["ice_bear", "lion"]
[source]
kind = "folder"
path = "photos"
photos_per_class = 1000
[download]
shard_size = 15
"""
    + SMALL_SETTINGS
)

OF_A_SERIES = ("unit_since", "look", "level", "confirmed_look", "detectable_drop", "verdict", "reason")
"""Columns by which a second look at more photos differs from a first one at all of them."""


def failing_inspection(images: Any, candidates: Any, config: Any, *, shard: str) -> Any:
    if shard.startswith("000001-"):
        raise RuntimeError("something in here cannot be inspected")
    return inspect_photos(images, candidates, config, shard=shard)


def failing_embedding(*_: Any, **options: Any) -> Any:
    raise OSError(28, "No space left on device", "somewhere")


@pytest.fixture(scope="module")
def work(sandbox: Any) -> Path:
    folder: Path = sandbox.folder / "failures"
    catalog, truth = demo_catalog(40, 5)
    for row in truth.to_pylist():
        if row["fault"] is None and row["class_id"] in ("ice_bear", "lion"):
            path = folder / "photos" / row["class_id"] / f"{row['photo_id']}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(catalog.original_bytes(row["photo_id"]))
    return folder


@pytest.fixture(autouse=True)
def retried_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards.inspect, "retry_delay_seconds", [0.1, 0.1])


def test_a_failing_shard_is_set_aside_and_tried_again(
    sandbox: Any, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = work / "build.toml"
    config.write_text(CONFIG.format(share=0.5))
    monkeypatch.setattr(curate, "inspect_photos", failing_inspection)
    run = sandbox.here("build", str(config))
    assert run.returncode == 0, run.stderr
    first = counterset.load(work / "releases" / "a-build" / "1.0.0")
    rows = [row for row in first.rejects.to_pylist() if row["reason"] == "shard_failed"]
    assert len(rows) == 15
    assert {row["detail"] for row in rows} == {"RuntimeError: something in here cannot be inspected"}
    assert not {row["photo_id"] for row in rows} & set(first.all_photos["photo_id"].to_pylist())
    [record] = (work / "workspace" / "failed").glob("*/000001-*.json")
    assert json.loads(record.read_text())["attempts"] == 3
    monkeypatch.undo()
    healed = sandbox.here("build", str(config))
    assert healed.returncode == 0, healed.stderr
    assert not record.exists()
    undisturbed = work / "undisturbed.toml"
    undisturbed.write_text('releases = "fresh"\nworkspace = "fresh/workspace"\n' + CONFIG.format(share=0.5))
    whole = counterset.load(str(whole_build.build(undisturbed)[0]))
    second = counterset.load(work / "releases" / "a-build")
    assert second.version != "1.0.0"
    for name in ("all_photos", "pairs", "rejects", "groups"):
        one, other = (
            table.drop_columns([column for column in OF_A_SERIES if column in table.column_names])
            for table in (getattr(second, name), getattr(whole, name))
        )
        assert one.equals(other), name


def test_too_many_failures_stop_the_build(sandbox: Any, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = work / "strict.toml"
    config.write_text('releases = "strict"\nworkspace = "strict/workspace"\n' + CONFIG.format(share=0.05))
    monkeypatch.setattr(curate, "inspect_photos", failing_inspection)
    run = sandbox.here("build", str(config))
    assert run.returncode == 2
    assert "something in here cannot be inspected" in run.stderr and "max_failed_share is 0.05" in run.stderr
    assert not (work / "strict" / "a-build").exists()


def test_a_full_disk_stops_the_build_at_once(sandbox: Any, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = work / "full.toml"
    config.write_text('releases = "full"\nworkspace = "full/workspace"\n' + CONFIG.format(share=0.9))
    monkeypatch.setattr(embed, "embed_photos", failing_embedding)
    run = sandbox.here("build", str(config))
    assert run.returncode == 2 and "No space left on device" in run.stderr
    assert not list((work / "full" / "workspace").glob("failed/*/*"))
