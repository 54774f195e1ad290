"""The gate against hosts that lie, drip, redirect and refuse."""

from __future__ import annotations

import gc
import gzip
import socket
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from counterset.errors import ConfigError
from counterset.fetching import connections, gate
from counterset.fetching.addresses import HostRules
from counterset.fetching.gate import FetchFailed, Gate, retry_after_s, user_agent
from counterset.schemas import RejectReason

from .raw_server import Host, hosting, reply

MB = 1 << 20
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"
"""Of gzip: it decodes to nothing."""


@pytest.fixture
def host() -> Iterator[Host]:
    with hosting() as found:
        yield found


def gate_of(*hosts: Host, **options: Any) -> Gate:
    """A gate whose user named these hosts."""
    return Gate(HostRules((), ("*", *(host.netloc for host in hosts))), "tester/1", **{"timeout_s": 5.0} | options)


def failure(asked: Gate, url: str, max_bytes: int = 1000) -> FetchFailed:
    with pytest.raises(FetchFailed) as error:
        asked.get(url, max_bytes)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None  # its texts hold URLs
    return error.value


def test_a_photo_comes_with_its_headers_and_says_who_asks(host: Host) -> None:
    host.answers["/a?b=%20c"] = reply(b"photo", X_Robots_Tag="noai")
    found = gate_of(host).get(f"{host.url}/a?b=%20c", 5)
    assert found.content == b"photo" and found.headers["x-robots-tag"] == "noai"
    assert "User-Agent: tester/1\r\n" in host.heads[0] and "Mozilla" not in host.heads[0]
    assert "Accept-Encoding: identity" in host.heads[0]
    with pytest.raises(ConfigError, match="plain ASCII"):
        user_agent("Ann\r\nX: y")
    assert user_agent("a@example.org").startswith("counterset/") and user_agent("x").endswith(" (x)")


def test_no_netrc_and_no_proxies(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password SECRET\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    host.answers["/a"] = reply()
    gate_of(host).get(f"{host.url}/a", 5)
    connections.session(HostRules((host.netloc,)), "tester/1").get(f"{host.url}/a", timeout=5)
    assert len(host.heads) == 2
    assert not any("authorization" in head.lower() for head in host.heads)


def test_redirects_are_followed_step_by_step(host: Host) -> None:
    for number in range(9):
        host.answers[f"/{number}"] = reply(b"", "302 Found", Location=f"/{number + 1}")
    host.answers["/5"] = reply(b"there")
    assert gate_of(host).get(f"{host.url}/0", 5).content == b"there"
    host.answers["/5"] = reply(b"", "302 Found", Location="/0")
    found = failure(gate_of(host), f"{host.url}/0")
    assert found.reason == RejectReason.SERVER_ERROR and "redirects" in str(found) and not found.may_pass


@pytest.mark.parametrize("status", ["301 x", "302 x", "303 x", "307 x", "308 x"])
def test_no_redirect_leads_to_a_private_address(host: Host, status: str) -> None:
    with hosting() as inner:
        inner.answers["/a"] = reply(b"secret")
        host.answers["/a"] = reply(b"", status, Location=f"{inner.url}/a")
        found = failure(gate_of(host), f"{host.url}/a")
        assert found.reason == RejectReason.URL_REFUSED and "private address" in str(found)
        assert not inner.asked
        with pytest.raises(Exception, match="private address"):
            connections.session(HostRules((host.netloc,), ("*",)), "x").get(f"{host.url}/a", timeout=5)
        assert not inner.asked
        assert gate_of(host, inner).get(f"{host.url}/a", 9).content == b"secret"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", "scheme"),
        ("http://[::1", "cannot be read"),
        ("http://127%2e0%2e0%2e1/", "percent-encoded"),
        ("http://ann:word@example.org/", "user name"),
        ("//169.254.169.254/latest", "private address"),
        ("http://[64:ff9b::7f00:1]/", "private address"),
        ("http://２１３０７０６４３３/".encode().decode("latin-1"), "percent-encoded"),
    ],
)
def test_a_redirect_is_judged_as_a_url_is(host: Host, location: str, reason: str) -> None:
    host.answers["/a"] = reply(b"", "302 Found", Location="{}").replace(b"{}", location.encode("latin-1"))
    found = failure(gate_of(host), f"{host.url}/a")
    assert found.reason == RejectReason.URL_REFUSED and reason in str(found)


def test_no_redirect_leads_from_https_to_http() -> None:
    asked = gate_of()
    came_from = gate.Address("https", "example.org", 443, "/")
    with pytest.raises(FetchFailed, match="from https to http"):
        asked._allowed("http://example.org/", came_from)


def test_a_redirect_to_a_dead_address_says_nothing_of_the_host(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    host.answers["/a"] = reply(b"", "302 Found", Location=f"http://127.0.0.1:{port}/")
    asked = Gate(HostRules((), (host.netloc, f"127.0.0.1:{port}")), "tester/1")
    found = failure(asked, f"{host.url}/a")
    assert found.netloc == f"127.0.0.1:{port}" != host.netloc and found.is_silent
    assert "Connection refused" in str(found)


def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([("93.184.216.34",), ("127.0.0.1",), ("93.184.216.34", "10.0.0.1")])
    connected: list[object] = []

    def connect(self: socket.socket, place: object) -> None:
        connected.append(place)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(connections._Socket, "connect", connect, raising=False)
    asked = Gate(HostRules((), ("*",), lambda name: next(answers)), "tester/1")
    assert failure(asked, "http://rebind.example/a").is_silent
    assert connected == [("93.184.216.34", 80)]
    for _ in range(2):
        assert "private address" in str(failure(asked, "http://rebind.example/a"))
    assert len(connected) == 1


def test_sizes_are_bounded_while_reading(host: Host) -> None:
    sent: list[int] = []

    def endless(head: bytes) -> Any:
        def write(sock: socket.socket) -> None:
            sock.sendall(head)
            try:
                for count in range(200):
                    sock.sendall(b"%x\r\n" % MB + bytes(MB) + b"\r\n" if b"chunked" in head else bytes(MB))
                    sent.append(count)
            except OSError:
                pass

        return write

    host.answers["/stated"] = endless(reply(b"", Content_Length=200 * MB))
    host.answers["/chunked"] = endless(reply(b"", Content_Length=None, Transfer_Encoding="chunked"))
    host.answers["/to the end".replace(" ", "-")] = endless(reply(b"", Content_Length=None))
    bomb = gzip.compress(bytes(200 * MB), 1)
    host.answers["/bomb"] = reply(bomb, Content_Encoding="gzip")
    host.answers["/bombs"] = reply(gzip.compress(bomb), Content_Encoding="gzip, gzip")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for path in host.answers:
        sent.clear()
        tracemalloc.reset_peak()
        found = failure(gate_of(host), host.url + path, 2 * MB)
        assert found.reason == RejectReason.TOO_LARGE and not found.may_pass, path
        assert len(sent) < 30
        if path != "/stated":
            assert "more than" in str(found)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 20 * MB  # of 200 MB a photo


def test_the_largest_size_is_taken(host: Host) -> None:
    host.answers["/a"] = reply(bytes(1000))
    host.answers["/b"] = reply(gzip.compress(bytes(1000)), Content_Encoding="gzip")
    assert len(gate_of(host).get(f"{host.url}/a", 1000).content) == 1000
    assert gate_of(host).get(f"{host.url}/b", 1000).content == bytes(1000)
    assert failure(gate_of(host), f"{host.url}/a", 999).reason == RejectReason.TOO_LARGE


def drip(head: bytes, part: bytes, pause_s: float = 0.05) -> Any:
    def write(sock: socket.socket) -> None:
        sock.sendall(head)
        try:
            while True:
                sock.sendall(part)
                time.sleep(pause_s)
        except OSError:
            pass

    return write


@pytest.mark.parametrize(
    "answer",
    [
        drip(reply(b"", Content_Length=1000), b"x"),
        drip(reply(b"", Content_Length=None, Transfer_Encoding="chunked") + b"3e8\r\n", b"x"),
        drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        drip(b"HTTP", b"/"),
        drip(
            reply(b"", Content_Length=None, Content_Encoding="gzip") + gzip.compress(b"")[:10], b"\x00\x00\x00\xff\xff"
        ),
    ],
    ids=["body", "chunk", "header", "headers", "status", "empty gzip blocks"],
)
def test_what_drips_ends_in_time(host: Host, answer: Any) -> None:
    host.answers["/a"] = answer
    began = time.monotonic()
    found = failure(gate_of(host, timeout_s=0.2, tries=3), f"{host.url}/a")
    assert time.monotonic() - began < 3
    assert found.reason in (RejectReason.TIMEOUT, RejectReason.SERVER_ERROR)
    assert len(host.asked) == 1 or found.reason == RejectReason.SERVER_ERROR  # it has had its time


def test_a_host_that_hangs_is_a_timeout(host: Host) -> None:
    host.answers["/a"] = lambda sock: time.sleep(3)
    found = failure(gate_of(host, timeout_s=0.2), f"{host.url}/a")
    assert found.reason == RejectReason.TIMEOUT and found.may_pass and not found.is_silent


@pytest.mark.parametrize(
    ("answer", "reason", "may_pass"),
    [
        (reply(b"", "403 x"), RejectReason.GONE, False),
        (reply(b"", "404 x"), RejectReason.GONE, False),
        (reply(b"", "410 x"), RejectReason.GONE, False),
        (reply(b"", "401 x"), RejectReason.REFUSED, False),
        (reply(b"", "451 x"), RejectReason.REFUSED, False),
        (reply(b"", "429 x"), RejectReason.REFUSED, True),
        (reply(b"", "500 x"), RejectReason.SERVER_ERROR, True),
        (reply(b"", "503 x"), RejectReason.SERVER_ERROR, True),
        (reply(b"", "501 x"), RejectReason.SERVER_ERROR, False),
        (reply(b"part", "206 x"), RejectReason.SERVER_ERROR, False),
        (reply(b"", "204 x"), RejectReason.SERVER_ERROR, False),
        (reply(b"", "304 x"), RejectReason.SERVER_ERROR, False),
        (reply(b"", "302 x"), RejectReason.SERVER_ERROR, False),
        (reply(b""), RejectReason.SERVER_ERROR, False),
        (reply(b"short", Content_Length=99), RejectReason.SERVER_ERROR, True),
        (reply(b"zz\r\nnonsense", Content_Length=None, Transfer_Encoding="chunked"), RejectReason.SERVER_ERROR, True),
        (reply(b"no gzip", Content_Encoding="gzip"), RejectReason.SERVER_ERROR, False),
        (b"nonsense\r\n\r\n", RejectReason.SERVER_ERROR, True),
        (b"HTTP/1.1 abc x\r\n\r\n", RejectReason.SERVER_ERROR, True),
        (b"\x16\x03\x01\x00\x00" * 40, RejectReason.SERVER_ERROR, True),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n", RejectReason.SERVER_ERROR, True),
        (reply(b"photo", Content_Length="5, 6"), RejectReason.SERVER_ERROR, True),
        (b"", RejectReason.SERVER_ERROR, True),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of urllib3, for two lengths
def test_every_answer_has_a_reason(
    host: Host, answer: bytes, reason: RejectReason, may_pass: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "FIRST_WAIT_S", 0.0)
    host.answers["/a"] = answer
    found = failure(gate_of(host, tries=3), f"{host.url}/a")
    gc.collect()  # while the warning is ignored
    assert found.reason == reason, str(found)
    assert found.may_pass == may_pass
    assert len(host.asked) == (3 if found.may_pass else 1)
    assert found.netloc in (host.netloc, "")


def test_a_host_without_tls_is_no_secure_connection(host: Host) -> None:
    found = failure(gate_of(host), host.url.replace("http:", "https:") + "/a")
    assert found.reason == RejectReason.SERVER_ERROR and "TLS" in str(found) and not found.may_pass


def test_retry_after_is_kept_by_all_threads(host: Host) -> None:
    times: list[float] = []

    def note(answer: bytes) -> Any:
        def write(sock: socket.socket) -> None:
            times.append(time.monotonic())
            sock.sendall(answer)

        return write

    limited = note(reply(b"", "429 x", Retry_After="1"))
    host.answers["/a"] = [limited, note(reply())]
    host.answers["/b"] = note(reply())
    asked = gate_of(host, tries=2)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(asked.get, f"{host.url}/a", 5)
        while not times:
            time.sleep(0.01)
        time.sleep(0.2)
        rest = [pool.submit(asked.get, f"{host.url}/b", 5) for _ in range(6)]
        assert all(one.result(20).content == b"photo" for one in (first, *rest))
    assert len(times) == 8 and min(times[1:]) - times[0] >= 0.99


def test_a_long_pause_is_not_waited_for_and_the_host_left_alone(host: Host) -> None:
    host.answers["/a"] = reply(b"", "503 x", Retry_After="3600")
    slept: list[float] = []
    asked = gate_of(host, tries=5, sleep=slept.append)
    for _ in range(3):
        found = failure(asked, f"{host.url}/a")
        assert found.may_pass and 3500 < found.wait_s <= 3600
    assert len(host.asked) == 1 and not slept


def test_a_host_that_only_ever_asks_for_pauses_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_IN_VAIN_S", 3.0)
    monkeypatch.setattr(gate, "MAX_WAIT_S", 2.0)
    host.answers["/a"] = reply(b"", "429 x", Retry_After="1")
    began = time.monotonic()
    asked = gate_of(host, tries=2)
    for _ in range(20):
        failure(asked, f"{host.url}/a")
    assert time.monotonic() - began < 10 and len(host.asked) < 8


def test_without_retry_after_the_waits_grow(host: Host) -> None:
    host.answers["/a"] = [reply(b"", "500 x"), reply(b"", "429 x", Retry_After="²"), reply(b"", "502 x"), reply()]
    slept: list[float] = []
    assert gate_of(host, tries=4, sleep=slept.append).get(f"{host.url}/a", 5).content == b"photo"
    assert [low <= wait <= 3 * low for low, wait in zip((0.5, 1.0, 2.0), slept, strict=True)] == [True] * 3


def test_bytes_over_the_wire_are_told_for_failures_too(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "FIRST_WAIT_S", 0.0)
    told: list[int] = []
    host.answers["/a"] = reply(gzip.compress(bytes(500_000)), Content_Encoding="gzip")
    host.answers["/b"] = [reply(b"short", Content_Length=99), reply(b"photo")]
    asked = gate_of(host, tries=2, on_bytes=told.append)
    asked.get(f"{host.url}/a", MB)
    assert told == [len(gzip.compress(bytes(500_000)))]
    asked.get(f"{host.url}/b", MB)
    assert sum(told[1:]) == 10


def test_connections_are_used_again(host: Host) -> None:
    sockets: list[int] = []

    def stay(sock: socket.socket) -> None:
        sockets.append(sock.fileno())
        sock.sendall(reply(Connection="keep-alive"))
        for _ in range(2):
            assert sock.recv(65536)
            sock.sendall(reply(Connection="keep-alive"))

    host.answers["/a"] = stay
    asked = gate_of(host)
    for _ in range(3):
        asked.get(f"{host.url}/a", 5)
    assert len(sockets) == 1


def test_a_deadline_is_one_threads(host: Host) -> None:
    host.answers["/a"] = reply()
    with connections.deadline(-1.0):
        assert "too long in all" in str(failure(gate_of(host), f"{host.url}/a"))
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(gate_of(host).get, f"{host.url}/a", 5).result().content == b"photo"
    assert gate_of(host).get(f"{host.url}/a", 5).content == b"photo"


def test_a_stream_may_take_longer_where_it_comes_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "SLOWEST_BYTES_S", 1000)

    def slow(sock: socket.socket) -> None:
        sock.sendall(reply(b"", Content_Length=20 * 1000))
        for _ in range(20):
            sock.sendall(bytes(1000))
            time.sleep(0.1)

    host.answers["/a"], host.answers["/b"] = slow, drip(reply(b"", Content_Length=20_000), b"x")
    asked = gate_of(host, timeout_s=0.3)
    monkeypatch.setattr(gate, "CHUNK_BYTES", 1000)
    assert sum(map(len, asked.stream(f"{host.url}/a", MB))) == 20_000
    with pytest.raises(FetchFailed, match="too long in all"):
        list(asked.stream(f"{host.url}/b", MB))
    host.answers["/empty"] = reply(b"")
    assert list(asked.stream(f"{host.url}/empty", MB)) == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None), ("", None), ("120", 120.0), (" 7 ", 7.0), ("²", None), ("٣", None), ("-5", None), ("1.5", None),
        ("soon", None), ("Tue, 01 Dec 2026 00:00:30 GMT", 30.0), ("Mon, 30 Nov 2026 23:00:00 GMT", 0.0),
        ("Tue, 01 Dec 2026 01:00:30 +0100", 30.0), ("Tue, 99 Dec 2026 00:00:30 GMT", None), ("9" * 5000, float("inf")),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None), ("1 2 3 4 5 6 7", None), (",", None), ("\x00", None),
    ],
)  # fmt: skip
def test_retry_after_in_either_form(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, "Tue, 01 Dec 2026 00:00:00 GMT") == seconds
    assert retry_after_s("3", "nonsense") == 3.0
    assert retry_after_s("Tue, 01 Dec 2099 00:00:30 GMT", "nonsense")
