"""Where tasks run: the task runner of the config, how much runs side by side, and what is retried.

The runner changes no byte of a release: every embedding is computed with as many threads
as this process has for one (a different number rounds differently), wherever it is computed.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from typing import Any

import torch
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from counterset.config import Config
from counterset.errors import ShardError, UserError, WorkspaceError

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def as_user_error(error: BaseException) -> UserError | None:
    """The error as one that the user must mend, or None when trying again may help."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        where = error.filename or "the disk"
        return WorkspaceError(f"cannot write {where}: {error.strerror}; free space and run again")
    return None


def _may_heal(task: Any, run: Any, state: Any) -> bool:
    """Retry what may pass by itself; an error that the user must mend will not."""
    return as_user_error(state.result(raise_on_failure=False)) is None


retrying: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retries": 2,
    "retry_delay_seconds": [2, 20],
    "retry_condition_fn": _may_heal,
}
"""Options of every task."""

ATTEMPTS = int(retrying["retries"]) + 1


@dataclass(frozen=True)
class Pool:
    """A started task runner.

    Attributes:
        runner: Prefect's.
        limits: tasks side by side, by stage.
        threads: of one embedding.
    """

    runner: TaskRunner[Any]
    limits: dict[str, int]
    threads: int

    def submit(self, task: Any, stage: str, **parameters: Any) -> Any:
        """Start a task; its future."""
        return self.runner.submit(task, parameters)

    def outcome(self, future: Any) -> Any:
        """Wait for a task; what it gives, or its error as a value."""
        try:
            future.wait()
            return future.result(raise_on_failure=False)
        except BrokenExecutor as error:
            return ShardError(f"a worker process ended abruptly ({error})")


@contextlib.contextmanager
def pool(config: Config) -> Iterator[Pool]:
    """The config's runner, started; ended with the block."""
    threads = torch.get_num_threads()
    num_cpus = len(os.sched_getaffinity(0))
    # One download: the limits of the host are for all of them together.
    limits = {"download": 1, "inspect": 1, "embed": max(1, num_cpus // threads)}
    make: Any = ProcessPoolTaskRunner if config.runner == "processes" else ThreadPoolTaskRunner
    with make(max_workers=sum(limits.values())) as runner:
        yield Pool(runner, limits, threads)
