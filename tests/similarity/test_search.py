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
