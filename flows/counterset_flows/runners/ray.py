"""A Ray cluster: a local one, or the one at $RAY_ADDRESS."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from prefect.task_runners import TaskRunner

from counterset.errors import ConfigError
from counterset.machine import ways
from counterset_flows import server
from counterset_flows.pool import Pool, limits_of

ANSWER_S = 10.0
"""How long a cluster's head may take to take a connection."""

WORKER_RETRIES = 3
"""Times that Ray starts a task again whose worker process or machine was lost."""


class Machine(NamedTuple):
    """One machine of a cluster: Ray's id of it, its address, and what it has."""

    node: str
    address: str
    num_cpus: int
    num_gpus: int


@dataclass
class RayPool(Pool):
    """A pool whose tasks say what they need.

    Attributes:
        machines: those that compute: all that have a GPU, or else all that have a processor.
    """

    machines: Sequence[Machine] = ()

    def needs(self, stage: str) -> dict[str, float]:
        """What Ray keeps for a task of a stage."""
        # A download waits for its host, and img2dataset's own process does the work.
        num_cpus = {"download": 0, "inspect": 1, "embed": self.threads, "table": 1}[stage]
        if not any(machine.num_gpus for machine in self.machines):
            return {"num_cpus": num_cpus}
        # A GPU for each embedding; texts are encoded where there is one, for their features are those of its numbers
        return {"num_cpus": num_cpus, "num_gpus": {"embed": 1, "table": 0.01}.get(stage, 0)}

    def submit(self, task: Any, stage: str, **parameters: Any) -> Any:
        """Start a task of a stage; its future."""
        from prefect_ray.context import remote_options

        with remote_options(max_retries=WORKER_RETRIES, **self.needs(stage)):
            return super().submit(task, stage, **parameters)

    @property
    def way(self) -> str:
        """Each machine is asked."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        asked: Any = ray.remote(ways.ways)
        needs = self.needs("table") | {"num_cpus": 0}
        return ways.way_of_all(
            ray.get(
                [
                    asked.options(
                        scheduling_strategy=NodeAffinitySchedulingStrategy(machine.node, soft=False), **needs
                    ).remote()
                    for machine in self.machines
                ]
            )
        )

    @property
    def num_tables(self) -> int:
        """As many as there are processors."""
        return sum(machine.num_cpus for machine in self.machines)

    def run(self, task: Any, calls: Sequence[dict[str, Any]]) -> Iterator[Any]:
        """On any machines of the cluster, side by side; what they warn of is said here."""
        for future in [self.submit(heard(task), "table", **parameters) for parameters in calls]:
            outcome = self.outcome(future)
            if isinstance(outcome, BaseException):
                raise outcome
            result, said = outcome
            for name, level, words in said:
                logging.getLogger(name).log(level, "%s", words)
            yield result


def heard(task: Any) -> Any:
    """The task, with what it warned of beside what it gives: another process's log is not read by anybody."""
    listening, work = copy.copy(task), task.fn

    @functools.wraps(work)
    def fn(*args: Any, **parameters: Any) -> tuple[Any, list[tuple[str, int, str]]]:
        said: list[tuple[str, int, str]] = []
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: said.append((record.name, record.levelno, record.getMessage()))  # type: ignore[method-assign]
        logger = logging.getLogger("counterset")
        logger.addHandler(handler)
        try:
            return work(*args, **parameters), said
        finally:
            logger.removeHandler(handler)

    listening.fn = fn
    return listening


@contextlib.contextmanager
def start(threads: int) -> Iterator[Pool]:
    """As many tasks side by side as the cluster has processors for.

    Args:
        threads: of one embedding, fewer where a machine of the cluster has fewer.

    Raises:
        ConfigError: Ray is not installed, its cluster cannot be reached, or cannot reach the Prefect server.
    """
    with _ray() as runner:
        machines = _machines()
        if len({machine.address for machine in machines}) > 1 and server.is_temporary():
            raise ConfigError(
                "the machines of this Ray cluster cannot reach a build's own temporary Prefect server; "
                "start one that they reach and set PREFECT_API_URL to it, as docs/operations.md says"
            )
        if not machines:
            raise ConfigError("no machine of this Ray cluster has a processor for tasks; add one that has")
        threads = min(threads, *(max(machine.num_cpus // max(machine.num_gpus, 1), 1) for machine in machines))
        limits = limits_of(sum(machine.num_cpus for machine in machines), threads)
        if num_gpus := sum(machine.num_gpus for machine in machines):
            limits["embed"] = num_gpus
        yield RayPool(runner, limits, threads, machines=machines)


@contextlib.contextmanager
def _ray() -> Iterator[TaskRunner[Any]]:
    address = os.environ.get("RAY_ADDRESS")
    _check_answer(address or "")
    with contextlib.ExitStack() as stack:
        # A machine that lost its power or cable says nothing: Ray would wait for its task for seven minutes.
        for name in ("RAY_grpc_client_keepalive_time_ms", "RAY_grpc_client_keepalive_timeout_ms"):
            os.environ.setdefault(name, "20000")
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


def _check_answer(address: str) -> None:
    """See that somebody listens at `host:port` or `ray://host:port`: Ray itself tries for ever.

    Raises:
        ConfigError: nobody does.
    """
    host, found, port = address.removeprefix("ray://").rpartition(":")
    if not found or not port.isdecimal():  # "auto", "local", or what Ray will not read either
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"no Ray cluster at {address} ({error}); start it, set RAY_ADDRESS to its address, or choose another runner"
        ) from error


def _machines() -> list[Machine]:
    """The machines of the cluster that compute."""
    import ray

    nodes: Any = ray.nodes  # untyped in ray
    found = [
        Machine(node["NodeID"], node["NodeManagerAddress"], int(node["Resources"]["CPU"]), int(gpus))
        for node in nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
        for gpus in [node["Resources"].get("GPU", 0)]
    ]
    return [machine for machine in found if machine.num_gpus] or found
