"""Covariates as numbers, and as columns of a regression."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from counterset.causes.covariates import Covariate, known_covariates
from counterset.tables import ranks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MIN_KNOWN = 0.8
"""Share of a pair's photos for which a covariate must be known."""
COMMON, COUNTER = 0, 1
"""Numbers of a pair's groups; the class's other groups have higher ones."""
CIRCLES = {"month": 12, "hour": 24}
"""Scales that end where they begin, and their length."""
LEAST_SPREAD = 1e-6
"""Standard deviation below which a covariate does not vary."""
LEAST_LEFT = 1e-3
"""Share of a column's standard deviation that the columns before it must leave, or they say the same."""


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
        widths = np.bincount(self.owner, minlength=len(self.covariates)).tolist()
        kept: list[int] = []
        left = num_columns
        for number in sorted(range(len(self.covariates)), key=lambda number: (-largest[number], number)):
            if widths[number] <= left:
                kept.append(number)
                left -= widths[number]
        return self.of(kept)

    def beside(self, other: Design) -> Design:
        """The columns of both."""
        owner = np.concatenate([self.owner, other.owner + len(self.covariates)])
        return Design(np.hstack([self.columns, other.columns]), owner, self.covariates + other.covariates)


def numbers_of(column: pa.ChunkedArray) -> Floats:
    """(N,) a column's numbers; nan for null."""
    return np.asarray(column.to_numpy(), np.float64)


def values_of(table: pa.Table, covariate: Covariate, judged: Bools | None = None) -> Floats:
    """(N, 1) or, on a circle, (N, 2) numbers of a covariate on its scale; nan = not known.

    Args:
        table: covariates schema.
        covariate: a column.
        judged: (N,) photos of which the commonest value is; None = all.
    """
    column = table[covariate.name]
    if covariate.scale in ("category", "label"):
        number, texts = ranks(column)  # -1 = null
        is_known = (number >= 0) | (covariate.scale == "category")
        counted = is_known if judged is None else is_known & judged
        commonest = int(np.bincount(number[counted] + 1, minlength=len(texts) + 1).argmax()) - 1
        return np.where(is_known, (number == commonest).astype(np.float64), math.nan)[:, None]
    values = numbers_of(column)
    if covariate.scale in CIRCLES:
        angle = 2 * np.pi * values / CIRCLES[covariate.scale]
        return np.stack([np.sin(angle), np.cos(angle)]).T
    if covariate.scale == "log":  # of counts, which may be 0, of one more
        values = np.log(values) if np.fmin.reduce(values, initial=math.inf) > 0 else np.log1p(values)
    return values[:, None]


def all_values_of(table: pa.Table, judged: Bools | None = None) -> dict[str, Floats]:
    """`values_of` of every covariate, by its name."""
    return {covariate.name: values_of(table, covariate, judged) for covariate in known_covariates()}


def design_of(values: Mapping[str, Floats], judged: Bools | None = None) -> Design:
    """All covariates of the photos of one class that are known and vary.

    Args:
        values: of every covariate (`all_values_of`).
        judged: (N,) photos among which they have to be known and vary, on whose scale they are; None = all.
    """
    number = len(next(iter(values.values())))
    judged = np.ones(number, np.bool_) if judged is None else judged
    columns: list[Floats] = []
    of_column: list[Covariate] = []
    for covariate in known_covariates():
        known = ~np.isnan(values[covariate.name][:, 0])
        counted = known & judged
        if not counted.any() or counted.sum() < MIN_KNOWN * judged.sum():
            continue
        for column in values[covariate.name].T:
            middle = column[counted].mean()
            columns.append(np.where(known, column, middle) - middle)
            of_column.append(covariate)
    if not columns:
        return Design(np.zeros((number, 0)), np.zeros(0, np.int64), ())
    stacked = np.stack(columns)
    # (P, judged)
    seen = stacked.compress(judged, axis=1)
    spread = seen.std(axis=1)
    kept = _independent(seen, spread)
    names = [of_column[place].name for place in kept]
    covariates = tuple(covariate for covariate in known_covariates() if covariate.name in names)
    place_of = {covariate.name: place for place, covariate in enumerate(covariates)}
    owner = np.array([place_of[name] for name in names], np.int64)
    return Design((stacked[kept] / spread[kept, None]).T, owner, covariates)


def _independent(columns: Floats, spread: Floats) -> list[int]:
    """Those of some (P, N) columns of mean 0 that vary, and of which those before leave a part, in their order.

    Args:
        columns: from which they are taken.
        spread: (P,) their standard deviations.
    """
    kept = np.flatnonzero(spread > LEAST_SPREAD).tolist()
    while kept:
        # The diagonal says how long each column is at a right angle to those before it
        triangle = np.linalg.qr((columns[kept] / spread[kept, None]).T, mode="r")
        left = np.zeros(len(kept))
        left[: len(triangle)] = np.abs(np.diagonal(triangle)) / math.sqrt(columns.shape[1])
        same = np.flatnonzero(left <= LEAST_LEFT)
        if not len(same):
            break
        del kept[same[0]]
    return kept
