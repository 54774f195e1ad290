"""Semantic de-duplication within k-means clusters, over shards.

As before the core split of arXiv 2310.09562 (and SemDeDup, arXiv 2303.09540): vectors are put
into k-means clusters, and within a cluster those that are more similar than a limit are one.
The order within a cluster is: farthest from the centroid first, ties by position. Of equal
vectors the first stands for all. A vector is a duplicate when any vector before it is more
similar than the limit; it is said to be one of the most similar of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

from counterset.similarity.embedding_sets import EmbeddingSet, Vectors
from counterset.similarity.search import Ints, exact_pairs, nearest, pairs_above

SAMPLE_PER_CLUSTER = 64
MAX_SAMPLE = 500_000
"""Vectors that the centroids are learnt from: bounds the memory."""
_ITERATIONS = 12
_BLOCK = 4_096


class Assigned(NamedTuple):
    """One shard's vectors by cluster: (N,) index of the centroid, (N,) similarity to it."""

    cluster: Ints
    similarity: npt.NDArray[np.float32]


class Duplicates(NamedTuple):
    """(P,) index of a member, (P,) index of the one that stands before it, (P,) similarity."""

    member: Ints
    other: Ints
    similarity: npt.NDArray[np.float32]


def default_clusters(num_rows: int) -> int:
    """As many clusters as a cluster has vectors."""
    return max(1, math.isqrt(num_rows))


def learn_centroids(base: EmbeddingSet, num_clusters: int, *, seed: int) -> Vectors:
    """(K, D) centroids of length 1, by FAISS k-means on rows drawn evenly from all shards."""
    wanted = min(base.num_rows, num_clusters * SAMPLE_PER_CLUSTER, MAX_SAMPLE)
    generator = np.random.default_rng(seed)
    drawn = np.sort(generator.choice(base.num_rows, wanted, replace=False))
    parts, offset = [], 0
    for shard in base.shards:
        for tile in base.tiles(shard):
            low, high = np.searchsorted(drawn, [offset, offset + len(tile)])
            parts.append(tile[drawn[low:high] - offset])
            offset += len(tile)
    sample = np.concatenate(parts)
    kmeans = faiss.Kmeans(
        base.embedding_dim,
        min(num_clusters, len(sample)),
        niter=_ITERATIONS,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=2 * SAMPLE_PER_CLUSTER,
    )
    kmeans.train(sample)
    return np.asarray(kmeans.centroids, np.float32)


def assign(tiles: Iterable[Vectors], centroids: Vectors) -> Assigned:
    """The nearest centroid of each vector; ties to the first."""
    parts = [nearest(tile, [centroids]) for tile in tiles]
    return Assigned(
        np.concatenate([np.empty(0, np.int64), *(part.position[:, 0] for part in parts)]),
        np.concatenate([np.empty(0, np.float32), *(part.similarity[:, 0] for part in parts)]),
    )


def duplicates_of_cluster(vectors: Vectors, centroid_similarity: npt.NDArray[np.float32], limit: float) -> Duplicates:
    """The duplicates among one cluster's members, which are given in the order of their positions.

    Args:
        vectors: (N, D) of length 1.
        centroid_similarity: (N,) to the centroid.
        limit: similarity above which two are one.
    """
    order = np.argsort(centroid_similarity, kind="stable")
    ordered = np.ascontiguousarray(vectors[order])
    whole = ordered.view(np.dtype((np.void, ordered.shape[1] * ordered.itemsize)))[:, 0]
    _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
    stands_for = first[inverse]
    distinct = np.flatnonzero(stands_for == np.arange(len(ordered)))
    unique = ordered[distinct]
    best = np.full(len(ordered), -1, np.int64)
    similarity = np.full(len(ordered), -np.inf, np.float32)
    for start in range(0, len(unique), _BLOCK):
        stop = min(start + _BLOCK, len(unique))
        for pairs in pairs_above(unique[start:stop], unique[:stop], limit):
            before = pairs.second < pairs.first + start
            member, other = distinct[pairs.first[before] + start], distinct[pairs.second[before]]
            values = pairs.similarity[before]
            # Of equal similarity, the one of the first position (which is its index before ordering).
            ranked = np.lexsort((order[other], -values, member))
            one_each, heads = np.unique(member[ranked], return_index=True)
            chosen = ranked[heads]
            tied = (values[chosen] == similarity[one_each]) & (order[other[chosen]] < order[best[one_each]])
            better = chosen[(values[chosen] > similarity[one_each]) | tied]
            best[member[better]], similarity[member[better]] = other[better], values[better]
    copies = np.flatnonzero(stands_for != np.arange(len(ordered)))
    best[copies] = stands_for[copies]
    similarity[copies] = exact_pairs(ordered, copies, ordered, copies)
    removed = np.flatnonzero(best >= 0)
    removed = removed[np.argsort(order[removed], kind="stable")]
    return Duplicates(order[removed], order[best[removed]], similarity[removed])
