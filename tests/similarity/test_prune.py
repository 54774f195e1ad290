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
    assert (cut is None) == (keep >= 300)
    if cut is None:
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


def test_the_two_zeros_are_one_similarity() -> None:
    shards = [
        (np.array([0.0, -0.0, 0.5], np.float32), pa.array(["c", "a", "d"])),
        (np.array([-0.0], np.float32), pa.array(["b"])),
    ]
    for keep, last_id in ((2, "a"), (3, "b")):
        cut = find_cut(lambda: ((values, lambda own=own: own) for values, own in shards), keep)
        assert cut == Cut(0.0, last_id)


def test_the_limit_itself_is_kept_up_to_the_last_id() -> None:
    similarity = np.array([0.5, 0.25, 0.25, 0.25, 0.1], np.float32)
    assert is_kept(similarity, pa.array(["z", "a", "b", "c", "a"]), Cut(0.25, "b")).tolist() == [
        True,
        True,
        True,
        False,
        False,
    ]


QUERIES = (np.array(["q0", "q1"], object), np.array(["one", "two"], object))
FAR = (np.array([0, 1, 0, 1]), np.array([0.75, 0.5, 0.125, 0.25], np.float32))
COLUMNS = ("id", "query_id", "query_set", "similarity")


def rows_of(table: pa.Table, *columns: str) -> list[tuple[object, ...]]:
    return [tuple(row[name] for name in columns) for row in table.to_pylist()]


def test_far_pruning_says_the_nearest_query_of_kept_and_removed() -> None:
    decided = decide(pa.array(["a", "b", "c", "d"]), *QUERIES, far=(*FAR, Cut(0.25, "c")))
    assert rows_of(decided.kept, *COLUMNS) == [("a", "q0", "one", 0.75), ("b", "q1", "two", 0.5)]
    assert rows_of(decided.removed, *COLUMNS, "reason", "duplicate_of", "threshold") == [
        ("c", "q0", "one", 0.125, "far", None, 0.25),
        ("d", "q1", "two", 0.25, "far", None, 0.25),
    ]
    assert FAR[0].tolist() == [0, 1, 0, 1] and FAR[1].tolist() == [0.75, 0.5, 0.125, 0.25], "given arrays are left"


def test_without_a_cut_all_are_kept() -> None:
    decided = decide(pa.array(["a", "b", "c", "d"]), *QUERIES, far=(*FAR, None))
    assert rows_of(decided.kept, "id", "query_id") == [("a", "q0"), ("b", "q1"), ("c", "q0"), ("d", "q1")]
    assert decided.removed.num_rows == 0


def test_near_pruning_says_the_query_and_its_threshold_and_what_is_kept_has_none() -> None:
    near = (np.array([1, 2]), np.array([1, 0]), np.array([0.75, 0.5], np.float32), np.array([0.25, 0.625], np.float32))
    decided = decide(pa.array(["a", "b", "c"]), *QUERIES, near=near)
    assert rows_of(decided.kept, *COLUMNS) == [("a", None, None, None)]
    assert rows_of(decided.removed, *COLUMNS, "reason", "duplicate_of", "threshold") == [
        ("b", "q1", "two", 0.75, "near", None, 0.625),
        ("c", "q0", "one", 0.5, "near", None, 0.25),
    ]


def test_a_duplicate_names_the_image_and_no_query() -> None:
    duplicates = (np.array([2, 0]), np.array(["x", "y"], object), np.array([0.875, 1.0], np.float32), 0.75)
    decided = decide(
        pa.array(["a", "b", "c"]), *QUERIES, duplicates=duplicates, far=(*(part[:3] for part in FAR), None)
    )
    assert rows_of(decided.kept, *COLUMNS) == [("b", "q1", "two", 0.5)]
    assert rows_of(decided.removed, *COLUMNS, "reason", "duplicate_of", "threshold") == [
        ("a", None, None, 1.0, "duplicate", "y", 0.75),
        ("c", None, None, 0.875, "duplicate", "x", 0.75),
    ]


def test_nothing_asked_for_removes_nothing() -> None:
    decided = decide(pa.array(["a", "b"]), *QUERIES)
    assert rows_of(decided.kept, *COLUMNS) == [("a", None, None, None), ("b", None, None, None)]
    assert decided.removed.num_rows == 0


@pytest.mark.parametrize("value", [0.5, -0.5])
def test_neighbouring_numbers_are_two_similarities(value: float) -> None:
    low, high = sorted((np.float32(value), np.nextafter(np.float32(value), np.float32(1))))
    for values, last_id in (([low, high, low], "b"), ([high, low, low], "a")):
        shard = (np.array(values, np.float32), pa.array(["a", "b", "c"]))
        assert find_cut(lambda shard=shard: iter([(shard[0], lambda: shard[1])]), 1) == Cut(float(high), last_id)
