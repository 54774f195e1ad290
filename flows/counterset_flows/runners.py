"""Where tasks run: the task runner of the config, how much runs side by side, and what is retried.

The runner changes no byte of a release, for a batch is one thread's work wherever it is computed
(`models.batches`).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import tempfile
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from counterset.config import Config
from counterset.errors import ConfigError, ShardError, UserError, WorkspaceError
from counterset.steps.progress import Progress
from counterset_flows import server

WORKER_RETRIES = 3
"""Times that Ray starts a task again whose worker process or machine was lost."""

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def as_user_error(error: BaseException) -> UserError | None:
    """The error as one that the user must fix, or None when trying again may help."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        where = error.filename or "the disk"
        return WorkspaceError(f"cannot write {where}: {error.strerror}; free space and run again")
    return None


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


@dataclass(frozen=True)
class Pool:
    """A started task runner.

    Attributes:
        runner: Prefect's.
        limits: tasks side by side, by stage.
        threads: of one embedding.
        is_ray: tasks say how many processors they need.
        progress: told what is done.
    """

    runner: TaskRunner[Any]
    limits: dict[str, int]
    threads: int
    is_ray: bool = False
    progress: Progress = field(default_factory=Progress)

    def submit(self, task: Any, stage: str, **parameters: Any) -> Any:
        """Start a task; its future."""
        if not self.is_ray:
            return self.runner.submit(task, parameters)
        from prefect_ray.context import remote_options

        # A download waits for its host, and img2dataset's own process does the work.
        needs = {"download": 0, "inspect": 1, "embed": self.threads}
        with remote_options(num_cpus=needs[stage], max_retries=WORKER_RETRIES):
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


@contextlib.contextmanager
def pool(config: Config, progress: Progress | None = None) -> Iterator[Pool]:
    """The config's runner, started; ended with the block.

    Raises:
        ConfigError: Ray is asked for and not installed, or cannot be reached.
    """
    threads = torch.get_num_threads()
    num_cpus = len(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        if config.runner == "ray":
            runner: Any = stack.enter_context(_ray())
            num_machines, num_cpus, smallest = _ray_cpus()
            if num_machines > 1 and server.is_temporary():
                raise ConfigError(
                    "the machines of this Ray cluster cannot reach a build's own temporary Prefect server; "
                    "start one that they reach and set PREFECT_API_URL to it, as docs/operations.md says"
                )
            threads = min(threads, smallest)
        # One download: the limits of the host are for all of them together.
        limits = {"download": 1, "inspect": 1, "embed": max(1, num_cpus // threads)}
        if config.runner != "ray":
            kind: Any = ProcessPoolTaskRunner if config.runner == "processes" else ThreadPoolTaskRunner
            runner = stack.enter_context(kind(max_workers=sum(limits.values())))
        yield Pool(runner, limits, threads, config.runner == "ray", progress or Progress())


@contextlib.contextmanager
def _ray() -> Iterator[TaskRunner[Any]]:
    address = os.environ.get("RAY_ADDRESS")
    with contextlib.ExitStack() as stack:
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if not address:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
            settings |= {"include_dashboard": False, "_temp_dir": folder}
            # Ray reads these when it is imported: all its ports on 127.0.0.1, and a token of
            # this run alone, for it would leave one in the home folder.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            if "RAY_AUTH_TOKEN_PATH" not in os.environ:
                os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        try:
            import ray
            from prefect_ray import RayTaskRunner
        except ImportError as error:
            raise ConfigError(
                "runner = 'ray' needs Ray; install it with pip install 'counterset[ray]', or choose another runner"
            ) from error
        try:
            runner = stack.enter_context(RayTaskRunner(address=address, init_kwargs=settings))
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise ConfigError(
                f"no Ray cluster at {address or 'this machine'} ({' '.join(str(error).split())[:200]}); "
                "start it, set RAY_ADDRESS to its address, or choose another runner"
            ) from error
        yield runner


def _ray_cpus() -> tuple[int, int, int]:
    """Machines of the cluster that have processors, all their processors, and those of the smallest."""
    import ray

    nodes: Any = ray.nodes  # untyped in ray
    workers = [node for node in nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    counts = [int(node["Resources"]["CPU"]) for node in workers] or [1]
    return len({node["NodeManagerAddress"] for node in workers}), sum(counts), min(counts)
