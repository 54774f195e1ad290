"""Photos as numbers: the ids of a table's rows become places among the members once, and all else is joined by these.

The stages' files are sorted by photo_id, so the next rows are nearly always the next photos. Their ids are compared as
they lie, each text of a dictionary once, which costs a nanosecond or two; an index of texts takes a hundred, and a join
as many for every model. Of files that repeat the ids of other files, as a build's do, they are not even read.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.statistics.row_blocks import Block

Numbers: TypeAlias = npt.NDArray[np.int32]
"""Of photos and texts; int32, for they are read as often as there are answers."""


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
        self._first_of = dict[bytes | None, int]()

    def __len__(self) -> int:
        return self._number

    def let_go(self) -> None:
        """Hold no ids any more, a quarter of a gigabyte for ten million photos: no further place will be asked for."""
        self._ids = pa.chunked_array([], self._ids.type)
        pa.default_memory_pool().release_unused()  # which otherwise keeps what is freed

    def placed(self, block: Block, columns: Sequence[str]) -> Iterator[tuple[Numbers, pa.RecordBatch]]:
        """(R,) the places of the photos of a block's rows, and other columns of these rows; some rows at a time.

        Raises:
            WorkspaceError: a file is missing or damaged.
        """
        digest = block.digest("photo_id")
        first = self._first_of.get(digest)
        if first is not None:
            for batch in block.read(columns):
                yield np.arange(first, first + len(batch), dtype=np.int32), batch
                first += len(batch)
            self._next = first
            return
        found = [np.zeros(0, np.int32)]
        for batch in block.read(["photo_id", *columns]):
            place = self.places(batch.column("photo_id"))
            if digest is not None:
                found.append(place)
            yield place, batch
        places = np.concatenate(found)
        if len(places) and (np.diff(places) == 1).all():
            self._first_of[digest] = int(places[0])

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
