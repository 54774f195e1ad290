"""Standard input, output and errors as a command may find them: closed, full, a pipe that nobody reads any more."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def prepare() -> None:
    """Open what is closed onto nothing, and print what the encoding of the terminal lacks as question marks.

    Otherwise the next files that are opened (a socket, a database) would be the standard streams of every process
    that is started, which then writes its messages into them.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(opened, True)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    encoding = sys.stderr.encoding
    if sys.stderr is sys.__stderr__:  # not a test's own
        raw = io.BufferedWriter(_Lenient(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, encoding, errors="replace", write_through=True)


class _Lenient(io.FileIO):
    """A file of messages: what cannot be written is left out, for a command does not fail by its progress bars."""

    def write(self, content: ReadableBuffer, /) -> int:
        try:
            return super().write(content)
        except OSError:
            return len(memoryview(content))


def is_unread() -> bool:
    """Whether standard output is a pipe whose reader has gone, as with `| head -1`."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def silence(number: int) -> None:
    """Let nothing more be written to a standard stream, so that the interpreter's end does not complain either."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, number)
    os.close(nothing)


def complain(text: str) -> None:
    """Print one sentence to stderr."""
    print(f"counterset: {text}", file=sys.stderr, flush=True)


def is_disk_full(error: OSError) -> bool:
    """Whether a file or stream could not be written because there is no room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
