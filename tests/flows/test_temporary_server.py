"""A command's own Prefect server: nobody else drives it, and one that cannot start says why at once."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import psutil
import pytest
from counterset_flows import server
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING

from counterset.errors import ServerUnavailable

from ..conftest import prefect_home
from .web_page import attack

Told = TypeVar("Told")

CLIENT = """
import counterset_flows
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    print(client.read_work_pools())
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = prefect_home(tmp_path_factory.mktemp("server") / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", folder)
        yield Path(folder)


def of_children(read: Callable[[psutil.Process], Told]) -> list[Told]:
    """Of this process, as far as they have not ended: what other tests started ends while it is read."""
    told = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            told.append(read(child))
    return told


def test_a_web_page_cannot_drive_it_and_who_has_the_password_of_the_environment_can(home: Path) -> None:
    with server.running() as wait:
        wait()
        url = os.environ["PREFECT_API_URL"]
        assert attack(url) == []
        with get_client(sync_client=True) as client:
            assert client.read_work_pools() == []  # ours are heard, and the page's were not
        other = subprocess.run([sys.executable, "-c", CLIENT], capture_output=True, text=True, check=True)
        assert other.stdout.strip() == "[]"
        password = PREFECT_API_AUTH_STRING.value()
        assert password is not None
        header = {"Authorization": f"Basic {base64.b64encode(password.encode()).decode()}"}
        assert json.loads(httpx.post(f"{url}/flows/filter", json={}, headers=header).text) == []
        commands = [" ".join(command) for command in of_children(psutil.Process.cmdline)]
        assert any("temporary_server" in command for command in commands)
        assert not any(password.partition(":")[2] in command for command in commands)  # every user sees these
        [listening] = {
            connection.laddr.ip
            for connections in of_children(psutil.Process.net_connections)
            for connection in connections
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == "127.0.0.1"
    assert "PREFECT_API_URL" not in os.environ and "PREFECT_API_AUTH_STRING" not in os.environ
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_every_run_has_its_own_password(home: Path) -> None:
    found = set()
    for _ in range(2):
        with server.running():
            found.add(os.environ["PREFECT_API_AUTH_STRING"])
    assert len(found) == 2


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "prefect.db").write_bytes(b"no database at all" * 400), "file is not a database"),
        (lambda folder: (folder / "prefect.db").mkdir(), "unable to open database file"),
    ],
)
def test_one_that_cannot_start_is_told_at_once(
    spoil: Callable[[Path], object], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was started again and again, for minutes and without a word."""
    spoil(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    begun = time.monotonic()
    with pytest.raises(ServerUnavailable, match=reason) as told, server.running() as wait:
        wait()
    assert time.monotonic() - begun < 60
    assert "\n" not in str(told.value) and "set PREFECT_HOME" in str(told.value)


def test_one_that_goes_away_is_told(home: Path) -> None:
    with pytest.raises(ServerUnavailable, match="run the same command again"), server.running() as wait:
        wait()
        url = os.environ["PREFECT_API_URL"]
        [child] = {  # and not the server that other tests share
            child
            for child, connections in of_children(lambda child: (child, child.net_connections()))
            for connection in connections
            if connection.status == psutil.CONN_LISTEN and f":{connection.laddr.port}/" in url
        }
        child.kill()
        child.wait()
        httpx.get(url)


def test_a_failed_run_says_all_before_its_server_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's senders, left to themselves, tried to reach the ended server for 80 seconds after a build's error."""
    order: list[str] = []

    class Server:
        url, password = "http://127.0.0.1:9/api", "counterset:no"
        wait = last_line = str

        def stop(self) -> None:
            order.append("stop")

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(server, "_Temporary", Server)
    for worker in (server.EventsWorker, server.APILogWorker):
        monkeypatch.setattr(worker, "drain_all", lambda **_: order.append("said"))
    with pytest.raises(KeyError), server.running():
        raise KeyError
    assert order == ["said", "said", "stop"]
