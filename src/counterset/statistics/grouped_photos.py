"""A build's photos by their number: of which class, group and half each is, and who took it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem
from scipy import sparse

from counterset.parquet_sql import parquet_sql
from counterset.statistics.observers import Ints
from counterset.statistics.photo_numbers import Numbers, PhotoNumbers, codes_of
from counterset.statistics.row_blocks import BATCH_ROWS, Rows, blocks
from counterset.tables import is_ascending


class Names:
    """Texts as numbers, in the order in which they are first met."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def codes(self, column: pa.Array) -> Numbers:
        """(R,) the number of each row's text; -1 for null."""
        codes, texts = codes_of(column)
        known = [self.numbers.setdefault(text, len(self.numbers)) for text in texts.to_pylist()]
        return np.array([*known, -1], np.int32)[codes]

    def ranks(self, names: Sequence[str]) -> Numbers:
        """(K + 1,) the place of each number's text in `names`, -1 for one that is not there and for null."""
        place_of = {name: place for place, name in enumerate(names)}
        return np.array([*(place_of.get(text, -1) for text in self.numbers), -1], np.int32)


@dataclass(frozen=True)
class GroupedPhotos:
    """N photos by their number, and one number more, N, for photos that are none of them.

    A stratum is a half of a group of a class that has photos.

    Attributes:
        numbers: places of photo ids.
        class_ids, groups: their names, in alphabetical order.
        codes: (S,) of the strata, ascending: (class * number of groups + group) * 2, one more for confirm.
        stratum: (N + 1,) of each photo, an index into `codes`; S = it has no group, or its class does not count.
        margin: (N + 1,) the annotator's.
        labels: name -> (N,) numbers of texts, the same on every machine; 0 = null.
    """

    numbers: PhotoNumbers
    class_ids: list[str]
    groups: list[str]
    codes: Ints
    stratum: Numbers
    margin: npt.NDArray[np.float32]
    labels: dict[str, npt.NDArray[np.uint64]]

    @functools.cached_property
    def num_photos(self) -> Ints:
        """(S,) photos of each stratum."""
        counted = np.zeros(len(self.codes) + 1, np.int64)
        for start in range(0, len(self.stratum) - 1, BATCH_ROWS):  # bincount makes a wider copy of what it counts
            counted += np.bincount(self.stratum[:-1][start : start + BATCH_ROWS], minlength=len(counted))
        return counted[:-1]

    def by_class(self) -> Iterator[tuple[slice, Numbers]]:
        """Of each class: its strata, and its photos by stratum."""
        # Counted and laid down in their places, which is a tenth of the work of sorting: (N,) in the order of strata
        number = len(self.stratum) - 1
        columns = (np.ones(number, np.int8), self.stratum[:-1], np.arange(number + 1, dtype=np.int32))
        order = sparse.csc_array(columns, shape=(len(self.codes) + 1, number)).tocsr().indices
        bounds = np.searchsorted(self.codes, 2 * len(self.groups) * np.arange(len(self.class_ids) + 1))
        ends = np.concatenate([[0], np.cumsum(self.num_photos)])[bounds]
        for number in range(len(self.class_ids)):
            yield slice(bounds[number], bounds[number + 1]), order[ends[number] : ends[number + 1]]


def group_photos(
    members: Rows, backgrounds: Rows, labels: Mapping[str, str], class_ids: Sequence[str] | None = None
) -> GroupedPhotos:
    """The members with their groups.

    Args:
        members: photo_id, class_id, half and what labels are made of are read.
        backgrounds: photo_id, group, margin are read.
        labels: name -> SQL of a text of members.
        class_ids: those that count; None = all.
    """
    number = members.num_rows if isinstance(members, pa.Table) else members.count_rows()
    classes, is_confirm = np.zeros(number, np.int32), np.zeros(number, np.bool_)
    found = {name: np.zeros(number, np.uint64) for name in labels}
    names, photo_ids, start = Names(), [], 0
    for batch in _selected(members, labels):
        rows = slice(start, start + len(batch))
        start = rows.stop
        # Copied, for one column of DuckDB's holds all others of its batch
        photo_ids.append(batch.column("photo_id").take(pa.array(np.arange(len(batch)))))
        classes[rows] = names.codes(batch.column("class_id"))
        is_confirm[rows] = batch.column("is_confirm").to_numpy(zero_copy_only=False)
        for name, column in found.items():
            column[rows] = batch.column(name)
    ids = pa.chunked_array(photo_ids, pa.string())
    del photo_ids
    if not is_ascending(pa.table({"photo_id": ids}), ["photo_id"]):  # never so of a stage's file
        order = np.asarray(pc.sort_indices(ids))
        ids, classes, is_confirm = ids.take(pa.array(order)), classes[order], is_confirm[order]
        found = {name: column[order] for name, column in found.items()}
    wanted = sorted(names.numbers if class_ids is None else class_ids)
    numbers = PhotoNumbers(ids)
    del ids  # a fifth of a gigabyte for ten million photos
    group_of, margin, groups = _groups(backgrounds, numbers)
    class_of, none = names.ranks(wanted), 2 * len(wanted) * len(groups)
    is_there, stratum = np.zeros(none + 1, np.bool_), np.empty(number + 1, np.int32)
    blocks = [slice(start, min(start + BATCH_ROWS, number)) for start in range(0, number, BATCH_ROWS)]
    for block in blocks:  # of millions of photos each step in between would be as large as their ids
        own_class, own_group = class_of[classes[block]], group_of[block]
        code = (own_class * len(groups) + own_group) * 2 + is_confirm[block]
        stratum[block] = np.where((own_class >= 0) & (own_group >= 0), code, none)
        is_there[stratum[block]] = True
    codes = np.flatnonzero(is_there[:-1])
    place_of = np.append(np.cumsum(is_there[:-1]) - 1, len(codes)).astype(np.int32)
    stratum[-1] = none
    for block in [*blocks, slice(number, number + 1)]:
        stratum[block] = place_of[stratum[block]]
    return GroupedPhotos(numbers, wanted, groups, codes, stratum, margin, found)


def _selected(members: Rows, labels: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """photo_id, class_id, is_confirm and labels, by MD5, which is the same everywhere, so their order is too."""
    hashed = "".join(f", coalesce(md5_number_lower({sql}), 0) AS {name}" for name, sql in labels.items())
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1; SET enable_progress_bar = false")
        source = "members"
        if (
            isinstance(members, ds.FileSystemDataset)
            and isinstance(members.format, ds.ParquetFileFormat)
            and isinstance(members.filesystem, LocalFileSystem)
        ):
            source = parquet_sql(members.files)  # DuckDB itself is faster
        else:
            connection.register(source, members)
        sql = f"SELECT photo_id, class_id, half = 'confirm' AS is_confirm{hashed} FROM {source}"
        yield from connection.sql(sql).to_arrow_reader(BATCH_ROWS)


def _groups(
    backgrounds: Rows, numbers: PhotoNumbers
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], list[str]]:
    """(N,) each photo's group, -1 = none; (N + 1,) its margin; and the groups' names in order."""
    number, names = len(numbers), Names()
    group_of, margin = np.full(number + 1, -1, np.int32), np.zeros(number + 1, np.float32)
    for block in blocks(backgrounds):
        for place, batch in numbers.placed(block, ["group", "margin"]):
            group_of[place] = names.codes(batch.column("group"))
            margin[place] = batch.column("margin")
    groups = sorted(names.numbers)
    return names.ranks(groups)[group_of[:-1]], margin, groups
