"""How often a photo is asked for, and which photos count at all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from counterset.config import parse_config
from counterset.schemas import CANDIDATES, IMAGES, REJECTS, RejectReason
from counterset.steps import shard_steps
from counterset.steps.keys import Build
from counterset.tables import TableRef, read_table, table_of, write_table


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Six photos of two classes."""
    for class_id in ("ice_bear", "lion"):
        folder = tmp_path / "photos" / class_id
        folder.mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (120, 120), (number * 20, 0, len(class_id))).save(folder / f"{number}.png")
    settings = {
        "name": "planned",
        "classes": {"list": "demo", "only": ["ice_bear", "lion"]},
        "source": {"kind": "folder", "path": "photos"},
        "download": {"shard_size": 4},
        "models": {"annotator": "demo:annotator", "selectors": ["demo:selector"]},
        "evaluate": {"label_space": "imagenet1k"},
    }
    return Build(parse_config(settings, base=tmp_path, origin="a test"))


def crawled(build: Build) -> list[TableRef]:
    crawls = [shard_steps.crawl_class(build, spec) for spec in build.specs]
    shard_steps.recheck(build, crawls)
    return crawls


def photos_of(build: Build, name: str) -> list[str]:
    listed: list[str] = read_table(build.workspace.file("shards", build.pool_key, name), CANDIDATES)[
        "photo_id"
    ].to_pylist()
    return listed


def fail_all(build: Build, name: str, reason: RejectReason) -> None:
    """Leave a shard as a download would of which every photo failed."""
    rows = [
        {"photo_id": photo_id, "class_id": "lion", "stage": "download", "reason": reason.value, "detail": ""}
        for photo_id in photos_of(build, name)
    ]
    write_table(table_of(REJECTS, rows), REJECTS, build.workspace.file("download_rejects", build.pool_key, name))
    write_table(table_of(IMAGES, []), IMAGES, build.workspace.file("images", build.pool_key, name))


@pytest.mark.parametrize(
    ("reason", "times"), [(RejectReason.SERVER_ERROR, 3), (RejectReason.TIMEOUT, 3), (RejectReason.GONE, 1)]
)
def test_a_photo_that_fails_is_asked_for_in_three_builds(build: Build, reason: RejectReason, times: int) -> None:
    """Once more with each refresh, if it may heal; what is gone stays gone at its URL."""
    asked: Counter[str] = Counter()
    finished: set[str] = set()
    for look in range(1, 6):
        new = set(shard_steps.plan_shards(build, crawled(build))) - finished
        assert bool(new) == (look <= times)
        for name in new:
            asked.update(photos_of(build, name))
            fail_all(build, name, reason)
        finished |= new
        assert set(shard_steps.plan_shards(build, crawled(build))) == finished, "no more without a refresh"
        build.refresh()
    assert len(asked) == 6 and set(asked.values()) == {times}


def test_only_failed_photos_are_asked_for_again(build: Build) -> None:
    names = shard_steps.plan_shards(build, crawled(build))
    fail_all(build, names[0], RejectReason.SERVER_ERROR)
    shard_steps.download_shard(build, names[1])
    build.refresh()
    [again] = set(shard_steps.plan_shards(build, crawled(build))) - set(names)
    assert sorted(photos_of(build, again)) == sorted(photos_of(build, names[0]))


def test_withdrawn_photos_are_no_candidates(build: Build) -> None:
    crawls = crawled(build)
    before = pa.concat_tables(shard_steps.candidate_parts(build, crawls))["photo_id"].to_pylist()
    gone = sorted(before)[1:3]
    rows = [
        {"photo_id": name, "class_id": "lion", "stage": "publish", "reason": "withdrawn", "detail": ""} for name in gone
    ]
    path = build.workspace.file("withdrawn", build.crawl_key, build.snapshot_name)
    write_table(table_of(REJECTS, rows), REJECTS, path)
    after = pa.concat_tables(shard_steps.candidate_parts(build, crawls))
    assert isinstance(after, pa.Table)
    assert sorted(after["photo_id"].to_pylist()) == sorted(set(before) - set(gone))
    planned = [photo for name in shard_steps.plan_shards(build, crawls) for photo in photos_of(build, name)]
    assert sorted(planned) == sorted(set(before) - set(gone)), "and are in no shard"
