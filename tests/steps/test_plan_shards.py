"""Shards are only ever added, and a name stands for one set of photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from counterset.config import parse_config
from counterset.errors import SourceError
from counterset.photo_rows import Rows
from counterset.schemas import CANDIDATES, REJECTS
from counterset.steps import shard_steps, table_steps
from counterset.steps.keys import Build
from counterset.steps.rejects import all_rejects
from counterset.steps.series import basis_of
from counterset.tables import TableRef, read_table, table_of, write_table

CLASSES = ("ice_bear", "lion")
Planned = tuple[Build, list[TableRef], list[str]]


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """A build with four shards that are downloaded: it, its crawls, and the shards' names."""
    for class_id in CLASSES:
        folder = tmp_path / "photos" / class_id
        folder.mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (120, 120), (number * 20, 0, len(class_id))).save(folder / f"{number}.png")
    build = build_of(tmp_path)
    crawls, names = plan(build)
    for name in names:
        shard_steps.download_shard(build, name)
    return build, crawls, names


def build_of(folder: Path, only: Sequence[str] = CLASSES, path: str = "photos") -> Build:
    settings = {
        "name": "planned",
        "classes": {"list": "demo", "only": list(only)},
        "source": {"kind": "folder", "path": path},
        "download": {"shard_size": 6},
        "models": {"annotator": "demo:annotator", "selectors": ["demo:selector"]},
        "evaluate": {"label_space": "imagenet1k"},
    }
    return Build(parse_config(settings, base=folder, origin="a test"))


def plan(build: Build) -> tuple[list[TableRef], list[str]]:
    crawls = [shard_steps.crawl_class(build, spec) for spec in build.specs]
    shard_steps.recheck(build, crawls)
    return crawls, shard_steps.plan_shards(build, crawls)


def list_of(build: Build, name: str) -> Path:
    return Path(build.workspace.file("shards", build.pool_key, name))


def test_a_plan_is_made_once(planned: Planned) -> None:
    build, crawls, names = planned
    assert [name.partition("-")[0] for name in names] == ["000000", "000001", "000002", "000003"]
    assert [shard_steps.shard_size(build, name) for name in names] == [6, 6, 6, 2]
    assert shard_steps.plan_shards(build, crawls) == names


@pytest.mark.parametrize("lost", [[0], [3], [1, 2], [0, 1, 2, 3]])
def test_a_lost_list_is_planned_as_it_was(planned: Planned, lost: list[int]) -> None:
    build, crawls, names = planned
    content = {name: list_of(build, name).read_bytes() for name in names}
    for number in lost:
        list_of(build, names[number]).unlink()
    assert shard_steps.plan_shards(build, crawls) == names
    assert {name: list_of(build, name).read_bytes() for name in names} == content


def test_other_photos_under_a_lost_number_get_another_name(planned: Planned) -> None:
    """What was downloaded for a lost list must not be taken for that of another with its number."""
    build, crawls, names = planned
    for number in (0, 1):
        list_of(build, names[number]).unlink()
    build.config.download.__dict__["shard_size"] = 4
    again = shard_steps.plan_shards(build, crawls)
    assert len(again) == 5
    assert set(again) & set(names) == set(names[2:])
    assert not {name for name in again if build.is_done("images", build.pool_key, name)} - set(names[2:])
    assert sum(shard_steps.shard_size(build, name) for name in again) == 20


def test_photos_that_moved_before_their_download_are_found(planned: Planned, tmp_path: Path) -> None:
    build, _, names = planned
    Path(build.workspace.file("images", build.pool_key, names[1])).unlink()
    (tmp_path / "photos").rename(tmp_path / "pictures")
    moved = build_of(tmp_path, path="pictures")
    _, again = plan(moved)
    assert again == names
    assert shard_steps.download_shard(moved, names[1]).num_rows == 6


def test_photos_that_were_gone_are_asked_for_where_they_are_now(planned: Planned, tmp_path: Path) -> None:
    build, _, names = planned
    Path(build.workspace.file("images", build.pool_key, names[1])).unlink()
    (tmp_path / "photos").rename(tmp_path / "pictures")
    assert shard_steps.download_shard(build, names[1]).num_rows == 0  # all six are gone
    moved = build_of(tmp_path, path="pictures")
    plan(moved)
    moved.refresh()
    _, again = plan(moved)
    [retry] = set(again) - set(names)
    assert shard_steps.download_shard(moved, retry).num_rows == 6


def test_a_class_added_later_does_not_reopen_the_last_look(planned: Planned, tmp_path: Path) -> None:
    build, _, _ = planned
    more = build_of(tmp_path, [*CLASSES, "red_fox"])
    more.refresh()
    assert (build.snapshot, more.snapshot) == (2, 2)
    more.refresh()
    assert more.snapshot == 2  # this look has not ended


def test_no_photo_at_all_is_said(tmp_path: Path) -> None:
    for class_id in CLASSES:
        (tmp_path / "photos" / class_id).mkdir(parents=True)
    with pytest.raises(SourceError, match="no photo of the 2 classes is left"):
        plan(build_of(tmp_path))


def test_a_photo_is_rejected_once_and_under_the_class_that_has_it_now(planned: Planned, tmp_path: Path) -> None:
    build, crawls, names = planned
    photos = [shard_steps.inspect_shard(build, name) for name in names]
    members = table_steps.choose_members(build, crawls, photos, [], basis_of(build, crawls, photos))
    wanted = pa.concat_tables(shard_steps.candidate_parts(build, crawls))
    taken = wanted["photo_id"][0].as_py()
    turned_away = {"stage": "crawl", "reason": "not_sampled", "detail": ""}
    for spec in build.specs:
        rows = [{"photo_id": photo_id, "class_id": spec.class_id} | turned_away for photo_id in (taken, "folder-0")]
        path = build.workspace.file("crawl_rejects", build.crawl_key, build.crawl_name(spec))
        write_table(table_of(REJECTS, rows), REJECTS, path)
    row = {"photo_id": taken, "class_id": "another", "stage": "download", "reason": "gone", "detail": ""}
    owner = next(
        name for name in names if taken in read_table(list_of(build, name), CANDIDATES)["photo_id"].to_pylist()
    )
    path = build.workspace.file("download_rejects", build.pool_key, owner)
    write_table(table_of(REJECTS, [row]), REJECTS, path)
    found = all_rejects(build, members, names, Rows.of(wanted, CANDIDATES.key), tmp_path).table().to_pylist()
    assert [row["class_id"] for row in found if row["photo_id"] == "folder-0"] == ["ice_bear"]
    assert "not_sampled" not in [row["reason"] for row in found if row["photo_id"] == taken]
    [own] = [row for row in found if row["photo_id"] == taken and row["reason"] == "gone"]
    assert own["class_id"] == wanted["class_id"][0].as_py()
