"""Photos as numbers: the ids of a table's rows become places among the members once, and all else is joined by these.

The stages' files are sorted by photo_id, so the next rows are nearly always the next photos. Their ids are compared as
they lie, each text of a dictionary once, which costs a nanosecond or two; an index of texts takes a hundred, and a join
as many for every model.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from counterset.errors import WorkspaceError

Rows: TypeAlias = pa.Table | ds.Dataset
"""A table in memory, or a dataset on disk that is read as it streams by."""
Numbers: TypeAlias = npt.NDArray[np.int32]
"""Of photos and texts; int32, for they are read as often as there are answers."""

BATCH_ROWS = 1 << 17
"""Rows that are in memory at once."""
MOST_BYTES_PER_ROW = 10
"""Of a column with a dictionary that repeats its texts: ids of 21 bytes that came once took a third longer by it."""


def batches(rows: Rows, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows in their order, some at a time; texts that repeat as dictionaries where a Parquet file has them so.

    Raises:
        WorkspaceError: a file is missing or damaged.
    """
    if isinstance(rows, pa.Table):
        yield from rows.select(list(columns)).to_batches(max_chunksize=BATCH_ROWS)
    elif isinstance(rows, ds.FileSystemDataset) and isinstance(rows.format, ds.ParquetFileFormat):
        for path in rows.files:
            try:
                with rows.filesystem.open_input_file(path) as file:
                    metadata = pq.read_metadata(file)
                    options = {"read_dictionary": _dictionaries(metadata), "page_checksum_verification": True}
                    opened = pq.ParquetFile(file, metadata=metadata, **options)
                    yield from opened.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False)
            except (OSError, pa.ArrowInvalid) as error:
                raise WorkspaceError(f"{path} cannot be read ({str(error)[:200]}); delete it and run again") from error
    else:
        yield from rows.to_batches(columns=list(columns))


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


def codes_of(column: pa.Array) -> tuple[Numbers, pa.Array]:
    """(R,) the place of each row's text in the different texts, -1 for null; and these."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    indices = column.indices
    return np.asarray(indices.fill_null(-1) if indices.null_count else indices, np.int32), column.dictionary


class PhotoNumbers:
    """The places of photos among some whose ids are sorted.

    Args:
        photo_ids: of all rows of a table, in ascending order, each once.
    """

    def __init__(self, photo_ids: pa.ChunkedArray) -> None:
        self._ids, self._next = photo_ids, 0
        self._number = len(photo_ids)

    def __len__(self) -> int:
        return self._number

    def let_go(self) -> None:
        """Hold no ids any more, a quarter of a gigabyte for ten million photos: no further place will be asked for."""
        self._ids = pa.chunked_array([], self._ids.type)
        pa.default_memory_pool().release_unused()  # which otherwise keeps what is freed

    def places(self, photo_ids: pa.Array) -> Numbers:
        """(R,) the place of each row's photo; the number of photos = it is none of them."""
        if not len(photo_ids):
            return np.zeros(0, np.int32)
        if not pa.types.is_dictionary(photo_ids.type):
            start = self._next if self._next < len(self) else 0
            if self._are(start, photo_ids):
                self._next = start + len(photo_ids)
                return np.arange(start, self._next, dtype=np.int32)
        codes, texts = codes_of(photo_ids)
        low, high = int(codes.min()), int(codes.max())
        if low >= 0:
            # Where texts lie in the order of their first rows, these are photos after photos, whatever order rows have
            own = texts.slice(low, high - low + 1)
            start = self._start(own[0].as_py())
            if self._are(start, own):
                self._next = start + len(own)
                return np.asarray(codes + np.int32(start - low), np.int32)
        return np.asarray(self._looked_up(texts)[codes], np.int32)

    def _are(self, start: int, texts: pa.Array) -> bool:
        """Whether the photos from a place on are these."""
        return bool(self._ids.slice(start, len(texts)).equals(pa.chunked_array([self._alike(texts)])))

    def _alike(self, texts: pa.Array) -> pa.Array:
        return texts if texts.type == self._ids.type else texts.cast(self._ids.type)

    def _start(self, photo_id: str) -> int:
        """Where rows that begin with this photo would lie."""
        for place in (self._next, self._next - 1):  # a photo's rows may lie in two batches
            if 0 <= place < len(self) and self._ids[place].as_py() == photo_id:
                return place
        return self._first(photo_id, bisect.bisect_left)

    def _first(self, photo_id: str, side: object) -> int:
        return int(side(range(len(self)), photo_id, key=lambda place: self._ids[place].as_py()))  # type: ignore[operator]

    def _looked_up(self, texts: pa.Array) -> Numbers:
        """(T + 1,) the places of different texts, and of null; only what lies between them is made an index of."""
        texts = self._alike(texts)
        ends = pc.min_max(texts)
        if not ends["min"].is_valid:
            return np.full(len(texts) + 1, len(self), np.int32)
        low = self._first(ends["min"].as_py(), bisect.bisect_left)
        high = self._first(ends["max"].as_py(), bisect.bisect_right)
        found = pc.index_in(texts, value_set=self._ids.slice(low, high - low))
        return np.append(np.asarray(pc.fill_null(found, len(self) - low)) + low, len(self)).astype(np.int32)
