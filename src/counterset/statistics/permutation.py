"""The test of a chosen pair: deal the observers' results anew, choose again, compare.

The pair was chosen because its discover drop is the largest. The test repeats that choice
in every permutation, so it pays for the choice and may use the photos of both halves.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from counterset.statistics.choice import Pair, choose
from counterset.statistics.observers import CONFIRM, DISCOVER, Floats, Ints, Results

TIE = 1e-9
CHUNK = 1_000_000
"""Elements of an array of deals: in a class of many units some groups are counted at a time."""
MANY = 200
"""Results of a half from which on they are rotated; rotations of few results would be too much alike."""


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
    variance: float = 1.0,
) -> SelectionTest:
    """Test the pair that `choose` picks from `results`, every group of which must be in both halves.

    Within each half the results are dealt anew to the groups, each group keeping its number
    of observers. A deal is a permutation of the results composed with one of the group
    labels. Few of each give many deals of which any two are independent, or nearly so, hence
    the p-value is as exact as from as many permutations drawn one by one (`_composed`, `_rotated`).

    Args:
        results: the class's eligible groups only.
        weights: (C,) worth of each result in photos.
        num_permutations: at least so many deals.
        rng: the class's own generator.
        largest_p_value: `critical` will be asked for none above it, so no more of the tail is kept.
        pair: (common, counter) that is tested in place of the chosen one, against the same deals, which choose: as
            hard a test as if it had been chosen now.
        variance: of the tested pair's drop, over that of a deal; nothing is observed where there is none.
    """
    side = math.ceil(math.sqrt(num_permutations))
    values = np.stack([weights, weights * results.sum_correct / results.num_photos])
    dealt = np.empty((2, 2, results.num_groups, side * side))  # (weights and rights, half, G, deals)
    for half in (DISCOVER, CONFIRM):
        rows = results.half == half
        own, others = values.compress(rows, axis=1), dealt[:, half, :-1]
        deal = _composed if own.shape[1] < MANY else _rotated
        deal(own, results.group[rows], side, rng, others)
        np.subtract(own.sum(axis=1)[:, None], others.sum(axis=1), out=dealt[:, half, -1])  # what is left
    held = None if pair is None else Pair(np.array(pair[0]), np.array(pair[1]))
    drop = float(statistic(results.by_half(values[0]), results.by_half(values[1]), held))
    observed = drop / math.sqrt(variance) if variance > 0 else 0.0
    weight, right = np.moveaxis(dealt, 3, 1)  # (2, half, G, deals) -> (deals, half, G) of each
    null = statistic(weight, right)
    exceedances = int((null >= observed - TIE).sum())
    kept = min(math.ceil(largest_p_value * (len(null) + 1)), len(null))
    tail = np.sort(np.partition(null, -kept)[-kept:])
    p_value = (exceedances + 1) / (len(null) + 1)
    return SelectionTest(p_value, observed, tail, len(null), results.num_groups)


def _composed(values: Floats, group: Ints, side: int, rng: np.random.Generator, dealt: Floats) -> None:
    """Deal n permutations of the results to each of n permutations of the labels, any two deals independent.

    Args:
        values: (2, H) of one half.
        group: (H,) its labels.
        side: n.
        rng: of the permutations.
        dealt: (2, G - 1, n * n), filled with sums of values by all groups but the last.
    """
    index = np.tile(np.arange(len(group)), (side, 1))
    permuted = values.take(rng.permuted(index, axis=1), axis=1)
    labels = rng.permuted(np.tile(group, (side, 1)), axis=1)
    last = dealt.shape[1]
    step = max(CHUNK // labels.size, 1)
    for first in range(0, last, step):
        groups = np.arange(first, min(first + step, last))
        in_group = (labels == groups[:, None, None]).astype(np.float64).reshape(-1, labels.shape[1])
        for sums, of_values in zip(dealt, permuted, strict=True):
            # (groups labels, H) @ (H, values) -> (groups labels, values)
            np.matmul(in_group, of_values.T, out=sums[first : first + len(groups)].reshape(-1, side))


def _rotated(values: Floats, group: Ints, side: int, rng: np.random.Generator, dealt: Floats) -> None:
    """The same number of deals of fewer permutations: results and labels lie in circles, and each rotation is a deal.

    A deal is a random permutation still. No two rotations of the same circles deal a result the label of one place, so
    their sums correlate by -1 / (H - 1); any other two deals are independent. All rotations at once are a circular
    correlation, for which fast Fourier transforms take H log H steps.

    Args:
        values, group, side, rng, dealt: as for `_composed`.
    """
    size, number = len(group), side * side
    num_pairs = math.ceil(number / size)
    num_labels = math.ceil(math.sqrt(num_pairs))
    num_values = math.ceil(num_pairs / num_labels)
    of_label, of_values = np.divmod(np.arange(num_pairs), num_values)
    index = rng.permuted(np.tile(np.arange(size), (num_values, 1)), axis=1)
    labels = rng.permuted(np.tile(group, (num_labels, 1)), axis=1)
    both = np.fft.fft((values[0] + 1j * values[1])[index])  # (values, H): one transform for both
    for number_of_group, sums in enumerate(dealt.transpose(1, 0, 2)):
        in_group = np.conj(np.fft.fft((labels == number_of_group).astype(np.float64)))
        # (pairs, H): by rotation, the sum over places of a result whose place, so far away, has the label
        rotated = np.fft.ifft(both[of_values] * in_group[of_label]).reshape(-1)[:number]
        sums[0], sums[1] = rotated.real, rotated.imag
