"""The real img2dataset behind the gate: hosts that lie, and photos whose fault is not the run's."""

from __future__ import annotations

import gzip
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from counterset.config import DownloadConfig
from counterset.download import photos as downloading
from counterset.download.hosts import Failure, check_hosts
from counterset.download.photos import download_photos
from counterset.errors import BuildStopped, SourceUnavailable
from counterset.schemas import RejectReason

from ..fetching.raw_server import Host, hosting, reply

SOUND = {f"p{number}": f"/p{number}" for number in range(12)}
MB = 1 << 20


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(downloading, "REPEAT_AFTER_S", (0.0,))
    with hosting() as found:
        found.answers.update({path: reply(path.encode()) for path in SOUND.values()})
        yield found


def photos(host: Host, folder: Path, paths: dict[str, str], **options: Any) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Images and rejects by photo id."""
    urls = {name: path if "://" in path else host.url + path for name, path in paths.items()}
    table = pa.table({"photo_id": list(urls), "class_id": ["a"] * len(urls), "url": list(urls.values())})
    settings = {"threads": 4, "timeout_s": 1, "retries": 0, "max_size_bytes": MB} | options.pop("config", {})
    found = download_photos(table, folder, DownloadConfig(**settings), **{"user_agent": "tester/1"} | options)
    images = dict(zip(found.images["photo_id"].to_pylist(), found.images["image"].to_pylist(), strict=True))
    rejects = {row["photo_id"]: row for row in found.rejects.to_pylist()}
    assert images.keys() | rejects.keys() == urls.keys() and not images.keys() & rejects.keys()
    return images, rejects


def drip(sock: socket.socket) -> None:
    sock.sendall(reply(b"", Content_Length=1000))
    while True:
        sock.sendall(b"x")
        time.sleep(0.1)


def test_each_bad_photo_is_its_own_reject(host: Host, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with hosting() as inner:
        inner.answers["/secret"] = reply(b"secret")
        bad: dict[str, tuple[Any, str]] = {
            "dead": (reply(b"", "302 x", Location=dead), "server_error"),
            "private": (reply(b"", "302 x", Location=f"{inner.url}/secret"), "url_refused"),
            "file": (reply(b"", "302 x", Location="file:///etc/passwd"), "url_refused"),
            "loop": (reply(b"", "301 x", Location="/loop"), "server_error"),
            "hangs": (lambda sock: time.sleep(4), "timeout"),
            "drips": (drip, "timeout"),
            "nonsense": (b"nonsense\r\n\r\n", "server_error"),
            "nothing": (b"", "server_error"),
            "short": (reply(b"short", Content_Length=99), "server_error"),
            "chunks": (reply(b"zz\r\n", Content_Length=None, Transfer_Encoding="chunked"), "server_error"),
            "bomb": (reply(gzip.compress(bytes(50 * MB)), Content_Encoding="gzip"), "too_large"),
            "large": (reply(bytes(MB + 1)), "too_large"),
            "part": (reply(b"part", "206 x"), "server_error"),
            "no-content": (reply(b"", "204 x"), "server_error"),
            "empty": (reply(b""), "server_error"),
            "robots": (reply(b"photo", X_Robots_Tag="noai"), "refused"),
            "gone": (reply(b"", "404 x"), "gone"),
            "forbidden": (reply(b"", "403 x"), "gone"),
        }
        host.answers.update({f"/{name}": answer for name, (answer, _) in bad.items()})
        host.answers["/moved"] = reply(b"", "302 x", Location="/p0")
        paths = SOUND | {name: f"/{name}" for name in bad} | {"moved": "/moved", "percent": "http://127%2e0.0.1/"}
        allowed = (host.netloc, dead.removeprefix("http://").rstrip("/"))
        images, rejects = photos(host, tmp_path / "s", paths, allowed_hosts=allowed)
        assert not inner.asked
    assert images == {name: path.encode() for name, path in SOUND.items()} | {"moved": b"/p0"}
    reasons = {name: row["reason"] for name, row in rejects.items()}
    assert reasons == {name: reason for name, (_, reason) in bad.items()} | {"percent": "url_refused"}
    assert all(host.asked.count(f"/{name}") == 1 for name in ("gone", "forbidden", "large", "drips", "robots"))
    assert {line for head in host.heads for line in head.splitlines() if line.startswith("User-Agent")} == {
        "User-Agent: tester/1"
    }


@pytest.mark.parametrize("is_retry", [False, True])
def test_a_photo_that_redirects_to_a_dead_address_stops_no_build(host: Host, tmp_path: Path, is_retry: bool) -> None:
    host.answers["/moved"] = reply(b"", "302 x", Location="http://127.0.0.1:1/")
    for _ in range(2):
        images, rejects = photos(host, tmp_path, SOUND | {"moved": "/moved"}, is_retry=is_retry)
        assert images.keys() == SOUND.keys() and rejects.keys() == {"moved"}


def test_photos_alone_at_dead_hosts_stop_no_build(host: Host, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    images, rejects = photos(host, tmp_path / "s", {"a": f"{dead}/a"})
    assert not images and rejects["a"]["reason"] == "server_error"
    assert "cannot be reached (Connection refused)" in rejects["a"]["detail"]


def test_a_photo_far_too_large_is_never_in_memory(host: Host, tmp_path: Path) -> None:
    """Twelve of 40 MB under a cap of 1 MB: with and without a stated length, the child grows by little."""
    sent: list[int] = []

    def large(sock: socket.socket) -> None:
        length = 40 * MB if len(sent) % 2 else None
        sent.append(0)
        number = len(sent) - 1
        sock.sendall(reply(b"", Content_Length=length))
        for _ in range(40):
            sock.sendall(bytes(MB))
            sent[number] += 1

    peaks: list[int] = []
    finished = threading.Event()

    def watch() -> None:  # Linux: the greatest resident size of img2dataset's processes
        while not finished.wait(0.02):
            for status in Path("/proc").glob("[0-9]*/status"):
                try:
                    if "img2dataset_child" in (status.parent / "cmdline").read_text():
                        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
                        peaks.append(int(line.split()[1]) // 1024)
                except (OSError, StopIteration, ValueError):
                    continue

    def peak_of(paths: dict[str, str]) -> tuple[int, dict[str, Any]]:
        peaks.clear()
        finished.clear()
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            rejects = photos(host, tmp_path / "s", paths, config={"threads": 12})[1]
        finally:
            finished.set()
            watcher.join()
        return max(peaks), rejects

    plain, _ = peak_of(SOUND)
    host.answers.update({f"/large?{number}": large for number in range(12)})
    peak, rejects = peak_of({f"large{number}": f"/large?{number}" for number in range(12)})
    assert len(rejects) == 12 and {row["reason"] for row in rejects.values()} == {"too_large"}
    assert peak < plain + 80, (plain, peak)  # of 480 MB
    assert sum(sent) < 12 * 20


def test_bytes_of_failed_and_repeated_photos_are_told(host: Host, tmp_path: Path) -> None:
    told: list[int] = []
    host.answers["/cut"] = [reply(bytes(50_000), Content_Length=90_000), reply(bytes(60_000), Content_Length=90_000)]
    host.answers["/heals"] = [reply(bytes(10_000), Content_Length=20_000), reply(bytes(20_000))]
    images, rejects = photos(host, tmp_path / "s", {"cut": "/cut", "heals": "/heals"}, on_bytes=told.append)
    assert images.keys() == {"heals"} and rejects.keys() == {"cut"}
    assert sum(told) == 50_000 + 60_000 + 10_000 + 20_000


def test_a_hosts_pause_is_kept_between_the_passes(host: Host, tmp_path: Path) -> None:
    times: list[float] = []

    def limited(sock: socket.socket) -> None:
        times.append(time.monotonic())
        sock.sendall(reply(b"", "429 x", Retry_After="2") if len(times) == 1 else reply())

    host.answers["/limited"] = limited
    images, rejects = photos(host, tmp_path / "s", {"limited": "/limited"})
    assert not rejects and len(images) == 1
    assert len(times) == 2 and times[1] - times[0] >= 2


def test_a_build_that_stops_does_not_wait_for_a_pause(host: Host, tmp_path: Path) -> None:
    def progress(done: int) -> None:
        if host.asked:
            raise BuildStopped("the build stops")

    host.answers["/limited"] = reply(b"", "429 x", Retry_After="200")
    began = time.monotonic()
    with pytest.raises(BuildStopped):
        photos(host, tmp_path / "s", {"limited": "/limited"}, on_progress=progress)
    assert time.monotonic() - began < 100


def test_a_host_is_judged_by_many_photos_of_its_own() -> None:
    def judge(total: int, failed: int, *, at: str = "a.example:443", others: int = 0, **options: Any) -> None:
        remote = {f"{number:03d}": f"https://a.example/{number}" for number in range(total)}
        remote |= {f"x{number:03d}": f"https://x{number}.example/" for number in range(others)}
        silent = options.pop("is_silent", False)
        failures = {
            name: Failure(RejectReason.SERVER_ERROR, "status 500", at, is_silent=silent, may_pass=True)
            for name in sorted(remote)[total - failed : total]
        }
        images = {name: b"" for name in remote if name not in failures}
        check_hosts(remote, images, failures, is_retry=False, **options)

    with pytest.raises(SourceUnavailable, match="only 9 of 20"):
        judge(20, 11)
    judge(20, 10)
    judge(20, 11, at="elsewhere.example:443")  # where photos redirect to
    judge(12, 12, others=13)  # one dead host of a list of many
    with pytest.raises(SourceUnavailable):
        judge(12, 12, others=11)
    judge(9, 9)
    with pytest.raises(SourceUnavailable, match="none of 1 photos"):
        judge(1, 1, is_mirror=True)
    judge(100, 9, is_silent=True)
    with pytest.raises(SourceUnavailable, match="went away in the middle: 10 of 100"):
        judge(100, 10, is_silent=True)
    with pytest.raises(SourceUnavailable, match="went away in the middle: 3 of 9"):
        judge(9, 3, is_silent=True)
    judge(3, 1, is_silent=True)
    judge(100, 10, is_silent=True, at="elsewhere.example:443")


@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "null character"])
def test_a_file_that_is_none_is_a_reject(kind: str, host: Host, tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    url = {"device": "file:///dev/zero", "null character": "file:///a%00b"}.get(kind, path.as_uri())
    _, rejects = photos(host, tmp_path / "s", {"x": url})
    assert rejects["x"]["reason"] == "gone"
