"""Serving a page until the command is told to stop."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator

from counterset.errors import ReviewError
from counterset.review.desk import Desk
from counterset.review.gallery import Gallery

START_S = 30.0
STOP_S = 3.0


@contextlib.contextmanager
def serving(gallery: Gallery, desk: Desk | None, port: int = 0) -> Iterator[str]:
    """Serve a page on 127.0.0.1 during the block; yields its address, token included.

    Args:
        gallery: what is shown.
        desk: who takes decisions; None = the page is read only.
        port: 0 = any that is free.

    Raises:
        ReviewError: the port is taken.
    """
    import uvicorn

    from counterset.review.app import make_app

    try:
        listener = socket.create_server(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise ReviewError(f"port {port} of 127.0.0.1 cannot be used ({error}); give another, or none") from error
    with listener:
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(24)
        settings = uvicorn.Config(
            make_app(gallery, desk, token, port), log_level="error", access_log=False, lifespan="off", ws="none"
        )
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="page", daemon=True)
        thread.start()
        try:
            end = time.monotonic() + START_S
            while not server.started and thread.is_alive() and time.monotonic() < end:
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}/{token}/"
        finally:
            server.should_exit = True
            thread.join(STOP_S)
