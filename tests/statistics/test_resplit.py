"""The drop over all agreeing splits: against a slow loop, unbiased, surer than the confirm half alone."""

from __future__ import annotations

import numpy as np
import pytest

from counterset.statistics.choice import Limits, choose, eligible_groups
from counterset.statistics.observers import CONFIRM, Dispersion, Results
from counterset.statistics.resplit import estimate_drop
from counterset.statistics.simulate import Design, class_units, simulate_class, split_observers

LIMITS = Limits(10, 3)
DISPERSION = Dispersion(0.2, 1.0)


def make(accuracy: list[float], photos: int, rng: np.random.Generator) -> Results:
    found = simulate_class(np.array(accuracy), Design(photos, observer_correlation=0.2), rng)
    return class_units("c", found, split_observers(found, rng), len(accuracy)).results


def chosen(results: Results) -> tuple[int, int]:
    weights = DISPERSION.weights(results.num_photos)
    right = weights * results.sum_correct / results.num_photos
    pair = choose(results.by_half(weights), results.by_half(right), eligible_groups(results, LIMITS))
    return int(pair.common), int(pair.counter)


def confirm_drop(results: Results, half: np.ndarray, pair: tuple[int, int]) -> float:
    weights = DISPERSION.weights(results.num_photos)
    accuracy = []
    for group in pair:
        rows = (half == CONFIRM) & (results.group == group)
        accuracy.append(np.average((results.sum_correct / results.num_photos)[rows], weights=weights[rows]))
    return float(accuracy[0] - accuracy[1])


def test_one_split_is_the_confirm_half() -> None:
    results = make([0.8, 0.6, 0.7], 80, np.random.default_rng(0))
    pair, weights = chosen(results), DISPERSION.weights(results.num_photos)
    found = estimate_drop(results, weights, DISPERSION, pair, LIMITS, np.random.default_rng(0), num_splits=1)
    assert found.drop == pytest.approx(confirm_drop(results, results.half, pair))
    assert found.drop == pytest.approx(found.accuracy_common - found.accuracy_counter)


def test_it_is_the_mean_over_splits_that_agree() -> None:
    results = make([0.75, 0.65, 0.7], 60, np.random.default_rng(3))
    pair, weights = chosen(results), DISPERSION.weights(results.num_photos)
    found = estimate_drop(results, weights, DISPERSION, pair, LIMITS, np.random.default_rng(0), num_splits=4_000)
    rng, drops = np.random.default_rng(1), []
    for _ in range(4_000):
        half = rng.integers(0, 2, int(results.observer.max()) + 1)[results.observer]
        split = Results(
            results.num_groups,
            results.group,
            half,
            results.observer,
            results.num_photos,
            results.sum_correct,
            results.sum_squares,
        )
        if eligible_groups(split, LIMITS)[list(pair)].all() and chosen(split) == pair:
            drops.append(confirm_drop(results, half, pair))
    assert len(drops) > 300
    assert found.drop == pytest.approx(np.mean(drops), abs=5 * np.std(drops) / np.sqrt(len(drops)))


def test_unbiased_and_surer_where_nothing_differs() -> None:
    rng = np.random.default_rng(5)
    drops, confirm, discover, inside = [], [], [], []
    for _ in range(400):
        results = make([0.7] * 4, 80, rng)
        pair, weights = chosen(results), DISPERSION.weights(results.num_photos)
        found = estimate_drop(results, weights, DISPERSION, pair, LIMITS, rng, num_splits=200)
        drops.append(found.drop)
        confirm.append(confirm_drop(results, results.half, pair))
        discover.append(confirm_drop(results, 1 - results.half, pair))
        inside.append(found.low <= 0 <= found.high)
    assert abs(np.mean(drops)) < 3 * np.std(drops) / np.sqrt(len(drops))
    assert np.std(drops) < 0.95 * np.std(confirm)
    assert np.mean(discover) > 0.08
    assert 0.91 <= np.mean(inside) <= 0.98
