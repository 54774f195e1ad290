"""The test of a chosen pair: against a slow, obvious one, and uniform where nothing differs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from counterset.statistics import permutation
from counterset.statistics.choice import choose
from counterset.statistics.observers import CONFIRM, DISCOVER, Dispersion, Floats, Results
from counterset.statistics.permutation import SelectionTest, selection_test, statistic

from ..proofs.counted import counted
from ..proofs.worlds import Crowd, Geometric, draw_world


def make(accuracy: list[float], photos: int, seed: int, rho: float = 0.1) -> Results:
    crowd = Crowd(rho=rho, sizes=Geometric(), crossing=0.0)
    world = draw_world(np.random.default_rng(seed), np.array([accuracy]), photos, crowd)
    return counted(world, 1, 0.5)[0].results


def slow_p_value(results: Results, weights: Floats, number: int, rng: np.random.Generator) -> float:
    """One permutation after the other, group after group."""
    accuracy = results.sum_correct / results.num_photos

    def drop_in_errors(group: np.ndarray) -> float:
        means = {}
        for half in (DISCOVER, CONFIRM):
            for name in range(results.num_groups):
                rows = (results.half == half) & (group == name)
                means[half, name] = (weights[rows].sum(), (weights * accuracy)[rows].sum())
        discover = [means[DISCOVER, name][1] / means[DISCOVER, name][0] for name in range(results.num_groups)]
        pair = (int(np.argmax(discover)), int(np.argmin(discover)))
        weight = [means[DISCOVER, name][0] + means[CONFIRM, name][0] for name in pair]
        right = [means[DISCOVER, name][1] + means[CONFIRM, name][1] for name in pair]
        return float((right[0] / weight[0] - right[1] / weight[1]) / np.sqrt(1 / weight[0] + 1 / weight[1]))

    observed, exceedances = drop_in_errors(results.group), 0
    for _ in range(number):
        group = results.group.copy()
        for half in (DISCOVER, CONFIRM):
            rows = np.flatnonzero(results.half == half)
            group[rows] = group[rng.permutation(rows)]
        exceedances += drop_in_errors(group) >= observed - 1e-9
    return (exceedances + 1) / (number + 1)


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_p_value_is_that_of_the_slow_test(seed: int) -> None:
    results = make([0.7, 0.75, 0.62], 40, seed)
    weights = Dispersion(0.1, 1.0).weights(results.num_photos)
    fast = selection_test(results, weights, num_permutations=10_000, rng=np.random.default_rng(0)).p_value
    slow = slow_p_value(results, weights, 1_500, np.random.default_rng(1))
    assert fast == pytest.approx(slow, abs=4 * np.sqrt(slow * (1 - slow) / 1_500))


@pytest.mark.parametrize(("num_groups", "num_units", "num_worlds", "most"), [(4, 40, 300, 0.09), (3, 600, 200, 0.1)])
def test_p_values_are_uniform_where_nothing_differs(
    num_groups: int, num_units: int, num_worlds: int, most: float
) -> None:
    """Of small classes, whose deals are composed, and of large ones, whose are rotated."""
    p_values = []
    for seed in range(num_worlds):
        results = make([0.7] * num_groups, num_units, seed, rho=0.3)
        weights = Dispersion(0.3, 1.0).weights(results.num_photos)
        rng = np.random.default_rng(seed)
        p_values.append(selection_test(results, weights, num_permutations=400, rng=rng).p_value)
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) <= 0.05) < most


def test_a_large_drop_is_found_and_the_critical_value_is_reached() -> None:
    results = make([0.9, 0.7, 0.4], 100, 6)
    weights = Dispersion(0.1, 1.0).weights(results.num_photos)
    found = selection_test(results, weights, num_permutations=2_000, rng=np.random.default_rng(0))
    assert found.p_value == pytest.approx(1 / (found.num_permutations + 1))
    observed = statistic(results.by_half(weights), results.by_half(weights * results.sum_correct / results.num_photos))
    assert observed > found.critical(0.01) > found.critical(0.05) > 0


def test_equal_groups_still_give_two_different_ones() -> None:
    weights = np.ones((2, 3))
    pair = choose(weights, weights)
    assert pair.common != pair.counter
    eligible = np.array([False, True, True])
    assert tuple(map(int, choose(weights, weights, eligible))) == (1, 2)


def test_the_statistic_is_the_drop_in_standard_errors() -> None:
    """By hand: group 0 is best on discover and group 2 worst; both halves' weights and outcomes are added."""
    weights = np.array([[10.0, 5.0, 4.0], [6.0, 7.0, 2.0]])
    correct = np.array([[9.0, 3.0, 1.0], [3.0, 7.0, 2.0]])
    expected = (12 / 16 - 3 / 6) / np.sqrt(1 / 16 + 1 / 6)
    assert statistic(weights, correct) == pytest.approx(expected)
    many = statistic(np.stack([weights, weights[:, ::-1]]), np.stack([correct, correct[:, ::-1]]))
    assert many == pytest.approx([expected, expected])


def test_equal_outcomes_are_no_evidence() -> None:
    """Every deal of equal outcomes gives the observed statistic, and a tie counts against the pair."""
    results = make([1.0, 1.0], 30, 0)
    weights = np.full(len(results.group), 0.1)  # sums of these differ in the last bit from deal to deal
    for value in (1.0, 0.3):
        equal = replace(results, sum_correct=value * results.num_photos)
        found = selection_test(equal, weights, num_permutations=100, rng=np.random.default_rng(0))
        assert found.p_value == 1


@pytest.mark.parametrize(("asked", "dealt"), [(1, 1), (400, 400), (401, 441)])
def test_at_least_as_many_deals_as_asked_for(asked: int, dealt: int) -> None:
    results = make([0.8, 0.6, 0.7], 40, 1)
    found = selection_test(
        results, np.ones_like(results.num_photos), num_permutations=asked, rng=np.random.default_rng(0)
    )
    assert (found.num_permutations, found.num_groups) == (dealt, 3)
    assert len(found.tail) == min(int(np.ceil(0.05 * (dealt + 1))), dealt)
    assert (np.diff(found.tail) >= 0).all()


@pytest.mark.parametrize("largest", [0.001, 0.2, 0.5])
def test_enough_of_the_tail_is_kept_for_every_p_value_that_may_be_asked_for(largest: float) -> None:
    results = make([0.8, 0.6, 0.7], 40, 1)
    every, some = (
        selection_test(
            results,
            np.ones_like(results.num_photos),
            num_permutations=900,
            rng=np.random.default_rng(0),
            largest_p_value=kept,
        )
        for kept in (1.0, largest)
    )
    assert len(every.tail) == 900 and len(some.tail) == np.ceil(largest * 901)
    assert some.critical(largest) == every.critical(largest)
    assert some.observed == every.observed


@pytest.mark.parametrize("chunk", [1, 8_000])
def test_a_class_of_many_units_is_dealt_alike_some_groups_at_a_time(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = make([0.8, 0.6, 0.7], 40, 1)
    weights = np.ones_like(results.num_photos)

    def tail() -> Floats:
        return selection_test(results, weights, num_permutations=900, rng=np.random.default_rng(0)).tail

    whole = tail()
    monkeypatch.setattr(permutation, "CHUNK", chunk)
    assert tail() == pytest.approx(whole, rel=1e-12)


def test_a_drop_counts_by_its_own_variance() -> None:
    """With a quarter of a deal's it is worth twice as much; without any nothing is observed."""
    results = make([0.8, 0.6, 0.7], 40, 1)
    whole, quarter, none = (
        selection_test(
            results,
            np.ones_like(results.num_photos),
            num_permutations=400,
            rng=np.random.default_rng(0),
            pair=(2, 1),
            variance=variance,
        )
        for variance in (1.0, 0.25, 0.0)
    )
    assert whole.observed > 0 and quarter.observed == pytest.approx(2 * whole.observed)
    assert quarter.p_value < whole.p_value
    assert none.observed == 0


def test_groups_keep_their_number_of_observers() -> None:
    """With equal worth and outcomes 1 or 0, every deal has each group's weight on each half."""
    results = make([0.8, 0.4], 30, 2)
    ones = np.ones_like(results.num_photos)
    found = selection_test(
        replace(results, sum_correct=(results.sum_correct > 0) * results.num_photos),
        ones,
        num_permutations=900,
        rng=np.random.default_rng(0),
    )
    sizes = results.by_group(ones)
    largest = 1 / np.sqrt((1 / sizes).sum())  # no drop is above 1
    assert 0 < found.tail.max() < largest


def test_the_critical_value_of_a_rank() -> None:
    found = SelectionTest(0.5, 0.0, np.arange(1.0, 61.0), 999, 3)
    assert found.critical(0.01) == 51, "the tenth of 1,000, counting the observed one"
    assert found.critical(0.0101) == 50
    assert found.critical(0.0501) == 10
    assert found.critical(0.0) == 60, "no deal is above the largest"
    assert found.critical(1.0) == 1, "what was not kept is below the smallest that was"


def test_the_p_value_counts_the_deals_that_reach_the_observed_drop() -> None:
    """Outcomes of many values give deals that are close to the observed one, and below it: these do not count."""
    results = make([0.8, 0.5, 0.65], 40, 3)
    shares = np.random.default_rng(1).uniform(0, 1, len(results.group)) * (1.3 - 0.4 * results.group)
    results = replace(results, sum_correct=shares * results.num_photos)
    weights = np.ones_like(shares)
    found = selection_test(results, weights, num_permutations=40_000, rng=np.random.default_rng(0))
    observed = statistic(results.by_half(weights), results.by_half(shares))
    reached = int((found.tail >= observed).sum())
    assert 0 < reached < len(found.tail), "the observed drop lies among those that are kept"
    assert int((found.tail >= observed - 0.01).sum()) > reached
    assert found.observed == pytest.approx(float(observed))
    assert found.p_value == (reached + 1) / (found.num_permutations + 1)


def test_rotations_deal_what_is_dealt_by_hand() -> None:
    rng = np.random.default_rng(3)
    size, num_groups, side = 31, 4, 9
    values, group = rng.random((2, size)), rng.integers(0, num_groups, size)
    dealt = np.empty((2, num_groups - 1, side * side))
    permutation._rotated(values, group, side, np.random.default_rng(7), dealt)
    again = np.random.default_rng(7)
    # 81 deals are three circles of 31 places: two of labels, two of results
    results = again.permuted(np.tile(np.arange(size), (2, 1)), axis=1)
    labels = again.permuted(np.tile(group, (2, 1)), axis=1)
    for number in range(side * side):
        circle, rotation = divmod(number, size)
        dealt_to = np.roll(results[circle % 2], -rotation)
        for name in range(num_groups - 1):
            expected = values[:, dealt_to[labels[circle // 2] == name]].sum(axis=1)
            assert dealt[:, name, number] == pytest.approx(expected, rel=1e-12)


def test_rotations_of_a_large_class_are_as_exact_as_single_deals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over seeds, p-values have the mean of those by composed deals, and scatter as those of independent deals do."""
    results = make([0.70, 0.71, 0.68], 600, 2)
    weights = Dispersion(0.1, 1.0).weights(results.num_photos)
    assert np.bincount(results.half).min() >= permutation.MANY

    def p_values() -> Floats:
        rngs = map(np.random.default_rng, range(150))
        tests = [selection_test(results, weights, num_permutations=400, rng=rng) for rng in rngs]
        return np.array([test.p_value for test in tests])

    rotated = p_values()
    monkeypatch.setattr(permutation, "MANY", len(results.group))
    composed = p_values()
    independent = composed.mean() * (1 - composed.mean()) / 400
    assert rotated.mean() == pytest.approx(composed.mean(), abs=4 * np.sqrt(2 * independent / 150))
    assert 0.6 < rotated.var(ddof=1) / independent < 1.6  # four standard errors of a variance of 150
