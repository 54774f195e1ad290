"""A shard that cannot be worked on is set aside and tried again later; too many of them stop the build."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import counterset
from counterset.demo.world.observations import demo_catalog

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

FAULTY = """
import sys
from counterset.stages import curate, embed

inspect_photos, embed_photos = curate.inspect_photos, embed.embed_photos

def failing_inspection(images, candidates, config, *, shard):
    if shard.startswith("000001-") and "inspect" in sys.argv[1]:
        raise RuntimeError("something in here cannot be inspected")
    return inspect_photos(images, candidates, config, shard=shard)

def failing_embedding(images, photos, encoder, **options):
    if "full" in sys.argv[1]:
        raise OSError(28, "No space left on device", "somewhere")
    return embed_photos(images, photos, encoder, **options)

curate.inspect_photos, embed.embed_photos = failing_inspection, failing_embedding
from counterset_flows import pool
pool.retrying["retry_delay_seconds"] = [0.1, 0.1]
from counterset.cli import main
sys.exit(main(sys.argv[2:]))
"""


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


def build(sandbox: Any, config: Path, fault: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FAULTY, fault, "build", str(config)],
        env=sandbox.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_failing_shard_is_set_aside_and_tried_again(sandbox: Any, work: Path) -> None:
    config = work / "build.toml"
    config.write_text(CONFIG.format(share=0.5))
    run = build(sandbox, config, "inspect")
    assert run.returncode == 0, run.stderr
    first = counterset.load(work / "releases" / "a-build" / "1.0.0")
    rows = [row for row in first.rejects.to_pylist() if row["reason"] == "shard_failed"]
    assert len(rows) == 15
    assert {row["detail"] for row in rows} == {"RuntimeError: something in here cannot be inspected"}
    assert not {row["photo_id"] for row in rows} & set(first.all_photos["photo_id"].to_pylist())
    [record] = (work / "workspace" / "failed").glob("*/000001-*.json")
    assert json.loads(record.read_text())["attempts"] == 3
    healed = build(sandbox, config, "none")
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


def test_too_many_failures_stop_the_build(sandbox: Any, work: Path) -> None:
    config = work / "strict.toml"
    config.write_text('releases = "strict"\nworkspace = "strict/workspace"\n' + CONFIG.format(share=0.05))
    run = build(sandbox, config, "inspect")
    assert run.returncode == 2
    assert "something in here cannot be inspected" in run.stderr and "max_failed_share is 0.05" in run.stderr
    assert not (work / "strict" / "a-build").exists()


def test_a_full_disk_stops_the_build_at_once(sandbox: Any, work: Path) -> None:
    config = work / "full.toml"
    config.write_text('releases = "full"\nworkspace = "full/workspace"\n' + CONFIG.format(share=0.9))
    run = build(sandbox, config, "full")
    assert run.returncode == 2 and "No space left on device" in run.stderr
    assert not list((work / "full" / "workspace").glob("failed/*/*"))
