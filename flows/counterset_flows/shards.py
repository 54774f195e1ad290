"""Download, inspect and embed, shard by shard and side by side."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from prefect import get_run_logger, task

from counterset.errors import BuildStopped, UserError
from counterset.steps import failures, shard_steps
from counterset.steps.keys import Build
from counterset.steps.progress import Progress
from counterset.steps.schedule import Job, Schedule
from counterset.tables import TableRef
from counterset_flows.pool import ATTEMPTS, Pool, retrying

logger = logging.getLogger(__name__)


@task(name="download", task_run_name="download {shard}", tags=["media"], **retrying)
def download(build: Build, shard: str) -> TableRef:
    """One shard's images."""
    return shard_steps.download_shard(build, shard, _live_report(build.progress))


def _live_report(progress: Progress) -> Callable[[int], None] | None:
    """What a download tells while it runs; None in another process, whose parent counts whole shards."""
    if "download" not in progress.stages:
        return None
    start = progress.stages["download"].done

    def report(done: int) -> None:
        if progress.stopping.is_set():
            raise BuildStopped("the build stops, and so does this download; run again to go on")
        progress.at("download", start + done)

    return report


@task(name="inspect", task_run_name="inspect {shard}", **retrying)
def inspect(build: Build, shard: str) -> TableRef:
    """One shard's photos that decode and fit."""
    return shard_steps.inspect_shard(build, shard)


@task(name="embed", task_run_name="embed {shard} {model}", **retrying)
def embed(build: Build, shard: str, model: str, threads: int) -> TableRef:
    """One shard's image features under one model."""
    torch.set_num_threads(threads)
    return shard_steps.embed_shard(build, shard, model)


def run_shards(build: Build, shards: list[str], pool: Callable[[], Pool]) -> list[str]:
    """Do what is missing of the shards; the names of those that are finished.

    A shard that fails is set aside and the rest goes on.

    Raises:
        UserError: something that the user can fix, or too much was set aside.
    """
    sizes = {shard: shard_steps.shard_size(build, shard) for shard in shards}
    missing = failures.unfinished(build, shards)
    jobs = [Job(shard, stage, model) for shard, todo in missing.items() for stage, model in todo]
    _begin(build, jobs, sizes)
    if jobs:
        try:
            _Run(build, sizes, jobs, pool()).run()
        finally:  # whatever ends the run, what still works in a thread may stop
            build.progress.stopping.set()
    left = failures.unfinished(build, shards)
    return [shard for shard in shards if shard not in left]


def _begin(build: Build, jobs: list[Job], sizes: dict[str, int]) -> None:
    total = sum(sizes.values())
    for stage, times in (("download", 1), ("inspect", 1), ("embed", len(build.model_names))):
        todo = sum(sizes[job.shard] for job in jobs if job.stage == stage)
        build.progress.begin(stage, total * times, reused=total * times - todo)


class _Run:
    """One pass over the missing jobs."""

    def __init__(self, build: Build, sizes: dict[str, int], jobs: list[Job], pool: Pool) -> None:
        self._build, self._sizes, self._pool = build, sizes, pool
        self._schedule = Schedule(jobs, pool.limits)
        self._ended: queue.SimpleQueue[tuple[Job, Any]] = queue.SimpleQueue()
        self._failed: dict[str, failures.Failure] = {}
        self._started: dict[Job, float] = {}
        self._done: dict[str, int] = {"download": 0, "inspect": 0, "embed": 0}

    def run(self) -> None:
        """Start what may start, wait for what ends, until nothing is left; stop at the first error to fix."""
        stop: UserError | None = None
        num_running = 0
        while True:
            while stop is None and (job := self._schedule.next()) is not None:
                self._start(job)
                num_running += 1
            if not num_running:
                break
            job, outcome = self._ended.get()
            num_running -= 1
            self._schedule.done(job)
            if not isinstance(outcome, BaseException):
                self._count(job)
                self._log(job)
            elif (error := failures.as_user_error(outcome)) is not None:
                stop = stop or error
            else:
                stop = stop or self._set_aside(job, outcome)
            if stop is not None:
                self._build.progress.stopping.set()
        if stop is not None:
            raise stop

    def _start(self, job: Job) -> None:
        self._started[job] = time.monotonic()
        parameters: dict[str, Any] = {"build": self._build, "shard": job.shard}
        if job.stage == "embed":
            parameters |= {"model": job.model, "threads": self._pool.threads}
        task_of = {"download": download, "inspect": inspect, "embed": embed}
        future = self._pool.submit(task_of[job.stage], job.stage, **parameters)
        threading.Thread(target=self._wait, args=(job, future), daemon=True).start()

    def _wait(self, job: Job, future: Any) -> None:
        self._ended.put((job, self._pool.outcome(future)))

    def _log(self, job: Job) -> None:
        """One line per shard; in JSON logs its parts are fields."""
        seconds, photos = time.monotonic() - self._started.pop(job), self._sizes[job.shard]
        facts = {
            "stage": job.stage,
            "shard": job.shard,
            "model": job.model,
            "photos": photos,
            "seconds": round(seconds, 2),
        }
        logger.info(
            "%s %s: %d photos in %.1f s", job.stage, f"{job.shard} {job.model}".strip(), photos, seconds, extra=facts
        )

    def _count(self, job: Job) -> None:
        self._done[job.stage] += self._sizes[job.shard]
        self._build.progress.at(job.stage, self._done[job.stage])
        failures.forget(self._build, job.stage, job.shard, job.model)

    def _set_aside(self, job: Job, error: BaseException) -> BuildStopped | None:
        reason = failures.in_words(error)
        get_run_logger().warning("shard %s is set aside, %s failed: %s", job.shard, job.stage, reason)
        failure = failures.Failure(job.stage, job.shard, job.model, reason, ATTEMPTS, self._sizes[job.shard])
        failures.set_aside(self._build, failure)
        self._schedule.drop(job.shard)
        self._failed[job.shard] = failure
        try:
            failures.check_budget(self._build, self._failed.values(), sum(self._sizes.values()))
        except BuildStopped as stopped:
            return stopped
        return None
