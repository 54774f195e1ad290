"""Each class's outcomes by group and unit, kept in as few bytes as their numbers need.

Ten million photos have up to as many rows, of eighty bytes as the statistics see them. Sums of whole numbers take
fifteen, and a class's arrays are made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from counterset.statistics.observers import Dispersion, Floats, Results

Whole = npt.NDArray[Any]
"""(C,) whole numbers from 0, of whatever type."""


class ClassUnits(NamedTuple):
    """One class's outcomes, with the names of its groups and the counts of sure photos.

    Attributes:
        class_id: the class.
        groups: (G,) names of the groups.
        results: one row per group and unit.
        num_sure: (C,) photos whose margin is in the upper half of their group's.
        correct_sure: (C,) summed outcomes of these.
        graded: the same rows, whose outcome is the rank of the selectors' margins within the class
            (`selector_margin`); it chooses and tests, right-or-wrong answers measure.
    """

    class_id: str
    groups: tuple[str, ...]
    results: Results
    num_sure: Floats
    correct_sure: Floats
    graded: Results

    def weights(self, dispersion: Dispersion) -> Floats:
        """(C,) what each row's photos are worth, by the correlation of its background."""
        rho = dispersion.correlations(self.groups)[self.results.group]
        return dispersion.weights(self.results.num_photos, rho)


class Sums(NamedTuple):
    """Whole numbers of one class with S selectors: one row per group and unit, each sum is over its photos.

    Attributes:
        group, half, unit: (C,) as in `Results`.
        num_photos: (C,) photos.
        correct, squares: (C,) sums of how many selectors are right, and of its square.
        num_sure, correct_sure: (C,) photos that are sure of their background, and the sum of `correct` over these.
        ranks, rank_squares: (C,) sums of the photos' double ranks, and of their squares.
    """

    group: Whole
    half: Whole
    unit: Whole
    num_photos: Whole
    correct: Whole
    squares: Whole
    num_sure: Whole
    correct_sure: Whole
    ranks: Whole
    rank_squares: Whole


class _Kept(NamedTuple):
    class_id: str
    groups: tuple[str, ...]
    num_ranked: int
    sums: Sums


class AllUnits(Sequence[ClassUnits]):
    """Classes, one after the other; whoever needs a class's arrays twice holds them or has them made twice.

    Args:
        num_selectors: over how many selectors outcomes are means.
    """

    def __init__(self, num_selectors: int) -> None:
        self._num_selectors = num_selectors
        self._kept: list[_Kept] = []

    def append(self, class_id: str, groups: tuple[str, ...], num_ranked: int, sums: Sums) -> None:
        """Add a class; `num_ranked` are its photos that have ranks."""
        self._kept.append(_Kept(class_id, groups, num_ranked, Sums(*map(_narrow, sums))))

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> ClassUnits: ...
    @overload
    def __getitem__(self, index: slice) -> list[ClassUnits]: ...
    def __getitem__(self, index: int | slice) -> ClassUnits | list[ClassUnits]:
        if isinstance(index, slice):
            return [self._made(kept) for kept in self._kept[index]]
        return self._made(self._kept[index])

    def _made(self, kept: _Kept) -> ClassUnits:
        group, half, unit = (np.asarray(column, np.int64) for column in kept.sums[:3])
        photos, right, squares, num_sure, sure_right, ranks, rank_squares = (
            np.asarray(column, np.float64) for column in kept.sums[3:]
        )
        number = self._num_selectors
        results = Results(len(kept.groups), group, half, unit, photos, right / number, squares / number**2)
        largest = 2.0 * kept.num_ranked * number
        graded = replace(results, sum_correct=ranks / largest, sum_squares=rank_squares / largest**2)
        return ClassUnits(kept.class_id, kept.groups, results, num_sure, sure_right / number, graded)


def _narrow(column: Whole) -> Whole:
    """The same numbers in the smallest type that holds them."""
    return column.astype(np.min_scalar_type(int(column.max(initial=0))))
