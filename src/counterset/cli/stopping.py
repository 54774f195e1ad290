"""A command that is told to stop ends soon: in good order if it can, else hard, and always with one line.

SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread. That alone may take minutes: a thread at work
is not interrupted, the end waits for it, and the main thread may be deep in a library. So another thread, told by
the interpreter's own signal handler, ends the process when its time is over. Files are written whole or not at all,
so a hard end costs nothing but unfinished work.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from counterset.cli.streams import silence

GRACE_S = 4.0
"""Between the signal and the hard end."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

LINE = "counterset: stopped; run the same command again to resume\n"


class Stop:
    """What is known of a signal to stop: its number, 0 while there is none."""

    def __init__(self) -> None:
        self.signal = 0
        self._told = threading.Lock()

    @property
    def code(self) -> int:
        """The exit code, as shells have it: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.signal

    def tell(self) -> None:
        """Say so once, and nothing more after it."""
        if self._told.acquire(blocking=False):
            show_cursor = "\r\x1b[?25h" if os.isatty(2) else ""  # progress bars hide it
            with contextlib.suppress(OSError):
                os.write(2, (show_cursor + LINE).encode())
            silence(2)

    def _raise(self, number: int, frame: Any) -> None:
        self.signal = self.signal or number
        raise KeyboardInterrupt

    def _watch(self, read_end: int) -> None:
        told = os.read(read_end, 1)
        while told and told[0] not in SIGNALS:
            told = os.read(read_end, 1)
        if not told:  # the command has ended
            return
        self.signal = self.signal or told[0]
        logging.disable()  # what breaks now breaks because of the signal
        threading.excepthook = lambda args: None
        sys.unraisablehook = lambda args: None
        time.sleep(GRACE_S)
        self.tell()
        os._exit(self.code)


@contextlib.contextmanager
def watching() -> Iterator[Stop]:
    """Heed signals to stop during the block, and go on to its process's end once there was one.

    Signals that are ignored, as nohup does with SIGHUP, stay so.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, stop._raise)
    fd_before = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    watcher = threading.Thread(target=stop._watch, args=(read_end,), name="stop", daemon=True)
    watcher.start()
    try:
        yield stop
    finally:
        if not stop.signal:
            signal.set_wakeup_fd(fd_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(write_end)
            watcher.join()
            os.close(read_end)
