"""The real img2dataset, over HTTP, from the look-alike photo host."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest

from counterset.config import DownloadConfig
from counterset.demo.serve import ServerProcess
from counterset.demo.world.observations import demo_catalog
from counterset.download import img2dataset, photos
from counterset.download.hosts import Failure, check_hosts
from counterset.download.photos import download_photos
from counterset.errors import ShardError, SourceUnavailable, WorkspaceError
from counterset.schemas import CANDIDATES, RejectReason
from counterset.tables import table_of

HOST = "https://inaturalist-open-data.s3.amazonaws.com"


def candidates(urls: dict[str, str]) -> pa.Table:
    blank = {column.name: None for column in CANDIDATES.columns}
    rows = [
        blank
        | {"photo_id": photo_id, "class_id": "lion", "source": "inaturalist", "url": url}
        | {"observation_id": photo_id, "observer_id": photo_id}
        for photo_id, url in urls.items()
    ]
    return table_of(CANDIDATES, rows)


def test_bytes_come_back_under_their_own_ids(tmp_path: Path) -> None:
    catalog, truth = demo_catalog(4, 0)
    faults = dict(zip(truth["photo_id"].to_pylist(), truth["fault"].to_pylist(), strict=True))
    photos = {photo.photo_id: photo for observation in catalog.observations for photo in observation.photos}
    urls = {
        f"inaturalist-{photo_id}": f"{HOST}/photos/{photo_id}/original.{photo.extension}"
        for photo_id, photo in photos.items()
    }
    urls |= {"bad-scheme": "gopher://127.0.0.1/x", "no-such": f"{HOST}/photos/999999999999/medium.jpg"}
    local = tmp_path / "own photo.jpg"
    local.write_bytes(b"bytes of a folder source")
    urls["own"] = local.as_uri()
    latin = tmp_path / os.fsdecode(b"l\xf6we.jpg")
    latin.write_bytes(b"bytes of a file whose name is not UTF-8")
    urls["latin"] = latin.as_uri()
    with ServerProcess("--photos-per-class", "4", "--seed", "0") as server:
        result = download_photos(
            candidates(urls),
            tmp_path / "scratch",
            DownloadConfig(shard_size=1000),
            user_agent="counterset/test (tests@localhost)",
            photo_hosts=(server.photo_url,),
        )
        agents = {record.user_agent for record in server.requests() if "/photos/" in record.path}
    images = dict(zip(result.images["photo_id"].to_pylist(), result.images["image"].to_pylist(), strict=True))
    rejects = {row["photo_id"]: row for row in result.rejects.to_pylist()}
    assert images.keys() | rejects.keys() == urls.keys() and not images.keys() & rejects.keys()
    served = [photo_id for photo_id, fault in faults.items() if fault is None]
    assert len(served) >= 32
    for photo_id in served:
        expected = hashlib.sha256(catalog.original_bytes(photo_id)).hexdigest()
        assert hashlib.sha256(images[f"inaturalist-{photo_id}"]).hexdigest() == expected
    assert images["own"] == b"bytes of a folder source"
    assert images["latin"] == b"bytes of a file whose name is not UTF-8"
    assert rejects["bad-scheme"]["reason"] == "url_refused"
    assert rejects["no-such"]["reason"] == "gone"
    assert all("counterset/test" in agent for agent in agents)


def test_a_host_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    table = candidates({"a": f"{HOST}/photos/1/medium.jpg"})
    with pytest.raises(SourceUnavailable, match="none of 1 photos"):
        download_photos(
            table,
            tmp_path / "scratch",
            DownloadConfig(retries=0, timeout_s=2),
            user_agent="counterset/test",
            photo_hosts=("http://127.0.0.1:9",),
        )
    assert not (tmp_path / "scratch").exists()  # or the next run would find its failures finished


@contextmanager
def scripted(answer: Callable[[str, int], int]) -> Iterator[str]:
    """A host whose answer to the n-th request of a path is `answer(path, n)`: a status, or 0 = it goes away."""
    seen: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen[self.path] += 1
            status = answer(self.path, seen[self.path])
            if not status:
                server.socket.close()  # from now on connections are refused
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(f"bytes of {self.path}".encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_what_fails_for_a_while_comes_in_the_same_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "REPEAT_AFTER_S", (0.0, 0.0))
    statuses = {"/flaky": [500, 200], "/worse": [503, 429, 200], "/bad": [500], "/gone": [404], "/good": [200]}

    def answer(path: str, number: int) -> int:
        return statuses[path][min(number, len(statuses[path])) - 1]

    with scripted(answer) as host:
        result = download_photos(
            candidates({path[1:]: host + path for path in statuses}),
            tmp_path / "scratch",
            DownloadConfig(retries=0),
            user_agent="counterset/test",
        )
    assert result.images["photo_id"].to_pylist() == ["flaky", "good", "worse"]
    reasons = dict(zip(result.rejects["photo_id"].to_pylist(), result.rejects["reason"].to_pylist(), strict=True))
    assert reasons == {"bad": "server_error", "gone": "gone"}


def test_a_second_mirror_gives_what_the_first_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "REPEAT_AFTER_S", (0.0,))
    first = {"/both": [200], "/gone": [404], "/ill": [503], "/flaky": [503, 503, 200], "/nowhere": [404]}
    second = {"/gone": [200], "/ill": [200], "/flaky": [404], "/nowhere": [410], "/both": []}
    asked: list[str] = []

    def answering(statuses: dict[str, list[int]]) -> Callable[[str, int], int]:
        def answer(path: str, number: int) -> int:
            asked.append(path)
            return statuses[path][min(number, len(statuses[path])) - 1]

        return answer

    def get(*hosts: str, retries: int) -> photos.Download:
        return download_photos(
            candidates({path[1:]: f"https://source.example{path}" for path in first}),
            tmp_path / f"scratch-{len(asked)}",
            DownloadConfig(retries=retries),
            user_agent="counterset/test",
            photo_hosts=hosts,
        )

    with scripted(answering(first)) as one, scripted(answering(second)) as two:
        result = get(one, two, retries=1)
        assert sorted(asked) == sorted(["/both", "/gone", "/gone", *["/ill"] * 3, *["/flaky"] * 4, *["/nowhere"] * 2])
        assert sorted(result.images["photo_id"].to_pylist()) == ["both", "flaky", "gone", "ill"]
        assert [(row["photo_id"], row["reason"]) for row in result.rejects.to_pylist()] == [("nowhere", "gone")]
        with pytest.raises(SourceUnavailable, match="none of 5 photos"):
            get("http://127.0.0.1:9", "http://127.0.0.1:10", retries=0)


def test_many_failures_are_the_hosts_unless_they_failed_before() -> None:
    remote = {str(number): f"https://a.example/{number}" for number in range(21)}
    images = {name: b"" for name in sorted(remote)[:10]}
    failures = {name: Failure(RejectReason.SERVER_ERROR, "status 500", "a.example:443") for name in sorted(remote)[10:]}
    with pytest.raises(SourceUnavailable, match="only 10 of 21 photos"):
        check_hosts(remote, images, failures, is_retry=False)
    check_hosts(remote, images, failures, is_retry=True)
    few = {name: remote[name] for name in [*sorted(images)[:3], *sorted(failures)[:5]]}
    check_hosts(few, {}, {name: failures[name] for name in few if name in failures}, is_retry=False)


def test_a_host_that_goes_away_is_not_held_against_its_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "REPEAT_AFTER_S", (0.0,))
    folder, config = tmp_path / "scratch", DownloadConfig(retries=0, threads=1)
    with scripted(lambda path, number: 0 if path == "/5" else 200) as host:
        table = candidates({str(number): f"{host}/{number}" for number in range(10)})
        with pytest.raises(SourceUnavailable, match="went away in the middle"):
            download_photos(table, folder, config, user_agent="counterset/test")
    assert (folder / "out").is_dir() and not (folder / "again").exists()  # what came is kept


@pytest.mark.parametrize(
    ("line", "error"), [("OSError: [Errno 28] No space left on device", WorkspaceError), ("Killed", ShardError)]
)
def test_img2dataset_without_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, error: type[Exception]
) -> None:
    monkeypatch.setattr(img2dataset.subprocess, "Popen", _speaking(line))
    with pytest.raises(error):
        download_photos(
            candidates({"a": "http://127.0.0.1:9/a"}), tmp_path / "s", DownloadConfig(), user_agent="counterset/test"
        )


def _speaking(line: str) -> Callable[..., object]:
    """A child that prints one line and ends with status 0, as img2dataset does after some failures."""
    real = img2dataset.subprocess.Popen

    def start(command: list[str], **options: object) -> object:
        return real(["/bin/echo", line], **options)  # type: ignore[call-overload]

    return start


def test_what_came_is_not_downloaded_again_because_it_could_not_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Counter[str]()

    def answer(path: str, number: int) -> int:
        seen[path] += 1
        return 200

    def fails(*_: object) -> pa.Table:
        raise pa.ArrowInvalid("offset overflow")

    with scripted(answer) as host:
        call = functools.partial(
            download_photos,
            candidates({"a": f"{host}/a", "b": f"{host}/b"}),
            tmp_path / "scratch",
            DownloadConfig(),
            user_agent="counterset/test",
        )
        with monkeypatch.context() as patched, pytest.raises(pa.ArrowInvalid):
            patched.setattr(photos, "table_of", fails)
            call()
        assert call().images["photo_id"].to_pylist() == ["a", "b"]
        call()  # the tables were made but not stored: a full disk, a kill
    assert seen == {"/a": 1, "/b": 1}


def test_a_photo_over_the_cap_is_a_reject(tmp_path: Path) -> None:
    large, small = tmp_path / "large.jpg", tmp_path / "small.jpg"
    large.write_bytes(b"x" * 101)
    small.write_bytes(b"x" * 100)
    result = download_photos(
        candidates({"large": large.as_uri(), "small": small.as_uri()}),
        tmp_path / "scratch",
        DownloadConfig(max_size_bytes=100),
        user_agent="counterset/test",
    )
    assert result.images["photo_id"].to_pylist() == ["small"]
    assert [(row["photo_id"], row["reason"]) for row in result.rejects.to_pylist()] == [("large", "too_large")]


@pytest.mark.parametrize(("retries", "passes"), [(0, 0), (1, 0), (0, 1)])
def test_a_failing_photo_is_asked_for_as_often_as_the_config_says(
    retries: int, passes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once and `retries` times more, and so again in each later pass of the build; what comes is asked for once."""
    monkeypatch.setattr(photos, "REPEAT_AFTER_S", (0.0,) * passes)
    seen = Counter[str]()

    def answer(path: str, number: int) -> int:
        seen[path] += 1
        return 500 if path == "/bad" else 200

    with scripted(answer) as host:
        result = download_photos(
            candidates({name: f"{host}/{name}" for name in ("bad", "good", "well")}),
            tmp_path / "scratch",
            DownloadConfig(retries=retries),
            user_agent="counterset/test",
        )
    assert result.images["photo_id"].to_pylist() == ["good", "well"]
    assert seen == {"/bad": (1 + retries) * (1 + passes), "/good": 1, "/well": 1}
