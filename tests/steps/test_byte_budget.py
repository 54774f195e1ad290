"""The budget of media bytes: asked before a shard is downloaded, and remembered whatever became of the bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from counterset import sources
from counterset.config import parse_config
from counterset.download import photos
from counterset.errors import SourceUnavailable
from counterset.sources.budget import MEDIA_BYTES, Limit
from counterset.steps import shard_steps
from counterset.steps.keys import Build

from ..fetching.raw_server import Host, hosting, reply


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(photos, "REPEAT_AFTER_S", (0.0,))
    monkeypatch.setattr(sources, "MEDIA_LIMITS", (Limit(50_000, 3600.0), Limit(10e9, 86_400.0)))
    with hosting() as found:
        yield found


def build_of(folder: Path, host: Host) -> Build:
    rows = [f"{host.url}/{number},ice bear,cc0" for number in range(12)]
    (folder / "list.csv").write_text("\n".join(["url,class,license", *rows]) + "\n")
    settings = {
        "name": "budget",
        "classes": {"list": "demo", "only": ["ice_bear"]},
        "source": {"kind": "url_list", "path": "list.csv", "allowed_hosts": [host.netloc]},
        "download": {"shard_size": 4, "retries": 0},
        "models": {"annotator": "demo:annotator", "selectors": ["demo:selector"]},
    }
    return Build(parse_config(settings, base=folder, origin="a test"))


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_spent_budget_asks_for_nothing_more_on_any_run(host: Host, tmp_path: Path, is_whole: bool) -> None:
    """Three shards of 40,000 bytes, and 50,000 an hour; photos that broke off have cost as much."""
    length = 10_000 if is_whole else 10_001
    host.answers.update({f"/{number}": reply(bytes(10_000), Content_Length=length) for number in range(12)})
    build = build_of(tmp_path, host)
    crawls = [shard_steps.crawl_class(build, spec) for spec in build.specs]
    shard_steps.recheck(build, crawls)
    shards = shard_steps.plan_shards(build, crawls)
    shard_steps.download_shard(build, shards[0])
    if is_whole:
        shard_steps.download_shard(build, shards[1])
    num_asked = len(host.asked)
    assert build.budget.spent(MEDIA_BYTES, 3600.0) == 80_000  # of whole photos, or of four that were tried twice
    for _ in range(2):
        later = build_of(tmp_path, host)
        with pytest.raises(SourceUnavailable, match="the budget of 50,000 media bytes in 1 h is spent"):
            shard_steps.download_shard(later, shards[2])
    assert len(host.asked) == num_asked == 8
