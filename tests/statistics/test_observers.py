"""The observers' correlation: against the textbook's sums, and found again in worlds that have it."""

from __future__ import annotations

import numpy as np
import pytest

from counterset.statistics.observers import CONFIRM, DISCOVER, Dispersion, Results, estimate_dispersion
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


def slow_dispersion(classes: list[dict[int, list[list[float]]]]) -> tuple[float, float]:
    """Correlation and scale from single outcomes, group after group."""
    between = within = binomial = size = 0.0
    df_between = df_within = 0
    for groups in classes:
        for observers in groups.values():
            if len(observers) < 2:
                continue
            photos = np.concatenate([np.array(values) for values in observers])
            mean = photos.mean()
            between += sum(len(values) * (np.mean(values) - mean) ** 2 for values in observers)
            within += sum(((np.array(values) - np.mean(values)) ** 2).sum() for values in observers)
            binomial += len(photos) * mean * (1 - mean)
            size += len(photos) - sum(len(values) ** 2 for values in observers) / len(photos)
            df_between += len(observers) - 1
            df_within += len(photos) - len(observers)
    mean_size = size / df_between
    differs = (between / df_between - within / df_within) / mean_size
    return float(differs / (differs + within / df_within)), float((between + within) / binomial)


def test_groups_and_classes_are_pooled() -> None:
    """Graded outcomes, groups of other accuracies; a group of one observer says nothing of observers."""
    first = {
        0: [[1.0, 1.0, 0.5], [0.0, 0.5], [1.0, 0.5, 1.0, 1.0], [0.0]],
        1: [[0.5, 0.5], [0.0, 0.0, 0.0, 0.5], [1.0]],
        2: [[1.0, 0.0, 0.5, 1.0, 0.0]],
    }
    second = {0: [[1.0] * 6, [0.0, 1.0, 1.0]], 1: [[0.5]]}
    expected = slow_dispersion([first, second])
    found = estimate_dispersion([results_of(first), results_of(second)])
    assert (found.observer_correlation, found.scale) == pytest.approx(expected)
    assert 0.1 < found.observer_correlation < 0.9 and found.scale < 0.9
    alone = {0: first[0], 1: first[1]}
    with_one = {**alone, 2: [[0.0, 1.0, 0.0]]}
    assert estimate_dispersion([results_of(alone)]) == estimate_dispersion([results_of(with_one)])


def test_scatter_within_observers_may_exceed_that_between_them() -> None:
    observers = {0: [[1.0] * 15 + [0.0] * 5, [1.0] * 5 + [0.0] * 15]}
    correlation, scale = slow_dispersion([observers])
    found = estimate_dispersion([results_of(observers)])
    assert found.observer_correlation == pytest.approx(correlation) and correlation > 0.2
    assert found.scale == pytest.approx(scale)


def test_correlation_stays_in_its_range() -> None:
    alike = estimate_dispersion([results_of({0: [[1.0, 1.0], [0.0]]})])
    assert alike.observer_correlation == 1.0, "one observer with two equal photos is enough to say so"
    opposed = estimate_dispersion([results_of({0: [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]})])
    assert opposed.observer_correlation == 0.0


def test_outcomes_that_never_differ() -> None:
    all_right = estimate_dispersion([results_of({0: [[1.0, 1.0], [1.0]]})])
    assert all_right == Dispersion(0.0, 1.0)
    in_turns = estimate_dispersion([results_of({0: [[0.5, 0.5], [0.5]]})])
    assert in_turns == Dispersion(0.0, 1e-3), "intervals stay finite"


def test_sums_by_half_and_group() -> None:
    results = Results(
        num_groups=3,
        group=np.array([0, 1, 1, 0, 1]),
        half=np.array([DISCOVER, DISCOVER, CONFIRM, CONFIRM, CONFIRM]),
        observer=np.arange(5),
        num_photos=np.ones(5),
        sum_correct=np.ones(5),
        sum_squares=np.ones(5),
    )
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    assert results.by_half(values).tolist() == [[1, 2, 0], [8, 20, 0]], "discover first, groups without photos too"
    assert results.by_group(values).tolist() == [9, 22, 0]


def test_an_observers_photos_are_worth_less_the_more_they_correlate() -> None:
    assert Dispersion(0.5, 1.0).weights(np.array([1.0, 3.0, 5.0])) == pytest.approx([1, 1.5, 5 / 3])
