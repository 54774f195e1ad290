"""The tables of a release that is being made: each is written as soon as it is made, and read where it lies after.

So no more than one table with a row per photo is in memory at a time, and of the others the columns that are asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counterset.parquet_sql import parquet_sql, spilling
from counterset.photo_rows import Rows
from counterset.release import table_files
from counterset.release.publish.files import describe_file, open_parquet
from counterset.release.schemas import SPLITS, TABLES
from counterset.release.table_files import file_names, files_of
from counterset.release.versions.diff import Stored
from counterset.tables import conform_after, row_group_size

Files = dict[str, dict[str, Any]]
"""Path -> its entry in release.json."""
OF_PHOTOS = (*SPLITS, "all_photos", "predictions", "covariates", "captions", "rejects", "attribution")
"""Tables that grow with the photos; the others stay in memory."""


class WrittenTable:
    """A table in its files, of which columns are read when they are asked for.

    Args:
        paths: of its files, in the order of its rows.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self.schema = pq.read_schema(self._paths[0])
        self.num_rows = sum(int(pq.read_metadata(path).num_rows) for path in self._paths)

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        return self.select([name])[name]

    @property
    def sql(self) -> str:
        """Its rows, as DuckDB reads them."""
        return parquet_sql(self._paths)

    @property
    def rows(self) -> Rows:
        """Its rows, in parts."""
        return Rows.files(self._paths)

    @property
    def stored(self) -> Stored:
        """It as a difference takes it."""
        names = ", ".join(f'"{name}"' for name in self.schema.names)
        return Stored(f"SELECT {names} FROM {self.sql}", tuple(self.schema.names))

    def select(self, names: Sequence[str]) -> pa.Table:
        """Some of its columns."""
        tables = []
        for path in self._paths:
            with pq.ParquetFile(path) as file:
                tables.append(file.read(columns=list(names)).select(list(names)))
        return pa.concat_tables(tables)


def asked(table: pa.Table | WrittenTable, sql: str) -> pa.Table:
    """What a query, of which all is in memory, says of a table's rows, which it calls `rows`."""
    with spilling() as connection:
        if isinstance(table, WrittenTable):
            connection.execute(f"CREATE VIEW rows AS FROM {table.sql}")
        else:
            connection.register("rows", table)
        return connection.sql(sql).to_arrow_table()


class Written(Mapping[str, Any]):
    """The tables that are written so far, by name: a `WrittenTable` of those that grow with the photos.

    Args:
        folder: of the release.
        version: of counterset.
        write: writes whole tables and tells their files.

    Attributes:
        files: what release.json says of the files so far.
    """

    def __init__(
        self, folder: Path, version: str, write: Callable[[dict[str, pa.Table | Iterable[pa.Table]]], Files]
    ) -> None:
        self._folder, self._version, self._write = folder, version, write
        self.files: Files = {}
        self._tables: dict[str, pa.Table | WrittenTable] = {}

    def __getitem__(self, name: str) -> Any:
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def add(self, **tables: pa.Table | Iterable[pa.Table]) -> None:
        """Write whole tables, and splits whose rows come in parts, in order."""
        for name, table in tables.items():
            self._is_there(name, self._write({name: table}), table if isinstance(table, pa.Table) else None)

    def _is_there(self, name: str, files: Files, table: pa.Table | None = None) -> None:
        self.files |= files
        is_small = table is not None and name not in OF_PHOTOS
        paths = [self._folder / path for path in files_of(name, files)]
        self._tables[name] = table if is_small else WrittenTable(paths)

    @contextlib.contextmanager
    def growing(self, name: str) -> Iterator[GrowingTable]:
        """A table other than the splits whose rows come a few at a time."""
        table = GrowingTable(name, self._folder, self._version)
        try:
            yield table
            self._is_there(name, table.close())
        finally:
            table.abandon()


class GrowingTable:
    """Writes a table row group by row group: the same bytes as of all rows at once."""

    def __init__(self, name: str, folder: Path, version: str) -> None:
        self._name, self._folder, self._version = name, folder, version
        self._schema = TABLES[name]
        self._group_size = row_group_size(self._schema.arrow())
        self._waiting: list[pa.Table] = []
        self._last: pa.Table | None = None
        self._aside: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self._num_rows = 0

    def add(self, rows: pa.Table) -> None:
        """Some more rows, all of which come after those before in the order of the key.

        Raises:
            SchemaError: as `conform_after`.
        """
        if not rows.num_rows:
            return
        self._last = conform_after(self._last, rows, self._schema)
        self._waiting.append(self._last)
        if sum(part.num_rows for part in self._waiting) >= 4 * self._group_size:
            self._flush(is_end=False)

    def close(self) -> Files:
        """Write what waits, give the files their names, and describe them."""
        self._flush(is_end=True)
        if not self._aside:
            self._open()
        self.abandon()
        paths = file_names(self._name, self._num_rows, table_files.ROWS_PER_FILE)
        for aside, path in zip(self._aside, paths, strict=True):
            (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
            aside.rename(self._folder / path)
        return {path: describe_file(self._folder, path, self._name) for path in paths}

    def abandon(self) -> None:
        """Close the file that is open."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _flush(self, *, is_end: bool) -> None:
        table = pa.concat_tables(self._waiting) if self._waiting else self._schema.arrow().empty_table()
        start = 0
        while start < table.num_rows:
            room = table_files.ROWS_PER_FILE - self._num_rows % table_files.ROWS_PER_FILE
            part = table.slice(start, min(self._group_size, room))
            if part.num_rows < min(self._group_size, room) and not is_end:
                break
            if self._writer is None or room == table_files.ROWS_PER_FILE:
                self._open()
            assert self._writer is not None
            self._writer.write_table(
                part.replace_schema_metadata(self._writer.schema.metadata), row_group_size=self._group_size
            )
            start, self._num_rows = start + part.num_rows, self._num_rows + part.num_rows
        self._waiting = [table.slice(start)] if start < table.num_rows else []

    def _open(self) -> None:
        self.abandon()
        self._aside.append(self._folder / f".{self._name}-{len(self._aside)}.part")
        self._writer = open_parquet(self._aside[-1], self._schema, self._version)
