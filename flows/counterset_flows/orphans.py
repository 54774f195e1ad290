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

import psutil

MARK = "COUNTERSET_RUN"

LOOK_EVERY_S = 2.0
"""Between two looks at what the process has started."""


def leave_none() -> None:
    """Start the watcher for this process. Harmless when called again."""
    if MARK in os.environ:
        return
    mark = uuid.uuid4().hex
    read_end, write_end = os.pipe()  # not inheritable, but for the read end below
    subprocess.Popen(
        [sys.executable, "-m", "counterset_flows.orphans", str(read_end), mark, str(os.getpid())],
        pass_fds=(read_end,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(read_end)
    os.set_inheritable(write_end, False)
    os.environ[MARK] = mark  # set after the watcher started, so it does not carry it


def _watch(read_end: int, mark: str, parent: int) -> None:
    found: set[psutil.Process] = set()
    # Nobody writes: there is something to read only when the last write end is closed.
    while not select.select([read_end], [], [], LOOK_EVERY_S)[0]:
        with contextlib.suppress(psutil.Error):
            # Ray's agents overwrite their environment, so they are known by their descent while that can be seen.
            found = set(psutil.Process(parent).children(recursive=True)) or found
    found.discard(psutil.Process())
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found |= {process, *process.children(recursive=True)}
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.kill()


if __name__ == "__main__":
    _watch(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
