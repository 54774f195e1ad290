"""How often a group's name is right, on photos that people labelled without seeing the name.

A photo's weight is one over the probability with which the audit sample held it, scaled so that the labelled photos of
a group stand for all photos of the group (post-stratification): labels that are still to come change no weight between
groups. Photos of one unit are alike in what they are named rightly, too; `effective` counts them as they are worth.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from counterset.statistics.intervals import jeffreys
from counterset.statistics.observers import Floats, Ints, Results, estimate_dispersion

ASSUMED_PRECISION = 0.9
"""Of names, where a plan does not know better."""


class NameShare(NamedTuple):
    """A share of photos with its 95 % interval, all in [0, 1].

    Attributes:
        share: precision or recall of a name.
        low, high: ends of its interval.
        num_labels: labelled photos behind it.
    """

    share: float
    low: float
    high: float
    num_labels: int


def effective(weights: Floats, unit: Ints, correlation: float) -> float:
    """How many independent photos of equal weight are worth as much as these (Kish 1965, sections 8.2 and 11.7).

    Args:
        weights: (N,) of the photos, 0 or more.
        unit: (N,) who took them, from 0.
        correlation: of two photos of one unit, in [0, 1].
    """
    total, squares = float(weights.sum()), float((weights**2).sum())
    if total <= 0:
        return 0.0
    by_unit = float((np.bincount(unit, weights) ** 2).sum())
    return total**2 / ((1 - correlation) * squares + correlation * by_unit)


def name_share(is_right: Floats, weights: Floats, unit: Ints, correlation: float) -> NameShare | None:
    """The weighted share of right photos, with Jeffreys' interval at the effective number of photos; None without any.

    Args:
        is_right: (N,) 1 = right, 0 = wrong, or the share of the reviewers who say so.
        weights: (N,) of the photos; those of weight 0 do not count.
        unit: (N,) who took them, from 0.
        correlation: of two photos of one unit.
    """
    size = effective(weights, unit, correlation)
    if not size:
        return None
    share = float((weights * is_right).sum() / weights.sum())
    return NameShare(share, *jeffreys(share, size), int((weights > 0).sum()))


def rightness_correlation(is_right: Floats, group: Ints, unit: Ints) -> float:
    """The correlation of two photos of one unit in one group in being named rightly, pooled over groups.

    Args:
        is_right: (N,) 1 = right, 0 = wrong, or a share.
        group: (N,) from 0, over all classes.
        unit: (N,) from 0.
    """
    if not len(is_right):
        return 0.0
    cell, row = np.unique(np.column_stack([group, unit]), axis=0, return_inverse=True)
    row = row.ravel()
    results = Results(
        int(group.max()) + 1,
        cell[:, 0],
        np.zeros(len(cell), np.int64),
        cell[:, 1],
        np.bincount(row).astype(np.float64),
        np.bincount(row, is_right).astype(np.float64),
        np.bincount(row, is_right**2).astype(np.float64),
    )
    return estimate_dispersion([results]).observer_correlation


def photos_to_label(half_width: float, precision: float = ASSUMED_PRECISION) -> int:
    """The fewest independent photos whose Jeffreys interval of `precision` reaches no further than `half_width` to
    either side, on average of both.

    Args:
        half_width: wanted, in (0, 1).
        precision: of the name, as far as it is known.
    """

    def reach(num_photos: int) -> float:
        low, high = jeffreys(precision, num_photos)
        return (high - low) / 2

    few, many = 1, 2
    while reach(many) > half_width:
        few, many = many, 2 * many
    while many - few > 1:
        middle = math.floor((few + many) / 2)
        few, many = (few, middle) if reach(middle) <= half_width else (middle, many)
    return many
