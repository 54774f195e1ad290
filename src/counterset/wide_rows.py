"""More rows than memory holds, in order, however wide they are.

DuckDB sorts narrow rows (`parquet_sql.spilling`). Of wide ones, such as candidates with their texts, and of what it
joins meanwhile it holds the more at a time the more there are, and it cannot put lists on disk. Here rows are dealt to
files by ranges of the first column, and each file is sorted in memory (`in_order`). Where rows come in order and are
wanted class by class or shard by shard, they are dealt by that number alone (`by_number`).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.errors import WorkspaceError

MAX_ROWS = 100_000
"""Rows that are sorted in memory, or twice as many."""
MAX_FILES = 100
"""So many ranges, and a file beside each for the rows at its end, are open at a time."""
_SAMPLED = 100
"""Of so many rows one tells where ranges end."""
_KEY_BYTES = 64
"""Of a text, by which its row is dealt; all of it counts where rows are sorted."""


def in_order(parts: Iterable[pa.Table], by: Sequence[tuple[str, str]], num_rows: int) -> Iterator[pa.Table]:
    """The rows of some tables, at least one, sorted, in parts of at most `num_rows`.

    Args:
        parts: of one schema, in any order.
        by: columns, of numbers or texts without nulls, and "ascending" or "descending", the first ascending. Rows that
            have the values of all columns before a descending one in common, or of all, are in memory together.
        num_rows: of a part.

    Raises:
        WorkspaceError: there is no room for the files.
    """
    parts = iter(parts)
    held = list(_up_to(MAX_ROWS, parts))
    further = next(parts, None)
    if further is None:
        yield from _sorted(held, by, num_rows)
        return
    with tempfile.TemporaryDirectory(prefix="counterset-") as folder:
        key, rng, size = by[0][0], np.random.default_rng(0), 0
        whole, sample = Path(folder) / "whole.arrow", []
        with _writing(whole, held[0].schema) as writer:
            for part in itertools.chain(held, [further], parts):
                writer.write_table(part)
                sample.append(_keys(part[key])[rng.random(len(part)) < 1 / _SAMPLED])
                size += len(part)
        held.clear()
        for path, own in _dealt(whole, _edges(np.concatenate(sample)), key):
            if own > 2 * MAX_ROWS and by[1:] and by[1][1] == "ascending" and _is_one(path, key):
                yield from in_order(_stored(path), by[1:], num_rows)
            elif 2 * MAX_ROWS < own < size:
                yield from in_order(_stored(path), by, num_rows)
            else:
                yield from _sorted(list(_stored(path)), by, num_rows)
            path.unlink()


@contextlib.contextmanager
def by_number(schema: pa.Schema, name: str, size: int) -> Iterator[ByNumber]:
    """Rows that are wanted by the number that each has, of which there are few: dealt to files once, not sorted.

    Args:
        schema: of the rows.
        name: of the column with the numbers, without nulls, all below `size`.
        size: how many numbers there are.

    Raises:
        WorkspaceError: there is no room for the files.
    """
    with tempfile.TemporaryDirectory(prefix="counterset-") as folder:
        dealt = ByNumber(Path(folder) / "dealt.arrow", schema, name, size)
        try:
            yield dealt
        finally:
            dealt.abandon()


class ByNumber:
    """Makes what `by_number` says."""

    def __init__(self, path: Path, schema: pa.Schema, name: str, size: int) -> None:
        self._path, self._schema, self._name = path, schema, name
        self._per_range = -(-size // MAX_FILES)
        self._waiting: list[pa.Table] = []
        self._writer: pa.RecordBatchFileWriter | None = None
        self._num_batches = 0
        # The batches of each range of numbers
        self._batches: dict[int, list[int]] = {}

    def add(self, rows: pa.Table) -> None:
        """Some more rows."""
        self._waiting.append(rows.select(self._schema.names).cast(self._schema))
        if sum(map(len, self._waiting)) >= MAX_ROWS:
            self._put_down()

    def read(self) -> Iterator[tuple[int, pa.Table]]:
        """All rows, once: each number that rows have, ascending, with these in the order in which they came."""
        if self._writer is None:
            yield from self._grouped(self._waiting, 1)
            return
        self._put_down()
        self.abandon()
        with pa.OSFile(str(self._path)) as file:
            stored = pa.ipc.open_file(file)
            for of_range in sorted(self._batches):
                own = [pa.Table.from_batches([stored.get_batch(number)]) for number in self._batches[of_range]]
                yield from self._grouped(own, 1)

    def abandon(self) -> None:
        """Close the file if it is open."""
        if self._writer is not None:
            with _room(self._path):
                self._writer.close()
            self._writer = None

    def _put_down(self) -> None:
        with _room(self._path):
            if self._writer is None:
                self._writer = _file(self._path, self._schema)
            for of_range, rows in self._grouped(self._waiting, self._per_range):
                for batch in rows.to_batches():
                    self._writer.write_batch(batch)
                    self._batches.setdefault(of_range, []).append(self._num_batches)
                    self._num_batches += 1
        self._waiting = []

    def _grouped(self, parts: list[pa.Table], per_range: int) -> Iterator[tuple[int, pa.Table]]:
        """The rows of some tables by range of so many numbers."""
        table = pa.concat_tables([self._schema.empty_table(), *parts]).combine_chunks()
        number = table[self._name].to_numpy() // per_range
        order = np.argsort(number, kind="stable")
        number, table = number[order], table.take(pa.array(order)).combine_chunks()
        ends = np.flatnonzero(np.diff(number, append=-1)) + 1
        for start, end in itertools.pairwise([0, *ends.tolist()]):
            yield int(number[start]), table.slice(start, end - start)


def _up_to(num_rows: int, parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The first parts, until there are so many rows or more."""
    size = 0
    for part in parts:
        yield part
        size += len(part)
        if size >= num_rows:
            return


def _sorted(parts: list[pa.Table], by: Sequence[tuple[str, str]], num_rows: int) -> Iterator[pa.Table]:
    table = pa.concat_tables(parts).combine_chunks()
    order = pc.sort_indices(table, sort_keys=list(by))
    for start in range(0, len(order), num_rows):
        yield table.take(order.slice(start, num_rows))


def _keys(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """(N,) numbers as they are, texts as bytes: these have one order everywhere."""
    if pa.types.is_string(column.type):
        return np.array(pc.binary_slice(column.cast(pa.binary()), 0, _KEY_BYTES).to_pylist(), np.bytes_)
    return np.asarray(column.to_numpy())


def _edges(sample: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(E,) where the ranges of all rows end whose sample this is."""
    step = max(MAX_ROWS // _SAMPLED, len(sample) // MAX_FILES + 1)
    return np.unique(np.sort(sample)[step::step])


def _dealt(whole: Path, edges: npt.NDArray[Any], key: str) -> list[tuple[Path, int]]:
    """The files to which the rows of a file are dealt, which is deleted, and the number of rows of each: those below
    the first edge, those at it, of which there may be any number, those between it and the second, and so on."""
    paths = [whole.with_name(f"{number}.arrow") for number in range(2 * len(edges) + 1)]
    stored, num_rows = _stored(whole), np.zeros(len(paths), np.int64)
    schema = next(stored).schema
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(_writing(path, schema)) for path in paths]
        while own := list(_up_to(MAX_ROWS, stored)):
            table = pa.concat_tables(own).combine_chunks()
            keys = _keys(table[key])
            number = np.searchsorted(edges, keys, side="left") + np.searchsorted(edges, keys, side="right")
            order = np.argsort(number, kind="stable")
            own_rows = np.bincount(number, minlength=len(paths))
            num_rows += own_rows
            ends = np.cumsum(own_rows)
            for writer, (start, end) in zip(writers, itertools.pairwise([0, *ends.tolist()]), strict=True):
                if end > start:
                    writer.write_table(table.take(pa.array(order[start:end])))
    whole.unlink()
    return list(zip(paths, num_rows.tolist(), strict=True))


def _is_one(path: Path, key: str) -> bool:
    """Whether all rows of a file have one value."""
    each = [part[key].unique() for part in _stored(path) if len(part)]
    return len(pa.chunked_array(each).unique()) == 1


def _stored(path: Path) -> Iterator[pa.Table]:
    """What a file holds, part by part, the first of which has no rows."""
    with pa.OSFile(str(path)) as file:
        stored = pa.ipc.open_file(file)
        yield stored.schema.empty_table()
        for number in range(stored.num_record_batches):
            yield pa.Table.from_batches([stored.get_batch(number)])


@contextlib.contextmanager
def _writing(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatchFileWriter]:
    with _room(path), _file(path, schema) as writer:
        yield writer


def _file(path: Path, schema: pa.Schema) -> pa.RecordBatchFileWriter:
    return pa.ipc.new_file(path, schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))


@contextlib.contextmanager
def _room(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise WorkspaceError(
            f"tables that do not fit into memory cannot be sorted in {path.parent} ({error}); free space there, or set "
            "TMPDIR to a folder with more"
        ) from error
