"""Approximate search with FAISS IVF-PQ, re-ranked exactly, with the recall that it reached.

For bases of which an exact pass takes too long: vectors are held in memory as codes (about 80
bytes each for 512 dimensions), a few cells are searched, and the best candidates by code are
multiplied exactly. The recall is measured in the same pass: for a sample of the queries the exact
nearest vector is found too. Pruning has no such choice: what an index misses would be a leak.
"""

from __future__ import annotations

from typing import NamedTuple

import faiss
import numpy as np

from counterset.similarity.embedding_sets import EmbeddingSet, Vectors
from counterset.similarity.search import Nearest, exact_pairs, keep_best, nearest

NUM_CANDIDATES = 256
"""Vectors re-ranked exactly for each query."""
NUM_PROBED = 32
"""Cells searched for each query."""
NUM_SAMPLED = 500
"""Queries whose exact nearest vector is found, to measure recall."""
_BYTES_A_DIMENSION = 8
"""Dimensions per byte of code."""
_TRAINING = 64
_MAX_TRAINING = 250_000


class Approximate(NamedTuple):
    """What an approximate search finds.

    Attributes:
        nearest: (Q, 1), with exact similarities; position in the whole base.
        recall: share of the sampled queries for which it is the exact nearest (or one as similar).
        num_sampled: queries of that sample.
    """

    nearest: Nearest
    recall: float
    num_sampled: int


def search_ivfpq(base: EmbeddingSet, queries: Vectors, *, seed: int) -> Approximate:
    """The most similar vector of the base for each query, by an IVF-PQ index and exact re-ranking.

    Args:
        base: read three times, tile by tile.
        queries: (Q, D) of length 1.
        seed: of the training sample and of the sampled queries.
    """
    generator = np.random.default_rng(seed)
    index = _train(base, generator, seed)
    for shard in base.shards:
        for tile in base.tiles(shard):
            index.add(tile)
    index.nprobe = min(NUM_PROBED, index.nlist)
    _, candidates = index.search(queries, min(NUM_CANDIDATES, base.num_rows))
    del index
    query, slot = np.nonzero(candidates >= 0)
    position = candidates[query, slot]
    order = np.argsort(position, kind="stable")
    query, position = query[order], position[order]
    sampled = np.sort(generator.choice(len(queries), min(NUM_SAMPLED, len(queries)), replace=False))
    best = Nearest(np.full((len(queries), 1), -1, np.int64), np.full((len(queries), 1), -np.inf, np.float32))

    def reranked() -> Vectors:  # type: ignore[misc]
        offset = 0
        for shard in base.shards:
            for tile in base.tiles(shard):
                low, high = np.searchsorted(position, [offset, offset + len(tile)])
                values = exact_pairs(queries, query[low:high], tile, position[low:high] - offset)
                keep_best(best, query[low:high], position[low:high], values)
                offset += len(tile)
                yield tile

    exact = nearest(queries[sampled], reranked())
    hit = best.similarity[sampled, 0] >= exact.similarity[:, 0]
    return Approximate(best, float(hit.mean()), len(sampled))


def _train(base: EmbeddingSet, generator: np.random.Generator, seed: int) -> faiss.IndexIVFPQ:
    num_cells = max(1, min(4 * round(base.num_rows**0.5), _MAX_TRAINING // _TRAINING, base.num_rows // 40))
    wanted = min(base.num_rows, max(num_cells * _TRAINING, 16_384), _MAX_TRAINING)
    drawn = np.sort(generator.choice(base.num_rows, wanted, replace=False))
    parts, offset = [], 0
    for shard in base.shards:
        for tile in base.tiles(shard):
            low, high = np.searchsorted(drawn, [offset, offset + len(tile)])
            parts.append(tile[drawn[low:high] - offset])
            offset += len(tile)
    dim = base.embedding_dim
    num_bytes = next(size for size in range(max(dim // _BYTES_A_DIMENSION, 1), 0, -1) if dim % size == 0)
    bits = 8 if wanted >= 256 else 4
    quantizer = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFPQ(quantizer, dim, num_cells, num_bytes, bits, faiss.METRIC_INNER_PRODUCT)
    for parameters in (index.cp, index.pq.cp):
        parameters.seed = seed
        parameters.min_points_per_centroid = 1
    index.cp.spherical = True
    index.train(np.concatenate(parts))
    return index
