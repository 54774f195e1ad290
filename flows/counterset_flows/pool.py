"""What tasks run in, how much runs side by side, and what is retried. `runners` has one file per runner."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import TaskRunner

from counterset.errors import ShardError
from counterset.machine import ways
from counterset.runners import RUNNERS
from counterset.steps.failures import as_user_error
from counterset.steps.progress import Progress


def _may_heal(task: Any, run: Any, state: Any) -> bool:
    """Retry what may pass by itself; an error that the user must fix will not."""
    return as_user_error(state.result(raise_on_failure=False)) is None


retrying: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retries": 2,
    "retry_delay_seconds": [2, 20],
    "retry_condition_fn": _may_heal,
}
"""Options of every task."""

ATTEMPTS = int(retrying["retries"]) + 1


@dataclass
class Pool:
    """A started task runner.

    Attributes:
        runner: Prefect's.
        limits: tasks side by side, by stage.
        threads: of one embedding.
        progress: told what is done.
    """

    runner: TaskRunner[Any]
    limits: dict[str, int]
    threads: int
    progress: Progress = field(default_factory=Progress)

    @property
    def way(self) -> str:
        """How all machines multiply 16-bit numbers (`counterset.models.ways.WAYS`)."""
        return ways.way()

    @property
    def num_tables(self) -> int:
        """Steps that look at all photos, or at all of some classes, which `run` does side by side."""
        return 1

    def run(self, task: Any, calls: Sequence[dict[str, Any]]) -> Iterator[Any]:
        """What a step that looks at all photos gives for each of some parameters; here, one after the other.

        Raises:
            Exception: that of the first that failed.
        """
        for parameters in calls:
            yield task(**parameters)

    def submit(self, task: Any, stage: str, **parameters: Any) -> Any:
        """Start a task of a stage; its future."""
        return self.runner.submit(task, parameters)

    def outcome(self, future: Any) -> Any:
        """Wait for a task; what it gives, or its error as a value."""
        try:
            future.wait()
            return future.result(raise_on_failure=False)
        except BrokenExecutor as error:
            return ShardError(f"a worker process ended abruptly ({error})")
        except Exception as error:  # a task that could not even be sent has failed, or the build would wait for ever
            return error


def limits_of(num_cpus: int, threads: int) -> dict[str, int]:
    """Tasks side by side, by stage. One download: the limits of the host are for all of them together."""
    return {"download": 1, "inspect": 1, "embed": max(1, num_cpus // threads)}


@contextlib.contextmanager
def started(runner: str, progress: Progress | None = None) -> Iterator[Pool]:
    """The runner of that name, started; ended with the block.

    Raises:
        ConfigError: there is no such runner, or it cannot be used.
    """
    with RUNNERS[runner](torch.get_num_threads()) as pool:
        pool.progress = progress or Progress()
        yield pool


@contextlib.contextmanager
def on_demand(runner: str, progress: Progress | None = None) -> Iterator[Callable[[], Pool]]:
    """The pool of a run, started when it is first asked for, for there may be nothing to do; ended with the block."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def pool() -> Pool:
            return stack.enter_context(started(runner, progress))

        yield pool


@contextlib.contextmanager
def one_way(runner: str, pool: Callable[[], Pool]) -> Iterator[None]:
    """Have all machines that a runner may use compute large models in one way while the block runs."""
    ways.agree_on(pool().way if runner == "ray" and os.environ.get("RAY_ADDRESS") else None)
    try:
        yield
    finally:
        ways.agree_on(None)
