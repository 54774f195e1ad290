"""A local iNaturalist look-alike: the API's observation and taxon routes, the photo host, and scripted faults.

In a thread, for tests (`counterset.demo.serve` has it as a process of its own):

    with serve(catalog) as server:
        requests.get(server.api_url + "/observations", timeout=5)

It binds to 127.0.0.1 only. Answers carry the catalogue's own host in their photo URLs, or else the real ones, as
the service's do; a client that is to fetch them here rewrites the host to `photo_url`.
"""

from __future__ import annotations

import gzip
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from counterset.demo.server.api import Api
from counterset.demo.server.catalog import Catalog
from counterset.demo.server.faults import Fault, FaultKind
from counterset.demo.server.photo_host import PhotoHost

logger = logging.getLogger(__name__)

LOG_ROUTE = "/request-log"
JSON_TYPE = "application/json; charset=utf-8"


@dataclass(frozen=True)
class RequestRecord:
    """One request as the server saw it; `time_s` is its arrival in seconds since the epoch."""

    time_s: float
    path: str
    status: int
    user_agent: str
    num_bytes: int


@dataclass
class Reply:
    """One answer on its way out."""

    status: int
    media_type: str
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    sent_bytes: int | None = None
    """Fewer than `content` has = the connection is closed there."""


class LookAlikeServer(ThreadingHTTPServer):
    """Serves one catalogue; `requests` is its own log, in order of arrival."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, catalog: Catalog, port: int = 0, faults: Sequence[Fault] = ()) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.api = Api(catalog)
        self.photos = PhotoHost(catalog)
        self.faults = tuple(faults)
        self.requests: list[RequestRecord] = []
        self._lock = threading.Lock()
        self._num_api_requests = 0

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def api_url(self) -> str:
        """For the config's `source.api_url`."""
        return f"{self.url}/v1"

    @property
    def photo_url(self) -> str:
        """For the config's `source.photo_url`."""
        return self.url

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away at whatever moment, as a stopped crawl does."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def reply(self, target: str) -> Reply:
        """The answer to a GET of `target` (path and query)."""
        parts = urlsplit(target)
        if parts.path == LOG_ROUTE:
            with self._lock:
                rows = [asdict(record) for record in self.requests]
            return Reply(200, JSON_TYPE, json.dumps(rows).encode())
        match parts.path.split("/"):
            case ["", "photos", photo_id, name]:
                status, media_type, content = self.photos.answer(photo_id, name)
                return Reply(status, media_type, content)
            case ["", "v1", *_]:
                with self._lock:  # one answer at a time: a vanishing row must not race with a page
                    return self._api_reply(parts.path.removeprefix("/v1"), dict(parse_qsl(parts.query)))
        return _not_found(parts.path)

    def log(self, record: RequestRecord) -> None:
        """Append to the log, except for reading the log itself."""
        if record.path != LOG_ROUTE:
            with self._lock:
                self.requests.append(record)

    def _api_reply(self, route: str, query: dict[str, str]) -> Reply:
        self._num_api_requests += 1
        kinds = [fault for fault in self.faults if fault.hits(self._num_api_requests)]
        if any(fault.kind is FaultKind.OLD_HOST for fault in kinds):
            self.api.old_host = True
        for fault in kinds:
            refusal = _refusal(fault)
            if refusal is not None:
                return refusal
        status, body = self.api.answer(route, query)
        if status == 404:
            return _not_found(f"/v1{route}")
        rows = body.get("results", [])
        names = {fault.kind for fault in kinds}
        if FaultKind.VANISH in names and route == "/observations" and rows:
            self.api.remove(rows[0]["id"])
        if FaultKind.SHORT_PAGE in names and len(rows) > 1:
            body = body | {"results": rows[: len(rows) // 2]}
        content = json.dumps(body, separators=(",", ":")).encode()
        reply = Reply(status, JSON_TYPE, content, {"Cache-Control": "public, max-age=300"})
        if FaultKind.TRUNCATED in names:
            reply.content = content[: len(content) // 2]
        if FaultKind.BROKEN in names:
            reply.sent_bytes = len(content) // 2
        return reply


def _refusal(fault: Fault) -> Reply | None:
    match fault.kind:
        case FaultKind.THROTTLED:
            return Reply(429, "text/html", b"<html><body>Too many requests</body></html>")
        case FaultKind.THROTTLED_SECONDS:
            return Reply(429, "text/html", b"Too many requests", {"Retry-After": str(fault.retry_after_s)})
        case FaultKind.MAINTENANCE:
            until = datetime.now(UTC) + timedelta(seconds=fault.retry_after_s)
            date = f"{until:%a, %d %b %Y} {until.hour}:{until:%M:%S} GMT"
            return Reply(503, "text/plain; charset=utf-8", b"Service Unavailable", {"Retry-After": date})
        case FaultKind.SERVER_ERROR:
            message = "Elasticsearch error, if this persists please contact the iNaturalist development team."
            return Reply(500, JSON_TYPE, json.dumps({"error": message, "status": 500}).encode())
    return None


def _not_found(path: str) -> Reply:
    body = f"<!DOCTYPE html><html><body><pre>Cannot GET {path.replace('<', '&lt;')}</pre></body></html>"
    return Reply(404, "text/html; charset=utf-8", body.encode())


class _Handler(BaseHTTPRequestHandler):
    server: LookAlikeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60

    def do_GET(self) -> None:
        arrived_s = time.time()
        reply = self.server.reply(self.path)
        content = reply.content
        headers = {"Content-Type": reply.media_type, **reply.headers}
        if reply.media_type == JSON_TYPE and "gzip" in self.headers.get("Accept-Encoding", ""):
            content = gzip.compress(content, compresslevel=1, mtime=0)
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        body = b"" if self.command == "HEAD" else content
        if reply.sent_bytes is not None:
            body = body[: len(body) // 2]
            self.close_connection = True
        agent = self.headers.get("User-Agent", "")
        self.server.log(RequestRecord(arrived_s, self.path, reply.status, agent, len(body)))
        self.send_response(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


@contextmanager
def serve(catalog: Catalog, *, port: int = 0, faults: Sequence[Fault] = ()) -> Iterator[LookAlikeServer]:
    """Serve in a background thread for the length of a `with` block."""
    server = LookAlikeServer(catalog, port, faults)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
