"""The order of a build's work, without any work."""

from __future__ import annotations

import random

import pytest

from counterset.steps.schedule import MAX_AHEAD, STAGES, Job, Schedule

LIMITS = {"download": 1, "inspect": 1, "embed": 1}
MODELS = ("a", "b")


def jobs_of(num_shards: int) -> list[Job]:
    shards = [f"{number:06d}" for number in range(num_shards)]
    rows = [Job(shard, stage) for shard in shards for stage in STAGES[:2]]
    return rows + [Job(shard, "embed", model) for shard in shards for model in MODELS]


def simulate(num_shards: int, seconds: dict[str, float], max_ahead: int = MAX_AHEAD) -> tuple[float, float, int]:
    """Seconds of the whole, seconds in which no embedding ran, and the most shards that waited for it."""
    schedule, running, clock, idle_s, most = Schedule(jobs_of(num_shards), LIMITS, max_ahead), {}, 0.0, 0.0, 0
    downloaded, embedded = 0, 0
    while True:
        while (job := schedule.next()) is not None:
            running[job] = clock + seconds[job.stage]
        if not running:
            return clock, idle_s, most
        first = min(running, key=lambda job: (running[job], job))
        if not any(job.stage == "embed" for job in running):
            idle_s += running[first] - clock
        clock = running.pop(first)
        schedule.done(first)
        downloaded += first.stage == "download"
        embedded += first.stage == "embed"
        most = max(most, downloaded - embedded // len(MODELS))


@pytest.mark.parametrize("limits", [LIMITS, {"download": 1, "inspect": 3, "embed": 4}])
def test_every_job_runs_once_and_in_order(limits: dict[str, int]) -> None:
    schedule, running, seen, generator = Schedule(jobs_of(12), limits), [], [], random.Random(0)
    while True:
        while (job := schedule.next()) is not None:
            running.append(job)
            seen.append(job)
            earlier = [other for other in jobs_of(12) if other.shard == job.shard]
            earlier = [other for other in earlier if STAGES.index(other.stage) < STAGES.index(job.stage)]
            assert set(earlier) <= set(seen) - set(running)
        if not running:
            break
        for stage, limit in limits.items():
            assert sum(job.stage == stage for job in running) <= limit
        schedule.done(running.pop(generator.randrange(len(running))))
    assert sorted(seen) == sorted(jobs_of(12))


def test_a_slow_host_and_the_model_work_side_by_side() -> None:
    total_s, idle_s, _ = simulate(20, {"download": 10.0, "inspect": 1.0, "embed": 4.0})
    assert total_s == 20 * 10 + 1 + 2 * 4  # the download is never held up, and the rest hides behind it
    assert idle_s == total_s - 20 * 2 * 4


def test_a_slow_model_is_never_without_work() -> None:
    total_s, idle_s, most = simulate(20, {"download": 1.0, "inspect": 1.0, "embed": 10.0})
    assert total_s == 2 + 20 * 2 * 10 and idle_s == 2  # only the first shard is waited for
    assert most == MAX_AHEAD


def test_a_queue_of_one_is_enough_when_it_is_steady() -> None:
    total_s, _, most = simulate(20, {"download": 1.0, "inspect": 0.5, "embed": 10.0}, max_ahead=2)
    assert total_s == 1.5 + 20 * 2 * 10 and most == 2


def test_a_dropped_shard_is_left_out() -> None:
    schedule = Schedule(jobs_of(2), LIMITS)
    first = schedule.next()
    assert first == Job("000000", "download")
    schedule.done(first)
    schedule.drop("000000")
    left = []
    while (job := schedule.next()) is not None:
        left.append(job)
        schedule.done(job)
    assert {job.shard for job in left} == {"000001"} and len(left) == 4
