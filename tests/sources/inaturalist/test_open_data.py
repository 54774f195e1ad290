"""The bulk tables as a source: against the API source on the same world, and on damaged tables."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import os
import random
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from counterset.classes import ClassSpec
from counterset.demo.server.catalog import Catalog, Observation
from counterset.demo.server.faults import Fault, FaultKind
from counterset.demo.server.look_alike import serve
from counterset.errors import ConfigError, SourceError, SourceUnavailable
from counterset.sources.inaturalist.api import INaturalistSource
from counterset.sources.inaturalist.bulk_tables import BulkTables, _plain, connect
from counterset.sources.inaturalist.open_data import OpenDataSource
from counterset.sources.inaturalist.settings import OpenDataConfig
from counterset.sources.places import place_of

from ..conftest import FOX, HARE, HARE_CLASS, QUICK, RED_FOX, TAXA, MakeConfig, catalog, observation, photo
from .bulk_world import write_tables

FIXTURES = Path(__file__).resolve().parents[3] / "../shared/reference/inaturalist/fixtures"


def mixed_world(seed: int, num: int = 1500) -> Catalog:
    """Foxes and hares with every kind of fault that the rules know, by few prolific observers."""
    generator = random.Random(seed)
    rows: list[Observation] = []
    for number in range(1, num + 1):
        photos = tuple(
            photo(number * 10 + k, generator.choice(["cc-by-nc", "cc-by-nc", "cc0", "cc-by-nd", None]))
            for k in range(generator.choice([1, 1, 2, 3]))
        )
        user = int(generator.paretovariate(0.7))
        rows.append(
            observation(
                number,
                *photos,
                taxon_id=generator.choice([FOX, FOX, 420691, HARE, None]),
                uuid=f"{generator.getrandbits(128):032x}-",
                user_id=user,
                user_login=f"user'{user}\"",
                observed_on=date(2020, 1, 1) + timedelta(days=generator.randrange(200)),
                quality_grade=generator.choice(["research", "research", "needs_id"]),
                is_captive=generator.random() < 0.05,
                annotations=generator.choice([(), (), ((22, 24),), ((22, 26),), ((17, 19),)]),
            )
        )
    return catalog(*rows)


@pytest.mark.parametrize(("order", "num"), [("sample", 40), ("sample", 10_000)])
def test_both_sources_choose_the_same_photos(order: str, num: int, tmp_path: Path, config_of: MakeConfig) -> None:
    world = mixed_world(1)
    tables = write_tables(world, tmp_path / "tables")
    with serve(world) as server:
        settings = {"photos_per_class": num, "order": order, "photos_per_observer_day": 1}
        api = INaturalistSource(config_of(server, **settings), tmp_path / "api", 3)
        bulk = OpenDataSource(config_of(server, path=str(tables), **settings), tmp_path / "bulk", 3)
        bulk.check((RED_FOX, HARE_CLASS))
        for spec in (RED_FOX, HARE_CLASS):
            one, other = api.crawl(spec), bulk.crawl(spec)
            assert one.candidates.num_rows == min(num, other.candidates.num_rows)
            assert one.candidates.drop_columns("source").equals(other.candidates.drop_columns("source"))
            assert set(other.candidates["source"].to_pylist()) == {"open_data"}
            both = set(other.candidates["photo_id"].to_pylist()) | set(other.rejects["photo_id"].to_pylist())
            assert len(both) == other.candidates.num_rows + other.rejects.num_rows


def test_the_api_is_asked_only_about_what_was_drawn_and_only_once(tmp_path: Path, config_of: MakeConfig) -> None:
    world = mixed_world(2)
    tables = write_tables(world, tmp_path / "tables")
    with serve(world) as server:
        config = config_of(server, photos_per_class=50, path=str(tables))
        first = OpenDataSource(config, tmp_path / "bulk").crawl(RED_FOX)
        paths = [record.path for record in server.requests]
        again = OpenDataSource(config, tmp_path / "bulk").crawl(RED_FOX)
        assert len(server.requests) == len(paths)
    assert 1 <= len(paths) <= 3
    assert all(path.startswith("/v1/observations?uuid=") for path in paths)
    assert first.candidates.equals(again.candidates) and first.rejects.equals(again.rejects)
    assert Counter(first.rejects["reason"].to_pylist())["not_sampled"] > 100


def test_a_build_that_stops_half_way_asks_only_for_the_rest(tmp_path: Path, config_of: MakeConfig) -> None:
    world = mixed_world(3)
    tables = write_tables(world, tmp_path / "tables")
    with serve(world, faults=[Fault(FaultKind.SERVER_ERROR, 3, every=1)]) as server:
        config = config_of(server, path=str(tables))
        with pytest.raises(SourceUnavailable, match="goes on from here"):
            OpenDataSource(config, tmp_path / "bulk", retry=QUICK).crawl(RED_FOX)
    with serve(world) as server:
        config = config_of(server, path=str(tables))
        resumed = OpenDataSource(config, tmp_path / "bulk", retry=QUICK).crawl(RED_FOX)
        num_resumed = len(server.requests)
        whole = OpenDataSource(config, tmp_path / "whole").crawl(RED_FOX)
        assert num_resumed == len(server.requests) - num_resumed - 2
    assert resumed.candidates.equals(whole.candidates) and resumed.rejects.equals(whole.rejects)


def slow_selection(world: Catalog, seed: int) -> list[int]:
    """Photos of foxes by the tables alone, the slow and obvious way: no caps bind, one photo per observation."""
    names = {taxon.taxon_id for taxon in TAXA if FOX in taxon.ancestor_ids}
    rows = [row for row in world.observations if row.taxon_id in names and row.quality_grade == "research"]
    open_photos = {row.uuid: [p.photo_id for p in row.photos if p.license_code in ("cc-by-nc", "cc0")] for row in rows}
    usable = [uuid for uuid, photos in open_photos.items() if photos]
    usable.sort(key=lambda uuid: hashlib.sha256(f"{seed}:{uuid}".encode()).digest())
    return sorted(open_photos[uuid][0] for uuid in usable[:60])


def test_without_an_api_the_tables_alone_decide(tmp_path: Path) -> None:
    world = mixed_world(4)
    tables = write_tables(world, tmp_path / "inaturalist-open-data-20241203", is_gzip=False)  # plain text named .gz
    config = OpenDataConfig(api_url="", path=str(tables), photos_per_class=60, photos_per_observer_day=1000, contact="")
    source = OpenDataSource(config, tmp_path / "bulk", 8)
    found = source.crawl(RED_FOX)
    ids = sorted(int(text.removeprefix("inaturalist-")) for text in found.candidates["photo_id"].to_pylist())
    assert ids == slow_selection(world, 8)
    row = found.candidates.to_pylist()[0]
    original = next(r for r in world.observations if r.uuid == row["observation_id"])
    assert row["attribution"] in (
        f"(c) user'{original.user_id}\", some rights reserved (CC BY-NC)",
        f"user'{original.user_id}\", no rights reserved (CC0)",
    )
    assert row["url"].startswith("https://inaturalist-open-data.s3.amazonaws.com/photos/")
    assert row["url"].endswith("/medium.jpg")
    assert set(found.candidates["place"].to_pylist()) == {place_of(1.5, -2.5, 10, cell_km=1.0)}
    assert source.snapshot == "2024-12-03"
    assert source.recheck(found.candidates, (RED_FOX,)).num_rows == 0


def test_the_newest_days_come_first_in_latest(tmp_path: Path) -> None:
    rows = [observation(n, observed_on=date(2020, 1, 1) + timedelta(days=n * 7 % 500)) for n in range(1, 400)]
    tables = write_tables(catalog(*rows), tmp_path / "tables")
    config = OpenDataConfig(api_url="", path=str(tables), photos_per_class=30, order="latest")
    found = OpenDataSource(config, tmp_path / "bulk").crawl(RED_FOX)
    newest = sorted((row.observed_on for row in rows), reverse=True)[:30]
    assert sorted(found.candidates["observed_on"].to_pylist(), reverse=True) == newest


def test_more_is_drawn_where_caps_cost_more_than_the_surplus(tmp_path: Path) -> None:
    day = date(2024, 5, 1)
    rows = [observation(n, user_id=1, observed_on=day) for n in range(1, 3000)]
    rows += [observation(n, user_id=n, observed_on=day) for n in range(5000, 5050)]
    tables = write_tables(catalog(*rows), tmp_path / "tables")
    config = OpenDataConfig(api_url="", path=str(tables), photos_per_class=50, photos_per_observer_day=1)
    found = OpenDataSource(config, tmp_path / "bulk").crawl(RED_FOX)
    assert found.candidates.num_rows == 50


def test_bad_rows_are_counted_and_skipped(tmp_path: Path) -> None:
    extra = {
        "taxa": ["5\ttoo\tfew"],
        "observers": ["99\ta\tname with\ta tab", "98\ta name with", "a newline"],
        "photos": ["u\tnot a number\tx\t1\tjpg\tCC0\t1\t1\t0"],
        "observations": ["\tuuid-x\t1\t\t\t\t42069\tresearch\tyesterday", '\t"uuid-y\t1\t\t\t\t42069\tresearch\t'],
    }
    world = mixed_world(5, 200)
    tables = write_tables(world, tmp_path / "tables", extra=extra)
    config = OpenDataConfig(api_url="", path=str(tables))
    source = OpenDataSource(config, tmp_path / "bulk")
    found = source.crawl(RED_FOX)
    assert source.tables.num_bad_rows == {"taxa": 1, "observers": 3, "photos": 1, "observations": 1}
    clean = config.model_copy(update={"path": str(write_tables(world, tmp_path / "clean"))})
    assert found.candidates.equals(OpenDataSource(clean, tmp_path / "bulk2").crawl(RED_FOX).candidates)


def test_a_larger_drawing_asks_about_what_no_smaller_one_did(tmp_path: Path, config_of: MakeConfig) -> None:
    """The last, partly filled batch of the first drawing must not answer for the second one's."""
    rows = [
        observation(n, photo(n * 10, None if n % 7 == 0 else "cc0"), user_id=n, is_captive=n % 10 != 0)
        for n in range(1, 4001)
    ]
    tables = write_tables(catalog(*rows), tmp_path / "tables")
    with serve(catalog(*rows)) as server:
        config = config_of(server, photos_per_class=300, path=str(tables))
        found = OpenDataSource(config, tmp_path / "bulk").crawl(RED_FOX)
        again = OpenDataSource(config, tmp_path / "bulk").crawl(RED_FOX)
        batches = [record.path.split("uuid=")[1].split("&")[0] for record in server.requests]
        asked = [uuid for batch in batches for uuid in batch.split("%2C")]
    assert found.candidates.num_rows == 300 and again.candidates.equals(found.candidates)
    assert Counter(found.rejects["reason"].to_pylist())["withdrawn"] == 0
    assert len(asked) == len(set(asked))


def test_a_later_look_replaces_what_is_withdrawn(tmp_path: Path, config_of: MakeConfig) -> None:
    rows = {n: observation(n, user_id=n) for n in range(1, 301)}
    tables = write_tables(catalog(*rows.values()), tmp_path / "tables")
    with serve(catalog(*rows.values())) as server:
        config = config_of(server, photos_per_class=50, path=str(tables))
        first = OpenDataSource(config, tmp_path / "bulk", look=1).crawl(RED_FOX)
    taken = {int(text.removeprefix("inaturalist-")) // 10 for text in first.candidates["photo_id"].to_pylist()}
    for number in sorted(taken)[:20]:
        del rows[number]
    with serve(catalog(*rows.values())) as server:
        config = config_of(server, photos_per_class=50, path=str(tables))
        again = OpenDataSource(config, tmp_path / "bulk", look=2).crawl(RED_FOX)
        kept = {int(text.removeprefix("inaturalist-")) // 10 for text in again.candidates["photo_id"].to_pylist()}
    assert len(kept) == 50 and kept <= rows.keys()
    withdrawn = {row["photo_id"] for row in again.rejects.to_pylist() if row["reason"] == "withdrawn"}
    assert withdrawn == {f"inaturalist-{number * 10}" for number in sorted(taken)[:20]}


def test_photos_without_an_observer_are_their_own(tmp_path: Path) -> None:
    tables = write_tables(catalog(*(observation(n, photo(n * 10, "cc0")) for n in range(1, 9))), tmp_path / "tables")
    content = gzip.decompress((tables / "observations.csv.gz").read_bytes()).decode().splitlines()
    column = content[0].split("\t").index("observer_id")
    lines = [line.split("\t") for line in content[1:]]
    for line in lines[:4]:
        line[column] = ""
    text = "\n".join([content[0], *("\t".join(line) for line in lines)]) + "\n"
    (tables / "observations.csv.gz").write_bytes(gzip.compress(text.encode()))
    found = OpenDataSource(OpenDataConfig(api_url="", path=str(tables)), tmp_path / "bulk").crawl(RED_FOX)
    observers = Counter(found.candidates["observer_id"].to_pylist())
    assert found.candidates.num_rows == 8
    assert sum(name.startswith("unknown-") for name in observers) == 4


def test_taxa_are_matched_by_whole_segments_of_the_ancestry(tmp_path: Path) -> None:
    taxa = (
        *TAXA,
        *(
            dataclasses.replace(TAXA[1], taxon_id=number, name=f"Odd {number}", ancestor_ids=(48460, parent, number))
            for number, parent in ((900, 4206), (901, 420690), (902, 142069))
        ),
    )
    rows = [observation(n, taxon_id=n) for n in (900, 901, 902)] + [observation(3), observation(4, taxon_id=420691)]
    tables = write_tables(Catalog(taxa, tuple(rows), lambda photo_id: b""), tmp_path / "tables")
    found = OpenDataSource(OpenDataConfig(api_url="", path=str(tables)), tmp_path / "bulk").crawl(RED_FOX)
    assert sorted(found.candidates["taxon_id"].to_pylist()) == [FOX, 420691]
    assert found.rejects.num_rows == 0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ClassSpec("x", "x", None, (999,)), "have no taxon 999"),
        (ClassSpec("x", "x", None, (500,)), r"have taxon 500 \(Neovison vison\) as inactive"),
        (ClassSpec("x", "x", None, (FOX,), "Vulpes lagopus", "species"), "as the species Vulpes vulpes, not the"),
        (ClassSpec("x", "x", None, (), "Vulpes nova", "species"), "have no taxon Vulpes nova"),
        (ClassSpec("x", "x"), "has neither taxon_ids"),
    ],
)
def test_a_class_that_the_tables_do_not_have_is_an_error(spec: ClassSpec, message: str, tmp_path: Path) -> None:
    tables = write_tables(catalog(observation(1)), tmp_path / "tables")
    with pytest.raises(SourceError, match=message):
        OpenDataSource(OpenDataConfig(api_url="", path=str(tables)), tmp_path / "bulk").check((RED_FOX, spec))


def test_names_are_looked_up_in_the_tables(tmp_path: Path) -> None:
    tables = write_tables(catalog(observation(1, taxon_id=501), observation(2, taxon_id=502)), tmp_path / "tables")
    source = OpenDataSource(OpenDataConfig(api_url="", path=str(tables)), tmp_path / "bulk")
    mink = ClassSpec("mink", "mink", None, (), "Neogale vison + Mustela lutreola", "species")
    assert source.crawl(mink).candidates.num_rows == 2


@pytest.mark.parametrize("damage", ["missing", "no column", "cut", "not gzip inside"])
def test_damaged_tables_are_errors_with_a_remedy(damage: str, tmp_path: Path) -> None:
    tables = write_tables(mixed_world(1, 300), tmp_path / "tables")
    file = tables / "photos.csv.gz"
    if damage == "missing":
        file.unlink()
    elif damage == "no column":
        file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b"license", b"licence", 1)))
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-400])
    else:
        file.write_bytes(b"\x1f\x8b" + b"x" * 500)
    with pytest.raises(SourceError):
        OpenDataSource(OpenDataConfig(api_url="", path=str(tables)), tmp_path / "bulk").crawl(RED_FOX)


@contextmanager
def file_server(folder: Path, *, break_every: int = 0, encoding: str = "") -> Iterator[tuple[str, list[str]]]:
    """Serves files with ranges; breaks the connection after each `break_every` bytes."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = folder / self.path.strip("/")
            asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')} {self.headers['User-Agent']}")
            if not path.is_file():
                self.send_response(403)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = path.read_bytes()
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("ETag", f'"{len(content)}"')
            self.send_header("Last-Modified", "Tue, 03 Dec 2024 07:00:00 GMT")
            if encoding:
                self.send_header("Content-Encoding", encoding)
            self.end_headers()
            if self.command == "GET":
                body = content[start:]
                if break_every and len(body) > break_every:
                    body = body[:break_every]
                    self.close_connection = True
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    "options",
    [{}, {"encoding": "gzip"}, {"is_gzip": False}],
    ids=["gzip", "content-encoding", "decoded on the way"],
)
def test_remote_tables_give_what_local_ones_give(options: dict[str, Any], tmp_path: Path) -> None:
    tables = write_tables(mixed_world(6), tmp_path / "tables", is_gzip=options.get("is_gzip", True))
    local = OpenDataSource(OpenDataConfig(api_url="", path=str(tables)), tmp_path / "local").crawl(RED_FOX)
    with file_server(tables, encoding=options.get("encoding", "")) as (url, asked):
        config = OpenDataConfig(api_url="", path=url, contact="ann@example.org")
        source = OpenDataSource(config, tmp_path / "remote")
        remote = source.crawl(RED_FOX)
        assert source.snapshot == "2024-12-03"
    assert remote.candidates.equals(local.candidates) and remote.rejects.equals(local.rejects)
    assert all(line.endswith("(ann@example.org)") for line in asked)
    assert Counter(line.split()[1] for line in asked if line.startswith("GET")) == {
        "/taxa.csv.gz": 2,
        "/observations.csv.gz": 1,
        "/photos.csv.gz": 1,
        "/observers.csv.gz": 1,
    }
    assert list((tmp_path / "remote" / "scratch").glob("*.pipe")) == []


def test_a_broken_connection_is_taken_up_where_it_broke(tmp_path: Path) -> None:
    tables = write_tables(mixed_world(7, 3000), tmp_path / "tables")
    size = (tables / "photos.csv.gz").stat().st_size
    waits: list[float] = []
    with file_server(tables, break_every=size // 3) as (url, asked):
        bulk = BulkTables(url, tmp_path / "scratch", sleep=waits.append)
        with connect(tmp_path / "scratch") as connection, bulk.scan(connection, "photos") as table:
            remote = connection.execute(f"SELECT count(*), sum(photo_id) FROM {table}").fetchall()
        ranges = [line.split()[2] for line in asked if "bytes=" in line]
    local = BulkTables(str(tables), tmp_path / "scratch")
    with connect(tmp_path / "scratch") as connection, local.scan(connection, "photos") as table:
        assert connection.execute(f"SELECT count(*), sum(photo_id) FROM {table}").fetchall() == remote
    assert ranges == [f"bytes={size // 3 * n}-" for n in (1, 2, 3)]
    assert len(waits) == 3


def test_a_connection_that_always_breaks_is_an_error(tmp_path: Path) -> None:
    tables = write_tables(mixed_world(7, 3000), tmp_path / "tables")
    with file_server(tables, break_every=1000) as (url, _):
        bulk = BulkTables(url, tmp_path / "scratch", sleep=lambda seconds: None)
        with (
            pytest.raises(SourceUnavailable, match="broke off 6 times"),
            connect(tmp_path / "scratch") as connection,
            bulk.scan(connection, "photos") as table,
        ):
            connection.execute(f"SELECT count(*) FROM {table}").fetchall()


def test_places_and_contacts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set source\.contact"):
        BulkTables("", tmp_path)
    assert BulkTables("s3://bucket/some/place/", tmp_path, contact="a@b.org").path == (
        "https://bucket.s3.amazonaws.com/some/place"
    )
    with pytest.raises(ConfigError, match="must be a folder"):
        BulkTables("ftp://x/y", tmp_path, contact="a@b.org")
    with pytest.raises(SourceError, match=r"there is no taxa\.csv\.gz"):
        BulkTables(str(tmp_path), tmp_path).identity()


@pytest.mark.parametrize(
    ("name", "day"),
    [("inaturalist-open-data-20241203", "2024-12-03"), ("20000000", ""), ("tables", ""), ("x-120241203", "")],
)
def test_the_snapshots_day_is_in_the_folders_name_or_else_the_files(name: str, day: str, tmp_path: Path) -> None:
    tables = write_tables(catalog(observation(1)), tmp_path / name)
    os.utime(tables / "photos.csv.gz", (1_700_000_000, 1_700_000_000))
    assert BulkTables(str(tables), tmp_path).snapshot().isoformat() == (day or "2023-11-14")


def test_recheck_asks_by_uuid_where_there_is_no_integer_id(tmp_path: Path, config_of: MakeConfig) -> None:
    rows = [observation(n) for n in range(1, 6)]
    tables = write_tables(catalog(*rows), tmp_path / "tables")
    before = OpenDataSource(OpenDataConfig(api_url="", path=str(tables)), tmp_path / "a").crawl(RED_FOX).candidates
    with serve(catalog(*rows[1:])) as server:
        source = OpenDataSource(config_of(server, path=str(tables)), tmp_path / "b")
        found = source.recheck(before, (RED_FOX,))
        assert source.crawl(RED_FOX).rejects.to_pylist()[0]["reason"] == "withdrawn"
    assert [(row["photo_id"], row["detail"]) for row in found.to_pylist()] == [
        ("inaturalist-10", "the observation was deleted")
    ]


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="no recorded tables beside the checkout")
@pytest.mark.parametrize("table", ["taxa", "observations", "photos", "observers"])
def test_recorded_tables_are_read_whole(table: str, tmp_path: Path) -> None:
    content = (FIXTURES / f"opendata_small_{table}.csv").read_bytes()
    (tmp_path / f"{table}.csv").write_bytes(content)
    header, *lines = csv.reader(content.decode().splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    expected = [line for line in lines if len(line) == len(header)]  # two recorded observations have a tab too many
    bulk = BulkTables(str(tmp_path), tmp_path / "scratch")
    with connect(tmp_path / "scratch") as connection, bulk.scan(connection, table) as source:
        rows = connection.execute(f"SELECT * FROM {source}").fetchall()
    assert len(rows) == len(expected)
    assert bulk.num_bad_rows == {table: len(lines) - len(expected)} == {table: 2 if table == "observations" else 0}
    assert {str(row[0]) for row in rows} == {line[0] for line in expected}


def test_a_busy_host_is_left_alone_for_as_long_as_it_asks(tmp_path: Path) -> None:
    answers = [(503, "7"), (429, None), (200, None), (429, "5"), (200, None)]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, pause = answers.pop(0) if answers else (503, "3600")
            self.send_response(status)
            if pause:
                self.send_header("Retry-After", pause)
            self.end_headers()
            if self.command == "GET" and status == 200:
                self.wfile.write(b"text")

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    slept: list[float] = []
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        tables = BulkTables(url, tmp_path, sleep=slept.append)
        assert tables.locate("taxa") == f"{url}/taxa.csv.gz"
        assert b"".join(tables._download(f"{url}/taxa.csv.gz")) == b"text"
        assert slept == [7.0, 4.0, 5.0]
        with pytest.raises(SourceUnavailable, match="asks for a pause of 3600 s"):
            tables.locate("photos")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_gzip_bomb_comes_in_small_parts() -> None:
    bomb = gzip.compress(bytes(64 << 20)) + gzip.compress(b"and more")
    for step in (len(bomb), 1000):
        parts = list(_plain(iter([bomb[at : at + step] for at in range(0, len(bomb), step)])))
        assert max(map(len, parts)) <= 1 << 20
        assert sum(map(len, parts)) == (64 << 20) + 8 and parts[-1].endswith(b"and more")
    with pytest.raises(zlib.error):
        list(_plain(iter([bomb[:-4]])))
