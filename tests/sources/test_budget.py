"""The budget: by a simulated clock, by the server's own log, and over processes and kills."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from counterset.demo.faults import Fault, FaultKind
from counterset.demo.server import RequestRecord, serve
from counterset.errors import SourceUnavailable, WorkspaceError
from counterset.sources.budget import DAY_S, MEDIA_LIMITS, Budget, Limit, request_limits
from counterset.sources.inaturalist import INaturalistSource

from .conftest import QUICK, RED_FOX, MakeConfig, catalog, foxes


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def budget_of(path: Path, clock: Clock, *limits: Limit, max_wait_s: float = 1e9) -> Budget:
    return Budget(path, {"requests": limits}, clock=clock, sleep=clock.sleep, max_wait_s=max_wait_s)


def most_in(times: list[float], window_s: float) -> int:
    """The largest number of `times` in any half-open window, the slow and obvious way."""
    return max(sum(start <= time < start + window_s for time in times) for start in times)


def test_no_window_holds_more_than_its_limit(tmp_path: Path) -> None:
    clock, generator, times = Clock(), random.Random(1), []
    budget = budget_of(tmp_path / "b", clock, Limit(60, 60.0), Limit(500, 3600.0))
    for _ in range(1200):
        clock.now += generator.choice([0.0, 0.0, 0.01, 0.5, 30.0])
        budget.acquire("requests")
        times.append(clock.now)
    assert most_in(times, 60.0) <= 60
    assert most_in(times, 3600.0) == 500
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.999


def test_spending_outlives_the_object_and_a_long_wait_says_when_to_come_again(tmp_path: Path) -> None:
    clock = Clock()
    for _ in range(10):
        clock.now += 1
        budget_of(tmp_path / "b", clock, Limit(600, 60.0), Limit(10, DAY_S)).acquire("requests")
    last = budget_of(tmp_path / "b", clock, Limit(600, 60.0), Limit(10, DAY_S), max_wait_s=120)
    with pytest.raises(
        SourceUnavailable, match="10 requests in 24 h is spent; run the same command again after 1970-01-1"
    ):
        last.acquire("requests")
    assert last.spent("requests", DAY_S) == 10
    clock.now += DAY_S
    last.acquire("requests")


def test_bytes_are_counted_by_amount(tmp_path: Path) -> None:
    clock = Clock()
    budget = Budget(tmp_path / "b", {"media_bytes": MEDIA_LIMITS}, clock=clock, sleep=clock.sleep, max_wait_s=1e9)
    for _ in range(30):
        budget.acquire("media_bytes", 1e9, is_spaced=False)
    hours = (clock.now - 1_000_000.0) / 3600
    assert 24 <= hours < 32  # 22 GB in the first day, four an hour, then the next day


SPEND = """
import sys
from pathlib import Path
from counterset.sources.budget import Budget, Limit

budget = Budget(Path(sys.argv[1]), {"requests": (Limit(50, 1.0),)})
for _ in range(10):
    budget.acquire("requests")
"""


def test_processes_share_one_budget(tmp_path: Path) -> None:
    path = tmp_path / "b"
    children = [subprocess.Popen([sys.executable, "-c", SPEND, str(path)]) for _ in range(3)]
    assert [child.wait(timeout=60) for child in children] == [0, 0, 0]
    with closing(sqlite3.connect(path)) as connection:
        rows = [row[0] for row in connection.execute("SELECT at FROM spent ORDER BY at")]
    assert all(later - earlier >= 0.0199 for earlier, later in pairwise(rows))


def api_times(records: list[RequestRecord]) -> list[float]:
    return sorted(record.time_s for record in records)


def test_the_servers_log_shows_no_request_over_the_limits(tmp_path: Path, config_of: MakeConfig) -> None:
    limits = {"requests": (Limit(20, 0.5), Limit(45, 3.0)), "media_bytes": MEDIA_LIMITS}
    faults = [
        Fault(FaultKind.SHORT_PAGE, 1, every=1),
        Fault(FaultKind.SERVER_ERROR, 5, every=6),
        Fault(FaultKind.THROTTLED, 8, every=9),
    ]
    with serve(catalog(*foxes(2000)), faults=faults) as server:
        for _ in range(2):  # a second source with the same state spends from the same budget
            budget = Budget(tmp_path / "budget.sqlite", limits)
            state = tmp_path / f"state{_}"
            INaturalistSource(config_of(server), state, budget=budget, retry=QUICK).crawl(RED_FOX)
        times = api_times(server.requests)
    assert len(times) > 50
    assert most_in(times, 0.5) <= 20
    assert most_in(times, 3.0) <= 45


def test_the_configs_limits_reach_the_budget(tmp_path: Path, config_of: MakeConfig) -> None:
    with serve(catalog(*foxes(3))) as server:
        source = INaturalistSource(config_of(server, requests_per_day=2), tmp_path)
        with pytest.raises(SourceUnavailable, match="the budget of 2 requests in 24 h is spent"):
            source.crawl(RED_FOX)
        assert len(server.requests) == 2
    assert request_limits(60, 10_000) == (Limit(60, 60.0), Limit(10_000, 86_400.0))


def test_a_folder_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="choose a writable workspace"):
        Budget(tmp_path / "file" / "b", {})
