"""How large a drop must be for a class to confirm it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import norm

from counterset.statistics.carving import guarded
from counterset.statistics.halves import DISCOVER_SHARE
from counterset.statistics.intervals import CONFIDENCE
from counterset.statistics.observers import Floats
from counterset.statistics.selector_margin import rank_per_accuracy

POWER = 0.8
NUM_DRAWS = 20_000
NUM_SERIES = 4_000
"""Series of looks that are drawn; a chance has a standard error of 0.8 points at most."""
GAIN_STEP = 0.05
LARGEST_GAIN = 3.0
MEASURED_ERROR = 1.4
"""The stated drop's standard error where that of all photos is 1, for not every split would choose the same pair:
simulated, 1.4 where half of such pairs are confirmed."""
LUCK = 0.6
"""Standard errors of a drop over all photos that the luck of being chosen costs its test, where half are confirmed."""


def detectable_drop(
    critical: float, accuracy: float, error: float, rank_error: float, num_groups: int, p_value: float
) -> float:
    """The smallest true drop between two groups that the class confirms with power 0.8, or 1.

    Args:
        critical: the statistic of ranks (`permutation.statistic`) that its test has to reach (`carving.guarded`), in
            standard errors.
        accuracy: of the class, in [0, 1].
        error: standard error of the drop in accuracy, over all photos.
        rank_error: standard error of the drop in mean rank.
        num_groups: groups that take part.
        p_value: that the class would need.
    """
    gain = rounded_gain(rank_per_accuracy(accuracy) * error / rank_error)
    # the model's drop, moved by what the class's own permutations say of the statistic that is needed
    further = (critical - critical_statistic(num_groups, guarded(p_value))) / gain
    needed = deviations(num_groups, p_value, POWER, gain) + further
    return min(max(needed, _least(p_value)) * error, 1.0)


def rounded_gain(gain: float) -> float:
    """A gain as `deviations` takes it: to 0.05, so that classes share what was worked out, and from 1 to 3."""
    return min(max(round(gain / GAIN_STEP) * GAIN_STEP, 1.0), LARGEST_GAIN)


@cache
def critical_statistic(num_groups: int, p_value: float) -> float:
    """The statistic, in standard errors, that just reaches `p_value` in the model of `deviations`."""
    return float(brentq(lambda value: _reached(0.0, value, num_groups) - p_value, -5.0, 20.0))


@cache
def deviations(num_groups: int, p_value: float, power: float, gain: float) -> float:
    """The true drop of a pair, in standard errors of a drop over all photos, that is confirmed with the given power.

    A model of `num_groups` equal, large groups with normal errors, the pair half a drop above and
    below the others. Ranks of margins choose on the discover half and guard the test on both;
    the drop in right-or-wrong answers must reach `p_value`, though a part of it is luck, and its
    interval lie above 0. Its error is correlated with that of ranks by 1 / gain, as an estimate
    is with a better one of the same thing.

    Args:
        num_groups: groups that take part.
        p_value: to be reached.
        power: probability of being confirmed.
        gain: how many times its standard error a drop is in ranks, where it is once in answers; at least 1.
    """
    critical, least = critical_statistic(num_groups, guarded(p_value)), _least(p_value)
    errors = math.sqrt(1 - DISCOVER_SHARE) * np.random.default_rng(1).standard_normal(NUM_DRAWS)
    other = math.sqrt(max(1 - 1 / gain**2, 1e-6))

    def confirmed(drop: float) -> float:
        seen, true = _chosen_drop(drop * gain, num_groups)
        statistic = DISCOVER_SHARE * seen + (1 - DISCOVER_SHARE) * true + errors
        # (D,) probability that the drop in answers, in its own standard errors, is large enough too
        is_measured = ndtr((statistic / gain - least) / other)
        return float(np.mean((statistic >= critical) * is_measured))

    return float(brentq(lambda drop: confirmed(drop) - power, 0.0, 60.0, xtol=1e-3))


def confirmed_by_look(
    drop: float, num_groups: int, gain: float, p_values: Sequence[float], photos: Sequence[float]
) -> Floats:
    """(K,) probability that a pair was confirmed at a look of its series or before, in the model of `deviations`.

    Photos are only added, so what a look sees of the earlier ones is as lucky as it was; a pair once confirmed is
    held. Errors of sums of photos are therefore random walks in the number of photos.

    Args:
        drop: true one, in standard errors of a drop over all photos of the first look.
        num_groups: groups that take part.
        gain: as for `deviations`.
        p_values: (K,) to be reached at each look; 0 = the look tests nothing.
        photos: (K,) of each look, those of the first being 1; never fewer than before.
    """
    rng = np.random.default_rng(2)
    truth = np.zeros(num_groups)
    truth[0], truth[-1] = drop * gain / 2, -drop * gain / 2
    # a group's variance, where a drop's is 1 over all photos: ranks on discover and on confirm, and what answers add
    variances = np.array([0.5 / DISCOVER_SHARE, 0.5 / (1 - DISCOVER_SHARE), 0.5 * max(1 - 1 / gain**2, 1e-6)])
    walk = np.zeros((3, NUM_SERIES, num_groups))
    is_confirmed, rows, chances = np.zeros(NUM_SERIES, np.bool_), np.arange(NUM_SERIES), []
    for p_value, size, added in zip(p_values, photos, np.diff(photos, prepend=0.0), strict=True):
        walk += np.sqrt(variances * added)[:, None, None] * rng.standard_normal(walk.shape)
        discover, confirm, beyond = walk / size
        seen = truth + discover
        pair = seen.argmax(axis=1), seen.argmin(axis=1)
        everywhere = DISCOVER_SHARE * seen + (1 - DISCOVER_SHARE) * (truth + confirm)
        ranks, answers = (
            math.sqrt(size) * (values[rows, pair[0]] - values[rows, pair[1]])
            for values in (everywhere, everywhere / gain + beyond)
        )
        if p_value > 0:
            critical = critical_statistic(num_groups, guarded(p_value))
            is_confirmed |= (ranks >= critical) & (answers >= _least(p_value))
        chances.append(float(is_confirmed.mean()))
    return np.array(chances)


def _least(p_value: float) -> float:
    """The drop over all photos, in standard errors, that reaches `p_value` and whose interval lies above 0."""
    return float(max(LUCK - ndtri(p_value), MEASURED_ERROR * ndtri((1 + CONFIDENCE) / 2)))


def _chosen_drop(drop: float, num_groups: int) -> tuple[Floats, Floats]:
    """(D,) the chosen pair's drop on discover, and (D,) its true drop, in standard errors of all photos."""
    first, last, highest, lowest = _errors(num_groups)
    first, last = drop / 2 + first, -drop / 2 + last
    common, counter = np.maximum(np.maximum(first, last), highest), np.minimum(np.minimum(first, last), lowest)
    truth = np.zeros(NUM_DRAWS)
    for chosen, sign in ((common, 0.5), (counter, -0.5)):
        truth += sign * drop * ((chosen == first).astype(np.float64) - (chosen == last))
    return common - counter, truth


@cache
def _errors(num_groups: int) -> tuple[Floats, Floats, Floats, Floats]:
    """(D,) seeded normal errors on discover: of the first group, the last, and the highest and lowest of the others.

    A drop's error is 1 over all photos, so a group's is sqrt(1 / 2), and more on its share of them.
    """
    drawn = np.random.default_rng(0).standard_normal((NUM_DRAWS, num_groups)) / math.sqrt(2 * DISCOVER_SHARE)
    others = drawn[:, 1:-1]
    return drawn[:, 0], drawn[:, -1], others.max(axis=1, initial=-np.inf), others.min(axis=1, initial=np.inf)


def _reached(drop: float, critical: float, num_groups: int) -> float:
    """Probability that the statistic reaches `critical`, the confirm half's error integrated out."""
    seen, true = _chosen_drop(drop, num_groups)
    # statistic = share * seen + (1 - share) * confirm's drop, and confirm's drop ~ N(true, 1 / (1 - share))
    mean = DISCOVER_SHARE * seen + (1 - DISCOVER_SHARE) * true
    return float(norm.sf((critical - mean) / math.sqrt(1 - DISCOVER_SHARE)).mean())
