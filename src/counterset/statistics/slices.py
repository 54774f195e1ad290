"""The test of slices that somebody or something proposed: any number, overlapping in any way.

A slice is a part of the rows, of whatever classes. *H0 of a slice: given how many rows a unit has of each class, its
outcomes do not depend on which of its rows are in the slice, nor on whether they are.* Outcomes are dealt anew among
units with as many rows of each class, each unit's outcomes together, and every slice is counted again in every deal.
A slice is compared with the most extreme of all slices in each deal (Westfall and Young 1993, step-down), so the test
pays for as many slices as really differ from each other, and holds the chance of any false discovery, hence also their
expected share. It is exact where no slice differs, however alike a unit's rows are.

Units that nobody else equals in size would not be dealt at all, so numbers of rows are rounded down to 1, 2, 3, 4, 6,
8, 12, 16, ..., and the rows beyond, drawn at random, take no part in the test.

Benjamini and Hochberg's rule promises nothing where slices exclude each other, and Benjamini and Yekutieli's, which
does, asks 7 times as much of 1,000 slices; both need p-values far below what a few thousand deals resolve.

A test that is exact at 5 % has more than 5 % false worlds in half of all samples of worlds. So a slice is confirmed
only if its interval among the confirmed ones (Benjamini and Yekutieli 2005) lies above 0 too, as it should of a slice
that is said to be worse: that halves the false worlds and costs a point of power (tests/proofs/slices.py).

Slices must have been proposed without these rows' outcomes: on the other half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from counterset.statistics.after_selection import confidence_among
from counterset.statistics.intervals import CONFIDENCE, Interval, drop_interval
from counterset.statistics.observers import Bools, Floats, Ints, Results, estimate_dispersion

LEVEL = 0.05
NUM_DEALS = 4_999
CHUNK_ELEMENTS = 10_000_000
TIE = 1e-9


def adjusted_p_values(
    is_correct: Bools,
    stratum: Ints,
    unit: Ints,
    members: sparse.csr_array,
    *,
    rng: np.random.Generator,
    num_deals: int = NUM_DEALS,
) -> Floats:
    """(M,) p-values of slices whose rows are wrong more often than others of their class, adjusted for all M.

    Args:
        is_correct: (N,) of rows.
        stratum: (N,) class of each row, from 0.
        unit: (N,) independent unit of each row, from 0.
        members: (M, N) 1 where the row is in the slice.
        rng: of the deals.
        num_deals: beside the rows as they are.
    """
    deal = _Deals(is_correct, stratum, unit, rng)
    # (1 + deals, M) right rows of each slice; the first are those seen
    right = np.empty((1 + num_deals, members.shape[0]))
    own = members[:, deal.rows]
    right[0] = own @ deal.values
    step = max(CHUNK_ELEMENTS // max(len(deal.rows), 1), 1)
    for start in range(1, len(right), step):
        dealt = deal.draw(min(step, len(right) - start), rng)
        right[start : start + len(dealt)] = (own @ dealt.T).T
    spread = right.std(axis=0)
    z = (right.mean(axis=0) - right) / np.where(spread > 0, spread, np.inf)
    # with the observed among the deals, both moments are the same whichever of them was seen: the test stays exact
    order = np.argsort(-z[0], kind="stable")
    most = np.maximum.accumulate(z[:, order][:, ::-1], axis=1)[:, ::-1]  # of each slice and those that show less
    p_values = (most >= z[0, order] - TIE).mean(axis=0)
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(p_values)
    return adjusted


class _Deals:
    """Rows sorted so that units of like rows stand together, each unit's rows side by side, by class.

    Attributes:
        rows: (R,) those that take part, in this order.
        values: (R,) their outcomes, 1 or 0.
    """

    def __init__(self, is_correct: Bools, stratum: Ints, unit: Ints, rng: np.random.Generator) -> None:
        order = np.lexsort((rng.random(len(unit)), stratum, unit))
        is_first = np.ones(len(order), np.bool_)
        is_first[1:] = np.diff(unit[order]).astype(np.bool_) | np.diff(stratum[order]).astype(np.bool_)
        start = np.flatnonzero(is_first)
        size = np.diff(np.append(start, len(order)))
        kept = (np.arange(len(order)) - np.repeat(start, size)) < np.repeat(_rounded_down(size), size)
        rows = order[kept]
        # units of one sum of their classes' random numbers have like rows
        number = rng.integers(0, 2**63, int(stratum.max(initial=-1)) + 1, np.uint64)
        unit = np.unique(unit, return_inverse=True)[1]
        likeness = np.zeros(int(unit.max(initial=-1)) + 1, np.uint64)
        np.add.at(likeness, unit[rows], number[stratum[rows]])
        block = np.unique(likeness, return_inverse=True)[1]
        by_block = np.argsort(block, kind="stable")
        place = np.empty(len(by_block), np.int64)
        place[by_block] = np.arange(len(by_block))
        order = np.lexsort((stratum[rows], place[unit[rows]]))
        self.rows = rows[order]
        self.values = is_correct[self.rows].astype(np.float64)
        self._block, self._unit = block[by_block], place[unit[self.rows]]
        size = np.bincount(self._unit, minlength=len(by_block))
        self._start = np.cumsum(size) - size
        self._offset = np.arange(len(self.rows)) - self._start[self._unit]
        pairs = np.stack([self._unit, stratum[self.rows]])
        self._cell = np.unique(pairs, axis=1, return_inverse=True)[1]
        self._is_alone = bool(size.max(initial=1) == 1)

    def draw(self, number: int, rng: np.random.Generator) -> Floats:
        """(number, R) outcomes dealt anew, in the order of `rows`."""
        # sorting by a whole number plus a fraction shuffles what has the same number
        source = np.argsort(self._block + rng.random((number, len(self._block))), axis=1)
        if self._is_alone:
            return np.asarray(self.values[source])
        shuffled = self.values[np.argsort(self._cell + rng.random((number, len(self.rows))), axis=1)]
        return np.asarray(np.take_along_axis(shuffled, self._start[source][:, self._unit] + self._offset, axis=1))


def _rounded_down(size: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Numbers from 1, rounded down to a power of two or one and a half times it."""
    power = 2 ** np.floor(np.log2(size)).astype(np.int64)
    return np.where(2 * size >= 3 * power, 3 * power // 2, power)


class Side(NamedTuple):
    """An accuracy, in [0, 1], and the effective number of independent rows behind it."""

    accuracy: float
    size: float


class SliceDrop(NamedTuple):
    """A slice beside the other rows of its classes, those weighted as the slice's classes are.

    Attributes:
        rest: the other rows.
        slice: its own.
    """

    rest: Side
    slice: Side

    @property
    def drop(self) -> float:
        """accuracy(rest) - accuracy(slice), in [-1, 1]."""
        return self.rest.accuracy - self.slice.accuracy

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """The drop's interval."""
        return drop_interval(*self.rest, *self.slice, confidence=confidence)


class Judged(NamedTuple):
    """What may be said of a slice.

    Attributes:
        drop: beside the other rows of its classes.
        p_value: one-sided, adjusted for all slices.
        adjusted: the drop's interval among the confirmed slices.
        is_confirmed: the p-value is at most LEVEL, and `adjusted` lies above 0.
    """

    drop: SliceDrop
    p_value: float
    adjusted: Interval
    is_confirmed: bool


def judge_slices(
    is_correct: Bools,
    stratum: Ints,
    unit: Ints,
    members: Sequence[Bools],
    *,
    correlation: float,
    rng: np.random.Generator,
    num_deals: int = NUM_DEALS,
) -> list[Judged]:
    """Every slice's drop, p-value and whether it is confirmed, in order.

    Args:
        is_correct, stratum, unit: (N,) as `adjusted_p_values` takes them.
        members: (N,) of each slice, its rows.
        correlation: as `slice_drop` takes it.
        rng: of the deals.
        num_deals: beside the rows as they are.
    """
    if not members:
        return []
    rows = [np.flatnonzero(own) for own in members]
    ends = np.cumsum([0, *map(len, rows)])
    inside = np.concatenate(rows)
    matrix = sparse.csr_array((np.ones(len(inside)), inside, ends), shape=(len(rows), len(is_correct)))
    p_values = adjusted_p_values(is_correct, stratum, unit, matrix, rng=rng, num_deals=num_deals)
    drops = [slice_drop(is_correct, stratum, unit, own, correlation) for own in members]
    is_confirmed = p_values <= LEVEL
    while True:  # fewer confirmed ones have wider intervals
        num_confirmed = int(is_confirmed.sum())
        confidence = confidence_among(max(num_confirmed, 1), len(rows))
        adjusted = [drop.interval(confidence) for drop in drops]
        is_confirmed = is_confirmed & np.array([interval.low > 0 for interval in adjusted], np.bool_)
        if int(is_confirmed.sum()) == num_confirmed:
            break
    parts = zip(drops, p_values.tolist(), adjusted, is_confirmed.tolist(), strict=True)
    return [Judged(*part) for part in parts]


def slice_drop(is_correct: Bools, stratum: Ints, unit: Ints, is_member: Bools, correlation: float) -> SliceDrop:
    """The accuracies of a slice and of the other rows of its classes; rows of classes that have no other are left out.

    Args:
        is_correct: (N,) of rows.
        stratum: (N,) class of each row, from 0.
        unit: (N,) unit of each row, from 0.
        is_member: (N,) rows of the slice.
        correlation: of two rows of one unit, by which a unit's n rows are worth n / (1 + (n - 1) rho).
    """
    inside, outside = (
        np.bincount(stratum[rows], minlength=stratum.max(initial=0) + 1) for rows in (is_member, ~is_member)
    )
    both = (inside > 0) & (outside > 0)
    weight = np.where(both, inside, 0) / max(inside[both].sum(), 1)
    rest = _side(is_correct[~is_member], stratum[~is_member], unit[~is_member], weight, correlation)
    own = _side(is_correct[is_member], stratum[is_member], unit[is_member], weight, correlation)
    return SliceDrop(rest, own)


def _side(is_correct: Bools, stratum: Ints, unit: Ints, weight: npt.NDArray[np.float64], correlation: float) -> Side:
    """The mean of the classes' accuracies by `weight`, and the rows that would give it this variance."""
    size = np.bincount(stratum, minlength=len(weight)).astype(np.float64)
    rate = np.divide(np.bincount(stratum, is_correct, len(weight)), size, out=np.zeros(len(weight)), where=size > 0)
    cell, num_rows = np.unique(unit * len(weight) + stratum, return_counts=True)
    inflated = np.bincount(cell % len(weight), num_rows * (1 + (num_rows - 1) * correlation), len(weight))
    worth = np.divide(size**2, inflated, out=np.ones(len(weight)), where=inflated > 0)
    accuracy = float(weight @ rate)
    smoothed = (rate * worth + 1) / (worth + 2)  # a class without a wrong row has a variance too
    variance = float((weight**2 * smoothed * (1 - smoothed) / worth).sum())
    whole = (accuracy * worth.sum() + 1) / (worth.sum() + 2)
    return Side(accuracy, min(whole * (1 - whole) / variance, float(worth.sum())) if variance > 0 else math.nan)


def unit_correlation(is_correct: Bools, group: Ints, unit: Ints) -> float:
    """The correlation of two rows of one unit in one group.

    Args:
        is_correct: (N,) of rows.
        group: (N,) group of each row, of whatever class, from 0.
        unit: (N,) unit of each row, from 0.
    """
    cells, cell = np.unique(np.stack([group, unit]), axis=1, return_inverse=True)
    num_rows: Floats = np.bincount(cell).astype(np.float64)
    right: Floats = np.bincount(cell, is_correct).astype(np.float64)
    half = np.zeros(len(cells[0]), np.int64)
    results = Results(int(cells[0].max()) + 1, cells[0], half, cells[1], num_rows, right, right)
    return estimate_dispersion([results]).observer_correlation
