"""Rows of tables in their order, some at a time, and of Parquet files only what is not known without decoding them.

A build has a file per model: it names one model, and the ids of its photos lie there in the same bytes as in the files
of all other models. These texts were most of what reading answers took.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from counterset.errors import WorkspaceError

Rows: TypeAlias = pa.Table | ds.Dataset
"""A table in memory, or a dataset on disk that is read as it streams by."""

BATCH_ROWS = 1 << 17
"""Rows that are in memory at once."""
MOST_BYTES_PER_ROW = 10
"""Of a column with a dictionary that repeats its texts: ids of 21 bytes that came once took a third longer by it."""


class Block:
    """Some rows, of which nothing is known before they are read.

    Args:
        rows: a table or dataset.

    Attributes:
        only: column -> the text that all rows have there, of the columns of which this is known.
    """

    only: Mapping[str, str] = {}

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def digest(self, column: str) -> bytes | None:
        """Of how a column lies on disk: blocks with the same one have the same values there. None = not known."""
        return None

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows, some at a time; texts that repeat may be dictionaries.

        Raises:
            WorkspaceError: a file is missing or damaged.
        """
        if isinstance(self._rows, pa.Table):
            yield from self._rows.select(list(columns)).to_batches(max_chunksize=BATCH_ROWS)
        else:
            yield from self._rows.to_batches(columns=list(columns))


class _RowGroups(Block):
    """Row groups of a Parquet file, one after another."""

    def __init__(
        self, path: str, source: pa.NativeFile, parquet: pq.ParquetFile, only: Mapping[str, str], numbers: range
    ) -> None:
        self._path, self._source, self._parquet, self.only, self._numbers = path, source, parquet, only, numbers

    def digest(self, column: str) -> bytes | None:
        metadata = self._parquet.metadata
        groups = [metadata.row_group(number) for number in self._numbers]
        if sum(group.num_rows for group in groups) > BATCH_ROWS:
            return None  # it may be any size, and is read as a whole
        place, digest = metadata.schema.names.index(column), hashlib.sha256()
        with _readable(self._path):
            for chunk in (group.column(place) for group in groups):
                start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
                digest.update(f"{chunk.physical_type} {chunk.compression} {chunk.num_values}".encode())
                digest.update(self._source.read_at(chunk.total_compressed_size, start))
        return digest.digest()

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        options = {"columns": [name for name in columns if name not in self.only], "use_threads": False}
        with _readable(self._path):
            for batch in self._parquet.iter_batches(BATCH_ROWS, row_groups=self._numbers, **options):
                yield pa.record_batch({name: self._column(batch, name) for name in columns})

    def _column(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        if name not in self.only:
            return batch.column(name)
        return pa.DictionaryArray.from_arrays(_zeros().slice(0, len(batch)), [self.only[name]], safe=False)


@functools.cache
def _zeros() -> pa.Array:
    """(BATCH_ROWS,) places of the first text, of which every column that has no other takes as many as it has rows."""
    return pa.array(np.zeros(BATCH_ROWS, np.int32))


def blocks(rows: Rows) -> Iterator[Block]:
    """Rows in their order; of a Parquet file as many row groups at a time as are one batch, or one larger one.

    Raises:
        WorkspaceError: a file is missing or damaged.
    """
    if not (isinstance(rows, ds.FileSystemDataset) and isinstance(rows.format, ds.ParquetFileFormat)):
        yield Block(rows)
        return
    for path in rows.files:
        with contextlib.ExitStack() as stack:
            with _readable(path):
                source = stack.enter_context(rows.filesystem.open_input_file(path))
                metadata = pq.read_metadata(source)
                options = {"read_dictionary": _dictionaries(metadata), "page_checksum_verification": True}
                parquet = pq.ParquetFile(source, metadata=metadata, **options)
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            texts = {
                name: _only_text(group.column(place) for group in groups)
                for place, name in enumerate(metadata.schema.names)
            }
            only = {name: text for name, text in texts.items() if text is not None}
            at_once = max(BATCH_ROWS // max(groups[0].num_rows, 1), 1) if groups else 1
            for start in range(0, len(groups), at_once):
                yield _RowGroups(path, source, parquet, only, range(start, min(start + at_once, len(groups))))


def _only_text(column: Iterable[pq.ColumnChunkMetaData]) -> str | None:
    """The text that a column has in all rows, as the statistics of its row groups say."""
    ends = set[Any]()
    for chunk in column:
        said = chunk.statistics
        if said is None or not said.has_min_max or said.null_count != 0:
            return None
        ends |= {said.min, said.max}
        if len(ends) > 1:
            return None
    text = ends.pop() if ends else None
    return text if isinstance(text, str) else None


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        raise WorkspaceError(f"{path} cannot be read ({str(error)[:200]}); delete it and run again") from error


def _dictionaries(metadata: pq.FileMetaData) -> list[str]:
    """The text columns that a file holds as dictionaries, but for those whose texts are nearly all different: reading
    these as they are is quicker."""
    if not metadata.num_row_groups:
        return []
    columns = [metadata.row_group(0).column(number) for number in range(metadata.num_columns)]
    return [
        one.path_in_schema
        for one in columns
        if one.physical_type == "BYTE_ARRAY"
        and one.has_dictionary_page
        and one.total_uncompressed_size < MOST_BYTES_PER_ROW * one.num_values
    ]
