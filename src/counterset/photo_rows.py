"""Tables in the order of their photos: read in parts, as often as they are asked for, and side by side.

Of ten million photos no table is in memory: all that holds them is sorted by photo_id, so what belongs together is met
together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterset.parquet_sql import PART_ROWS, fill, parquet_sql
from counterset.schemas import TableSchema
from counterset.tables import TableRef, is_ascending, read_metadata, read_parts
from counterset.wide_rows import in_order


@dataclass(frozen=True)
class Rows:
    """A table whose rows are in the order of its key, of which photo_id is the first column.

    Attributes:
        schema: of each part with all columns.
        read: gives the parts, with all columns (None) or some; each time from the first on.
        paths: of Parquet files of this machine that hold just these rows; none = they lie elsewhere, or are not all.
    """

    schema: pa.Schema
    read: Callable[[Sequence[str] | None], Iterator[pa.Table]]
    paths: tuple[Path, ...] = ()

    @classmethod
    def of(cls, rows: pa.Table | Rows, key: Sequence[str]) -> Rows:
        """Those of a table in memory; others as they are."""
        if isinstance(rows, Rows):
            return rows
        table = _ordered(rows, key)

        def read(columns: Sequence[str] | None) -> Iterator[pa.Table]:
            wanted = table if columns is None else table.select(list(columns))
            return (wanted.slice(start, PART_ROWS) for start in range(0, len(table), PART_ROWS))

        return cls(table.schema, read)

    @classmethod
    def stored(cls, ref: TableRef, schema: TableSchema) -> Rows:
        """Those of a stage's file."""

        def read(columns: Sequence[str] | None) -> Iterator[pa.Table]:
            for part in read_parts(ref.path, schema, None if columns is None else list(columns), PART_ROWS):
                yield _select(part, columns)

        return cls(read_metadata(ref.path).schema.to_arrow_schema(), read)

    @classmethod
    def files(cls, paths: Sequence[Path]) -> Rows:
        """Those of Parquet files of this machine, one after another."""

        def read(columns: Sequence[str] | None) -> Iterator[pa.Table]:
            for path in paths:
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches(PART_ROWS, columns=None if columns is None else list(columns)):
                        yield _select(pa.Table.from_batches([batch]), columns)

        return cls(pq.read_schema(paths[0]), read, tuple(paths))

    @classmethod
    def written(cls, parts: Iterable[pa.Table], schema: pa.Schema, path: Path) -> Rows:
        """Rows that come in order, put into a file of this machine, which is read from then on: an Arrow file, for a
        Parquet file takes four times as long to write and to read."""
        with pa.ipc.new_file(path, schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            for part in parts:
                writer.write_table(part.cast(schema))

        def read(columns: Sequence[str] | None) -> Iterator[pa.Table]:
            wanted = None if columns is None else [schema.get_field_index(name) for name in columns]
            with pa.OSFile(str(path)) as file:
                stored = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=wanted))
                for number in range(stored.num_record_batches):
                    yield _select(pa.Table.from_batches([stored.get_batch(number)]), columns)

        return cls(schema, read)

    @classmethod
    def sorted(cls, parts: Iterable[pa.Table], schema: pa.Schema, path: Path, *then: tuple[str, str]) -> Rows:
        """The same of rows that come in any order, however wide; `then` decides among those of one photo, as for
        `wide_rows.in_order`.

        Raises:
            WorkspaceError: there is no room to sort them.
        """
        return cls.written(in_photo_order(parts, schema, *then), schema, path)

    @classmethod
    def merged(cls, several: Sequence[Rows], schema: TableSchema) -> Rows:
        """The rows of some tables of one schema, of each of which a part is in memory at a time; each has a
        photo once."""
        if len(several) == 1:
            return several[0]

        def read(columns: Sequence[str] | None) -> Iterator[pa.Table]:
            for part in _merged([rows.read(_with(columns, schema.key)) for rows in several]):
                yield _select(_ordered(part, schema.key), columns)

        return cls(schema.arrow(), read)

    def changed(self, change: Callable[[pa.Table], pa.Table]) -> Rows:
        """The same with something done to each part that leaves all rows where they are."""
        return Rows(self.schema, lambda columns: map(change, self.read(columns)))

    def reordered(self, key: Sequence[str], change: Callable[[pa.Table], pa.Table] = lambda part: part) -> Rows:
        """The same with something done to each part, and the rows of each photo in the order of another key, which
        begins with photo_id too."""

        def read(columns: Sequence[str] | None) -> Iterator[pa.Table]:
            for part in whole_photos(self.read(_with(columns, key))):
                yield _select(_ordered(change(part), key), columns)

        return Rows(self.schema, read)

    def where(self, name: str, value: str) -> Rows:
        """The rows of which a column has a value."""

        def read(columns: Sequence[str] | None) -> Iterator[pa.Table]:
            for part in self.read(_with(columns, [name])):
                yield _select(part.filter(pc.equal(part[name], value)), columns)

        return Rows(self.schema, read)

    def among(self, others: Rows) -> Rows:
        """The rows of photos that another table has."""

        def read(columns: Sequence[str] | None) -> Iterator[pa.Table]:
            known = Beside(others, [])
            for part in self.read(_with(columns, ["photo_id"])):
                is_known = pc.is_valid(known.of(part["photo_id"])["photo_id"])
                yield _select(part if pc.all(is_known).as_py() else part.filter(is_known), columns)

        return Rows(self.schema, read)

    def give(self, connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[str]) -> None:
        """Give DuckDB some columns under a name, as they lie there, or else as a table of its own."""
        if self.paths:
            names = ", ".join(f'"{column}"' for column in columns)
            connection.execute(f"CREATE VIEW {name} AS SELECT {names} FROM {parquet_sql(self.paths)}")
        else:
            empty = pa.schema([self.schema.field(column) for column in columns]).empty_table()
            fill(connection, name, itertools.chain([empty], self.read(columns)))

    def count(self) -> int:
        """How many there are."""
        return sum(map(len, self.read(["photo_id"])))

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows at once, of tables that are known to be small."""
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        return pa.concat_tables([schema.empty_table(), *self.read(columns)])


def in_photo_order(parts: Iterable[pa.Table], schema: pa.Schema, *then: tuple[str, str]) -> Iterator[pa.Table]:
    """The rows of some tables in the order of photo_id, in parts, once all were there; see `Rows.sorted`."""
    parts = (part.select(schema.names).cast(schema) for part in itertools.chain([schema.empty_table()], parts))
    return in_order(parts, [("photo_id", "ascending"), *then], PART_ROWS)


class Beside:
    """The rows of a table beside photos that come in ascending order. Of several rows of one photo the first counts.

    Args:
        rows: of the table.
        columns: those that are wanted.
    """

    def __init__(self, rows: Rows, columns: Sequence[str]) -> None:
        wanted = list(dict.fromkeys(("photo_id", *columns)))
        self._parts = iter(rows.read(wanted))
        self._held = pa.schema([rows.schema.field(name) for name in wanted]).empty_table()

    def of(self, photo_ids: pa.ChunkedArray) -> pa.Table:
        """(R,) the rows of R photos, all null where there is none; no photo comes before those asked for before."""
        if not len(photo_ids):
            return self._held.slice(0, 0)
        last = photo_ids[len(photo_ids) - 1]
        waiting = [self._held]
        while (not len(waiting[-1]) or waiting[-1]["photo_id"][-1].as_py() < last.as_py()) and (
            part := next(self._parts, None)
        ) is not None:
            waiting.append(part)
        held = pa.concat_tables(waiting).combine_chunks()
        self._held = held.slice(_num_before(held, last))
        if held["photo_id"].slice(0, len(photo_ids)).equals(photo_ids):  # as most tables of a build
            return held.slice(0, len(photo_ids))
        return held.take(pc.index_in(photo_ids, held["photo_id"].combine_chunks()))


def alongside(
    photos: Rows, columns: Sequence[str], others: Rows, other_columns: Sequence[str]
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The parts of a table with one row per photo, each with all rows of another table up to its last photo.

    Both are read with photo_id.
    """
    wanted = _with(other_columns, ["photo_id"])
    assert wanted is not None
    parts = others.read(wanted)
    held = pa.schema([others.schema.field(name) for name in wanted]).empty_table()
    for part in photos.read(_with(columns, ["photo_id"])):
        last, waiting = part["photo_id"][len(part) - 1], [held]
        while not len(waiting[-1]) or waiting[-1]["photo_id"][-1].as_py() <= last.as_py():
            if (more := next(parts, None)) is None:
                break
            waiting.append(more)
        held = pa.concat_tables(waiting)
        end = pc.sum(pc.less_equal(held["photo_id"], last)).as_py() or 0
        yield part, held.slice(0, end).combine_chunks()
        held = held.slice(end)


def _select(part: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    return part if columns is None else part.select(list(columns))


def _with(columns: Sequence[str] | None, more: Sequence[str]) -> list[str] | None:
    """These columns and some more, each once."""
    return None if columns is None else list(dict.fromkeys((*columns, *more)))


def _ordered(part: pa.Table, key: Sequence[str]) -> pa.Table:
    return part if is_ascending(part, key) else part.sort_by([(name, "ascending") for name in key])


def _num_before(rows: pa.Table, photo_id: pa.Scalar) -> int:
    return int(pc.sum(pc.less(rows["photo_id"], photo_id)).as_py() or 0)


def whole_photos(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of some parts in parts that end where a photo does."""
    held = list[pa.Table]()
    for part in filter(len, parts):
        table = pa.concat_tables([*held, part])
        end = _num_before(table, table["photo_id"][len(table) - 1])
        if end:
            yield table.slice(0, end)
        held = [table.slice(end)]
    yield from held


def _merged(sources: Iterable[Iterator[pa.Table]]) -> Iterator[pa.Table]:
    """The next rows of all sources, up to where a part of one of them ends."""
    open_ones = [_Source(source) for source in sources]
    while open_ones := [source for source in open_ones if source.reads_on()]:
        edge = min((source.last for source in open_ones), key=lambda last: str(last.as_py()))
        yield pa.concat_tables([source.until(edge) for source in open_ones])


class _Source:
    """A source that is merged with others, with a part in memory."""

    def __init__(self, parts: Iterator[pa.Table]) -> None:
        self._parts = filter(len, parts)
        self._held: pa.Table | None = None

    def reads_on(self) -> bool:
        """Whether there are rows left."""
        if self._held is None or not len(self._held):
            self._held = next(self._parts, None)
        return self._held is not None

    @property
    def last(self) -> pa.Scalar:
        """The last photo of the part."""
        assert self._held is not None
        return self._held["photo_id"][len(self._held) - 1]

    def until(self, photo_id: pa.Scalar) -> pa.Table:
        """The rows up to and with a photo."""
        rows = self._held
        assert rows is not None
        end = pc.sum(pc.less_equal(rows["photo_id"], photo_id)).as_py() or 0
        self._held = rows.slice(end)
        return rows.slice(0, end)
