"""Shards are only ever added, and no name is used twice."""

from __future__ import annotations

from pathlib import Path

from counterset_flows import shard_steps
from counterset_flows.context import Build
from PIL import Image

from counterset.config import parse_config


def test_a_lost_list_is_planned_under_a_new_name(tmp_path: Path) -> None:
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
    assert names == ["000000", "000001", "000002", "000003"]
    sizes = [shard_steps.shard_size(build, name) for name in names]
    assert shard_steps.plan_shards(build, crawls) == names
    for name in names:
        shard_steps.download_shard(build, name)
    build.workspace.file("shards", build.pool_key, "000000").unlink()
    assert shard_steps.plan_shards(build, crawls) == [*names[1:], "000004"]
    assert shard_steps.shard_size(build, "000004") == sizes[0]
    assert [shard_steps.shard_size(build, name) for name in names[1:]] == sizes[1:]
