"""Intervals against statsmodels' own, and against what is exactly true."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm, t
from statsmodels.stats.proportion import proportion_confint

from counterset.statistics.intervals import drawn_interval, drop_interval, few_observers_factor, jeffreys


@pytest.mark.parametrize(("right", "photos"), [(3, 20), (70, 100), (49, 50)])
def test_jeffreys_is_that_of_statsmodels(right: int, photos: int) -> None:
    low, high = proportion_confint(right, photos, method="jeffreys")
    assert jeffreys(right / photos, photos) == pytest.approx((low, high), abs=1e-12)


def test_it_is_closed_at_both_ends() -> None:
    assert jeffreys(0.0, 12).low == 0.0
    assert jeffreys(1.0, 12).high == 1.0
    low, high = jeffreys(0.02, 5)
    assert low <= 0.02 <= high


@pytest.mark.parametrize(("common", "counter"), [(0.7, 0.7), (0.93, 0.93), (0.9, 0.6), (0.97, 0.9)])
def test_a_drop_is_covered_about_95_times_of_100(common: float, counter: float) -> None:
    """Exact coverage: every outcome of two groups of 40 photos, weighted by its probability."""
    photos = 40
    weights = np.outer(binom.pmf(range(photos + 1), photos, common), binom.pmf(range(photos + 1), photos, counter))
    covered = 0.0
    for right, other in np.argwhere(weights > 1e-7):
        low, high = drop_interval(right / photos, photos, other / photos, photos)
        covered += weights[right, other] * (low <= common - counter <= high)
    assert 0.93 <= covered <= 0.97


def test_errors_that_go_together_make_a_drop_surer() -> None:
    apart = drop_interval(0.7, 100, 0.5, 100)
    together = drop_interval(0.7, 100, 0.5, 100, correlation=0.5)
    assert together.high - together.low < 0.75 * (apart.high - apart.low)


@pytest.mark.parametrize("accuracies", [(1 + 2e-16, -1e-16), (-1e-16, 1 + 2e-16), (1.0, 0.0), (0.0, 1.0)])
@pytest.mark.parametrize("correlation", [0.0, -1.0])
def test_no_end_leaves_the_range_of_accuracies_and_drops(accuracies: tuple[float, float], correlation: float) -> None:
    """Weighted means pass 0 and 1 by a rounding error; their intervals do not."""
    for accuracy in accuracies:
        low, high = jeffreys(accuracy, 12)
        assert 0 <= low < high <= 1
    low, high = drop_interval(accuracies[0], 12, accuracies[1], 12, correlation)
    assert -1 <= low < high <= 1


def test_a_drop_and_the_same_gain_have_mirrored_intervals() -> None:
    low, high = drop_interval(0.9, 80, 0.6, 30)
    assert drop_interval(0.6, 30, 0.9, 80) == pytest.approx((-high, -low))


def test_each_end_is_recovered_from_the_two_ends_that_reach_towards_it() -> None:
    """Newcombe's method 10, written out: the lower end from common's lower and counter's upper, and the reverse."""
    common, counter = jeffreys(0.9, 80), jeffreys(0.6, 30)
    low, high = drop_interval(0.9, 80, 0.6, 30)
    assert low == pytest.approx(0.3 - np.hypot(0.9 - common.low, counter.high - 0.6))
    assert high == pytest.approx(0.3 + np.hypot(common.high - 0.9, 0.6 - counter.low))


def test_wholly_shared_errors_leave_the_difference_of_the_two_arms() -> None:
    common, counter = jeffreys(0.9, 80), jeffreys(0.6, 30)
    low, high = drop_interval(0.9, 80, 0.6, 30, correlation=1.0)
    assert low == pytest.approx(0.3 - abs((0.9 - common.low) - (counter.high - 0.6)))
    assert high == pytest.approx(0.3 + abs((common.high - 0.9) - (0.6 - counter.low)))
    alike = drop_interval(0.5, 30, 0.5, 30, correlation=1.0)
    assert alike == pytest.approx((0, 0), abs=1e-9)


def test_a_higher_confidence_is_a_wider_interval() -> None:
    for confidence in (0.5, 0.8, 0.99):
        low, high = proportion_confint(70, 100, alpha=1 - confidence, method="jeffreys")
        assert jeffreys(0.7, 100, confidence) == pytest.approx((low, high), abs=1e-12)
    assert drop_interval(0.7, 50, 0.5, 50, confidence=0.8).low > drop_interval(0.7, 50, 0.5, 50).low


def test_few_observers_widen_by_their_effective_number() -> None:
    """One cell of 5 observers with equal photos: 4 / 6 of the right variance, with 4 degrees of freedom."""
    alike = np.full(5, 3.0), np.zeros(5, np.int64)
    assert few_observers_factor(*alike) == pytest.approx(np.sqrt(6 / 4) * t.ppf(0.975, 4) / norm.ppf(0.975))
    # one observer with 9 of 12 photos: 144 / 84 effective ones, which count as two
    assert few_observers_factor(np.array([9.0, 1.0, 1.0, 1.0]), np.zeros(4, np.int64)) == pytest.approx(
        np.sqrt(3) * t.ppf(0.975, 1) / norm.ppf(0.975)
    )
    # two cells of 3 and 6 observers: parts 1/3 and 1/6; 1/2 squared over 1/9 / 2 + 1/36 / 5
    cells = np.repeat([0, 2], [3, 6])
    lost, freedom = (4 / 2 / 3 + 7 / 5 / 6) / (1 / 2), 0.25 / (1 / 18 + 1 / 180)
    assert few_observers_factor(np.ones(9), cells) == pytest.approx(
        np.sqrt(lost) * t.ppf(0.975, freedom) / norm.ppf(0.975)
    )
    assert 1 < few_observers_factor(np.ones(1000), np.zeros(1000, np.int64)) < 1.003


def test_drawn_intervals_are_stretched_from_their_median() -> None:
    draws = np.column_stack([np.linspace(0, 1, 1001), np.linspace(0, 1, 1001) ** 2])
    low, high = drawn_interval(draws)
    assert low == pytest.approx([0.025, 0.025**2]) and high == pytest.approx([0.975, 0.975**2])
    low, high = drawn_interval(draws, 2.0)
    assert low == pytest.approx([0.5 - 2 * 0.475, 0.25 - 2 * (0.25 - 0.025**2)])
    assert high == pytest.approx([0.5 + 2 * 0.475, 0.25 + 2 * (0.975**2 - 0.25)])
