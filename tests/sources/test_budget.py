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

from counterset.demo.server.faults import Fault, FaultKind
from counterset.demo.server.look_alike import RequestRecord, serve
from counterset.errors import SourceUnavailable, WorkspaceError
from counterset.sources.budget import DAY_S, MEDIA_LIMITS, Budget, Limit, request_limits
from counterset.sources.inaturalist.api import INaturalistSource

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


def test_requests_are_spaced_by_the_first_limit(tmp_path: Path) -> None:
    clock = Clock()
    budget = budget_of(tmp_path / "b", clock, Limit(30, 60.0), Limit(1_000, DAY_S))
    times = []
    for _ in range(3):
        budget.acquire("requests")
        times.append(clock.now - 1_000_000)
    assert times == [0, 2, 4]
    clock.now += 1.5
    budget.acquire("requests")
    assert clock.now - 1_000_000 == 6
    budget.acquire("requests", is_spaced=False)
    assert clock.now - 1_000_000 == 6


@pytest.mark.parametrize(("window_s", "room_after_s"), [(5.0, 5.5), (10.0, 11.0), (60.0, 61.0)])
def test_windows_are_a_tenth_longer_and_a_second_at_most(tmp_path: Path, window_s: float, room_after_s: float) -> None:
    """A server counts arrivals, which jitter."""
    clock = Clock()
    budget = budget_of(tmp_path / "b", clock, Limit(2, window_s))
    for wait_s in (0, 0.25, room_after_s, room_after_s + 0.25, 2 * room_after_s):
        budget.acquire("requests", is_spaced=False)
        clock.now += 0.25 if wait_s == 0 else 0
        assert clock.now - 1_000_000 == pytest.approx(max(wait_s, 0.25))


def test_large_amounts_wait_until_enough_is_free(tmp_path: Path) -> None:
    clock = Clock()
    budget = budget_of(tmp_path / "b", clock, Limit(10, 100.0))
    for amount in (4, 3, 3):
        budget.acquire("requests", amount, is_spaced=False)
        clock.now += 10
    assert budget.spent("requests", 1_000) == 10
    budget.acquire("requests", 7, is_spaced=False)  # the first 4 and 3 must have left: 10 + 101 s after the start
    assert clock.now - 1_000_000 == 111
    budget.acquire("requests", 3, is_spaced=False)  # the other 3 leave ten seconds later
    assert clock.now - 1_000_000 == 121


def test_each_kind_has_its_own_limits(tmp_path: Path) -> None:
    clock = Clock()
    limits = {"requests": (Limit(2, 60.0),), "media_bytes": (Limit(100, 60.0),)}
    budget = Budget(tmp_path / "b", limits, clock=clock, sleep=clock.sleep)
    budget.acquire("media_bytes", 100, is_spaced=False)
    budget.acquire("requests")
    assert clock.now == 1_000_000
    assert (budget.spent("requests", 60), budget.spent("media_bytes", 60)) == (1, 100)


def test_what_is_counted_while_it_is_spent_may_pass_the_limit_and_the_next_waits(tmp_path: Path) -> None:
    clock = Clock()
    budget = budget_of(tmp_path / "b", clock, Limit(10, 100.0))
    budget.await_room("requests")
    budget.spend("requests", 9)
    budget.await_room("requests")
    assert clock.now == 1_000_000, "one more fits"
    clock.now += 5
    budget.spend("requests", 30)
    assert budget.spent("requests", 100) == 39
    budget.await_room("requests")
    assert clock.now - 1_000_000 == 106, "only when the 30 have left, too"
    assert budget.spent("requests", 1_000) == 0, "and what no window holds is forgotten"
    budget.spend("requests", 10)
    with pytest.raises(SourceUnavailable, match=r"the budget of 10 requests in 0\.02"):
        budget_of(tmp_path / "b", clock, Limit(10, 100.0), max_wait_s=100.9).await_room("requests")
    budget_of(tmp_path / "b", clock, Limit(10, 100.0), max_wait_s=101).await_room("requests")


def test_a_refused_amount_is_not_spent_and_the_hour_to_come_again_is_right(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
    limits = {"media_bytes": (Limit(1_500_000, 3_600.0),)}
    budget = Budget(tmp_path / "b", limits, clock=clock, sleep=clock.sleep)
    budget.acquire("media_bytes", 1_500_000)
    clock.now += 60
    said = "the budget of 1,500,000 media bytes in 1 h is spent; run the same command again after 2023-11-14 23:13 UTC"
    with pytest.raises(SourceUnavailable, match=said):
        budget.acquire("media_bytes", 5, is_spaced=False)
    assert budget.spent("media_bytes", 3_600) == 1_500_000
    clock.now += 3_600 + 1 - 60 - 120  # two minutes before: short enough to wait
    budget.acquire("media_bytes", 5, is_spaced=False)
    assert clock.now == 1_700_003_601


def test_what_was_spent_counts_inside_the_window_alone(tmp_path: Path) -> None:
    clock = Clock()
    budget = budget_of(tmp_path / "b", clock, Limit(1_000, 1_000.0))
    budget.spend("requests", 2)
    clock.now += 10
    budget.spend("requests", 3)
    assert [budget.spent("requests", window_s) for window_s in (5, 10, 10.5)] == [3, 3, 5]


def test_a_clock_that_was_set_back_does_not_stop_requests(tmp_path: Path) -> None:
    clock = Clock()
    budget = budget_of(tmp_path / "b", clock, Limit(60, 60.0), Limit(1_000, DAY_S))
    budget.acquire("requests")
    clock.now -= 50
    budget.acquire("requests")
    assert clock.now == 1_000_000 - 50, "a request of the time to come spaces none of now"


def test_old_spending_leaves_the_file_once_no_window_holds_it(tmp_path: Path) -> None:
    clock = Clock()
    budget = budget_of(tmp_path / "b", clock, Limit(60, 60.0), Limit(100, 600.0))
    other = Budget(tmp_path / "b", {"other": (Limit(5, 60.0),)}, clock=clock, sleep=clock.sleep)
    other.acquire("other")
    for pause_s in (0, 300, 400):
        clock.now += pause_s
        budget.acquire("requests")
    with closing(sqlite3.connect(tmp_path / "b")) as connection:
        rows = connection.execute("SELECT kind, at - 1000000 FROM spent ORDER BY at").fetchall()
    assert rows == [("other", 0), ("requests", 300), ("requests", 700)]


def test_media_stay_below_what_the_service_blocks_at(tmp_path: Path) -> None:
    """5 GB an hour and 24 GB a day, and not so far below that a build takes days longer."""
    by_window = {limit.window_s: limit.amount for limit in MEDIA_LIMITS}
    assert set(by_window) == {3_600.0, 86_400.0}
    assert 4e9 < by_window[3_600.0] < 5e9 and 20e9 < by_window[86_400.0] < 24e9


def test_what_is_counted_while_it_is_spent_waits_for_room_first(tmp_path: Path) -> None:
    clock = Clock()
    budget = budget_of(tmp_path / "b", clock, Limit(100, 3600.0), max_wait_s=60)
    budget.await_room("requests")
    assert budget.spent("requests", 3600) == 0, "asking for room spends nothing"
    budget.spend("requests", 99)
    budget.await_room("requests")
    budget.spend("requests", 500)  # more than was left, and counted all the same
    for _ in range(2):
        with pytest.raises(SourceUnavailable, match="run the same command again after"):
            budget_of(tmp_path / "b", clock, Limit(100, 3600.0), max_wait_s=60).await_room("requests")
    clock.now += 3590
    budget.await_room("requests")
    assert clock.now >= 1_003_600


def test_the_file_makes_its_folders_and_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    clock = Clock()
    budget_of(tmp_path / "a" / "b" / "budget", clock, Limit(1, 60.0)).acquire("requests")
    assert (tmp_path / "a" / "b" / "budget").is_file()
    with pytest.raises(WorkspaceError, match=r"cannot keep the budget at .*choose a writable"):
        budget_of(tmp_path / "a" / "b", clock, Limit(1, 60.0))
    (tmp_path / "text").write_text("this is no database, but long enough to be looked at as one" * 20)
    with pytest.raises(WorkspaceError, match="cannot keep the budget"):
        budget_of(tmp_path / "text", clock, Limit(1, 60.0))
