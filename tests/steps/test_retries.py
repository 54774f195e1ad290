"""Photos whose download failed: a refresh asks again for those that may heal, three builds in all, and no more."""

from __future__ import annotations

import csv
import io
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

import counterset
from counterset.demo.world.observations import demo_catalog

from ..flows.small_build import SMALL_SETTINGS
from . import whole_build

CONFIG = (
    """
name = "a-build"
[classes]
list = "demo"
only = ["ice_bear", "lion"]
[source]
kind = "url_list"
path = "list.csv"
allowed_hosts = ["127.0.0.1"]
photos_per_class = 1000
[download]
retries = 0
"""
    + SMALL_SETTINGS
)


class Host(ThreadingHTTPServer):
    """Serves photos by number; some answer with an error, or half of their bytes, in the first builds."""

    daemon_threads = True
    photos: ClassVar[dict[str, bytes]] = {}

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults: dict[str, int] = {}  # photo -> status, or 206 for half a photo
        self.asked: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        name = self.path.strip("/")
        self.server.asked[name] += 1
        fault, content = self.server.faults.get(name, 200), self.server.photos[name]
        self.send_response(200 if fault == 206 else fault)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if fault == 206 else content if fault == 200 else b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[Host]:
    server = Host()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def reasons(release: Path, names: dict[str, str]) -> dict[str, str]:
    rows = counterset.load(release).rejects.to_pylist()
    return {names[row["photo_id"]]: row["reason"] for row in rows if row["photo_id"] in names}


def test_a_refresh_asks_again_for_what_may_heal(tmp_path: Path, host: Host) -> None:
    work = tmp_path
    catalog, truth = demo_catalog(24, 7)
    rows = [row for row in truth.to_pylist() if row["fault"] is None and row["class_id"] in ("ice_bear", "lion")]
    host.photos.update({str(row["photo_id"]): catalog.original_bytes(row["photo_id"]) for row in rows})
    heals, half, gone, never = list(host.photos)[:4]
    host.faults = {heals: 503, half: 206, gone: 404, never: 503}
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["url", "class"])
    writer.writerows((f"{host.url}/{row['photo_id']}", row["class_id"]) for row in rows)
    (work / "list.csv").write_text(text.getvalue())
    config, releases = work / "build.toml", work / "releases" / "a-build"
    config.write_text(CONFIG)

    def build(*, refresh: bool) -> None:
        host.asked.clear()
        whole_build.build(config, refresh=refresh)

    build(refresh=False)
    first = counterset.load(releases / "1.0.0")
    names = {row["photo_id"]: row["url"].rpartition("/")[2] for row in _candidates(work)}
    assert first.all_photos.num_rows == len(rows) - 4
    found = reasons(releases / "1.0.0", names)
    assert found == {heals: "server_error", half: "undecodable", gone: "gone", never: "server_error"}
    host.faults = {gone: 404, never: 503}
    build(refresh=True)
    assert host.asked.keys() == {heals, half, never}
    assert reasons(releases, names) == {gone: "gone", never: "server_error"}  # of the newest version
    assert counterset.load(releases).all_photos.num_rows == len(rows) - 2
    build(refresh=True)
    assert host.asked.keys() == {never}
    build(refresh=True)
    assert not host.asked  # three builds asked for it
    assert len(list(releases.glob("[0-9]*"))) == 2  # what failed again makes no new version


def _candidates(work: Path) -> list[dict[str, Any]]:
    from counterset.schemas import CANDIDATES
    from counterset.tables import read_table

    files = (work / "workspace" / "shards").glob("*/*.parquet")
    return [row for path in files for row in read_table(path, CANDIDATES, ["photo_id", "url"]).to_pylist()]
