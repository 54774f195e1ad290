"""Far-pruning's cut equals a sort; an image is removed for the first reason that applies."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from counterset.similarity.prune import Cut, decide, find_cut, is_kept


@pytest.mark.parametrize("keep", [1, 2, 57, 150, 299, 300, 301])
@pytest.mark.parametrize("decimals", [1, 2, 7])
def test_the_cut_keeps_what_a_sort_would(keep: int, decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    similarity = generator.uniform(-1, 1, 300).round(decimals).astype(np.float32)  # many ties with one decimal
    ids = np.array([f"image-{number}" for number in generator.permutation(300)])
    shards = [(similarity[a:b], pa.array(ids[a:b])) for a, b in ((0, 120), (120, 120), (120, 300))]
    cut = find_cut(lambda: ((values, lambda own=own: own) for values, own in shards), keep)
    order = np.lexsort((ids, -similarity))[:keep]
    if cut is None:
        assert keep >= 300
        return
    kept = np.concatenate([is_kept(values, own, cut) for values, own in shards])
    assert set(np.flatnonzero(kept)) == set(order)


def test_the_first_reason_that_applies() -> None:
    ids = pa.array(["a", "b", "c", "d"])
    decided = decide(
        ids,
        np.array(["q0", "q1"], object),
        np.array(["one", "two"], object),
        duplicates=(np.array([0]), np.array(["z"], object), np.array([0.99], np.float32), 0.9),
        near=(np.array([0, 1]), np.array([0, 1]), np.array([0.8, 0.7], np.float32), np.array([0.5, 0.6], np.float32)),
        far=(np.array([0, 0, 0, 1]), np.array([0.8, 0.7, 0.1, 0.4], np.float32), Cut(0.25, "d")),
    )
    removed = {row["id"]: row for row in decided.removed.to_pylist()}
    assert {key: row["reason"] for key, row in removed.items()} == {"a": "duplicate", "b": "near", "c": "far"}
    assert (removed["a"]["duplicate_of"], removed["a"]["query_id"]) == ("z", None)
    assert (removed["b"]["query_id"], removed["b"]["query_set"]) == ("q1", "two")
    assert removed["b"]["threshold"] == pytest.approx(0.6)
    [kept] = decided.kept.to_pylist()
    assert (kept["id"], kept["query_id"]) == ("d", "q1")
