"""What is left of commands that were ended: processes that carry their mark."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import psutil

MARK = "COUNTERSET_TEST_ENDED"


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def alive(mark: str) -> list[str]:
    """Command lines of the processes that were started with this mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:150])
    return found


def is_gone(mark: str) -> bool:
    return not alive(mark)
