"""Which base images are removed, and why.

Near-pruning (arXiv 2310.09562, section 3.2): for each query q, s(q) is its highest similarity to
the reference set; every base image that is more similar than s(q) to any q is removed, so that
base and reference leave the same gap to the queries. Far-pruning (section 5): of the rest, the N
most similar to any query are kept. Before both, duplicates are removed, as the authors did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from counterset.similarity.schemas import KEPT, REMOVED, PruneReason
from counterset.similarity.search import Ints
from counterset.tables import table_of

Floats32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]


class Cut(NamedTuple):
    """Where far-pruning cuts: kept are similarities above it, and those equal to it with an id up to `last_id`."""

    similarity: float
    last_id: str


class Decided(NamedTuple):
    """One shard's kept and removed images (`KEPT` and `REMOVED`)."""

    kept: pa.Table
    removed: pa.Table


def find_cut(shards: Callable[[], Iterable[tuple[Floats32, Callable[[], pa.Array]]]], keep: int) -> Cut | None:
    """The similarity of the `keep`-th most similar image, ties by id; None when there are no more than `keep`.

    Args:
        shards: gives, each time it is called, similarity and ids of every shard's images that
            are still there. It is called three times; only counts are kept between.
        keep: images to keep, at least 1.
    """
    # Bits of a float32 put into the order of its value: first by the upper 16, then by the lower 16.
    prefix, left = 0, keep
    for half in range(2):
        counts = np.zeros(1 << 16, np.int64)
        for similarity, _ in shards():
            bits = _ordered(similarity)
            part = bits >> 16 if half == 0 else bits[bits >> 16 == prefix] & 0xFFFF
            counts += np.bincount(part, minlength=1 << 16)
        if half == 0 and counts.sum() <= keep:
            return None
        above = counts[::-1].cumsum()[::-1]  # images in this bin and all higher ones
        place = int(np.flatnonzero(above >= left)[-1])
        left -= int(above[place] - counts[place])
        prefix = place if half == 0 else (prefix << 16) | place
    tied: list[str] = []
    value = np.float32(0)
    for similarity, ids in shards():
        equal = np.flatnonzero(_ordered(similarity) == prefix)
        if len(equal):
            value = similarity[equal[0]]
            tied += ids().take(pa.array(equal)).to_pylist()
    return Cut(float(value), sorted(tied)[left - 1])


def _ordered(similarity: Floats32) -> Ints:
    """(N,) unsigned integers in the order of the values; -0 is 0."""
    bits = (similarity + np.float32(0)).view(np.uint32).astype(np.int64)
    return np.where(bits >> 31, 0xFFFFFFFF - bits, bits | 0x80000000)


def decide(
    ids: pa.Array,
    query_ids: Objects,
    query_sets: Objects,
    *,
    duplicates: tuple[Ints, Objects, Floats32, float] | None = None,
    near: tuple[Ints, Ints, Floats32, Floats32] | None = None,
    far: tuple[Ints, Floats32, Cut | None] | None = None,
) -> Decided:
    """One shard's images, each kept or removed for the first reason that applies.

    Args:
        ids: (N,) of the shard.
        query_ids: (Q,).
        query_sets: (Q,).
        duplicates: rows, the ids they are duplicates of, similarities, and the limit.
        near: rows, their queries, similarities, and the (Q,) thresholds.
        far: (N,) nearest query, (N,) similarity to it, and the cut.
    """
    num_rows = len(ids)
    reason: Objects = np.full(num_rows, None, np.object_)
    query = np.full(num_rows, -1, np.int64)
    other: Objects = np.full(num_rows, None, np.object_)
    similarity = np.full(num_rows, np.nan, np.float32)
    threshold = np.full(num_rows, np.nan, np.float32)
    if far is not None:
        query, similarity = far[0].copy(), far[1].copy()
        if far[2] is not None:
            is_far = ~is_kept(similarity, ids, far[2])
            reason[is_far], threshold[is_far] = PruneReason.FAR.value, far[2].similarity
    if near is not None:
        rows, queries, similarities, thresholds = near
        reason[rows], query[rows] = PruneReason.NEAR.value, queries
        similarity[rows], threshold[rows] = similarities, thresholds[queries]
    if duplicates is not None:
        rows, others, similarities, limit = duplicates
        reason[rows], query[rows], other[rows] = PruneReason.DUPLICATE.value, -1, others
        similarity[rows], threshold[rows] = similarities, limit
    removed = reason != None  # noqa: E711 - element by element

    def rows_of(chosen: Bools) -> dict[str, pa.Array]:
        has_query = query[chosen] >= 0
        mask = ~has_query
        index = np.where(has_query, query[chosen], 0)
        return {
            "id": ids.filter(pa.array(chosen)),
            "query_id": pa.array(query_ids[index], pa.string(), mask=mask),
            "query_set": pa.array(query_sets[index], pa.string(), mask=mask),
            "similarity": pa.array(similarity[chosen], pa.float32(), mask=np.isnan(similarity[chosen])),
        }

    gone = rows_of(removed) | {
        "reason": pa.array(reason[removed], pa.string()),
        "duplicate_of": pa.array(other[removed], pa.string()),
        "threshold": pa.array(threshold[removed], pa.float32()),
    }
    return Decided(table_of(KEPT, rows_of(~removed)), table_of(REMOVED, gone))


def is_kept(similarity: Floats32, ids: pa.Array, cut: Cut) -> Bools:
    """(N,) whether far-pruning keeps each image."""
    limit = np.float32(cut.similarity)
    kept: Bools = similarity > limit
    for row in np.flatnonzero(similarity == limit):
        kept[row] = ids[int(row)].as_py() <= cut.last_id
    return kept
