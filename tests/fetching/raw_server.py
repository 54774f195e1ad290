"""A host that answers with scripted bytes, well-formed or not, and keeps what it was asked."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Answer = bytes | Callable[[socket.socket], None]


@dataclass
class Host:
    """Answers each path from `answers`: bytes, a function that writes, or a list of these, one a request."""

    url: str
    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)

    @property
    def netloc(self) -> str:
        return self.url.removeprefix("http://")


def reply(body: bytes = b"photo", status: str = "200 OK", **headers: object) -> bytes:
    """A whole answer; header names have `_` for `-`, and Content_Length is stated unless it is given."""
    named = {"Content_Length": len(body), "Connection": "close"} | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


@contextlib.contextmanager
def hosting(address: str = "127.0.0.1") -> Iterator[Host]:
    listener = socket.create_server((address, 0))
    host = Host(f"http://{address}:{listener.getsockname()[1]}")

    def serve(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                part = sock.recv(65536)
                if not part:
                    return
                head += part
                if head.startswith(b"\x16"):  # a TLS greeting
                    sock.sendall(reply(b"", "400 Bad Request"))
                    return
            path = head.split()[1].decode("latin-1")
            host.heads.append(head.decode("latin-1"))
            host.asked.append(path)
            answer = host.answers.get(path, reply(b"", "404 Not Found"))
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
            if isinstance(answer, bytes):
                sock.sendall(answer)
            else:
                answer(sock)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield host
    finally:
        listener.close()
