"""A drop with what else differs between its groups taken out, and how strong what is hidden would have to be.

The outcome of a photo is regressed on its group and its covariates, with errors clustered by unit. Photos of the
class's other groups are among them: they say nothing of the drop, but what a covariate does. The pair was chosen on
part of the same photos, so the regression holds luck; how much the plain difference of these photos holds is known, for
`pairs.drop` is free of it (`moved`).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtrit

from counterset.causes.design import COMMON, COUNTER, LEAST_SPREAD, Design, Floats, Ints, all_values_of, design_of
from counterset.causes.regression import Regression, Units, regress, share_moved, sums_by
from counterset.statistics.intervals import CONFIDENCE

MIN_UNITS = 15
"""Units on either side below which nothing is taken out."""
UNITS_PER_COLUMN = 5
"""Units on the smaller side for each column of the regression; those that differ most between the groups come first."""


def robustness_value(t_value: float, freedom: float) -> float:
    """The partial R2, with group and outcome alike, of a hidden cause that would explain an estimate away.

    Cinelli and Hazlett (2020, J. R. Stat. Soc. B 82, equation 19) at q = 1.
    """
    f_squared = t_value**2 / freedom
    return 0.5 * (math.sqrt(f_squared**2 + 4 * f_squared) - f_squared)


def times_as_strong(t_value: float, freedom: float, r2_group: float, r2_outcome: float) -> float | None:
    """How many times as strong as a covariate a hidden cause must be to explain the drop away; None = none would be.

    Cinelli and Hazlett (2020, section 4.4): the bound of a cause that is k times as strong as the covariate, with group
    and outcome alike, is solved for k.

    Args:
        t_value: of the drop, its error as if photos were independent.
        freedom: residual degrees of freedom of the regression with the covariate in it.
        r2_group: partial R2 of the covariate with the group, the others given.
        r2_outcome: partial R2 of the covariate with the outcome, group and others given.
    """
    if min(r2_group, r2_outcome) <= 1e-9:
        return None
    f_group, f_outcome = r2_group / (1 - r2_group), r2_outcome / (1 - r2_outcome)
    wanted = t_value / math.sqrt(freedom)

    def bias(k: float) -> float:
        of_group = k * f_group
        tied = k * r2_group**2 / ((1 - k * r2_group) * (1 - r2_group))
        of_outcome = ((math.sqrt(k) + math.sqrt(tied)) ** 2 / (1 - tied)) * f_outcome if tied < 1 else 1.0
        return math.sqrt(min(of_outcome, 1.0) * of_group / max(1 - of_group, 1e-12))

    largest = 0.999 / max(f_group, r2_group)
    if bias(largest) < wanted:
        return largest
    return float(brentq(lambda k: bias(k) - wanted, 0.0, largest))


@dataclass(frozen=True)
class Pair:
    """The grouped photos of one class that has a pair, with an outcome each.

    Attributes:
        outcome: (N,) in [0, 1].
        group: (N,) COMMON, COUNTER, or a higher number for each other group of the class.
        unit: (N,) number of its unit.
        table: their covariates, in this order.
    """

    outcome: Floats
    group: Ints
    unit: Ints
    table: pa.Table

    @functools.cached_property
    def values(self) -> dict[str, Floats]:
        """Of every covariate, with the pair's commonest of each category."""
        return all_values_of(self.table, self.group <= COUNTER)

    @functools.cached_property
    def num_units(self) -> int:
        """Units on the smaller side."""
        return min(len(np.unique(self.unit[self.group == side])) for side in (COMMON, COUNTER))


class Controlled(NamedTuple):
    """What the regressions of one pair say.

    Attributes:
        adjust: the covariates that are taken out.
        everything: `adjust` and the covariates set apart, as in `whole`.
        plain, controlled, whole: regressions on the groups alone, with `adjust`, and with all covariates.
        luck: how much of the plain drop the choice of the pair brought in.
        overlap: share of the variance of the pair's groups that `adjust` leaves.
        t_value: of the drop that is left, 0 where none is, its error as if photos were independent.
        parts: (P,) what of the plain drop goes with each column of `everything`: coefficients times differences.
        part_moves: (U, P) what each unit adds to the errors of these.
    """

    adjust: Design
    everything: Design
    plain: Regression
    controlled: Regression
    whole: Regression
    luck: float
    overlap: float
    t_value: float
    parts: Floats
    part_moves: Floats


def control(pair: Pair, drop: float) -> Controlled | None:
    """The regressions of a pair whose drop is known; None with fewer than MIN_UNITS units on a side."""
    if pair.num_units < MIN_UNITS:
        return None
    most = pair.num_units // UNITS_PER_COLUMN
    known = design_of(pair.values, pair.group <= COUNTER)
    adjust = known.with_role("adjust").most_different(pair.group, most)
    apart = known.with_role("apart").most_different(pair.group, max(most - adjust.columns.shape[1], 0))
    everything = adjust.beside(apart)
    units = Units.of(pair.unit, pair.group)
    widths = 0, adjust.columns.shape[1], everything.columns.shape[1]
    plain, controlled, whole = regress(pair.outcome, pair.group, everything.columns, units, widths)
    overlap = plain.inverse[1, 1] / controlled.inverse[1, 1] if controlled.is_whole else 0.0
    t_value = max(moved(drop, None, None, plain, controlled).drop, 0.0) / controlled.plain_error
    gaps, moves = _gaps(pair, everything.columns, units)
    return Controlled(
        adjust,
        everything,
        plain,
        controlled,
        whole,
        plain.drop - drop,
        float(overlap),
        t_value,
        whole.coefficients * gaps,
        moves * whole.coefficients + whole.moves[:, 1:] * gaps,
    )


def _gaps(pair: Pair, columns: Floats, units: Units) -> tuple[Floats, Floats]:
    """(P,) differences of (N, P) columns' means, common less counter; and (U, P) what units add to their errors."""
    means, of_photos = [], np.zeros(columns.shape)
    for side, sign in ((COMMON, 1), (COUNTER, -1)):
        rows = np.flatnonzero(pair.group == side)
        means.append(columns[rows].mean(axis=0))
        of_photos[rows] = sign * (columns[rows] - means[-1]) / len(rows)
    return means[0] - means[1], sums_by(units.number, of_photos)


class Interval(NamedTuple):
    """A drop with both ends of its interval, and the p-value of a drop of 0 or less."""

    drop: float
    low: float | None
    high: float | None
    p_value: float | None

    def possible(self) -> Interval:
        """Within -1 and 1, which a straight line may pass where the groups hardly overlap in a covariate."""

        def cut(value: float) -> float:
            return min(max(value, -1.0), 1.0)

        low, high = (None if end is None else cut(end) for end in (self.low, self.high))
        return Interval(cut(self.drop), low, high, self.p_value)


def moved(drop: float, low: float | None, high: float | None, plain: Regression, controlled: Regression) -> Interval:
    """A pair's drop with covariates out, and its interval.

    The luck of the choice is plain.drop - drop. A choice that favours a large plain difference favours the coefficient
    beside covariates as far as both move together from unit to unit: by the slope of one on the other. What moves the
    coefficient alone is independent of the drop, so its variance is added to that part of the drop's. Where few answers
    are wrong, units say too little of that: no arm is shorter than the drop's by more than covariates explain of the
    answers.

    Args:
        drop, low, high: of pairs; its interval knows of the choice and of units.
        plain: of the groups alone.
        controlled: with covariates.
    """
    kept = 1 - float(share_moved(plain.moves[:, 0] - controlled.moves[:, 0], plain))
    value = controlled.drop - kept * (plain.drop - drop)
    if low is None or high is None:
        return Interval(value, None, None, None)
    alone = max(controlled.error**2 - (kept * plain.error) ** 2, 0.0)
    reach = float(stdtrit(max(plain.num_units - 1, 1), (1 + CONFIDENCE) / 2)) * math.sqrt(alone)
    least = math.sqrt(controlled.rest / plain.rest) if plain.rest > LEAST_SPREAD else 1.0
    below, above = (max(math.hypot(kept * arm, reach), least * arm) for arm in (drop - low, high - drop))
    p_value = float(ndtr(-value / (below / ndtri((1 + CONFIDENCE) / 2)))) if below > 0 else float(value <= 0)
    return Interval(value, value - below, value + above, p_value)
