"""Confidence intervals of an accuracy and of a drop between two accuracies."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.stats import norm

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


def wilson(accuracy: float, num_photos: float, confidence: float = CONFIDENCE) -> Interval:
    """The score interval of an accuracy (Wilson 1927).

    Args:
        accuracy: in [0, 1].
        num_photos: effective number of independent photos; need not be whole.
        confidence: coverage, e.g. 0.95.
    """
    z = float(norm.ppf(0.5 + confidence / 2))
    centre = accuracy + z * z / (2 * num_photos)
    half = z * math.sqrt(max(accuracy * (1 - accuracy), 0.0) / num_photos + z * z / (4 * num_photos**2))
    shrink = 1 + z * z / num_photos
    return Interval(max((centre - half) / shrink, 0.0), min((centre + half) / shrink, 1.0))


def newcombe(
    accuracy_common: float,
    num_common: float,
    accuracy_counter: float,
    num_counter: float,
    correlation: float = 0.0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The interval of a drop from the two score intervals (Newcombe 1998, method 10).

    Args:
        accuracy_common: in [0, 1].
        num_common: effective number of photos behind it.
        accuracy_counter: in [0, 1].
        num_counter: effective number of photos behind it.
        correlation: of the two accuracies' errors, where observers have photos in both
            groups (Newcombe 1998, paired case).
        confidence: coverage, e.g. 0.95.
    """
    common = wilson(accuracy_common, num_common, confidence)
    counter = wilson(accuracy_counter, num_counter, confidence)
    drop = accuracy_common - accuracy_counter

    def reach(first: float, second: float) -> float:
        return math.sqrt(max(first**2 + second**2 - 2 * correlation * first * second, 0.0))

    low = drop - reach(accuracy_common - common.low, counter.high - accuracy_counter)
    high = drop + reach(common.high - accuracy_common, accuracy_counter - counter.low)
    return Interval(max(low, -1.0), min(high, 1.0))
