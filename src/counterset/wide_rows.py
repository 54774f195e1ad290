"""More rows than memory holds, in order, however wide they are.

DuckDB sorts narrow rows (`parquet_sql.spilling`). Of wide ones, such as candidates with their texts, it holds the more
at a time the wider they are, and it cannot put lists on disk meanwhile. Here rows are dealt to files by ranges of the
first column, and each file is sorted in memory.
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
"""Rows that are sorted in memory, and more where these would be more than `MAX_FILES`."""
MAX_FILES = 200
_SAMPLED = 100
"""Of so many rows one tells where ranges end."""


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
        key = by[0][0]
        whole, sample = Path(folder) / "whole.arrow", []
        with _writing(whole, held[0].schema) as writer:
            for part in itertools.chain(held, [further], parts):
                writer.write_table(part)
                sample.append(_keys(part[key])[::_SAMPLED])
        held.clear()
        edges = _edges(np.concatenate(sample))
        for number, path in enumerate(_dealt(whole, edges, key)):
            # Rows with the value of an edge, of which there may be any number, have a file of their own
            if number % 2 and by[1:] and by[1][1] == "ascending":
                yield from in_order(_stored(path), by[1:], num_rows)
            else:
                yield from _sorted(list(_stored(path)), by, num_rows)
            path.unlink()


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
        return np.array(column.cast(pa.binary()).to_pylist(), np.bytes_)
    return np.asarray(column.to_numpy())


def _edges(sample: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(E,) where the ranges of all rows end whose sample this is."""
    step = max(MAX_ROWS // _SAMPLED, len(sample) // MAX_FILES + 1)
    return np.unique(np.sort(sample)[step::step])


def _dealt(whole: Path, edges: npt.NDArray[Any], key: str) -> list[Path]:
    """The files to which the rows of a file are dealt, which is deleted: those below the first edge, those at it, those
    between it and the second, and so on."""
    paths = [whole.with_name(f"{number}.arrow") for number in range(2 * len(edges) + 1)]
    stored = _stored(whole)
    schema = next(stored).schema
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(_writing(path, schema)) for path in paths]
        while own := list(_up_to(MAX_ROWS, stored)):
            table = pa.concat_tables(own).combine_chunks()
            keys = _keys(table[key])
            number = np.searchsorted(edges, keys, side="left") + np.searchsorted(edges, keys, side="right")
            order = np.argsort(number, kind="stable")
            ends = np.cumsum(np.bincount(number, minlength=len(paths)))
            for writer, (start, end) in zip(writers, itertools.pairwise([0, *ends.tolist()]), strict=True):
                if end > start:
                    writer.write_table(table.take(pa.array(order[start:end])))
    whole.unlink()
    return paths


def _stored(path: Path) -> Iterator[pa.Table]:
    """What a file holds, part by part, the first of which has no rows."""
    with pa.OSFile(str(path)) as file:
        stored = pa.ipc.open_file(file)
        yield stored.schema.empty_table()
        for number in range(stored.num_record_batches):
            yield pa.Table.from_batches([stored.get_batch(number)])


@contextlib.contextmanager
def _writing(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatchFileWriter]:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    try:
        with pa.ipc.new_file(path, schema, options=options) as writer:
            yield writer
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise WorkspaceError(
            f"tables that do not fit into memory cannot be sorted in {path.parent} ({error}); free space there, or set "
            "TMPDIR to a folder with more"
        ) from error
