"""The observers' correlation: against the textbook's sums, and found again in worlds that have it."""

from __future__ import annotations

import numpy as np
import pytest

from counterset.statistics.observers import Dispersion, Results, estimate_dispersion
from counterset.statistics.simulate import Design, class_units, planted_accuracies, simulate_world


def results_of(outcomes: dict[int, list[list[float]]]) -> Results:
    """Results from group -> one list of outcomes an observer."""
    rows = [(group, values) for group, observers in outcomes.items() for values in observers]
    return Results(
        len(outcomes),
        np.array([group for group, _ in rows]),
        np.zeros(len(rows), dtype=np.int64),
        np.arange(len(rows)),
        np.array([float(len(values)) for _, values in rows]),
        np.array([float(sum(values)) for _, values in rows]),
        np.array([float(sum(value**2 for value in values)) for _, values in rows]),
    )


def test_correlation_is_the_analysis_of_variance_estimator() -> None:
    observers = [[1.0, 1.0, 0.0], [0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0]]
    photos = np.concatenate([np.array(values) for values in observers])
    sizes = np.array([len(values) for values in observers])
    means = np.array([np.mean(values) for values in observers])
    between = (sizes * (means - photos.mean()) ** 2).sum() / (len(sizes) - 1)
    within = sum(((np.array(v) - np.mean(v)) ** 2).sum() for v in observers) / (sizes.sum() - len(sizes))
    size = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(sizes) - 1)
    expected = (between - within) / (between + (size - 1) * within)
    found = estimate_dispersion([results_of({0: observers})])
    assert found.observer_correlation == pytest.approx(expected)
    assert found.scale == pytest.approx(1.0)


def test_no_observer_twice_means_no_correlation() -> None:
    found = estimate_dispersion([results_of({0: [[1.0], [0.0], [1.0]], 1: [[0.5], [1.0]]})])
    assert found.observer_correlation == 0.0


def test_no_class_gives_a_dispersion() -> None:
    assert estimate_dispersion([]) == Dispersion(0.0, 1.0)


@pytest.mark.parametrize("rho", [0.0, 0.1, 0.3])
def test_correlation_is_found_again(rho: float) -> None:
    rng = np.random.default_rng(1)
    world = simulate_world(
        planted_accuracies(45, 6, num_planted=20, drop=0.3), Design(150, observer_correlation=rho), rng
    )
    found = estimate_dispersion(class_units("c", photos, half, 6).results for photos, half in world)
    assert found.observer_correlation == pytest.approx(rho, abs=0.02)
    assert found.scale == pytest.approx(1.0)


def test_mean_of_two_selectors_scatters_less() -> None:
    rng = np.random.default_rng(2)
    outcomes = rng.random((400, 2)) < 0.7
    found = estimate_dispersion([results_of({0: [[float(pair.mean())] for pair in outcomes]})])
    assert found.scale == pytest.approx(0.5, abs=0.1)


def test_weights_run_from_photos_to_observers() -> None:
    photos = np.array([1.0, 4.0, 100.0])
    assert Dispersion(0.0, 1.0).weights(photos).tolist() == [1, 4, 100]
    assert Dispersion(1.0, 1.0).weights(photos).tolist() == [1, 1, 1]
