"""The test of a chosen pair: permute observers, choose again, compare.

The pair was chosen because its discover drop is the largest. The test repeats that choice
in every permutation, so it pays for the choice and may use the photos of both halves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from counterset.statistics.observers import Floats, Ints

CHUNK_ELEMENTS = 2_000_000
ENOUGH_EXCEEDANCES = 200
"""A p-value whose estimate rests on so many exceedances is exact to 7 % and needs no more permutations."""


class Choice(NamedTuple):
    """The pair that the discover half chooses: indices of groups, and the statistic of both halves."""

    common: npt.NDArray[np.intp]
    counter: npt.NDArray[np.intp]
    statistic: Floats


def choose(weights: Floats, correct: Floats) -> Choice:
    """The pair of the largest discover drop, and the drop of both halves in units of its error.

    Args:
        weights: (..., 2, G) summed observer weights of discover and confirm, by group.
        correct: (..., 2, G) summed weighted accuracies.
    """
    accuracy = correct[..., 0, :] / weights[..., 0, :]
    common, counter = accuracy.argmax(axis=-1), accuracy.argmin(axis=-1)
    weight, right = weights.sum(axis=-2), correct.sum(axis=-2)

    def at(values: Floats, group: npt.NDArray[np.intp]) -> Floats:
        return np.take_along_axis(values, group[..., None], axis=-1)[..., 0]

    drop = at(right, common) / at(weight, common) - at(right, counter) / at(weight, counter)
    return Choice(common, counter, drop / np.sqrt(1 / at(weight, common) + 1 / at(weight, counter)))


def permutation_p_value(
    group: Ints,
    half: Ints,
    weights: Floats,
    accuracy: Floats,
    *,
    num_permutations: int,
    rng: np.random.Generator,
) -> float:
    """One-sided p-value of the chosen pair's drop under "no group differs".

    Within each half the observers' results are dealt anew to the groups, each group keeping
    its number of observers; the whole procedure (choose on discover, measure on both halves)
    is repeated. Stops early once the p-value is known well enough (Besag and Clifford 1991).

    Args:
        group: (C,) group of each observer's result, 0 .. G-1, every group present in both halves.
        half: (C,) 0 = discover, 1 = confirm.
        weights: (C,) worth of each result, in photos.
        accuracy: (C,) accuracy of each result.
        num_permutations: at most so many.
        rng: the local generator.
    """
    num_groups = int(group.max()) + 1
    order = np.lexsort((group, half))
    group, half, weights = group[order], half[order], weights[order]
    correct = weights * accuracy[order]
    starts = np.searchsorted(half * num_groups + group, np.arange(2 * num_groups))
    split = int(np.searchsorted(half, 1))

    def sums(values: Floats, index: npt.NDArray[np.intp]) -> Floats:
        # (P, C) -> (P, 2, G)
        return np.add.reduceat(values[index], starts, axis=-1).reshape(-1, 2, num_groups)

    observed = float(choose(*(sums(v, np.arange(len(group))[None, :]) for v in (weights, correct))).statistic[0])
    exceedances = done = 0
    while done < num_permutations and exceedances < ENOUGH_EXCEEDANCES:
        chunk = min(num_permutations - done, 1_000, max(1, CHUNK_ELEMENTS // len(group)))
        index = np.tile(np.arange(len(group)), (chunk, 1))
        for part in (index[:, :split], index[:, split:]):
            rng.permuted(part, axis=1, out=part)
        statistic = choose(sums(weights, index), sums(correct, index)).statistic
        exceedances += int((statistic >= observed - 1e-9).sum())
        done += chunk
    return (exceedances + 1) / (done + 1)
