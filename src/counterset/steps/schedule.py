"""Which shard's work may start next. Pure: knows no files and no Prefect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

STAGES = ("download", "inspect", "embed")

MAX_AHEAD = 4
"""Shards that are downloaded and not yet embedded. More would not make a build faster, and let a slow
or failing model be noticed late."""


class Job(NamedTuple):
    """One stage of one shard; `model` is for embed, else ""."""

    shard: str
    stage: str
    model: str = ""


class Schedule:
    """Jobs in the order of their shards, each after the earlier stages of its shard.

    A download waits while MAX_AHEAD shards wait for their embedding, so the queue between
    the two is bounded; neither waits for the other otherwise.

    Args:
        jobs: all that is to be done.
        limits: jobs side by side, by stage.
    """

    def __init__(self, jobs: Iterable[Job], limits: Mapping[str, int], max_ahead: int = MAX_AHEAD) -> None:
        self._waiting = sorted(jobs, key=lambda job: (job.shard, STAGES.index(job.stage), job.model))
        self._limits = dict(limits)
        self._max_ahead = max_ahead
        self._running: set[Job] = set()

    def next(self) -> Job | None:
        """A job that may start now, noted as running; None when one must end first, or none is left."""
        running = Counter(job.stage for job in self._running)
        started = {job.shard for job in self._running if job.stage == "download"}
        unfinished: dict[str, int] = {}
        for job in self._waiting:
            stage = STAGES.index(job.stage)
            unfinished[job.shard] = min(stage, unfinished.get(job.shard, stage))
        for job in self._running:
            stage = STAGES.index(job.stage)
            unfinished[job.shard] = min(stage, unfinished.get(job.shard, stage))
        ahead = sum(1 for shard, stage in unfinished.items() if stage > 0 or shard in started)
        for job in self._waiting:
            if unfinished[job.shard] < STAGES.index(job.stage):
                continue
            if running[job.stage] >= self._limits[job.stage]:
                continue
            if job.stage == "download" and ahead >= self._max_ahead:
                continue
            self._waiting.remove(job)
            self._running.add(job)
            return job
        return None

    def done(self, job: Job) -> None:
        """A job has ended."""
        self._running.remove(job)

    def drop(self, shard: str) -> None:
        """Nothing more is to be done for a shard."""
        self._waiting = [job for job in self._waiting if job.shard != shard]
