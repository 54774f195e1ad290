"""Leave no process behind, however this one ends.

A hard kill of a flow would leave Prefect's temporary server, img2dataset's workers and
Ray's processes running, holding ports and pipes. A small watcher waits on a pipe that only this process
holds open; when the pipe closes it ends every process that carries this run's mark in
its environment, and their children.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import psutil

MARK = "COUNTERSET_RUN"

LOOK_EVERY_S = 2.0
"""Between two looks at what the process has started."""


END_S = 10.0
"""How long the end of a block waits for the watcher."""

BLOCK_ENDED = b"."
"""Told to the watcher when only what was started in a block is to end, and not all that the process started."""


class Watcher(NamedTuple):
    """The process that watches, and the pipe's end that it waits for."""

    process: subprocess.Popen[bytes]
    write_end: int


@contextlib.contextmanager
def none_left() -> Iterator[None]:
    """Leave no process behind that was started in the block, which is all that the caller's own program asks for.

    When this process dies in the block, or is told to stop, all that it started ends with it.
    """
    watcher = leave_none()
    try:
        yield
    except Exception:  # not when told to stop: then the watcher goes on, and ends what is left
        _end(watcher)
        raise
    _end(watcher)


def _end(watcher: Watcher | None) -> None:
    if watcher is None:
        return
    os.environ.pop(MARK, None)
    with contextlib.suppress(OSError):  # somebody ended the watcher
        os.write(watcher.write_end, BLOCK_ENDED)
    os.close(watcher.write_end)
    with contextlib.suppress(subprocess.TimeoutExpired):
        watcher.process.wait(timeout=END_S)


def leave_none() -> Watcher | None:
    """Start the watcher for this process, to the end of it.

    Returns:
        The watcher; None when there is one already.
    """
    if MARK in os.environ:
        return None
    mark = uuid.uuid4().hex
    read_end, write_end = os.pipe()  # not inheritable, but for the read end below
    process = subprocess.Popen(
        [sys.executable, "-m", "counterset.machine.orphans", str(read_end), mark, str(os.getpid())],
        pass_fds=(read_end,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(read_end)
    os.set_inheritable(write_end, False)
    os.environ[MARK] = mark  # set after the watcher started, so it does not carry it
    return Watcher(process, write_end)


def _watch(read_end: int, mark: str, parent: int) -> None:
    descendants: set[psutil.Process] = set()
    # Nobody writes: there is something to read only when the last write end is closed.
    while not select.select([read_end], [], [], LOOK_EVERY_S)[0]:
        with contextlib.suppress(psutil.Error):
            # Ray's agents overwrite their environment, so they are known by their descent while that can be seen.
            descendants = set(psutil.Process(parent).children(recursive=True)) or descendants
    if os.read(read_end, 1) == BLOCK_ENDED:
        descendants = set()
    descendants.discard(psutil.Process())
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                descendants |= {process, *process.children(recursive=True)}
    for process in descendants:
        with contextlib.suppress(psutil.Error):
            process.kill()


if __name__ == "__main__":
    _watch(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
