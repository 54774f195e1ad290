"""Intervals against statsmodels' own."""

from __future__ import annotations

import pytest
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from counterset.statistics.intervals import newcombe, wilson


@pytest.mark.parametrize(("right", "photos"), [(0, 12), (3, 20), (70, 100), (50, 50)])
def test_wilson_is_that_of_statsmodels(right: int, photos: int) -> None:
    low, high = proportion_confint(right, photos, method="wilson")
    assert wilson(right / photos, photos) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize("counts", [(70, 100, 50, 90), (20, 20, 0, 15), (5, 40, 8, 30)])
def test_newcombe_is_that_of_statsmodels(counts: tuple[int, int, int, int]) -> None:
    low, high = confint_proportions_2indep(*counts, method="newcomb", compare="diff")
    right_a, a, right_b, b = counts
    assert newcombe(right_a / a, a, right_b / b, b) == pytest.approx((low, high), abs=1e-9)


def test_errors_that_go_together_make_a_drop_surer() -> None:
    apart = newcombe(0.7, 100, 0.5, 100)
    together = newcombe(0.7, 100, 0.5, 100, correlation=0.5)
    assert together.high - together.low < 0.75 * (apart.high - apart.low)
