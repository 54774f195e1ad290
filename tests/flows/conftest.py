"""Where flows of tests report to, and a web server that keeps what it was told, as the receiver of a webhook."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from ..conftest import Sandbox


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory, prefect_server: dict[str, str]) -> Sandbox:
    """One whose commands share a server."""
    return Sandbox(tmp_path_factory.mktemp("sandbox"), prefect_server)


@dataclass
class Receiver:
    """Where the webhook leads, what came, and which status codes to answer before it is 204."""

    url: str
    told: list[dict[str, str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            code = kept.answers.pop(0) if kept.answers else 204
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if code < 300:
                kept.told.append(content)
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept = Receiver(f"http://127.0.0.1:{server.server_port}/hook/secret-part")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as kept:
        yield kept


@pytest.fixture(scope="module")
def module_receiver() -> Iterator[Receiver]:
    with receiving() as kept:
        yield kept
