"""Ranks of the selectors' margins: by hand, and what they gain over right-or-wrong answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from counterset.statistics.selector_margin import double_ranks, rank_per_accuracy


def test_ranks_are_those_of_a_slow_count() -> None:
    margins = np.array([[0.3, -5.0], [0.1, 2.0], [0.3, 7.0], [-0.2, 2.0], [0.9, 2.0]])
    slow = [
        sum(
            2 * int((column < value).sum()) + int((column == value).sum())
            for column, value in zip(margins.T, row, strict=True)
        )
        for row in margins
    ]
    assert double_ranks(margins).tolist() == slow
    assert double_ranks(margins).sum() == margins.size * len(margins), "the mean rank of a class is one half"


def test_ranks_know_neither_scale_nor_skew_nor_shift() -> None:
    margins = np.random.default_rng(0).normal(size=(50, 3))
    bent = np.column_stack([np.exp(margins[:, 0]), 100 * margins[:, 1] - 7, margins[:, 2] ** 3])
    assert double_ranks(bent).tolist() == double_ranks(margins).tolist()


def test_a_margin_that_is_no_number_is_below_all_others() -> None:
    assert double_ranks(np.array([[np.nan], [-9.0], [np.nan]])).tolist() == [2.0, 5.0, 2.0]
    assert double_ranks(np.zeros((0, 2))).tolist() == []


@pytest.mark.parametrize("accuracy", [0.6, 0.8, 0.95])
def test_what_a_difference_in_accuracy_is_in_ranks(accuracy: float) -> None:
    """Normal margins: of two groups in a large class one has half a point more accuracy, one half a point less."""
    step = 0.005
    levels = norm.ppf([accuracy - step, accuracy + step])
    of_class = norm.ppf(accuracy) + norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    ranks = [norm.cdf(of_class - norm.ppf(accuracy) + level, loc=norm.ppf(accuracy)).mean() for level in levels]
    assert (ranks[1] - ranks[0]) / (2 * step) == pytest.approx(rank_per_accuracy(accuracy), rel=0.01)


def test_accuracies_of_0_and_1_are_taken_as_near_them() -> None:
    assert rank_per_accuracy(1.0) == rank_per_accuracy(0.98) == pytest.approx(rank_per_accuracy(0.02))
