"""A drop with what else differs between its groups taken out, and how strong what is hidden would have to be.

The outcome of a photo is regressed on its group and its covariates, with errors clustered by unit. Photos of the
class's other groups are among them: they say nothing of the drop, but what a covariate does. The pair was chosen on
part of the same photos, so the regression holds luck; how much the plain difference of these photos holds is known, for
`pairs.drop` is free of it (`moved`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.optimize import brentq
from scipy.stats import norm, t

from counterset.causes.covariates import Covariate, known_covariates
from counterset.statistics.intervals import CONFIDENCE

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MIN_UNITS = 15
"""Units on either side below which nothing is taken out."""
UNITS_PER_COLUMN = 5
"""Units on the smaller side for each column of the regression; those that differ most between the groups come first."""
MIN_KNOWN = 0.8
"""Share of a pair's photos for which a covariate must be known."""
COMMON, COUNTER = 0, 1
"""Numbers of a pair's groups; the class's other groups have higher ones."""
CIRCLES = {"month": 12, "hour": 24}
"""Scales that end where they begin, and their length."""
LEAST_SPREAD = 1e-6
"""Standard deviation below which a covariate does not vary."""


class Design(NamedTuple):
    """Covariates as columns of a regression.

    Attributes:
        columns: (N, P) each of mean 0 and standard deviation 1.
        owner: (P,) the covariate that a column is of, as an index into `covariates`.
        covariates: those that have a column or more.
    """

    columns: Floats
    owner: Ints
    covariates: tuple[Covariate, ...]

    def of(self, kept: Sequence[int]) -> Design:
        """The columns of some covariates, by their number, in their order."""
        kept = sorted(kept)
        columns = np.isin(self.owner, kept)
        owner = np.searchsorted(kept, self.owner[columns]).astype(np.int64)
        return Design(self.columns[:, columns], owner, tuple(self.covariates[number] for number in kept))

    def with_role(self, role: str) -> Design:
        """The columns of covariates of one role."""
        return self.of([number for number, covariate in enumerate(self.covariates) if covariate.role == role])

    def most_different(self, group: Ints, num_columns: int) -> Design:
        """At most so many columns, whole covariates at a time: those that differ most between the groups.

        The outcome has no part in it, so an interval need not pay for the choice.
        """
        gaps = np.abs(self.columns[group == COMMON].mean(axis=0) - self.columns[group == COUNTER].mean(axis=0))
        largest = [float(gaps[self.owner == number].max()) for number in range(len(self.covariates))]
        kept: list[int] = []
        for number in sorted(range(len(self.covariates)), key=lambda number: (-largest[number], number)):
            if np.isin(self.owner, [*kept, number]).sum() <= num_columns:
                kept.append(number)
        return self.of(kept)


def values_of(table: pa.Table, covariate: Covariate, judged: Bools | None = None) -> Floats:
    """(N, 1) or, on a circle, (N, 2) numbers of a covariate on its scale; nan = not known.

    Args:
        table: covariates schema.
        covariate: a column.
        judged: (N,) photos of which the commonest value is; None = all.
    """
    column = table[covariate.name]
    if covariate.scale in ("category", "label"):
        is_known = np.array(column.is_valid()) | (covariate.scale == "category")
        counted = is_known if judged is None else is_known & judged
        counts = column.filter(pa.array(counted)).value_counts().to_pylist()
        commonest = min(counts, key=lambda row: (-row["counts"], row["values"] or ""))["values"] if counts else None
        is_commonest = np.array([value == commonest for value in column.to_pylist()], np.float64)
        return np.where(is_known, is_commonest, math.nan)[:, None]
    values = np.array([math.nan if value is None else value for value in column.to_pylist()], np.float64)
    if covariate.scale in CIRCLES:
        angle = 2 * np.pi * values / CIRCLES[covariate.scale]
        return np.stack([np.sin(angle), np.cos(angle)], axis=1)
    if covariate.scale == "log":  # of counts, which may be 0, of one more
        values = np.log(values) if np.nanmin(values, initial=math.inf) > 0 else np.log1p(values)
    return values[:, None]


def design_of(table: pa.Table, judged: Bools | None = None) -> Design:
    """All covariates of the photos of one class that are known and vary.

    Args:
        table: covariates schema.
        judged: (N,) photos among which they have to be known and vary, on whose scale they are; None = all.
    """
    judged = np.ones(table.num_rows, np.bool_) if judged is None else judged
    columns: list[Floats] = []
    owner: list[int] = []
    covariates: list[Covariate] = []
    for covariate in known_covariates():
        values = values_of(table, covariate, judged)
        known = ~np.isnan(values[:, 0])
        if not judged.any() or known[judged].mean() < MIN_KNOWN:
            continue
        middle = values[known & judged].mean(axis=0)
        values = np.where(known[:, None], values, middle) - middle
        kept: list[Floats] = []
        for column in values.T:
            seen = column[judged]
            spread = float(seen.std())
            basis = np.stack([*columns, *kept], axis=1)[judged] if columns or kept else np.zeros((len(seen), 0))
            left = seen - basis @ np.linalg.lstsq(basis, seen, rcond=None)[0] if basis.size else seen
            if spread > LEAST_SPREAD and float(left.std()) > 1e-3 * spread:  # else another says the same
                kept.append(column / spread)
        if kept:
            owner += [len(covariates)] * len(kept)
            columns += kept
            covariates.append(covariate)
    stacked = np.stack(columns, axis=1) if columns else np.zeros((table.num_rows, 0))
    return Design(stacked, np.array(owner, np.int64), tuple(covariates))


class Regression(NamedTuple):
    """An outcome on its group and covariates, by least squares.

    Attributes:
        num_units: behind the pair's photos.
        drop: coefficient of the group: common less counter.
        error: its standard error, clustered by unit.
        plain_error: its standard error as if photos were independent, from which partial R2 follow.
        freedom: residual degrees of freedom.
        rest: sum of squared residuals.
        coefficients: (P,) of the covariates.
        moves: (U, 1 + P) what each unit adds to the errors of `drop` and `coefficients`, in the order of its number.
    """

    num_units: int
    drop: float
    error: float
    plain_error: float
    freedom: float
    rest: float
    coefficients: Floats
    moves: Floats


def regress(outcome: Floats, group: Ints, columns: Floats, unit: Ints) -> Regression:
    """The regression of (N,) outcomes on their (N,) groups and (N, P) columns."""
    from statsmodels.regression.linear_model import OLS

    base = np.column_stack([np.ones(len(outcome)), group == COMMON, apart_from_pair(group)])
    model = OLS(outcome, np.column_stack([base, columns]))
    plain = model.fit()
    clustered = model.fit(cov_type="cluster", cov_kwds={"groups": unit}, use_t=True)
    moves = (model.exog * plain.resid[:, None]) @ np.linalg.pinv(model.exog.T @ model.exog)
    first = base.shape[1]
    return Regression(
        len(np.unique(unit[group <= COUNTER])),
        float(plain.params[1]),
        math.sqrt(max(float(clustered.cov_params()[1, 1]), 0.0)),
        math.sqrt(max(float(plain.cov_params()[1, 1]), 1e-30)),
        float(plain.df_resid),
        float(plain.ssr),
        np.asarray(plain.params[first:], np.float64),
        by_unit(np.column_stack([moves[:, 1], moves[:, first:]]), unit),
    )


def apart_from_pair(group: Ints) -> Floats:
    """(N, G) whether a photo is of each of the other groups."""
    return np.asarray(group[:, None] == np.unique(group[group > COUNTER]), np.float64)


def by_unit(values: Floats, unit: Ints) -> Floats:
    """(U, K) sums of (N, K) values over the photos of each unit, in the order of units' numbers."""
    number = np.unique(unit, return_inverse=True)[1]
    return np.stack([np.bincount(number, column) for column in values.T], axis=1)


def share_moved(moves: Floats, plain: Regression) -> float:
    """By how much of a deviation of the plain drop another estimate deviates with it; 0 where no answer deviates.

    Args:
        moves: (U,) what each unit adds to the error of the other estimate.
        plain: of the group alone.
    """
    of_plain = plain.moves[:, 0]
    variance = float(of_plain @ of_plain)
    return float(moves @ of_plain) / variance if variance > LEAST_SPREAD**3 else 0.0


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


def partial_r2(target: Floats, others: Floats, columns: Floats) -> float:
    """The share of what `others` (N, Q) leave of `target` (N,) that `columns` (N, P) explain."""
    base = np.column_stack([np.ones(len(target)), others])

    def left(exogenous: Floats) -> float:
        return float(((target - exogenous @ np.linalg.lstsq(exogenous, target, rcond=None)[0]) ** 2).sum())

    before = left(base)
    return max(1 - left(np.column_stack([base, columns])) / before, 0.0) if before > 1e-12 else 0.0


class Pair(NamedTuple):
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

    @property
    def num_units(self) -> int:
        """Units on the smaller side."""
        return min(len(np.unique(self.unit[self.group == side])) for side in (COMMON, COUNTER))

    def partial_r2(self, target: Floats, others: Floats, columns: Floats) -> float:
        """`partial_r2` beside the other groups."""
        return partial_r2(target, np.column_stack([apart_from_pair(self.group), others]), columns)


class Controlled(NamedTuple):
    """What the regressions of one pair say.

    Attributes:
        adjust: the covariates that are taken out.
        plain, controlled, whole: regressions on the groups alone, with `adjust`, and with all covariates.
        everything: `adjust` and the covariates set apart, as in `whole`.
        luck: how much of the plain drop the choice of the pair brought in.
        overlap: share of the variance of the pair's groups that `adjust` leaves.
        t_value: of the drop that is left, 0 where none is, its error as if photos were independent.
    """

    adjust: Design
    everything: Design
    plain: Regression
    controlled: Regression
    whole: Regression
    luck: float
    overlap: float
    t_value: float


def control(pair: Pair, drop: float) -> Controlled | None:
    """The regressions of a pair whose drop is known; None with fewer than MIN_UNITS units on a side."""
    if pair.num_units < MIN_UNITS:
        return None
    most = pair.num_units // UNITS_PER_COLUMN
    everything = design_of(pair.table, pair.group <= COUNTER)
    adjust = everything.with_role("adjust").most_different(pair.group, most)
    apart = everything.with_role("apart").most_different(pair.group, max(most - adjust.columns.shape[1], 0))
    whole = Design(
        np.column_stack([adjust.columns, apart.columns]),
        np.concatenate([adjust.owner, apart.owner + len(adjust.covariates)]),
        adjust.covariates + apart.covariates,
    )
    plain, controlled, both = (
        regress(pair.outcome, pair.group, columns, pair.unit)
        for columns in (adjust.columns[:, :0], adjust.columns, whole.columns)
    )
    is_common = (pair.group == COMMON).astype(np.float64)
    overlap = 1 - pair.partial_r2(is_common, adjust.columns[:, :0], adjust.columns)
    t_value = max(moved(drop, None, None, plain, controlled).drop, 0.0) / controlled.plain_error
    return Controlled(adjust, whole, plain, controlled, both, plain.drop - drop, overlap, t_value)


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
    kept = 1 - share_moved(plain.moves[:, 0] - controlled.moves[:, 0], plain)
    value = controlled.drop - kept * (plain.drop - drop)
    if low is None or high is None:
        return Interval(value, None, None, None)
    alone = max(controlled.error**2 - (kept * plain.error) ** 2, 0.0)
    reach = float(t.ppf((1 + CONFIDENCE) / 2, max(plain.num_units - 1, 1))) * math.sqrt(alone)
    least = math.sqrt(controlled.rest / plain.rest) if plain.rest > LEAST_SPREAD else 1.0
    below, above = (max(math.hypot(kept * arm, reach), least * arm) for arm in (drop - low, high - drop))
    p_value = float(norm.sf(value / (below / norm.ppf((1 + CONFIDENCE) / 2)))) if below > 0 else float(value <= 0)
    return Interval(value, value - below, value + above, p_value)
