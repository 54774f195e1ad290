"""Confidence intervals of an accuracy and of a drop between two accuracies."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv
from scipy.stats import norm, t

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


def jeffreys(accuracy: float, num_photos: float, confidence: float = CONFIDENCE) -> Interval:
    """The interval of an accuracy by Jeffreys' prior, closed at 0 and 1 (Brown, Cai and DasGupta 2001, 4.1.2).

    Args:
        accuracy: in [0, 1].
        num_photos: effective number of independent photos; need not be whole.
        confidence: coverage, e.g. 0.95.
    """
    right, tail = accuracy * num_photos, (1 - confidence) / 2
    low, high = betaincinv(right + 0.5, num_photos - right + 0.5, [tail, 1 - tail])
    # With less than one photo's worth on one side the quantile may pass the accuracy itself.
    return Interval(
        min(float(low), accuracy) if accuracy > 0 else 0.0,
        max(float(high), accuracy) if accuracy < 1 else 1.0,
    )


def drop_interval(
    accuracy_common: float,
    num_common: float,
    accuracy_counter: float,
    num_counter: float,
    correlation: float = 0.0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The interval of a drop, recovered from both accuracies' intervals (Newcombe 1998, method 10, with
    Jeffreys' instead of Wilson's, which covers too much near 1; Zou and Donner 2008).

    Args:
        accuracy_common: in [0, 1].
        num_common: effective number of photos behind it.
        accuracy_counter: in [0, 1].
        num_counter: effective number of photos behind it.
        correlation: of the two accuracies' errors, where observers have photos in both
            groups (Newcombe 1998, paired case).
        confidence: coverage, e.g. 0.95.
    """
    common = jeffreys(accuracy_common, num_common, confidence)
    counter = jeffreys(accuracy_counter, num_counter, confidence)
    drop = accuracy_common - accuracy_counter

    def reach(first: float, second: float) -> float:
        return math.sqrt(max(first**2 + second**2 - 2 * correlation * first * second, 0.0))

    low = drop - reach(accuracy_common - common.low, counter.high - accuracy_counter)
    high = drop + reach(common.high - accuracy_common, accuracy_counter - counter.low)
    return Interval(max(low, -1.0), min(high, 1.0))


MIN_EFFECTIVE = 2.0
"""Observers that a cell counts for at least: one alone says nothing of how observers differ."""


class FewObservers(NamedTuple):
    """What few observers cost a variance from draws of them.

    Attributes:
        lost: the variance is too small by this factor, at least 1.
        freedom: its degrees of freedom.
    """

    lost: float
    freedom: float

    @property
    def factor(self) -> float:
        """How much wider a 95 % interval from the draws must be; near 1 where observers are many."""
        tail = (1 + CONFIDENCE) / 2
        return math.sqrt(self.lost) * float(t.ppf(tail, self.freedom) / norm.ppf(tail))


def few_observers_factor(num_photos: npt.NDArray[np.float64], cell: npt.NDArray[np.int64]) -> float:
    """`FewObservers.factor` of some observers."""
    return few_observers(num_photos, cell).factor


def few_observers(num_photos: npt.NDArray[np.float64], cell: npt.NDArray[np.int64]) -> FewObservers:
    """What it costs that observers are few.

    A bootstrap takes the observers that there are for all that there could be. A cell's m observers, counted as
    (sum n)^2 / (sum n^2), give its mean a variance too small by (m - 1) / (m + 1); and the error of that variance asks
    for Student's quantile in place of the normal one, with the degrees of freedom of Satterthwaite (1946), each cell
    having a part of 1 / m in the variance of a mean over cells.

    Args:
        num_photos: (C,) photos of each observer in each cell.
        cell: (C,) the cell, e.g. a side of a class.
    """
    photos, squares = (np.bincount(cell, values) for values in (num_photos, num_photos**2))
    is_known = squares > 0
    effective = np.maximum(photos[is_known] ** 2 / squares[is_known], MIN_EFFECTIVE)
    part = 1 / effective
    lost = float((part * (effective + 1) / (effective - 1)).sum() / part.sum())
    return FewObservers(lost, float(part.sum() ** 2 / (part**2 / (effective - 1)).sum()))


def drawn_interval(
    draws: npt.NDArray[np.float64], factor: float = 1.0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(...), (...): 95 % intervals from (B, ...) draws, their ends moved away from the median by `factor`."""
    low, middle, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, 0.5, (1 + CONFIDENCE) / 2], axis=0)
    return middle - factor * (middle - low), middle + factor * (high - middle)
