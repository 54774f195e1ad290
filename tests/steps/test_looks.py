"""What a build knows of its looks at the source, of photos that lie there already, and of its files."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from counterset import workspace
from counterset.config import parse_config
from counterset.schemas import CANDIDATES, IMAGES
from counterset.steps import table_steps
from counterset.steps.keys import Build, settings_of
from counterset.steps.progress import Progress
from counterset.tables import TableRef, sha256_of, table_of, write_table


def build_of(folder: Path, **source: Any) -> Build:
    settings = {
        "name": "looks",
        "classes": {"list": "demo", "only": ["ice_bear", "lion"]},
        "source": {"contact": "a@example.org"} | source,
        "models": {"annotator": "demo:annotator", "selectors": ["demo:selector"]},
        "evaluate": {"label_space": "imagenet1k"},
    }
    return Build(parse_config(settings, base=folder, origin="a test"))


def test_a_look_begins_when_the_last_has_ended(tmp_path: Path) -> None:
    build = build_of(tmp_path)
    seen = []
    for _ in range(3):
        build.refresh()
        seen.append((build.snapshot, build.snapshot_name))
        build.end_look()
        build.refresh()
    assert seen == [(1, "0001"), (2, "0002"), (3, "0003")]
    days = iter(("2026-01-01", "2026-01-02"))
    assert build.day_of_look(lambda: next(days)) == build.day_of_look(lambda: next(days)) == "2026-01-01"


def test_another_process_gets_the_keys_and_no_open_connection(tmp_path: Path) -> None:
    build = build_of(tmp_path)
    assert build.budget and not build.fetched
    other = pickle.loads(pickle.dumps(build))
    for name in ("requests_key", "crawl_key", "pool_key", "photos_key", "config", "specs"):
        assert getattr(other, name) == getattr(build, name)
    assert not {"budget", "source", "fetched"} & other.__dict__.keys()


def test_photos_of_other_pools_are_known_by_their_address(tmp_path: Path) -> None:
    build = build_of(tmp_path)
    blank = {column.name: None for column in CANDIDATES.columns}
    for pool, shard, has_images in (("old", "a", True), (build.pool_key, "b", True), ("older", "c", False)):
        row = {"photo_id": shard, "class_id": "lion", "source": "s", "url": f"https://example.org/{shard}"}
        rows = [blank | row | {"observation_id": "1", "observer_id": "1"}]
        write_table(table_of(CANDIDATES, rows), CANDIDATES, build.workspace.file("shards", pool, shard))
        if has_images:
            write_table(table_of(IMAGES, []), IMAGES, build.workspace.file("images", pool, shard))
    assert build.fetched == {"https://example.org/a": ("old", "a")}


def test_a_reference_is_of_the_file_as_it_lies(tmp_path: Path) -> None:
    build = build_of(tmp_path)
    path = build.workspace.file("images", "key", "name")
    write_table(table_of(IMAGES, [{"photo_id": "a", "image": b"x"}]), IMAGES, path)
    assert IMAGES.version > 0
    assert build.ref("images", "key", "name") == TableRef(str(path), sha256_of(path), 1, IMAGES.version)


@pytest.mark.parametrize("kind", ["inaturalist", "open_data"])
def test_a_class_asked_for_by_taxon_is_crawled_under_its_taxa(kind: str, tmp_path: Path) -> None:
    build = build_of(tmp_path, kind=kind)
    spec = build.specs[0]
    assert build.crawl_name(replace(spec, name="another name")) == build.crawl_name(spec)
    assert build.crawl_name(replace(spec, taxon_ids=(1, 2))) != build.crawl_name(spec)


@pytest.mark.parametrize("package", ["faiss-cpu", "numpy"])
def test_groups_are_made_anew_by_another_version(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same members: what was made before them may come out the same."""
    build, members = build_of(tmp_path), TableRef("", "a", 1, 1)
    before, known = table_steps.backgrounds_key(build, members), workspace.version_of
    monkeypatch.setattr(workspace, "version_of", lambda name: "0" if name == package else known(name))
    assert table_steps.backgrounds_key(build, members) != before


def test_members_depend_on_the_sources_settings_themselves(tmp_path: Path) -> None:
    few, many = (build_of(tmp_path, photos_per_observation=number).config for number in (1, 2))
    assert settings_of(few, "members") != settings_of(many, "members")


def test_what_lies_there_of_other_settings_is_told(tmp_path: Path) -> None:
    build = build_of(tmp_path)
    assert build.anew == []
    for stage in ("embeddings", "crawl"):
        write_table(table_of(IMAGES, []), IMAGES, build.workspace.file(stage, "other", "a"))
    assert build.anew == ["crawl", "embeddings"]


def test_progress_goes_where_the_caller_wants_it(tmp_path: Path) -> None:
    progress = Progress()
    assert Build(build_of(tmp_path).config, progress).progress is progress
