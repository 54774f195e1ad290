"""Parquet files in DuckDB's SQL, and more rows there than memory holds.

DuckDB takes the names of files for patterns, so that `o[1]/x.parquet` reads `o1/x.parquet` where that
is there, and takes columns from names of folders such as `id=5`. Whoever names a file means that file.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.errors import WorkspaceError
from counterset.wide_rows import in_order

MEMORY_LIMIT = "300MB"
"""What a `spilling` DuckDB holds."""
PART_ROWS = 20_000
"""Rows that go in or come out at a time."""

Small = npt.NDArray[np.int32]
"""Numbers of rows, of which there may be ten million."""


def parquet_sql(files: Iterable[Path | str]) -> str:
    """The SQL that reads some Parquet files of this machine, at least one, whatever their names."""
    names = ", ".join("'" + glob.escape(str(file)).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{names}], hive_partitioning = false)"


_idle: list[duckdb.DuckDBPyConnection] = []
"""DuckDBs that no block uses and that hold nothing: to open one takes ten times as long as to use one again."""


@contextlib.contextmanager
def spilling(memory_limit: str = MEMORY_LIMIT) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of one thread that holds `memory_limit` at most; the rest lies on disk while the block runs. Queries
    whose order matters say it.

    Raises:
        WorkspaceError: there is no room for the rest, or a file that is read is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="counterset-") as scratch, contextlib.ExitStack() as stack:
        opened = stack.enter_context(_opened())
        opened.execute(f"SET memory_limit = '{memory_limit}'")
        opened.execute("SET temp_directory = '{}'".format(scratch.replace("'", "''")))
        opened.execute("ATTACH ':memory:' AS block")
        with opened.cursor() as connection:
            connection.execute("USE block")
            try:
                yield connection
            except duckdb.OperationalError as error:
                if isinstance(error, duckdb.OutOfMemoryException) and "temp_directory" not in str(error):
                    raise WorkspaceError(
                        f"tables of this size cannot be sorted in {memory_limit} of memory ({_words(error)}); this is "
                        "a fault of counterset: please report it, with the number of photos"
                    ) from error
                raise WorkspaceError(
                    f"tables that do not fit into memory cannot be sorted in {scratch} ({_words(error)}); free space "
                    "there, or set TMPDIR to a folder with more"
                ) from error
        opened.execute("DETACH block")
        if not os.listdir(scratch):  # one that has spilled keeps to its folder
            stack.pop_all()
            _idle.append(opened)


def _opened() -> duckdb.DuckDBPyConnection:
    try:
        return _idle.pop()
    except IndexError:
        connection = duckdb.connect(":memory:", config={"threads": 1, "preserve_insertion_order": False})
        connection.execute("SET enable_progress_bar = false")
        return connection


def fill(connection: duckdb.DuckDBPyConnection, name: str, parts: Iterable[pa.Table]) -> None:
    """A table of DuckDB's from the parts of one, at least one part; the first one's types count. Small ones go in
    together, for each takes DuckDB a millisecond."""
    pending: list[pa.Table] = []
    for number, part in enumerate(parts):
        if not number:
            connection.register("part", part)
            connection.execute(f"CREATE TABLE {name} AS FROM part LIMIT 0")
            connection.unregister("part")
        pending.append(part)
        if sum(map(len, pending)) >= PART_ROWS:
            add(connection, name, pa.concat_tables(pending, promote_options="permissive"))
            pending = []
    if pending:
        add(connection, name, pa.concat_tables(pending, promote_options="permissive"))


def add(connection: duckdb.DuckDBPyConnection, name: str, part: pa.Table) -> None:
    """Add the rows of a part to a table of DuckDB's."""
    connection.register("part", part)
    connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM part")
    connection.unregister("part")


def rows_of(connection: duckdb.DuckDBPyConnection, sql: str, num_rows: int = PART_ROWS) -> Iterator[pa.Table]:
    """What a query of a `spilling` DuckDB gives, in parts of at most `num_rows` rows. It can be asked something else
    meanwhile."""
    cursor = connection.cursor()
    cursor.execute("USE block")
    yield from in_parts(cursor.sql(sql), num_rows)


def in_parts(told: duckdb.DuckDBPyRelation, num_rows: int = PART_ROWS) -> Iterator[pa.Table]:
    """The rows of a query in such parts."""
    reader = told.to_arrow_reader(num_rows)
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except OSError as error:  # pyarrow's, for what DuckDB says while it is read
            if str(error).startswith("Out of Memory Error"):
                raise duckdb.OutOfMemoryException(str(error)) from error
            if "No space left" in str(error):
                raise duckdb.OperationalError(str(error)) from error
            raise
        yield pa.Table.from_batches([batch])


def sorted_rows(connection: duckdb.DuckDBPyConnection, query: str, by: Sequence[str]) -> Iterator[pa.Table]:
    """What a query with a join gives, in ascending order of columns as for `in_order`, in such parts. DuckDB joins and
    does not sort: at a time the two hold more than it can put on disk, the more the more rows there are. The query has
    ended when the first part comes."""
    told = connection.sql(query)
    parts = itertools.chain([told.limit(0).to_arrow_table()], in_parts(told))
    return in_order(parts, [(name, "ascending") for name in by], PART_ROWS)


def by_row(connection: duckdb.DuckDBPyConnection, query: str, numbers: Small) -> Small:
    """The numbers, with those that a query of rows and numbers tells."""
    for part in rows_of(connection, query):
        row, number = (column.to_numpy() for column in part.columns)
        numbers[row] = number
    return numbers


def runs(parts: Iterable[pa.Table], name: str) -> Iterator[tuple[Any, pa.Table]]:
    """The rows of some tables by the value of a column by which they are sorted, and of which none is null."""
    pending: list[pa.Table] = []
    for part in filter(len, parts):
        values = part[name]
        starts = np.flatnonzero(pc.not_equal(values.slice(1), values.slice(0, len(values) - 1)).to_numpy()) + 1
        edges = [0, *starts.tolist(), len(part)]
        for start, end in itertools.pairwise(edges):
            if pending and pending[0][name][0] != values[start]:
                yield pending[0][name][0].as_py(), pa.concat_tables(pending)
                pending = []
            pending.append(part.slice(start, end - start))
    if pending:
        yield pending[0][name][0].as_py(), pa.concat_tables(pending)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
