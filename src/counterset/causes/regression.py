"""Least squares of outcomes on groups and covariates, with errors clustered by unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from counterset.causes.design import COMMON, COUNTER, LEAST_SPREAD

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def sums_by(number: npt.NDArray[np.integer[Any]], values: Floats) -> Floats:
    """(N,) numbers from 0 and (N, K) values -> (U, K): the sums of the values of each number."""
    size = len(number)
    member = sparse.csc_array((np.ones(size), number, np.arange(size + 1)))  # (U, N)
    return np.asarray(member @ values)


class Units(NamedTuple):
    """The units behind N photos.

    Attributes:
        number: (N,) of each photo's unit, 0 .. U-1, in the order of the numbers given.
        num_units: U.
        num_in_pair: units behind the pair's photos.
    """

    number: Ints
    num_units: int
    num_in_pair: int

    @classmethod
    def of(cls, unit: Ints, group: Ints) -> Units:
        """From (N,) any numbers of units, and numbers of groups."""
        known, number = np.unique(unit, return_inverse=True)
        return cls(number, len(known), len(np.unique(unit[group <= COUNTER])))


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
        inverse: (K, K) inverse of the columns' products with each other; of the group second, of the covariates last.
        is_whole: whether none of the K columns follows from the others.
    """

    num_units: int
    drop: float
    error: float
    plain_error: float
    freedom: float
    rest: float
    coefficients: Floats
    moves: Floats
    inverse: Floats
    is_whole: bool

    def partial_r2(self, own: Ints) -> tuple[float, float]:
        """The share of what all else leaves of the group that some covariates' columns explain; and of the outcome.

        From the inverse alone: leaving columns out adds b' V^-1 b to the squares that are left, where b are their
        coefficients and V their part of the inverse.

        Args:
            own: (Q,) columns, as indices into `coefficients`.
        """
        if not self.is_whole:  # covariates that say which group it is
            return 1.0, 0.0
        place = len(self.inverse) - len(self.coefficients) + own
        # The group on all other columns, whose inverse is the whole one without the group's part in it
        to_group = self.inverse[place, 1]
        beside = self.inverse[np.ix_(place, place)] - np.outer(to_group, to_group) / self.inverse[1, 1]
        of_group = float(to_group @ np.linalg.solve(beside, to_group)) / self.inverse[1, 1]  # over the group's rest
        mine = self.coefficients[own]
        of_outcome = float(mine @ np.linalg.solve(self.inverse[np.ix_(place, place)], mine))
        whole = self.rest + of_outcome
        return of_group / (1 + of_group), of_outcome / whole if whole > 1e-12 else 0.0


def regress(outcome: Floats, group: Ints, columns: Floats, units: Units, widths: Sequence[int]) -> list[Regression]:
    """Regressions of (N,) outcomes on their (N,) groups and the first of (N, P) columns.

    Args:
        outcome: in [0, 1].
        group: COMMON, COUNTER, or higher numbers.
        columns: of covariates.
        units: of the photos.
        widths: how many of the columns each regression has.
    """
    base = np.column_stack([np.ones(len(outcome)), group == COMMON, apart_from_pair(group)])
    first = base.shape[1]
    whole = np.column_stack([base, columns])
    # All that least squares say of N photos is in this triangle, and of the first columns in its corner
    triangle = np.asarray(np.linalg.qr(np.column_stack([whole, outcome]), mode="r"))
    num_photos, num_units = len(outcome), units.num_units
    found = []
    for width in widths:
        size = first + width
        left, values, right = np.linalg.svd(triangle[:size, :size], full_matrices=False)
        kept = values > values.max() * size * np.finfo(np.float64).eps
        root = right[kept].T / values[kept]
        inverse = root @ root.T
        beta = root @ (left[:, kept].T @ triangle[:size, -1])
        exogenous = whole[:, :size]
        residual = outcome - exogenous @ beta
        wanted = [1, *range(first, size)]
        moves = sums_by(units.number, (exogenous * residual[:, None]) @ inverse[:, wanted])
        freedom = float(num_photos - kept.sum())
        rest = float(residual @ residual)
        small = num_units / (num_units - 1) * (num_photos - 1) / (num_photos - size)
        found.append(
            Regression(
                units.num_in_pair,
                float(beta[1]),
                math.sqrt(small * float(moves[:, 0] @ moves[:, 0])),
                math.sqrt(max(rest / freedom * float(inverse[1, 1]), 1e-30)),
                freedom,
                rest,
                beta[first:],
                moves,
                inverse,
                bool(kept.all()),
            )
        )
    return found


def apart_from_pair(group: Ints) -> Floats:
    """(N, G) whether a photo is of each of the other groups."""
    return np.asarray(group[:, None] == np.unique(group[group > COUNTER]), np.float64)


def share_moved(moves: Floats, plain: Regression) -> Floats:
    """By how much of a deviation of the plain drop other estimates deviate with it; 0 where no answer deviates.

    Args:
        moves: (U, K) or (U,) what each unit adds to the errors of K other estimates.
        plain: of the group alone.
    """
    of_plain = plain.moves[:, 0]
    variance = float(of_plain @ of_plain)
    return np.asarray(of_plain @ moves / variance if variance > LEAST_SPREAD**3 else np.zeros(moves.shape[1:]))
