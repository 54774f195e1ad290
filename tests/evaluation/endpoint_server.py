"""An endpoint that speaks chat completions, looks at its photos, and misbehaves as it is told to."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

Misbehave = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


@dataclass
class Endpoint:
    """What it was asked, and how it answers.

    Attributes:
        url: its base URL.
        answer: from the photo, its options by letter (none in open questions) and the question to a text.
        faults: for the first questions, in the order in which they come; None = a good answer.
        asked: questions by photo and text, each with how often it came; those without a photo are in `unseen` alone.
        answered: those of them that were answered well.
        headers: of all requests.
        bodies: of all requests.
        without_photo: the status of its answer to a question without a photo.
    """

    url: str
    answer: Callable[[Image.Image, dict[str, str]], str | dict[str, Any]]
    faults: list[Misbehave | None] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    photos: list[Image.Image] = field(default_factory=list)
    unseen: list[dict[str, Any]] = field(default_factory=list)
    tokens_photo: int = 64
    without_photo: int = 200


def completion(content: Any, tokens_in: int = 100, **choice: Any) -> dict[str, Any]:
    """A whole answer."""
    message = content if isinstance(content, dict) else {"role": "assistant", "content": content}
    return {
        "model": "served-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}],
        "usage": {"prompt_tokens": tokens_in, "completion_tokens": 2},
    }


def send(handler: BaseHTTPRequestHandler, content: Any, status: int = 200, **headers: str) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def bright(image: Image.Image, options: dict[str, str]) -> str:
    """Takes every animal on a bright photo for an ice bear, and every other one for a lion."""
    animal = "ice bear" if np.asarray(image).mean() > 150 else "lion"
    return next((letter for letter, name in options.items() if name == animal), animal)


@contextlib.contextmanager
def serving(answer: Callable[..., Any] = bright) -> Iterator[Endpoint]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            *pictures, question = asked["messages"][0]["content"]
            if not pictures:
                endpoint.unseen.append(asked)
                send(self, completion("A", tokens_in=100 - endpoint.tokens_photo), endpoint.without_photo)
                return
            [picture] = pictures
            encoded = picture["image_url"]["url"].removeprefix("data:image/jpeg;base64,")
            key = f"{hash(encoded)} {question['text']}"
            image = Image.open(io.BytesIO(base64.b64decode(encoded)))
            with lock:
                endpoint.asked[key] += 1
                endpoint.headers.append(dict(self.headers))
                endpoint.bodies.append(asked)
                endpoint.photos.append(image)
                fault = endpoint.faults.pop(0) if endpoint.faults else None
            if self.path != "/v1/chat/completions":
                send(self, {"error": {"message": "no such path"}}, 404)
            elif fault is not None:
                fault(self, asked)
            else:
                options = dict(re.findall(r"^([A-Z])\. (.*)$", question["text"], re.MULTILINE))
                said = endpoint.answer(image, options)
                with lock:
                    endpoint.answered[key] += 1
                send(self, completion(said) if isinstance(said, str) else said)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass  # clients that give up are part of the tests

    server = Server(("127.0.0.1", 0), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/v1", answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
