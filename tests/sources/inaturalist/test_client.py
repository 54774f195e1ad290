"""How long the API client waits, and when it gives up: each pause that is asked for, counted."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from counterset.errors import SourceError, SourceUnavailable
from counterset.sources.inaturalist.client import ApiClient, RetryPolicy

Answer = tuple[int, dict[str, str], bytes]
GOOD: Answer = (200, {}, json.dumps({"results": [{"id": 1}]}).encode())
POLICY = RetryPolicy(first_wait_s=8.0, throttled_waits_s=(60.0, 300.0), max_tries=4, max_retry_after_s=900.0)


class Service:
    """A service that gives its answers in order, and the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[str] = []

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def service() -> Iterator[tuple[Service, str]]:
    found = Service()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = found.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found, f"http://127.0.0.1:{server.server_address[1]}/v1/"
        server.shutdown()


class Spent:
    """A budget without limits, which counts."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def acquire(self, kind: str) -> None:
        self.kinds.append(kind)


def client_of(url: str, slept: list[float], budget: Any = None, seed: int = 0) -> ApiClient:
    return ApiClient(url, contact="", budget=budget or Spent(), retry=POLICY, sleep=slept.append, seed=seed)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("asked_s", ["7", "0", "900"])
def test_a_pause_that_is_asked_for_is_kept(service: tuple[Service, str], status: int, asked_s: str) -> None:
    found, url = service
    found.answers = [(status, {"Retry-After": asked_s}, b"wait"), GOOD]
    slept: list[float] = []
    assert client_of(url, slept).get("observations", {"page": 2}) == {"results": [{"id": 1}]}
    assert slept == [float(asked_s)]
    assert found.asked == ["/v1/observations?page=2"] * 2


def test_a_pause_to_a_date_is_counted_from_the_answers_own(service: tuple[Service, str]) -> None:
    found, url = service
    until = {"Retry-After": "Tue, 01 Dec 2099 00:00:50 GMT"}
    found.answers = [(503, until, b""), (503, until, b""), GOOD]
    with pytest.raises(SourceUnavailable):  # decades from now
        client_of(url, []).get("a")


@pytest.mark.parametrize("status", [429, 503])
def test_a_longer_pause_than_a_run_may_take_ends_it(service: tuple[Service, str], status: int) -> None:
    found, url = service
    found.answers = [(status, {"Retry-After": "901"}, b"")]
    slept: list[float] = []
    with pytest.raises(SourceUnavailable, match=rf"after 1 tries \(status {status}\).*it goes on from here"):
        client_of(url, slept).get("a")
    assert slept == [] and len(found.asked) == 1


def test_without_a_pause_asked_for_throttling_has_its_own_waits(service: tuple[Service, str]) -> None:
    found, url = service
    found.answers = [(429, {}, b"")]
    slept: list[float] = []
    with pytest.raises(SourceUnavailable, match="after 3 tries"):
        client_of(url, slept).get("a")
    assert slept == [60.0, 300.0]
    assert len(found.asked) == 3
    found.answers, slept = [(429, {}, b""), (429, {}, b""), GOOD], []
    assert client_of(url, slept).get("a") == {"results": [{"id": 1}]}


def test_failures_are_tried_a_few_times_with_growing_waits(service: tuple[Service, str]) -> None:
    found, url = service
    found.answers = [(500, {}, b"")]
    for seed in range(5):
        slept: list[float] = []
        spent = Spent()
        found.asked.clear()
        with pytest.raises(SourceUnavailable, match="after 4 tries"):
            client_of(url, slept, spent, seed).get("a")
        assert len(found.asked) == len(spent.kinds) == 4, "each try is spent from the budget"
        assert len(slept) == 3
        assert all(0.5 * wait <= found_s <= 1.5 * wait for found_s, wait in zip(slept, (8, 16, 32), strict=True))
    found.answers = [(500, {}, b""), (429, {}, b""), (502, {}, b""), (429, {}, b""), (504, {}, b""), GOOD]
    slept = []
    assert client_of(url, slept).get("a") == {"results": [{"id": 1}]}, "throttling and failures are counted apart"
    assert (slept[1], slept[3]) == (60.0, 300.0)
    assert 16 * 0.5 <= slept[2] <= 16 * 1.5 and 32 * 0.5 <= slept[4] <= 32 * 1.5


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "the service refuses access"),
        (403, "it has blocked this address"),
        (404, r"check source\.api_url"),
        (422, "check the class list's ids"),
        (301, r"check source\.api_url"),
    ],
)
def test_what_will_not_heal_is_asked_once(service: tuple[Service, str], status: int, remedy: str) -> None:
    found, url = service
    found.answers = [(status, {"Location": "/v1/b"}, b"no  such\n thing"), GOOD]
    slept: list[float] = []
    with pytest.raises(SourceError, match=rf"answers {status} \(no such thing\); {remedy}"):
        client_of(url, slept).get("a")
    assert slept == [] and len(found.asked) == 1
