"""Confidence intervals of an accuracy and of a drop between two accuracies."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.stats import beta

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
    low, high = beta.ppf([tail, 1 - tail], right + 0.5, num_photos - right + 0.5)
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
