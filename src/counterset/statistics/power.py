"""How large a drop must be for a class to confirm it."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from counterset.statistics.observers import Floats

POWER = 0.8
NUM_DRAWS = 20_000


def detectable_drop(
    critical: float,
    accuracy: float,
    weight_common: float,
    weight_counter: float,
    scale: float,
    num_groups: int,
    p_value: float,
) -> float:
    """The smallest true drop between two groups that the class confirms with power 0.8, or 1.

    Args:
        critical: the statistic (`permutation.statistic`) that just reaches `p_value`.
        accuracy: of the class, in [0, 1].
        weight_common: summed weights of the common group, both halves.
        weight_counter: the same of counter.
        scale: the outcomes' variance over p (1 - p).
        num_groups: groups that take part.
        p_value: that the class would need.
    """
    error = math.sqrt(1 / weight_common + 1 / weight_counter)
    deviation = math.sqrt(accuracy * (1 - accuracy) * scale)
    reserve = deviations(num_groups, p_value, POWER) - deviations(num_groups, p_value, None)
    return min((critical + reserve * deviation) * error, 1.0)


@cache
def deviations(num_groups: int, p_value: float, power: float | None) -> float:
    """The true drop of a pair, in standard errors, that reaches `p_value` with the given power.

    With `power` None, the statistic that just reaches `p_value`. A model of `num_groups` equal,
    large groups, the pair's accuracies half a drop above and below the others': the pair is
    chosen on one half, whose errors are sqrt(2) times those of all photos, and its drop is
    tested on both; worked out on seeded normal draws, the test half's integrated out.
    """
    generator = np.random.default_rng(0)
    errors = generator.standard_normal((NUM_DRAWS, num_groups))
    rows = np.arange(NUM_DRAWS)

    def chosen_drop(drop: float) -> tuple[Floats, Floats]:
        """The chosen pair's drop on its own half, and its true drop, in standard errors of all photos."""
        truth = np.zeros(num_groups)
        truth[0], truth[-1] = drop / 2, -drop / 2
        seen = errors + truth  # accuracy errors are 1 on a half, so a drop's error is sqrt(2) there and 1 on both
        common, counter = seen.argmax(axis=1), seen.argmin(axis=1)
        return seen[rows, common] - seen[rows, counter], truth[common] - truth[counter]

    def reached(drop: float, critical: float) -> float:
        seen, true = chosen_drop(drop)
        # statistic = (seen + confirm's drop) / 2, confirm's drop ~ N(true, sqrt(2))
        return float(norm.sf((2 * critical - seen - true) / math.sqrt(2)).mean())

    critical = float(brentq(lambda value: reached(0.0, value) - p_value, -5.0, 20.0))
    if power is None:
        return critical
    return float(brentq(lambda drop: reached(drop, critical) - power, 0.0, 40.0))
