"""Precision and recall of names: weighted by the sample, with intervals whose unit is who took the photos."""

from __future__ import annotations

import numpy as np
import pytest

from counterset.statistics.intervals import jeffreys
from counterset.statistics.naming import effective, name_share, photos_to_label, rightness_correlation


def test_equal_weights_of_independent_photos_are_worth_their_number() -> None:
    assert effective(np.full(40, 2.5), np.arange(40), 0.3) == pytest.approx(40)


def test_photos_of_one_unit_are_worth_less_and_of_unequal_weight_too() -> None:
    five_each = np.repeat(np.arange(8), 5)
    # n / (1 + (n - 1) rho) photos of each unit
    assert effective(np.ones(40), five_each, 0.5) == pytest.approx(8 * 5 / (1 + 4 * 0.5))
    assert effective(np.ones(40), five_each, 1.0) == pytest.approx(8)
    assert effective(np.array([1.0, 3.0]), np.arange(2), 0.0) == pytest.approx(16 / 10)
    assert effective(np.zeros(3), np.arange(3), 0.0) == 0


def test_a_share_is_that_of_the_population_and_not_of_the_labels() -> None:
    # A tenth of 900 photos, all of 10: the 10 wrong ones must not count as half.
    is_right = np.concatenate([np.ones(10), np.zeros(10)])
    share = name_share(is_right, np.concatenate([np.full(10, 90.0), np.ones(10)]), np.arange(20), 0.0)
    assert share is not None and share.share == pytest.approx(900 / 910) and share.num_labels == 20
    assert name_share(is_right, np.zeros(20), np.arange(20), 0.0) is None


def test_intervals_cover_in_populations_of_alike_photos() -> None:
    """400 samples of 60 units with up to 4 photos, whose names are right together by a correlation of 0.5."""
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(400):
        unit = np.repeat(np.arange(60), rng.integers(1, 5, 60))
        precision = rng.beta(0.8, 0.2, 60)[unit]
        is_right = (rng.random(len(unit)) < precision).astype(np.float64)
        rho = rightness_correlation(is_right, np.zeros(len(unit), np.int64), unit)
        share = name_share(is_right, np.ones(len(unit)), unit, rho)
        assert share is not None
        inside += share.low <= 0.8 <= share.high
    assert 0.92 <= inside / 400 <= 0.98


def test_as_many_photos_as_the_precision_asks_for() -> None:
    number = photos_to_label(0.1)
    for count, is_enough in ((number, True), (number - 1, False)):
        low, high = jeffreys(0.9, count)
        assert ((high - low) / 2 <= 0.1) == is_enough
    assert photos_to_label(0.05) > 3 * number
