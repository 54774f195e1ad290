"""What a changed setting makes anew, and what it finds, in one workspace and beside a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from counterset.config import parse_config
from counterset.demo.server.look_alike import LookAlikeServer, serve
from counterset.demo.world.observations import demo_catalog
from counterset.schemas import CANDIDATES, IMAGES, REJECTS
from counterset.steps import shard_steps, table_steps
from counterset.steps.keys import Build
from counterset.steps.series import basis_of
from counterset.tables import read_table, sha256_of

MODELS = {"annotator": "demo:annotator", "selectors": ["demo:selector"]}


@pytest.fixture(scope="module")
def server() -> Iterator[LookAlikeServer]:
    with serve(demo_catalog(10, seed=2)[0]) as running:
        yield running


class Made:
    """All that goes before the selection, made by the steps; what it asked of the server, and what it wrote."""

    def __init__(self, folder: Path, server: LookAlikeServer, **changes: dict[str, Any]) -> None:
        source = {"api_url": f"{server.photo_url}/v1", "photo_url": server.photo_url, "contact": "tests@localhost"}
        source |= {"photos_per_class": 6, "requests_per_minute": 6000, "requests_per_day": 100_000}
        settings: dict[str, Any] = {
            "name": "reuse",
            "classes": {"list": "demo", "only": ["lion"]},
            "source": source,
            "models": MODELS,
            "annotate": {"vocabulary": "demo"},
            "evaluate": {"label_space": "imagenet1k", "compare_templates": []},
        }
        for section, values in changes.items():
            settings[section] = (settings.get(section, {}) | values) if isinstance(values, dict) else values
        before = len(server.requests)
        kept = set((folder / "workspace").rglob("*.parquet"))
        self.build = build = Build(parse_config(settings, base=folder, origin="a test"))
        self.anew = build.anew
        build.workspace.prepare()
        build.source.check(build.specs)
        crawls = [shard_steps.crawl_class(build, spec) for spec in build.specs]
        shard_steps.recheck(build, crawls)
        self.candidates = pa.concat_tables(shard_steps.candidate_parts(build, crawls))
        self.shards = shard_steps.plan_shards(build, crawls)
        for shard in self.shards:
            shard_steps.download_shard(build, shard)
        photos = [shard_steps.inspect_shard(build, shard) for shard in self.shards]
        embedded = [shard_steps.embed_shard(build, shard, "demo:annotator") for shard in self.shards]
        self.members = table_steps.choose_members(build, crawls, photos, embedded, basis_of(build, crawls, photos))
        paths = [record.path for record in server.requests[before:]]
        self.asked = sum("/v1/" in path for path in paths)
        self.fetched = {path for path in paths if path.startswith("/photos/")}
        self.written = {
            path.relative_to(folder / "workspace").parts[0]
            for path in set((folder / "workspace").rglob("*.parquet")) - kept
        }

    def images(self) -> dict[str, bytes]:
        tables = [
            read_table(self.build.workspace.file("images", self.build.pool_key, shard), IMAGES) for shard in self.shards
        ]
        table = pa.concat_tables(tables)
        return dict(zip(table["photo_id"].to_pylist(), table["image"].to_pylist(), strict=True))

    def rejects(self) -> list[str]:
        paths = [self.build.workspace.file("download_rejects", self.build.pool_key, shard) for shard in self.shards]
        return [reason for path in paths for reason in read_table(path, REJECTS)["reason"].to_pylist()]


def test_the_second_build_makes_nothing(tmp_path: Path, server: LookAlikeServer) -> None:
    first, second = Made(tmp_path, server), Made(tmp_path, server)
    assert first.asked and first.fetched and not first.anew
    assert (second.asked, second.fetched, second.written, second.anew) == (0, set(), set(), [])


def test_another_seed_asks_nothing_and_fetches_what_is_new(tmp_path: Path, server: LookAlikeServer) -> None:
    first, second = Made(tmp_path, server), Made(tmp_path, server, seed=1)  # type: ignore[arg-type]
    chosen = [set(one.candidates["photo_id"].to_pylist()) for one in (first, second)]
    assert chosen[0] != chosen[1]
    assert second.asked == 0
    assert len(second.fetched) <= len(chosen[1] - chosen[0])
    assert second.anew == ["crawl"]


def test_another_limit_of_sides_embeds_nothing(tmp_path: Path, server: LookAlikeServer) -> None:
    first, second = Made(tmp_path, server), Made(tmp_path, server, curate={"min_side_px": 400})
    assert (second.asked, second.fetched) == (0, set())
    assert second.written == {"members", "members_rejects"}
    assert first.members.num_rows > second.members.num_rows
    fresh = Made(tmp_path / "fresh", server, curate={"min_side_px": 400})
    assert sha256_of(fresh.members.path) == sha256_of(second.members.path)


def test_another_size_is_other_photos(tmp_path: Path, server: LookAlikeServer) -> None:
    """As many bytes at each address as were kept, whatever the workspace held before."""
    Made(tmp_path, server, source={"photo_size": "small"})
    second = Made(tmp_path, server, source={"photo_size": "medium"})
    fresh = Made(tmp_path / "fresh", server, source={"photo_size": "medium"})
    assert {url.rpartition("/")[2] for url in second.candidates["url"].to_pylist()} <= {"medium.jpg", "medium.jpeg"}
    assert second.asked == 0
    assert second.images() == fresh.images()
    for shard in second.shards:
        listed = read_table(second.build.workspace.file("shards", second.build.pool_key, shard), CANDIDATES)
        assert all("/medium." in url for url in listed["url"].to_pylist())


def test_another_cap_fetches_what_the_first_refused(tmp_path: Path, server: LookAlikeServer) -> None:
    free = Made(tmp_path / "free", server)
    sizes = sorted(len(image) for image in free.images().values())
    cap = sizes[len(sizes) // 2]
    capped = Made(tmp_path / "capped", server, download={"max_size_bytes": cap})
    assert "too_large" in capped.rejects() and 0 < len(capped.images()) < len(sizes)
    raised = Made(tmp_path / "capped", server)
    assert raised.images() == free.images() and raised.asked == 0
    assert len(raised.fetched) < len(free.fetched), "what came before is taken over"
    lowered = Made(tmp_path / "free", server, download={"max_size_bytes": cap})
    assert lowered.images() == capped.images()


def test_shards_of_another_size_take_their_photos_over(tmp_path: Path, server: LookAlikeServer) -> None:
    first, second = Made(tmp_path, server), Made(tmp_path, server, download={"shard_size": 2})
    assert len(second.shards) > len(first.shards)
    assert second.images() == first.images()
    assert len(second.fetched) <= len(first.candidates) - len(first.images())
