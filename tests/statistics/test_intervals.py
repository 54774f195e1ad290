"""Intervals against statsmodels' own, and against what is exactly true."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from counterset.statistics.intervals import drop_interval, jeffreys


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
