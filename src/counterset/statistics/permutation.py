"""The test of a chosen pair: deal the observers' results anew, choose again, compare.

The pair was chosen because its discover drop is the largest. The test repeats that choice
in every permutation, so it pays for the choice and may use the photos of both halves.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from counterset.statistics.choice import Pair, choose
from counterset.statistics.observers import CONFIRM, DISCOVER, Floats, Results

TIE = 1e-9
CHUNK = 1_000_000
"""Elements of an array of deals: in a class of many units some groups are counted at a time."""


class SelectionTest(NamedTuple):
    """One class's test.

    Attributes:
        p_value: one-sided, of "no group differs" against the chosen pair's drop.
        observed: the statistic itself.
        tail: the largest permuted statistics, ascending.
        num_permutations: how many there were in all.
        num_groups: groups that took part.
    """

    p_value: float
    observed: float
    tail: Floats
    num_permutations: int
    num_groups: int

    def critical(self, p_value: float) -> float:
        """The statistic that just reaches `p_value`."""
        rank = max(math.ceil(p_value * (self.num_permutations + 1)), 1)
        return float(self.tail[-min(rank, len(self.tail))])


def statistic(weights: Floats, correct: Floats, pair: Pair | None = None) -> Floats:
    """A pair's drop over both halves, times sqrt(1 / (1 / W_common + 1 / W_counter)).

    Args:
        weights: (..., 2, G) observers' weights, summed by half and group.
        correct: (..., 2, G) weights times accuracies, summed.
        pair: (...) indices of groups; None = the one that `choose` picks.
    """
    pair = choose(weights, correct) if pair is None else pair
    shape = weights.shape[:-2]
    number = math.prod(shape)

    def of_pair(values: Floats) -> tuple[Floats, Floats]:
        # (..., 2, G) -> (2, G N), of which each deal's two groups are taken
        halves = np.moveaxis(values, (-2, -1), (0, 1)).reshape(2, -1)
        places = (np.broadcast_to(group, shape).ravel() * number + np.arange(number) for group in pair)
        common, counter = (halves[DISCOVER].take(place) + halves[CONFIRM].take(place) for place in places)
        return common, counter

    (weight_common, weight_counter), (right_common, right_counter) = of_pair(weights), of_pair(correct)
    drop = right_common / weight_common - right_counter / weight_counter
    return np.asarray(drop / np.sqrt(1 / weight_common + 1 / weight_counter)).reshape(shape)


def selection_test(
    results: Results,
    weights: Floats,
    *,
    num_permutations: int,
    rng: np.random.Generator,
    largest_p_value: float = 0.05,
    pair: tuple[int, int] | None = None,
) -> SelectionTest:
    """Test the pair that `choose` picks from `results`, every group of which must be in both halves.

    Within each half the results are dealt anew to the groups, each group keeping its number
    of observers. A deal is a permutation of the results composed with one of the group
    labels; n of each, drawn independently, give n * n deals of which any two are independent,
    so the p-value is as exact as from n * n permutations drawn one by one.

    Args:
        results: the class's eligible groups only.
        weights: (C,) worth of each result in photos.
        num_permutations: at least so many deals.
        rng: the class's own generator.
        largest_p_value: `critical` will be asked for none above it, so no more of the tail is kept.
        pair: (common, counter) that is tested in place of the chosen one, against the same deals, which choose: as
            hard a test as if it had been chosen now.
    """
    side = math.ceil(math.sqrt(num_permutations))
    values = np.stack([weights, weights * results.sum_correct / results.num_photos])
    weight, right = np.empty((2, 2, results.num_groups, side, side))  # (half, G, labels, values) of each
    for half in (DISCOVER, CONFIRM):
        rows = results.half == half
        index = np.tile(np.flatnonzero(rows), (side, 1))
        permuted = values.take(rng.permuted(index, axis=1), axis=1)
        labels = rng.permuted(np.tile(results.group[rows], (side, 1)), axis=1)
        step = max(CHUNK // labels.size, 1)
        last = results.num_groups - 1
        for first in range(0, last, step):
            groups = np.arange(first, min(first + step, last))
            in_group = (labels == groups[:, None, None]).astype(np.float64).reshape(-1, labels.shape[1])
            for dealt, of_values in zip((weight, right), permuted, strict=True):
                # (groups labels, C) @ (C, values) -> (groups labels, values)
                np.matmul(in_group, of_values.T, out=dealt[half, first : first + len(groups)].reshape(-1, side))
        for dealt, of_rows in zip((weight, right), values[:, rows], strict=True):
            np.subtract(of_rows.sum(), dealt[half, :last].sum(axis=0), out=dealt[half, last])  # what is left
    held = None if pair is None else Pair(np.array(pair[0]), np.array(pair[1]))
    observed = float(statistic(results.by_half(values[0]), results.by_half(values[1]), held))
    # (half, G, labels, values) -> (labels, values, half, G)
    weight, right = (np.moveaxis(dealt, (2, 3), (0, 1)) for dealt in (weight, right))
    null = statistic(weight, right).ravel()
    exceedances = int((null >= observed - TIE).sum())
    kept = min(math.ceil(largest_p_value * (len(null) + 1)), len(null))
    tail = np.sort(np.partition(null, -kept)[-kept:])
    p_value = (exceedances + 1) / (len(null) + 1)
    return SelectionTest(p_value, observed, tail, len(null), results.num_groups)
