"""Kill a build hard, twice: nothing stays behind, and the rerun gives the undisturbed build's bytes."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

MARK = "COUNTERSET_TEST_KILL"


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def alive(mark: str) -> list[str]:
    """Command lines of the processes that were started by the killed build."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:150])
    return found


def is_gone(mark: str) -> bool:
    return not alive(mark)


def test_a_killed_build_resumes_to_the_same_bytes(
    demo_build: Any, prefect_server: dict[str, str], tmp_path: Path
) -> None:
    sandbox = type(demo_build.sandbox)(tmp_path)
    workspace = tmp_path / "demo" / "workspace"
    moments = {
        "downloading": lambda: any(workspace.glob("download_scratch/*/*/out")),
        "embedding": lambda: any(workspace.glob("photos/*/*.parquet")),
    }
    for mark, is_reached in moments.items():
        build = subprocess.Popen(
            [sys.executable, "-m", "counterset.cli", *demo_build.arguments],
            cwd=tmp_path,
            env=sandbox.environment | {MARK: mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert wait_for(is_reached, 300), f"the build never came to {mark}"
        assert len(alive(mark)) > 1
        os.kill(build.pid, signal.SIGKILL)  # only the build itself: what it started must end by itself
        build.wait()
        assert wait_for(functools.partial(is_gone, mark), 20), alive(mark)
    run = replace(sandbox, server=prefect_server).here(*demo_build.arguments)
    assert run.returncode == 0, run.stderr
    [release] = (tmp_path / "demo" / "releases" / "counterset-demo").glob("[0-9]*")
    assert (release / "SHA256SUMS").read_text() == (demo_build.release / "SHA256SUMS").read_text()
