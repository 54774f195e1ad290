"""What flows need around them, one for the command line and for Python: places to write, a Prefect server that
nobody else can drive, and a watcher that leaves no process behind."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator

from counterset.machine.orphans import none_left
from counterset.machine.writable import writable


@contextlib.contextmanager
def prepared() -> Iterator[Callable[[], None]]:
    """Have all that flows need in the block.

    Yields a function that waits until the server answers, see `server.running`.

    Raises:
        WorkspaceError: no place at all can be written to.
        ServerUnavailable: as `server.running`.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(writable())  # before Prefect is imported, which looks for its home then
        stack.enter_context(none_left())
        with contextlib.redirect_stderr(io.StringIO()):  # of a setting that is wrong, `server` speaks itself
            from counterset_flows import server
        yield stack.enter_context(server.running())
