"""A build on three machines that share nothing but a network; one is lost in the middle and another one joins."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from counterset.demo.serve import ServerProcess
from counterset.storage import ObjectPath, place

from ..similarity.shard_files import unit, write_parquet
from .cluster import BUCKET, HOST, Machine, bridge, services, what_is_missing
from .small_build import SMALL_BUILD

CONFIG = (
    """
name = "a-build"
workspace = "{place}/workspace"
releases = "{place}/releases"
runner = "{runner}"
"""
    + SMALL_BUILD
)

STEPS = {"embed", "choose members", "annotate classes", "annotate and group", "evaluate", "select", "name", "publish"}

pytestmark = [
    pytest.mark.skipif(os.environ.get("COUNTERSET_PROOFS") != "1", reason="takes minutes: `make cluster`"),
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    if why := what_is_missing():
        pytest.skip(why)
    with ServerProcess("--photos-per-class", "150", "--seed", "5") as running:
        yield running


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, server: ServerProcess) -> Iterator[dict[str, str]]:
    pytest.importorskip("ray", reason="the extra counterset[ray] is not installed")
    port = int(server.url.rpartition(":")[2])
    with bridge(), services(tmp_path_factory.mktemp("services"), port) as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.items():
            if name.startswith("AWS_"):
                patch.setenv(name, value)
        yield os.environ | found | {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def machine(environment: dict[str, str]) -> Iterator[Callable[[], Machine]]:
    """Makes a machine that joins the cluster."""
    machines: list[Machine] = []
    with tempfile.TemporaryDirectory(prefix="cs-") as folder:  # pytest's own are too long for Ray's sockets

        def make() -> Machine:
            machines.append(Machine(len(machines) + 1, Path(folder), environment))
            machines[-1].join()
            return machines[-1]

        yield make
        for one in machines:
            one.remove()


def test_a_machine_is_lost_and_one_joins_and_the_bytes_are_the_same(
    server: ServerProcess, environment: dict[str, str], machine: Callable[[], Machine], tmp_path: Path
) -> None:
    url = f"http://{HOST}:{server.url.rpartition(':')[2]}"
    alone, together = tmp_path / "alone.toml", tmp_path / "together.toml"
    alone.write_text(CONFIG.format(place="alone", runner="threads", url=url))
    together.write_text(CONFIG.format(place=f"s3://{BUCKET}/x", runner="ray", url=url))
    command = [sys.executable, "-m", "counterset.cli", "build"]
    run = subprocess.run([*command, str(alone)], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    expected = (tmp_path / "alone" / "releases" / "a-build" / "1.0.0" / "SHA256SUMS").read_bytes()

    head, second, third = machine(), machine(), machine()
    begun = time.monotonic()
    build = head.start(*command, str(together), cwd=tmp_path)
    machines, seen, lost = [second, third], dict[str, set[str]](), ""
    while build.poll() is None:
        for one in list(machines):
            tasks = one.tasks()
            seen[one.name] = seen.get(one.name, set()) | tasks
            if not lost and any("embed" in task for task in tasks):
                one.pull_the_plug()
                lost = one.name
                machines.append(machine())
        time.sleep(0.05)
    print(f"{time.monotonic() - begun:.0f} s; {lost} was lost; at work: {seen}")
    assert build.returncode == 0, head.output()
    assert lost, "no embedding was caught at work"
    assert any(tasks for name, tasks in seen.items() if name != lost), "nobody took over"
    # The head, where the build was started, takes no work of Ray's
    assert {task for tasks in seen.values() for task in tasks} >= STEPS
    workspace = place(f"s3://{BUCKET}/x")
    assert isinstance(workspace, ObjectPath)
    assert (workspace / "releases/a-build/1.0.0/SHA256SUMS").read_bytes() == expected
    assert (workspace / "workspace/.budget").is_file()

    pruned_alone, pruned = _prune(tmp_path, environment, head, machines)
    assert pruned == pruned_alone


def _prune(work: Path, environment: dict[str, str], head: Machine, machines: list[Machine]) -> tuple[bytes, bytes]:
    """SHA256SUMS of a pruning by threads in folders, and of the same by the cluster with every file on S3."""
    vectors = unit(np.random.default_rng(0).standard_normal((1_000, 32)))
    vectors[500:520] = vectors[:20]
    for number in range(5):
        ids = [f"image-{row}" for row in range(200 * number, 200 * (number + 1))]
        write_parquet(work / "base" / f"{number}.parquet", ids, vectors[200 * number :][:200])
    write_parquet(work / "queries" / "q.parquet", [f"q-{row}" for row in range(40)], vectors[100:140])
    for path in (*work.glob("base/*"), *work.glob("queries/*")):
        there = place(f"s3://{BUCKET}/p/{path.relative_to(work)}")
        assert isinstance(there, ObjectPath)
        there.upload(path)

    def arguments(where: str, runner: str) -> list[str]:
        places = ["--base", f"{where}base", "--queries", f"{where}queries", "--output", f"{where}out"]
        options = ["--model", "toy", "--keep", "400", "--max-similarity", "0.9", "--runner", runner]
        return [sys.executable, "-m", "counterset.cli", "prune", *places, *options]

    run = subprocess.run(arguments("", "threads"), cwd=work, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    pruning, seen = head.start(*arguments(f"s3://{BUCKET}/p/", "ray"), cwd=work), set[str]()
    while pruning.poll() is None:
        seen |= {task for one in machines for task in one.tasks()}
        time.sleep(0.05)
    assert pruning.returncode == 0, head.output()
    assert {"far", "publish pruning"} <= seen
    result = place(f"s3://{BUCKET}/p/out/base/1.0.0/SHA256SUMS")
    return (work / "out" / "base" / "1.0.0" / "SHA256SUMS").read_bytes(), result.read_bytes()
