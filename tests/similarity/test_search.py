"""The tiled search equals brute force exactly, whatever the coarse precision, the tiles and the ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterset.similarity import search
from counterset.similarity.search import exceeding, nearest, pairs_above

from .shard_files import brute, unit

DIM = 48
PRECISIONS = (torch.bfloat16, torch.float32)


@pytest.fixture(scope="module")
def crowded() -> tuple[np.ndarray, np.ndarray]:
    """Queries and base with exact copies, near copies that bfloat16 cannot tell apart, and a tight cluster."""
    generator = np.random.default_rng(3)
    base = unit(generator.standard_normal((2_000, DIM)))
    base[500:520] = base[7]
    base[600:900] = unit(base[8] + 0.002 * generator.standard_normal((300, DIM)))
    queries = unit(generator.standard_normal((150, DIM)))
    queries[:40] = base[5:45]
    queries[40:60] = unit(base[8] + 0.002 * generator.standard_normal((20, DIM)))
    queries[60] = queries[61]
    return queries, base


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("tile", [64, 333, 2_000])
def test_nearest_is_brute_force(
    crowded: tuple[np.ndarray, np.ndarray], precision: torch.dtype, k: int, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "BLOCK_ROWS", 64)
    monkeypatch.setattr(search, "_MAX_PAIRS", 17)
    queries, base = crowded
    found = nearest(
        queries, (base[start : start + tile] for start in range(0, len(base), tile)), k, precision=precision
    )
    truth = brute(queries, base)
    order = np.argsort(-truth, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found.position, order)
    np.testing.assert_array_equal(found.similarity, np.take_along_axis(truth, order, axis=1))


def test_fewer_vectors_than_asked_for(crowded: tuple[np.ndarray, np.ndarray]) -> None:
    queries, base = crowded
    found = nearest(queries, iter([base[:1], base[1:2]]), k=3)
    assert (found.position[:, 2] == -1).all() and np.isneginf(found.similarity[:, 2]).all()
    assert sorted(found.position[0, :2]) == [0, 1]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_exceeding_is_brute_force(
    crowded: tuple[np.ndarray, np.ndarray], precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "BLOCK_ROWS", 50)
    monkeypatch.setattr(search, "_MAX_PAIRS", 17)
    queries, base = crowded
    truth = brute(base, queries)
    for thresholds in (
        np.sort(truth, axis=0)[-5],  # a base row lies exactly on it: not above
        np.full(len(queries), 0.3, np.float32),
        np.full(len(queries), 1.0, np.float32),
        truth.max(axis=0),
    ):
        found = exceeding(base, queries, thresholds, precision=precision)
        excess = truth.astype(np.float64) - thresholds
        is_over = (excess > 0).any(axis=1)
        np.testing.assert_array_equal(found.query >= 0, is_over)
        np.testing.assert_array_equal(found.query[is_over], excess[is_over].argmax(axis=1))
        rows = np.flatnonzero(is_over)
        np.testing.assert_array_equal(found.similarity[rows], truth[rows, found.query[rows]])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_pairs_above_is_brute_force(crowded: tuple[np.ndarray, np.ndarray], precision: torch.dtype) -> None:
    queries, base = crowded
    truth = brute(queries, base)
    for threshold in (0.4, 0.999, float(truth[3, 700])):
        parts = list(pairs_above(queries, base, threshold, precision=precision))
        found = {(int(i), int(j)): s for part in parts for i, j, s in zip(*part, strict=True)}
        expected = {(int(i), int(j)): truth[i, j] for i, j in np.argwhere(truth > np.float32(threshold))}
        assert found == expected


def test_the_bound_holds_for_every_pair() -> None:
    """What the coarse pass says differs from the truth by less than the slack that is allowed for it."""
    generator = np.random.default_rng(0)
    left = unit(generator.standard_normal((300, DIM)) * generator.lognormal(0, 1.5, DIM))
    right = unit(left[:200] + 0.05 * generator.standard_normal((200, DIM)))
    thresholds = generator.uniform(-1, 1, 200).astype(np.float32)
    for precision in PRECISIONS:
        ours = search.Prepared.of(left, precision)
        theirs = search.Prepared.of(right, precision, torch.from_numpy(thresholds))
        scores = torch.mm(ours.coarse, theirs.coarse.T).double().numpy()
        truth = brute(left, right).astype(np.float64) - thresholds
        rounding = np.abs(scores) * search._rounding(precision)
        slack = search._slack(ours, theirs).numpy()[:, None]
        assert (np.abs(scores - truth) <= slack + rounding).all()
        assert precision == torch.float32 or np.abs(scores - truth).max() > slack.max() / 20, "the bound says nothing"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_slack_allows_for_what_sums_may_lose(precision: torch.dtype) -> None:
    """Vectors that rounding leaves as they are: what is left is one rounding an addition, of values up to 2."""
    vectors = np.zeros((2, 1_000), np.float32)
    vectors[:, 3] = 1
    prepared = search.Prepared.of(vectors, precision)
    assert prepared.lost.tolist() == [0, 0]
    assert (search._slack(prepared, prepared) >= 1_000 * 2.0**-23).all()
    assert (search._slack(prepared, prepared) <= 1_000 * 2.0**-20).all(), "and no more than some of it"
    assert search._slack(prepared, search.Prepared.of(vectors[:0], precision)).shape == (2,)
    assert torch.finfo(precision).eps / 2 <= search._rounding(precision) <= 4 * torch.finfo(precision).eps


def test_the_slack_grows_with_what_was_lost_on_either_side() -> None:
    generator = np.random.default_rng(1)
    rough = search.Prepared.of(unit(generator.standard_normal((40, DIM))), torch.bfloat16)
    exact = search.Prepared.of(np.eye(DIM, dtype=np.float32)[:40], torch.bfloat16)
    left, farthest = rough.lost, float(rough.lost.max())
    assert (search._slack(rough, exact) >= left).all()
    assert (search._slack(exact, rough) >= farthest).all()
    both = search._slack(rough, rough)
    assert (both >= left + farthest + left * farthest).all()
    assert (both <= 1.1 * (left + farthest + left * farthest) + 1e-4).all()


def test_thresholds_are_taken_off_by_dimensions_of_their_own() -> None:
    vectors = unit(np.random.default_rng(2).standard_normal((3, 200)))
    prepared = search.Prepared.of(vectors, torch.bfloat16, torch.tensor([0.1, -0.7, 1.0]))
    plain = prepared.without_thresholds()
    assert torch.equal(plain[:, :200], prepared.coarse[:, :200])
    assert not plain[:, 200:].any() and prepared.coarse[:, 200:].any(), "a copy"
    assert prepared.coarse.shape[1] % search._DIMS == 0
    carried = prepared.coarse[:, 200:].double().sum(1).tolist()
    assert carried == pytest.approx([-0.1, 0.7, -1.0], abs=1e-6), "three numbers of the coarse precision"
    assert search.Prepared.of(vectors, torch.bfloat16).coarse[:, 200:203].tolist() == [[1, 1, 1]] * 3


def test_no_more_scores_than_a_block_are_in_memory(
    crowded: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "BLOCK_ROWS", 40)
    shapes, multiply = [], search._multiply

    def noted(left: torch.Tensor, right: torch.Tensor, buffer: torch.Tensor) -> torch.Tensor:
        scores = multiply(left, right, buffer)
        shapes.append(tuple(scores.shape))
        return scores

    monkeypatch.setattr(search, "_multiply", noted)
    queries, base = crowded[0][:90], crowded[1][:170]
    nearest(queries, iter([base]), precision=torch.float32)
    exceeding(base, queries, np.full(90, 0.5, np.float32), precision=torch.float32)
    list(pairs_above(queries, base, 0.5, precision=torch.float32))
    assert max(rows for rows, _ in shapes) == max(columns for _, columns in shapes) == 40
    pairs = 90 * 170
    assert sum(rows * columns for rows, columns in shapes) == 3 * pairs, "and each pair is looked at once"


def test_the_asked_precision_is_used_and_the_fastest_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit(np.random.default_rng(3).standard_normal((5, DIM)))
    used, of = [], search.Prepared.of.__func__  # type: ignore[attr-defined]

    def noted(cls: object, vectors: np.ndarray, precision: torch.dtype, *more: object) -> object:
        used.append(precision)
        return of(cls, vectors, precision, *more)

    monkeypatch.setattr(search.Prepared, "of", classmethod(noted))
    monkeypatch.setattr(search, "fastest_precision", lambda: torch.float64)
    thresholds = np.full(5, 0.5, np.float32)
    for precision in (None, *PRECISIONS):
        used.clear()
        nearest(vectors, iter([vectors]), precision=precision)
        exceeding(vectors, vectors, thresholds, precision=precision)
        list(pairs_above(vectors, vectors, 0.5, precision=precision))
        assert set(used) == {precision or torch.float64} and len(used) == 6


def test_the_fastest_precision_is_the_one_of_the_shorter_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for slow in PRECISIONS:
        clock = [0.0]

        def multiply(left: torch.Tensor, right: torch.Tensor, slow: torch.dtype = slow) -> None:
            clock[0] += 2.0 if left.dtype == slow else 1.0  # noqa: B023

        monkeypatch.setattr(torch, "mm", multiply)
        monkeypatch.setattr(search.time, "perf_counter", lambda: clock[0])  # noqa: B023
        search.fastest_precision.cache_clear()
        assert search.fastest_precision() != slow
    search.fastest_precision.cache_clear()


def test_candidates_are_exactly_the_scores_that_reach_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    for columns in (1, 63, 64, 65, 200):
        scores = torch.from_numpy(generator.integers(0, 20, (30, columns)).astype(np.float32))
        limits = torch.from_numpy(generator.integers(10, 21, 30).astype(np.float32))
        expected = {tuple(map(int, pair)) for pair in np.argwhere(scores.numpy() >= limits.numpy()[:, None])}
        for size in (65_536, 7):
            monkeypatch.setattr(search, "_MAX_PAIRS", size)
            monkeypatch.setattr(search, "_MAX_BLOCKS", size)
            parts = list(search._candidates(scores, limits))
            found = [(int(row), int(column)) for rows, some in parts for row, column in zip(rows, some, strict=True)]
            assert len(found) == len(set(found)) and set(found) == expected
            assert all(0 < len(rows) <= size for rows, _ in parts)


def test_the_best_are_kept_over_blocks_and_ties_by_position() -> None:
    best = search.Nearest(np.full((2, 2), -1, np.int64), np.full((2, 2), -np.inf, np.float32))
    search.keep_best(best, np.array([1, 1]), np.array([8, 9]), np.array([0.5, 0.25], np.float32))
    assert best.position.tolist() == [[-1, -1], [8, 9]]
    search.keep_best(best, np.array([1, 0, 1, 1]), np.array([3, 4, 2, 7]), np.array([0.5, 0.1, 0.1, 0.5], np.float32))
    assert best.position.tolist() == [[4, -1], [3, 7]]
    assert best.similarity[0].tolist() == pytest.approx([0.1, -np.inf])
    assert best.similarity[1].tolist() == [0.5, 0.5]


def test_similarities_are_sums_in_float64() -> None:
    generator = np.random.default_rng(6)
    left, right = (unit(generator.standard_normal((600, 32))) for _ in range(2))
    rows, columns = generator.integers(0, 600, (2, 1_000))
    found = search.exact_pairs(left, rows, right, columns)
    expected = (left[rows].astype(np.float64) * right[columns].astype(np.float64)).sum(axis=1).astype(np.float32)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
