"""Threads, processes and a local Ray cluster of two workers give the same bytes, a killed worker included."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest
from counterset_flows import build, shards
from counterset_flows.pool import started
from counterset_flows.runners.ray import heard
from prefect import task

from counterset.demo.serve import ServerProcess
from counterset.errors import ConfigError
from counterset.machine.ways import way as own_way

from .small_build import SMALL_BUILD

MARK = "COUNTERSET_TEST_RUNNER"

TABLE_STEPS = {"choose members", "annotate classes", "annotate and group", "evaluate", "select", "name"}

CONFIG = (
    """
name = "a-build"
workspace = "{name}/workspace"
releases = "{name}/releases"
runner = "{runner}"
"""
    + SMALL_BUILD
)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("--photos-per-class", "60", "--seed", "5") as running:
        yield running


@pytest.fixture(scope="module")
def work(sandbox: Any) -> Path:
    folder: Path = sandbox.folder / "runners"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def expected(sandbox: Any, work: Path, server: ServerProcess) -> str:
    """SHA256SUMS of the build by threads."""
    run = sandbox.here("build", str(write_config(work, server, "threads", "threads")))
    assert run.returncode == 0, run.stderr
    return sums(work, "threads")


def write_config(work: Path, server: ServerProcess, name: str, runner: str) -> Path:
    path = work / f"{name}.toml"
    path.write_text(CONFIG.format(name=name, runner=runner, url=server.url))
    return path


def sums(work: Path, name: str) -> str:
    return (work / name / "releases" / "a-build" / "1.0.0" / "SHA256SUMS").read_text()


def marked(mark: str) -> list[psutil.Process]:
    """The processes of a build, by a mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def names(processes: list[psutil.Process]) -> list[str]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline())[:120])
    return found


def start(sandbox: Any, config: Path, mark: str, home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "counterset.cli", "build", str(config)],
        env=sandbox.environment | {MARK: mark, "HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_until_gone(mark: str, seconds: float = 30) -> list[str]:
    end = time.monotonic() + seconds
    while (left := names(marked(mark))) and time.monotonic() < end:
        time.sleep(0.2)
    return left


def test_tasks_can_be_sent_to_other_processes() -> None:
    for step in (shards.download, shards.inspect, shards.embed, build.publish):
        assert cloudpickle.loads(cloudpickle.dumps(step)).name == step.name


def test_what_a_step_warns_of_elsewhere_comes_back() -> None:
    def warn(photos: int) -> int:
        logging.getLogger("counterset.steps").warning("%d photos are odd", photos)
        return photos

    step = task(name="warn")(warn)
    sent = cloudpickle.loads(cloudpickle.dumps(heard(step)))
    assert sent.fn(photos=3) == (3, [("counterset.steps", logging.WARNING, "3 photos are odd")])
    assert step.fn is warn, "the task itself is as it was"


GPUS = """
import json, os, time
from counterset_flows.pool import started

def embed():
    time.sleep(1)
    return os.environ["CUDA_VISIBLE_DEVICES"]

with started("ray") as pool:
    import ray  # not before, for it reads its settings then
    tasks = [ray.remote(embed).options(**pool.needs("embed")).remote() for _ in range(4)]
    first, _ = ray.wait(tasks, num_returns=2)
    at_once = sorted(ray.get(first))
    print(json.dumps([pool.limits, pool.threads, at_once, sorted(ray.get(tasks)), pool.num_tables, pool.way]))
"""


def test_each_embedding_has_a_gpu_of_its_own_where_there_are_some(sandbox: Any) -> None:
    """Ray is told of two GPUs; nothing is computed on them."""
    pytest.importorskip("ray", reason="the extra counterset[ray] is not installed")
    resources = {"RAY_OVERRIDE_RESOURCES": '{"CPU": 4, "GPU": 2}', "OMP_NUM_THREADS": "3"}
    environment = sandbox.environment | resources
    run = subprocess.run([sys.executable, "-c", GPUS], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    limits, threads, at_once, devices, num_tables, way = json.loads(run.stdout.splitlines()[-1])
    assert limits == {"download": 1, "inspect": 1, "embed": 2} and threads == 2, "the machine's processors are shared"
    assert at_once == ["0", "1"] and devices == ["0", "0", "1", "1"]
    assert num_tables == 4 and way == own_way()


def test_a_cluster_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself tried for ever."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"no Ray cluster at 127\.0\.0\.1:1 \(.*refused\); start it"), started("ray"):
        pass


def test_processes_give_the_same_bytes(
    sandbox: Any, work: Path, server: ServerProcess, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of them, as with one processor; each imports what models need anew."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    run = sandbox.here("build", str(write_config(work, server, "processes", "processes")))
    assert run.returncode == 0, run.stderr
    assert sums(work, "processes") == expected


def test_ray_gives_the_same_bytes_when_a_worker_is_killed(
    sandbox: Any, work: Path, server: ServerProcess, expected: str, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="the extra counterset[ray] is not installed")
    run = start(sandbox, write_config(work, server, "ray", "ray"), "ray", tmp_path)
    killed, seen = "", set()
    while run.poll() is None:
        for process in marked("ray"):
            with contextlib.suppress(psutil.Error):
                name = " ".join(process.cmdline())
                seen |= {step for step in TABLE_STEPS if name.startswith(f"ray::{step}")}
                if not killed and name.startswith("ray::") and "embed" in name:
                    process.kill()
                    killed = name
        time.sleep(0.02)
    assert killed, "no embedding was caught at work"
    assert run.returncode == 0
    assert sums(work, "ray") == expected
    assert seen == TABLE_STEPS, "steps that look at all photos are tasks of the cluster too"
    assert not wait_until_gone("ray")
    assert not (tmp_path / ".ray").exists()  # no token is left in the home folder


def test_nothing_of_ray_outlives_a_killed_build(
    sandbox: Any, work: Path, server: ServerProcess, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="the extra counterset[ray] is not installed")
    config = write_config(work, server, "killed", "ray")
    run = start(sandbox, config, "killed", tmp_path)
    while run.poll() is None and not list((work / "killed" / "workspace").glob("photos/*/*.parquet")):
        time.sleep(0.05)
    assert run.poll() is None
    started = psutil.Process(run.pid).children(recursive=True)
    assert any("raylet" in name for name in names(started))
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert not wait_until_gone("killed")
    _, left = psutil.wait_procs(started, timeout=30)  # Ray's agents hide their mark, and end when they miss the rest
    assert not [name for name in names(left) if name]


def test_without_the_extra_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(os, "environ", os.environ.copy())  # Ray's settings are made before it is imported
    with pytest.raises(ConfigError, match=r"pip install 'counterset\[ray\]'"), started("ray"):
        pass
