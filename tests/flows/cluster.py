"""Machines in network namespaces: a Ray cluster over Ethernet, and the services that all of its machines reach."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import requests

BUCKET = "a-bucket"
BRIDGE = "csbr0"
HOST, HEAD = "10.77.0.1", "10.77.0.11"
RAY_PORT = 6379
POSTGRES = Path("/usr/lib/postgresql")


def what_is_missing() -> str:
    """Why there can be no cluster here; "" = there can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces need root and iproute2"
    if subprocess.run(["ip", "netns", "add", "cs-probe"], capture_output=True, check=False).returncode:
        return "this machine allows no network namespaces"
    subprocess.run(["ip", "netns", "delete", "cs-probe"], check=True)
    if not list(POSTGRES.glob("*/bin/initdb")):
        return "PostgreSQL is not installed"
    return ""


class Machine:
    """One namespace with an address of its own and folders of its own, joined to the others by a bridge.

    Attributes:
        name: of the namespace.
        address: its IP address.
        environment: of all that runs on it.
    """

    def __init__(self, number: int, folder: Path, environment: dict[str, str]) -> None:
        self.name, self.address = f"cs-{number}", f"10.77.0.{10 + number}"
        for stale in (["netns", "delete", self.name], ["link", "delete", f"{self.name}-e"]):  # of a killed run
            subprocess.run(["ip", *stale], capture_output=True, check=False)
        home = folder / str(number)
        (home / "tmp").mkdir(parents=True)
        places = {"HOME": home, "PREFECT_HOME": home / "prefect", "COUNTERSET_CACHE": home / "cache"}
        self.environment = environment | {name: str(path) for name, path in places.items()}
        self._started: list[subprocess.Popen[bytes]] = []
        self.environment |= {"TMPDIR": str(home / "tmp"), "RAY_ADDRESS": f"{HEAD}:{RAY_PORT}"}
        _ip("netns", "add", self.name)
        _ip("link", "add", f"{self.name}-e", "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("link", "set", f"{self.name}-e", "master", BRIDGE, "up")
        _ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", self.name, "link", "set", device, "up")

    def start(self, *command: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a command on this machine; its output goes to a file in its home."""
        with (Path(self.environment["HOME"]) / "output.txt").open("ab") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                env=self.environment,
                cwd=cwd,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._started.append(process)
        return process

    def join(self) -> None:
        """Start Ray: the first machine is the head and takes no work, the others join it with a processor each."""
        head = ["--head", "--port", str(RAY_PORT), "--include-dashboard", "false", "--temp-dir"]
        is_head = self.address == HEAD
        place = [*head, self.environment["TMPDIR"]] if is_head else ["--address", self.environment["RAY_ADDRESS"]]
        options = ["--num-cpus", str(int(not is_head)), "--object-store-memory", "100000000"]
        options += ["--disable-usage-stats", "--block"]
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--node-ip-address", self.address]
        process = self.start(*ray, *place, *options)
        while "Ray runtime started" not in self.output():
            assert process.poll() is None, self.output()
            time.sleep(0.1)

    def output(self) -> str:
        """The end of what was printed on it."""
        return (Path(self.environment["HOME"]) / "output.txt").read_text(errors="replace")[-4000:]

    def processes(self) -> list[psutil.Process]:
        """What runs on it."""
        pids = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False).stdout
        found = []
        for pid in map(int, pids.split()):
            with contextlib.suppress(psutil.Error):
                found.append(psutil.Process(pid))
        return found

    def tasks(self) -> set[str]:
        """The names of Ray's tasks that run on it now."""
        found = set()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                title = " ".join(process.cmdline()).strip()
                if title.startswith("ray::") and "IDLE" not in title:
                    found.add(title.removeprefix("ray::"))
        return found

    def pull_the_plug(self) -> None:
        """Cut its cable and end all that runs on it."""
        _ip("link", "set", f"{self.name}-e", "down")
        self.end()

    def end(self) -> None:
        """End all that runs on it."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        for started in self._started:
            started.wait()

    def remove(self) -> None:
        """As if it had never been."""
        self.end()
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)


@contextlib.contextmanager
def bridge() -> Iterator[None]:
    """The cable between the machines, and this one as `HOST`."""
    subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=False)  # of a killed run
    _ip("link", "add", BRIDGE, "type", "bridge")
    try:
        _ip("address", "add", f"{HOST}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        yield
    finally:
        _ip("link", "delete", BRIDGE)


@contextlib.contextmanager
def services(folder: Path, port: int) -> Iterator[dict[str, str]]:
    """S3, PostgreSQL, Prefect's server on it, and the look-alike at `port` of 127.0.0.1, for all machines at HOST."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_forwarded(port))
        s3 = free_port()
        stack.enter_context(_running("moto.server", "-H", HOST, "-p", str(s3)))
        database = stack.enter_context(_postgres(folder / "postgres"))
        password, prefect = f"counterset:{secrets.token_hex(16)}", free_port()
        environment = {
            "PREFECT_HOME": str(folder / "server"),
            "PREFECT_API_DATABASE_CONNECTION_URL": database,
            "PREFECT_SERVER_API_AUTH_STRING": password,
            "PREFECT_API_AUTH_STRING": password,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "0",
            "DO_NOT_TRACK": "1",
        }
        server = ("prefect", "server", "start", "--host", HOST, "--port", str(prefect), "--no-ui")
        stack.enter_context(_running(*server, environment=environment))
        for url in (f"http://{HOST}:{s3}/", f"http://{HOST}:{prefect}/api/health"):
            _await_answer(url)
        requests.put(f"http://{HOST}:{s3}/{BUCKET}", timeout=30).raise_for_status()
        yield {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{s3}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PREFECT_API_URL": f"http://{HOST}:{prefect}/api",
            "PREFECT_API_AUTH_STRING": password,
            "DO_NOT_TRACK": "1",
        }


@contextlib.contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    """A database of PostgreSQL at HOST; Prefect's address for it. PostgreSQL refuses to run as root."""
    [binaries, *_] = sorted(POSTGRES.glob("*/bin"), reverse=True)
    folder.mkdir()
    shutil.chown(folder, "postgres")
    for parent in folder.parents:  # the user of PostgreSQL must come to its folder
        with contextlib.suppress(OSError):
            parent.chmod(parent.stat().st_mode | 0o001)
    port, as_postgres = free_port(), ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
    data = folder / "data"
    made = [*as_postgres, str(binaries / "initdb"), "--auth", "trust", "--pgdata", str(data)]
    subprocess.run(made, cwd=folder, capture_output=True, check=True)
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 10.77.0.0/24 trust\n")
    options = ["-D", str(data), "-h", HOST, "-p", str(port), "-k", str(folder), "-c", "fsync=off"]
    server = subprocess.Popen(
        [*as_postgres, str(binaries / "postgres"), *options], cwd=folder, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
                break
            time.sleep(0.1)
        yield f"postgresql+asyncpg://postgres@{HOST}:{port}/postgres"
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def _running(*module: str, environment: dict[str, str] | None = None) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        env=os.environ | (environment or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        for child in [*psutil.Process(process.pid).children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()


@contextlib.contextmanager
def _forwarded(port: int) -> Iterator[None]:
    """Connections to `port` of HOST go to the same port of 127.0.0.1."""

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError), source, target:
            while content := source.recv(1 << 16):
                target.sendall(content)
            target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                there, _ = listener.accept()
                here = socket.create_connection(("127.0.0.1", port))
                for pair in ((there, here.dup()), (here, there.dup())):
                    threading.Thread(target=copy, args=pair, daemon=True).start()

    with socket.create_server((HOST, port), backlog=128) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_answer(url: str) -> None:
    for _ in range(1200):
        with contextlib.suppress(requests.ConnectionError):
            requests.get(url, timeout=30)
            return
        time.sleep(0.1)
    raise TimeoutError(url)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, check=True)
