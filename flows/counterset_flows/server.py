"""Prefect's temporary server, which a run has where no PREFECT_API_URL names one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL, temporary_settings


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Start the server beside what the block does: it takes about as long as to import PyTorch.

    An error is left for the flow, which starts the server again.
    """
    if PREFECT_API_URL.value():
        yield
        return
    with ThreadPoolExecutor(1) as pool:
        pool.submit(SubprocessASGIServer().start)
        yield


@contextlib.contextmanager
def shared() -> Iterator[bool]:
    """Let other processes report to this one's server, instead of each starting its own.

    Yields whether there is one; a server named by PREFECT_API_URL needs nothing.
    """
    if PREFECT_API_URL.value():
        yield False
        return
    server = SubprocessASGIServer()
    server.start()  # this flow's own: it runs already
    with temporary_settings({PREFECT_API_URL: server.api_url}):
        os.environ["PREFECT_API_URL"] = server.api_url
        try:
            yield True
        finally:
            del os.environ["PREFECT_API_URL"]
