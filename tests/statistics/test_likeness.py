"""Correlations within observers, between observers of a place, and across a cut, against known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from counterset.statistics.likeness import _pairs, likeness
from counterset.statistics.units import NONE


def world(seed: int, *, of_observer: float, of_place: float, num_groups: int = 40) -> tuple[np.ndarray, ...]:
    """Outcomes with correlations of normal margins by observer and by place: group, place, observer, outcome. Means
    differ by group, and the harder a group, the more photos an observer gave."""
    rng = np.random.default_rng(seed)
    rows = []
    for group in range(num_groups):
        accuracy = 0.5 if group % 2 else 0.8
        for place in range(40):
            luck = rng.standard_normal() * np.sqrt(of_place)
            for observer in range(4):
                own = rng.standard_normal() * np.sqrt(of_observer - of_place)
                for _ in range(1 + rng.poisson(2 if group % 2 else 0.5)):
                    margin = ndtri(accuracy) + luck + own + rng.standard_normal() * np.sqrt(1 - of_observer)
                    rows.append((group, group * 40 + place, (group * 40 + place) * 4 + observer, margin > 0))
    return tuple(np.array(column) for column in zip(*rows, strict=True))


def outcome_correlation(of_margin: float, accuracy: float) -> float:
    """Of two right-or-wrong outcomes whose normal margins correlate."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal(400_000) * np.sqrt(of_margin)
    first, second = (shared + rng.standard_normal(400_000) * np.sqrt(1 - of_margin) < ndtri(accuracy) for _ in "ab")
    return float(np.corrcoef(first, second)[0, 1])


@pytest.mark.parametrize(("of_observer", "of_place"), [(0.4, 0.2), (0.3, 0.0), (0.0, 0.0)])
def test_correlations_are_those_of_the_world(of_observer: float, of_place: float) -> None:
    group, place, observer, outcome = world(1, of_observer=of_observer, of_place=of_place)
    found = likeness(outcome.astype(float), group, place, observer, place)
    truth = [np.mean([outcome_correlation(value, p) for p in (0.5, 0.8)]) for value in (of_observer, of_place)]
    assert found.observer == pytest.approx(truth[0], abs=0.03)
    assert found.place == pytest.approx(truth[1], abs=0.02)
    assert np.isnan(found.cut)


def test_what_a_cut_leaves_is_seen_between_units() -> None:
    group, place, observer, outcome = world(2, of_observer=0.4, of_place=0.2)
    found = likeness(outcome.astype(float), group, observer, observer, place)
    whole = likeness(outcome.astype(float), group, place, observer, place)
    assert np.isnan(found.place)
    assert found.cut == pytest.approx(whole.place, abs=0.01)
    assert found.observer == pytest.approx(whole.observer, abs=0.01)


def test_small_groups_are_not_biased_by_their_means() -> None:
    """Ten photos a group, nothing in common: without the correction pairs would correlate by -1/9."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(3_000), 10)
    observer = np.repeat(np.arange(15_000), 2)
    outcome = (rng.random(30_000) < 0.7).astype(float)
    found = likeness(outcome, group, observer, observer, np.full(30_000, NONE))
    assert found.observer == pytest.approx(0.0, abs=0.03)


def test_products_equal_a_loop_over_pairs() -> None:
    rng = np.random.default_rng(4)
    residual, group, unit, observer = rng.normal(size=60), rng.integers(0, 3, 60), *rng.integers(0, 5, (2, 60))
    sums = np.zeros((2, 4))
    for i in range(60):
        for j in range(60):
            if i != j and (group[i], unit[i], observer[i]) == (group[j], unit[j], observer[j]):
                sums[:, group[i]] += residual[i] * residual[j], 1
    assert _pairs(residual, group, [unit, observer], 4) == pytest.approx(sums)


def test_nothing_to_compare_is_not_a_number() -> None:
    nothing = np.zeros(0, np.int64)
    assert np.isnan(likeness(nothing.astype(float), nothing, nothing, nothing, nothing)).all()
    one = np.arange(3)
    assert np.isnan(likeness(np.array([0.0, 1.0, 1.0]), np.zeros(3, np.int64), one, one, one)).all()
