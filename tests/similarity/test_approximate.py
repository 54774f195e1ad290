"""The index finds most nearest vectors, says how many, and every similarity that it gives is exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from counterset.similarity.approximate import search_ivfpq
from counterset.similarity.embedding_sets import open_embeddings

from .shard_files import brute, unit, write_parquet


def test_recall_is_the_true_one(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((60, 32))
    base = unit(np.repeat(centres, 100, axis=0) + 0.7 * generator.standard_normal((6_000, 32)))
    queries = unit(centres[:50] + 0.7 * generator.standard_normal((50, 32)))
    for start in range(0, 6_000, 1_500):
        own = base[start : start + 1_500]
        write_parquet(tmp_path / f"{start}.parquet", [str(start + row) for row in range(1_500)], own)
    found = search_ivfpq(open_embeddings(tmp_path), queries, seed=0)
    order = np.concatenate([np.arange(start, start + 1_500) for start in (0, 1_500, 3_000, 4_500)])
    truth = brute(queries, unit(base[order]))  # reading scales to length 1 again, a bit at most
    np.testing.assert_array_equal(found.nearest.similarity[:, 0], truth[np.arange(50), found.nearest.position[:, 0]])
    assert found.num_sampled == 50
    assert found.recall == (found.nearest.similarity[:, 0] == truth.max(axis=1)).mean()
    assert found.recall > 0.9
