"""Shards are only ever added, and a name stands for one set of photos."""

from __future__ import annotations

from pathlib import Path

import pytest
from counterset_flows import shard_steps
from counterset_flows.context import Build
from PIL import Image

from counterset.config import parse_config
from counterset.tables import TableRef

Planned = tuple[Build, list[TableRef], list[str]]


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """A build with four shards that are downloaded: it, its crawls, and the shards' names."""
    for class_id in ("ice_bear", "lion"):
        folder = tmp_path / "photos" / class_id
        folder.mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (120, 120), (number * 20, 0, len(class_id))).save(folder / f"{number}.png")
    settings = {
        "name": "planned",
        "classes": {"list": "demo", "only": ["ice_bear", "lion"]},
        "source": {"kind": "folder", "path": "photos"},
        "download": {"shard_size": 6},
        "models": {"annotator": "demo:annotator", "selectors": ["demo:selector"]},
        "evaluate": {"label_space": "classes"},
    }
    build = Build(parse_config(settings, base=tmp_path, origin="a test"))
    crawls = [shard_steps.crawl_class(build, spec) for spec in build.specs]
    shard_steps.recheck(build, crawls)
    names = shard_steps.plan_shards(build, crawls)
    for name in names:
        shard_steps.download_shard(build, name)
    return build, crawls, names


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
