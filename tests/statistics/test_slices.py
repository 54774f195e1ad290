"""The test of proposed slices: against a slow one, and what it promises in small worlds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import hypergeom

from counterset.statistics.after_selection import confidence_among
from counterset.statistics.observers import Bools, Ints
from counterset.statistics.slices import LEVEL, _Deals, _rounded_down, adjusted_p_values, judge_slices, slice_drop


def p_values(correct: Bools, stratum: Ints, unit: Ints, members: Bools, deals: int = 999, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return adjusted_p_values(correct, stratum, unit, sparse.csr_array(members * 1.0), rng=rng, num_deals=deals)


def test_one_slice_of_one_class_is_tested_as_fishers_test_does() -> None:
    rng = np.random.default_rng(1)
    correct, member = rng.random(80) < 0.6, rng.random(80) < 0.3
    nothing = np.zeros(80, np.int64)
    found = p_values(correct, nothing, np.arange(80), member[None], deals=9_999)
    exact = hypergeom.cdf((correct & member).sum(), 80, correct.sum(), member.sum())
    assert found[0] == pytest.approx(exact, abs=0.02)


def test_a_deal_keeps_what_a_unit_has_of_each_class() -> None:
    rng = np.random.default_rng(2)
    unit, stratum = rng.integers(0, 30, 200), rng.integers(0, 3, 200)
    correct = rng.random(200) < 0.5
    deal = _Deals(correct, stratum, unit, rng)
    dealt = deal.draw(50, rng)
    for of_class in range(3):  # what is right in a class stays so many
        own = stratum[deal.rows] == of_class
        assert (dealt[:, own].sum(axis=1) == deal.values[own].sum()).all()
    # units alike are dealt whole: so many units are right in all rows as before
    whole = [[values[unit[deal.rows] == each].mean() for each in np.unique(unit)] for values in (deal.values, *dealt)]
    assert all(sorted(each) == sorted(whole[0]) for each in whole)
    assert len({tuple(row) for row in dealt.tolist()}) > 40


def test_numbers_of_rows_are_rounded_down() -> None:
    sizes = np.arange(1, 14)
    assert _rounded_down(sizes).tolist() == [1, 2, 3, 4, 4, 6, 6, 8, 8, 8, 8, 12, 12]


def world(rng: np.random.Generator, num_slices: int, drop: float = 0.0) -> tuple[Bools, Ints, Ints, Bools]:
    """Two classes, units of one to eight rows that are alike, slices of units and rows; the first one is worse."""
    unit = np.repeat(np.arange(200), rng.integers(1, 9, 200))
    stratum = rng.integers(0, 2, len(unit))
    of_unit, of_row = rng.random((num_slices, 200)) < 0.25, rng.random((num_slices, len(unit))) < 0.25
    members = np.where(rng.random((num_slices, 1)) < 0.5, of_unit[:, unit], of_row)
    luck = rng.beta(1, 1, 200)[unit]
    rate = np.where(stratum == 0, luck, (1 + luck) / 2) - drop * members[0]
    return rng.random(len(unit)) < rate, stratum, unit, members


def test_slices_of_nothing_are_rarely_found_though_units_are_alike() -> None:
    false = [
        bool((p_values(*world(np.random.default_rng(seed), 40), deals=199, seed=seed) <= 0.05).any())
        for seed in range(120)
    ]
    assert np.mean(false) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 120)
    naive = []  # rows dealt as if each were a unit of its own
    for seed in range(40):
        correct, stratum, unit, members = world(np.random.default_rng(seed), 40)
        naive.append(bool((p_values(correct, stratum, np.arange(len(unit)), members, deals=199) <= 0.05).any()))
    assert np.mean(naive) > 0.15


def test_a_slice_that_is_worse_is_found_among_many() -> None:
    found = [p_values(*world(np.random.default_rng(seed), 100, 0.4), seed=seed)[0] for seed in range(5)]
    assert np.median(found) <= 0.05


def test_a_confirmed_slice_is_worse_by_its_interval_among_the_confirmed_ones_too() -> None:
    num_close = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        correct, stratum, unit, members = world(rng, 10, 0.25)
        judged = judge_slices(correct, stratum, unit, [*members], correlation=0.3, rng=rng, num_deals=199)
        num = sum(one.is_confirmed for one in judged)
        for one, own in zip(judged, members, strict=True):
            drop = slice_drop(correct, stratum, unit, own, 0.3)
            assert one.drop == drop and one.adjusted == drop.interval(confidence_among(max(num, 1), 10))
            assert one.is_confirmed <= (one.p_value <= LEVEL and one.adjusted.low > 0)
            num_close += one.p_value <= LEVEL and not one.is_confirmed
    assert num_close > 0, "the interval has a say"
    assert judge_slices(correct, stratum, unit, [], correlation=0.3, rng=rng) == []


def test_a_slice_that_no_deal_changes_is_not_found() -> None:
    everything = np.ones((1, 30), np.bool_)
    correct = np.random.default_rng(0).random(30) < 0.5
    assert p_values(correct, np.zeros(30, np.int64), np.arange(30), everything)[0] == 1.0


def test_a_slice_is_compared_within_its_classes() -> None:
    # the slice has more of the hard class and is as good as the rest in both
    stratum = np.repeat([0, 1], 200)
    correct = np.tile([True, True, True, False], 100) & ((stratum == 0) | (np.arange(400) % 2 == 0))
    member = np.zeros(400, np.bool_)
    member[:40], member[200:360] = True, True
    found = slice_drop(correct, stratum, np.arange(400), member, 0.0)
    assert found.drop == pytest.approx(0.0)
    assert correct[member].mean() < correct[~member].mean() - 0.1
    low, high = found.interval()
    assert low < 0 < high
    alike = slice_drop(correct, stratum, np.arange(400) // 4, member, 0.5).interval()
    assert alike.high - alike.low > 1.3 * (high - low)
