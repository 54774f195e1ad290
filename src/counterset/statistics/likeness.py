"""How alike two photos of one group are when an observer, or only a place, is the same.

Says of a release what its units hold together: how much of the correlation lies between different
observers of one place, and how much is left between units where a place had to be cut.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from counterset.statistics.observers import Floats, Ints
from counterset.statistics.units import NONE

ROUNDS = 20
"""Of correcting the groups' variances for their estimated means; it settles within a few."""


class Likeness(NamedTuple):
    """Correlation of the outcomes of two photos of one group; NaN where there are no two such photos.

    Attributes:
        observer: of one observer.
        place: of two observers of one unit.
        cut: of one place and two units.
    """

    observer: float
    place: float
    cut: float


def likeness(outcome: Floats, group: Ints, unit: Ints, observer: Ints, place: Ints) -> Likeness:
    """Correlations from products of residuals, each group's on the scale of its own variance.

    A residual is an outcome less its group's mean. That the mean is estimated makes products too small by the
    variance of the mean, which is added again.

    Args:
        outcome: (N,) of photos, in [0, 1].
        group: (N,) of one class each, from 0.
        unit: (N,) from 0; each of one class.
        observer: (N,) from 0; each of one unit of a class.
        place: (N,) from 0; NONE = none.
    """
    if not len(outcome):
        return Likeness(np.nan, np.nan, np.nan)
    num_photos = np.bincount(group).astype(np.float64)
    size = np.maximum(num_photos, 1.0)
    residual = outcome - (np.bincount(group, outcome) / size)[group]
    spread = np.bincount(group, residual**2) / size
    has_place = place != NONE
    by_unit, by_observer = (_pairs(residual, group, [label]) for label in (unit, observer))
    by_place, by_both = (
        _pairs(residual[has_place], group[has_place], [label[has_place] for label in labels], len(size))
        for labels in ([place], [place, unit])
    )
    everyone = 0.0
    for _ in range(ROUNDS):
        # (G,) variance of a group's mean over that of one photo
        of_mean = np.minimum((1 + everyone * by_unit[1] / size) / size, 0.9)
        variance = spread / (1 - of_mean)
        everyone = max(_correlation(by_unit, variance, of_mean), 0.0) if by_unit[1].any() else 0.0
    return Likeness(
        _correlation(by_observer, variance, of_mean),
        _correlation(by_unit - by_observer, variance, of_mean),
        _correlation(by_place - by_both, variance, of_mean),
    )


def _pairs(residual: Floats, group: Ints, labels: list[Ints], num_groups: int | None = None) -> Floats:
    """(2, G): by group, the summed products of residuals of ordered pairs of photos that share all labels, and how many
    such pairs there are."""
    num_groups = num_groups or int(group.max()) + 1
    if not len(residual):
        return np.zeros((2, num_groups))
    cells, cell = np.unique(np.stack([group, *labels]), axis=1, return_inverse=True)
    photos = np.bincount(cell).astype(np.float64)
    products = np.bincount(cell, residual) ** 2 - np.bincount(cell, residual**2)
    return np.stack([np.bincount(cells[0], values, num_groups) for values in (products, photos * (photos - 1))])


def _correlation(sums: Floats, variance: Floats, of_mean: Floats) -> float:
    """The correlation over all groups' pairs, from their (2, G) products and numbers."""
    products, pairs = sums
    scale = float((variance * pairs).sum())
    return float((products + variance * of_mean * pairs).sum()) / scale if scale > 0 else np.nan
