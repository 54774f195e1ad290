"""What a command needs to start, and how it ends when it is told to: seconds, one sentence, no traceback."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from counterset.errors import ServerUnavailable

from .conftest import Sandbox
from .flows.killing import MARK, alive, is_gone, wait_for

DEMO = ("demo", "--folder", "demo", "--photos-per-class", "30")


def process(sandbox: Any, *arguments: str, shell: str = "", **environment: str) -> subprocess.Popen[str]:
    """`counterset ARGUMENTS SHELL`, started, with what `shell` says of its streams."""
    return subprocess.Popen(
        ["bash", "-c", f'exec "$@" {shell}', "bash", sys.executable, "-m", "counterset.cli", *arguments],
        cwd=sandbox.folder,
        env=sandbox.environment | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def one_sentence(text: str) -> str:
    assert text.startswith("counterset: ") and text.count("\n") == 1, text
    return text


@contextlib.contextmanager
def answering(code: int, body: bytes) -> Iterator[str]:
    """A web server that answers everything alike; the address that it would have as Prefect's."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    try:
        yield f"http://user:secret-part@127.0.0.1:{web.server_port}/api"
    finally:
        web.shutdown()
        web.server_close()
        thread.join()


def refused(sandbox: Any, url: str) -> str:
    begun = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-m", "counterset.cli", *DEMO],
        cwd=sandbox.folder,
        env=sandbox.environment | {"PREFECT_API_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2, run.stderr
    assert time.monotonic() - begun < 40  # alone it takes 5 s at most
    assert "secret-part" not in run.stderr
    return one_sentence(run.stderr)


def test_a_server_that_is_not_there(sandbox: Any) -> None:
    assert "does not answer" in refused(sandbox, "http://user:secret-part@127.0.0.1:9/api")
    assert "unset PREFECT_API_URL" in refused_here("localhost:4200/api")


def refused_here(url: str) -> str:
    """The same without a command of its own."""
    from counterset_flows import server
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(ServerUnavailable) as told, server.running():
        raise AssertionError
    assert "secret-part" not in str(told.value)
    return str(told.value)


def test_a_server_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert "gave no answer in 5 s" in refused_here(f"http://127.0.0.1:{listener.getsockname()[1]}/api")


@pytest.mark.parametrize(
    ("code", "body", "reason"),
    [
        (401, b"{}", "refuses the password"),
        (500, b"{}", "fails (500)"),
        (404, b"{}", "does not answer as one (404)"),
        (200, b"<html>", "its answer is not understood"),
        (200, b'"2.19.0"', "is of another version"),
    ],
)
def test_a_server_that_cannot_be_used(code: int, body: bytes, reason: str) -> None:
    with answering(code, body) as url:
        assert reason in refused_here(url)


def test_a_wrong_setting_of_prefect(sandbox: Any) -> None:
    run = process(sandbox, *DEMO, PREFECT_API_REQUEST_TIMEOUT="soon")
    _, errors = run.communicate()
    assert run.returncode == 2
    assert "request_timeout" in one_sentence(errors) and "PREFECT_ variables" in errors


def test_places_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    from counterset.errors import WorkspaceError
    from counterset.machine import writable as places

    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", "/proc/nowhere")
    monkeypatch.setattr(places, "OTHERS", ())
    with places.writable():
        assert Path(os.environ["TMPDIR"]).is_relative_to(tmp_path / "home")
        assert tempfile.gettempdir() == os.environ["TMPDIR"]
        kept = Path(os.environ["TMPDIR"])
    assert os.environ["TMPDIR"] == "/proc/nowhere" and not kept.exists()
    monkeypatch.setattr(places, "ROOM_BYTES", 2**62)  # every disk is full
    with pytest.raises(WorkspaceError, match="no place for temporary files"), places.writable():
        raise AssertionError


@pytest.fixture(scope="module")
def silent_build(sandbox: Any) -> str:
    """SHA256SUMS of a build with all streams closed."""
    run = process(sandbox, *DEMO, shell="<&- >&- 2>&-")
    run.communicate(timeout=300)
    assert run.returncode == 0
    return sums(sandbox)


def sums(sandbox: Any) -> str:
    return str((sandbox.folder / "demo/releases/counterset-demo/1.0.0/SHA256SUMS").read_text())


def test_a_build_with_all_streams_closed(silent_build: str) -> None:
    """It was silent for six minutes and failed: the server's messages went into whatever was opened first."""
    assert "release.json" in silent_build


def test_a_stopped_build_ends_in_good_order_and_resumes_to_the_same_bytes(silent_build: str, tmp_path: Path) -> None:
    """Told three times, at other moments and in other ways; then resumed by a user whose home takes no file."""
    sandbox = Sandbox(tmp_path)
    for number, stage in ((signal.SIGINT, "start"), (signal.SIGHUP, "download"), (signal.SIGTERM, "embed")):
        stop_build(sandbox, number, stage)
    build_without_a_home(sandbox)
    assert sums(sandbox) == silent_build


def build_without_a_home(sandbox: Any) -> None:
    """/proc takes no file, whoever asks: a container that runs under another user id. It needs a temporary home."""
    temporary = sandbox.folder / "temp"
    temporary.mkdir()
    places = {"HOME": "/proc/nobody", "PREFECT_HOME": "", "XDG_CACHE_HOME": "", "TMPDIR": str(temporary)}
    run = process(sandbox, *DEMO, **places)
    _, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    assert "/proc/nobody/.prefect cannot be written to" in errors and "Traceback" not in errors
    assert not list(temporary.glob("counterset-*"))  # what was temporary is gone
    assert not (sandbox.folder / "prefect.db").exists(), "where Prefect keeps it when its home is an empty name"


def stop_build(sandbox: Any, number: signal.Signals, stage: str) -> None:
    run = started(sandbox, stage)
    begun, programs = time.monotonic(), os.getloadavg()[0] / (os.cpu_count() or 1)
    os.killpg(run.pid, number)  # as a terminal does
    _, errors = run.communicate(timeout=60)
    assert time.monotonic() - begun < 15 * max(1, programs)  # longer where several wait for each processor
    assert run.returncode == 128 + number
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "counterset: stopped; run the same command again to resume"
    assert wait_for(lambda: is_gone(mark_of(sandbox)), 10), alive(mark_of(sandbox))
    if stage != "start":
        told = sandbox.counterset("status", "demo/workspace").stdout
        assert "failed" in told.splitlines()[0] or "killed" in told.splitlines()[0]
        assert "run the build again" in told


def started(sandbox: Any, stage: str) -> subprocess.Popen[str]:
    """A build that has come to a stage."""
    workspace = sandbox.folder / "demo" / "workspace"
    is_reached = {
        "start": lambda: any("counterset.demo.serve" in one for one in alive(mark_of(sandbox))),
        "download": lambda: any(workspace.glob("download_scratch/*/*/out")),
        "embed": lambda: any(workspace.glob("photos/*/*.parquet")),
    }
    run = process(sandbox, *DEMO, **{MARK: mark_of(sandbox)})
    assert wait_for(lambda: run.poll() is not None or is_reached[stage](), 200), f"the build never came to {stage}"
    assert run.poll() is None
    return run


def mark_of(sandbox: Any) -> str:
    return str(sandbox.folder)


def test_a_killed_build_resumes_to_the_same_bytes(
    silent_build: str, prefect_server: dict[str, str], tmp_path: Path
) -> None:
    """Killed hard: what it started must end by itself. `tests/flows/test_s3.py` kills one when photos are there."""
    sandbox = Sandbox(tmp_path)
    run = started(sandbox, "download")
    assert len(alive(mark_of(sandbox))) > 1
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=20)
    assert wait_for(lambda: is_gone(mark_of(sandbox)), 20), alive(mark_of(sandbox))
    again = Sandbox(tmp_path, prefect_server).here(*DEMO)
    assert again.returncode == 0, again.stderr
    assert sums(sandbox) == silent_build


def test_a_thread_that_goes_on_does_not_hold_the_end() -> None:
    """An audit's search took 150 s more: threads are not interrupted, and neither is a library in the main thread."""
    code = """
import concurrent.futures, ctypes, os, signal, sys, threading, time
from counterset.cli import stopping
with stopping.watching() as stop, concurrent.futures.ThreadPoolExecutor() as pool:
    pool.submit(time.sleep, 120)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    ctypes.CDLL(None).sleep(120)  # returns to no bytecode
    ctypes.CDLL(None).sleep(120)
"""
    begun = time.monotonic()
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 143
    assert time.monotonic() - begun < 15
    assert run.stderr == "counterset: stopped; run the same command again to resume\n"


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    code = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
from counterset.cli import stopping
with stopping.watching():
    os.kill(os.getpid(), signal.SIGHUP)
print("went on", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout == "went on True\n", run.stderr


@pytest.mark.parametrize("shell", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(sandbox: Any, shell: str) -> None:
    run = process(sandbox, "show", "counterset-demo", shell=shell)
    output, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    assert not errors
    assert bool(output) == (">&-" not in shell.replace("2>&-", ""))


def test_output_that_nobody_reads(sandbox: Any) -> None:
    run = process(sandbox, "show", "counterset-demo", shell="| true; exit ${PIPESTATUS[0]}")
    _, errors = run.communicate(timeout=120)
    assert (run.returncode, errors) == (141, "")


def test_output_that_has_no_room(sandbox: Any) -> None:
    run = process(sandbox, "show", "counterset-demo", shell="> /dev/full")
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 2
    assert "cannot use standard output (No space left on device)" in one_sentence(errors)
    run = process(sandbox, "show", "nothing-here", shell="2> /dev/full")
    run.communicate(timeout=120)
    assert run.returncode == 2


@pytest.mark.parametrize("shell", ["2> /dev/full", "2> >(true)"])
def test_progress_that_cannot_be_shown_fails_nothing(shell: str) -> None:
    code = """
import sys, time
from counterset.cli import flows, streams
streams.prepare()
time.sleep(0.5)  # its reader has gone
with flows.progress_bars() as bars:
    bars.add_task("embed", total=2, completed=1, note="")
print("went on")
"""
    command = ["bash", "-c", f'exec "$@" {shell}', "bash", sys.executable, "-c", code]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "went on\n")
