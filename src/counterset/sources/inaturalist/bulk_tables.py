"""The iNaturalist Open Data tables, read in place by DuckDB: local files, https:// or s3://, gzip or plain.

Tab-separated, one header line, no quoting; columns are found by name, since the
exporter adds some. Rows that do not fit are counted and skipped. A remote table
streams through a named pipe, taken up again where a connection breaks, so nothing is
stored and memory stays bounded.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import requests
import urllib3

from counterset.errors import ConfigError, SourceError, SourceUnavailable
from counterset.fetching.addresses import AddressRefused, HostRules, is_loopback, netloc, shown
from counterset.fetching.connections import session
from counterset.fetching.gate import retry_after_s, user_agent

logger = logging.getLogger(__name__)

OPEN_DATA_URL = "https://inaturalist-open-data.s3.amazonaws.com"
GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1 << 20
MAX_LINE_BYTES = 500_000
BUFFER_BYTES = 4_000_000
"""DuckDB holds several such buffers a thread; its default of 32 lines of the greatest length adds up."""
MAX_TRIES = 6
MAY_PASS = frozenset({429, 500, 502, 503, 504})
MAX_PAUSE_S = 900.0
"""A host that asks for a longer pause ends the run."""

COLUMNS: dict[str, dict[str, str]] = {
    "taxa": {"taxon_id": "BIGINT", "ancestry": "VARCHAR", "rank": "VARCHAR", "name": "VARCHAR", "active": "VARCHAR"},
    "observations": {
        "observation_uuid": "VARCHAR",
        "observer_id": "BIGINT",
        "taxon_id": "BIGINT",
        "quality_grade": "VARCHAR",
        "observed_on": "DATE",
        "latitude": "VARCHAR",
        "longitude": "VARCHAR",
        "positional_accuracy": "VARCHAR",
    },
    "photos": {
        "photo_id": "BIGINT",
        "observation_uuid": "VARCHAR",
        "extension": "VARCHAR",
        "license": "VARCHAR",
        "position": "INTEGER",
    },
    "observers": {"observer_id": "BIGINT", "login": "VARCHAR", "name": "VARCHAR"},
}
"""What is read of each table, as DuckDB types."""


class BulkTables:
    """The four tables at one place.

    Args:
        path: a folder, or an https:// or s3:// prefix; empty = the public bucket.
        scratch: folder for pipes and for what DuckDB spills.
        contact: for the User-Agent; required for a remote place.
        sleep: waits between tries.
    """

    def __init__(
        self,
        path: str,
        scratch: Path,
        *,
        contact: str = "",
        timeout_s: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        path = path or OPEN_DATA_URL
        if path.startswith("s3://"):
            bucket, _, prefix = path.removeprefix("s3://").partition("/")
            path = f"https://{bucket}.s3.amazonaws.com/{prefix}"
        self.path = path.rstrip("/")
        self.is_remote = "://" in path
        if self.is_remote and urlsplit(path).scheme not in ("http", "https"):
            raise ConfigError(f"source.path {path!r} must be a folder, or begin with https:// or s3://")
        if self.is_remote and not contact and not is_loopback(path):
            raise ConfigError(
                f"{path} is a real host; set source.contact to a web page or e-mail address for the User-Agent"
            )
        self._scratch = scratch
        self._timeout_s = timeout_s
        self._sleep = sleep
        # The address is trusted as typed; where it redirects to must be public.
        self._session = session(HostRules((netloc(path),), ("*",)), user_agent(contact))
        self._session.headers["Accept-Encoding"] = "identity"
        self.num_bad_rows: dict[str, int] = {}
        """Rows skipped, by table, of those read so far."""

    def locate(self, table: str) -> str:
        """The path or URL of a table.

        Raises:
            SourceError: it is not there.
        """
        for name in (f"{table}.csv.gz", f"{table}.csv"):
            place = f"{self.path}/{name}"
            if self._is_there(place):
                return place
        raise SourceError(f"there is no {table}.csv.gz at {self.path}; set source.path to the Open Data tables")

    def identity(self) -> str:
        """A digest that changes when a table does."""
        marks = []
        for table in COLUMNS:
            place = self.locate(table)
            if self.is_remote:
                headers = self._head(place).headers
                marks.append([place, *(headers.get(key, "") for key in ("ETag", "Last-Modified", "Content-Length"))])
            else:
                stat = Path(place).stat()
                marks.append([Path(place).name, str(stat.st_size), str(stat.st_mtime_ns)])
        return hashlib.sha256(repr(marks).encode()).hexdigest()[:12]

    def snapshot(self) -> date:
        """The day of the tables: from a folder name ...-YYYYMMDD, else of the photos table's last change."""
        match = re.search(r"(?<!\d)20\d{6}(?!\d)", self.path.rpartition("/")[2])
        if match:
            with suppress(ValueError):  # eight digits that are no day
                return date.fromisoformat(match[0])
        place = self.locate("photos")
        if self.is_remote:
            modified = self._head(place).headers.get("Last-Modified")
            return parsedate_to_datetime(modified).date() if modified else datetime.now(UTC).date()
        return datetime.fromtimestamp(Path(place).stat().st_mtime, UTC).date()

    @contextmanager
    def scan(self, connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[str]:
        """Within the block, a SQL expression that reads the table once.

        Raises:
            SourceError: a column is missing, or the file is damaged.
            SourceUnavailable: the remote file cannot be read to its end.
        """
        place = self.locate(table)
        if self.is_remote:
            with self._piped(table, place) as (pipe, header):
                yield self._expression(table, pipe, header, "none")
        else:
            header, is_gzip = _local_header(Path(place))
            yield self._expression(table, place, header, "gzip" if is_gzip else "none")
        rejected = connection.execute(f"SELECT count(DISTINCT line) FROM bad_{table}").fetchone()
        self.num_bad_rows[table] = int(rejected[0]) if rejected else 0
        connection.execute(f"DROP TABLE bad_{table}; DROP TABLE scans_{table}")
        if self.num_bad_rows[table]:
            logger.warning("%s: %d rows do not fit their columns and were skipped", place, self.num_bad_rows[table])

    def _expression(self, table: str, place: str, header: list[str], compression: str) -> str:
        wanted = COLUMNS[table]
        for column in wanted:
            if column not in header:
                raise SourceError(f"{self.path}: the table {table} has no column {column}; is it an Open Data table?")
        columns = ", ".join(f"{_quoted(name)}: '{wanted.get(name, 'VARCHAR')}'" for name in header)
        return (
            f"read_csv({_quoted(place)}, auto_detect = false, header = true, delim = '\t', quote = '', escape = '', "
            f"nullstr = '', compression = '{compression}', max_line_size = {MAX_LINE_BYTES}, "
            f"buffer_size = {BUFFER_BYTES}, columns = {{{columns}}}, "
            f"store_rejects = true, rejects_table = 'bad_{table}', rejects_scan = 'scans_{table}', rejects_limit = 0)"
        )

    def _is_there(self, place: str) -> bool:
        if not self.is_remote:
            return Path(place).is_file()
        return self._head(place).status_code == 200

    def _head(self, url: str) -> requests.Response:
        for num_failed in range(1, MAX_TRIES + 1):
            try:
                answer = self._session.head(url, timeout=self._timeout_s, allow_redirects=False)
            except AddressRefused as error:
                raise SourceError(f"{shown(url)} cannot be fetched ({error}); check source.path") from None
            except requests.RequestException as error:
                raise SourceUnavailable(
                    f"{shown(url)} does not answer ({type(error).__name__}); run the same command again"
                ) from None
            if answer.status_code not in MAY_PASS:
                return answer
            self._wait(url, answer, num_failed)
        raise SourceUnavailable(f"{shown(url)} answers {answer.status_code}; run the same command again later")

    def _wait(self, url: str, answer: requests.Response, num_failed: int) -> None:
        """Leave a host that is busy alone for as long as it asks.

        Raises:
            SourceUnavailable: that is too long.
        """
        asked_s = retry_after_s(answer.headers.get("Retry-After"), answer.headers.get("Date")) or 0.0
        if asked_s > MAX_PAUSE_S:
            raise SourceUnavailable(
                f"{shown(url)} asks for a pause of {asked_s:.0f} s; run the same command again then"
            )
        self._sleep(max(2.0**num_failed, asked_s))

    @contextmanager
    def _piped(self, table: str, url: str) -> Iterator[tuple[str, list[str]]]:
        """A named pipe that carries the plain text of a remote table, and the table's header."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        pipe = self._scratch / f"{table}.{os.getpid()}.pipe"
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
        text = _plain(self._download(url))
        first = bytearray()
        for chunk in text:
            first += chunk
            if b"\n" in first or len(first) > MAX_LINE_BYTES:
                break
        failures: list[Exception] = []

        def feed() -> None:
            try:
                with pipe.open("wb", buffering=0) as sink:
                    sink.write(first)
                    for chunk in text:
                        sink.write(chunk)
            except BrokenPipeError:
                pass  # the reader has what it needs, or has failed and says so itself
            except (SourceUnavailable, SourceError, zlib.error) as error:
                failures.append(error)

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        try:
            yield str(pipe), _header(bytes(first))
        except duckdb.Error:
            if failures:  # the reader failed because the download did
                raise self._failure(url, failures[0]) from failures[0]
            raise
        finally:
            os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))  # lets a feeder go that nobody has read from
            feeder.join(timeout=self._timeout_s)
            pipe.unlink(missing_ok=True)
        if failures:
            raise self._failure(url, failures[0]) from failures[0]

    def _failure(self, url: str, cause: Exception) -> Exception:
        if isinstance(cause, zlib.error):
            return SourceError(f"{url} is damaged ({cause}); wait for the next snapshot")
        return cause

    def _download(self, url: str) -> Iterator[bytes]:
        """The raw bytes of a file, taken up again where a connection breaks."""
        offset, etag, num_failed = 0, None, 0
        while True:
            headers = {"Range": f"bytes={offset}-"} if offset else {}
            try:
                with self._session.get(url, headers=headers, stream=True, timeout=self._timeout_s) as answer:
                    if answer.status_code in MAY_PASS and num_failed + 1 < MAX_TRIES:
                        num_failed += 1
                        self._wait(url, answer, num_failed)
                        continue
                    if answer.status_code not in (200, 206) and answer.status_code < 500:
                        raise SourceError(f"{shown(url)} answers {answer.status_code}; check source.path")
                    if offset and (answer.status_code == 200 or answer.headers.get("ETag") != etag):
                        raise SourceUnavailable(f"{shown(url)} changed while it was read; run the same command again")
                    answer.raise_for_status()
                    etag = answer.headers.get("ETag")
                    for chunk in answer.raw.stream(CHUNK_BYTES, decode_content=False):
                        offset += len(chunk)
                        yield chunk
                    return
            except AddressRefused as error:
                raise SourceError(f"{shown(url)} is redirected where nothing is fetched ({error})") from None
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                num_failed += 1
                if num_failed >= MAX_TRIES:
                    raise SourceUnavailable(
                        f"{shown(url)} broke off {num_failed} times ({type(error).__name__}); download the tables and "
                        "set source.path to their folder"
                    ) from None
                logger.warning("%s broke off after %d bytes; going on from there", shown(url), offset)
                self._sleep(2.0**num_failed)


def connect(scratch: Path, memory_limit: str = "1GB") -> duckdb.DuckDBPyConnection:
    """A DuckDB that stays within `memory_limit` and spills into `scratch`.

    Joins keep their sides as written (the right one is held in memory): DuckDB takes
    a gzipped file for a few dozen rows and would hold the whole table.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    config: Mapping[str, str | bool] = {
        "memory_limit": memory_limit,
        "temp_directory": str(scratch),
        "preserve_insertion_order": False,
        "disabled_optimizers": "join_order,build_side_probe_side",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    return duckdb.connect(":memory:", config=dict(config))


def _plain(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Text from gzip (of one or more members), or what is no gzip as it is: servers may have decoded it."""
    decoder = None
    is_first = True
    for chunk in chunks:
        if is_first and not chunk.startswith(GZIP_MAGIC):
            yield chunk
            yield from chunks
            return
        is_first = False
        while chunk:
            decoder = decoder or zlib.decompressobj(wbits=31)
            text = decoder.decompress(chunk, CHUNK_BYTES)  # a megabyte of zeros would be a gigabyte
            yield text
            chunk = decoder.unconsumed_tail or decoder.unused_data
            while not decoder.eof and not chunk and len(text) == CHUNK_BYTES:
                text = decoder.decompress(b"", CHUNK_BYTES)
                yield text
            if decoder.eof:
                chunk, decoder = decoder.unused_data, None
    if decoder is not None:
        raise zlib.error("the file ends in mid-stream")


def _local_header(path: Path) -> tuple[list[str], bool]:
    """The column names of a file, and whether it is gzip whatever its name says."""
    with path.open("rb") as file:
        start = file.read(1 << 16)
    is_gzip = start.startswith(GZIP_MAGIC)
    try:
        text = zlib.decompressobj(wbits=31).decompress(start) if is_gzip else start
    except zlib.error as error:
        raise SourceError(f"{path} is damaged ({error}); download it again") from error
    return _header(text), is_gzip


def _header(text: bytes) -> list[str]:
    return text.partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r").split("\t")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
