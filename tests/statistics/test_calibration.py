"""The bound on precision holds for the threshold that was chosen after seeing all."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from counterset.statistics.calibration import NUM_THRESHOLDS, thresholds


def test_bounds_and_shares() -> None:
    margins = np.linspace(0.01, 1, 100)
    is_right = margins > 0.1
    found = thresholds(margins, is_right)
    assert [threshold.num_kept for threshold in found] == list(range(100, 0, -10))
    assert found[0].min_margin == 0 and found[0].precision == 0.9 and found[0].coverage == 1
    level = 0.05 / NUM_THRESHOLDS
    low, _ = proportion_confint(90, 100, alpha=2 * level, method="beta")
    assert found[0].precision_low == pytest.approx(low)
    assert found[-1].precision == 1 and found[-1].min_margin == pytest.approx(0.91)


def test_the_chosen_bound_is_seldom_above_the_truth() -> None:
    """Margins that say nothing: the true precision is 0.8 at every threshold."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(2_000):
        found = thresholds(rng.random(150), rng.random(150) < 0.8)
        wrong += max(threshold.precision_low for threshold in found) > 0.8
    assert wrong / 2_000 <= 0.05


def test_ties_are_kept_together_and_few_photos_are_enough() -> None:
    found = thresholds(np.array([0.5, 0.5, 0.5, 0.1]), np.array([True, True, False, False]))
    assert {threshold.num_kept for threshold in found} == {4, 3}
    assert thresholds(np.array([]), np.array([], bool)) == []
    assert thresholds(np.array([0.2]), np.array([False]))[0].precision_low == 0


def test_unequal_weights_count_as_what_they_stand_for() -> None:
    margins, is_right = np.full(60, 0.5), np.arange(60) < 30
    weights = np.where(is_right, 9.0, 1.0)
    [weighted] = {found.precision for found in thresholds(margins, is_right, weights=weights)}
    assert weighted == pytest.approx(0.9)
    even = thresholds(margins, is_right, weights=np.full(60, 3.0))
    assert [found.precision_low for found in even] == [found.precision_low for found in thresholds(margins, is_right)]
    # 30 photos of weight 9 and 30 of 1 are worth 300 ** 2 / (30 * 82) = 36.6
    assert thresholds(margins, is_right, weights=weights)[0].precision_low < 0.8
