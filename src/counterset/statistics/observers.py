"""The observer as the independent unit: how alike one observer's photos are, and what each is worth.

Photos by one observer share that observer's luck (place, season, camera, skill). If the
correlation between the outcomes of two photos of one observer in one group is `rho`, an
observer's n photos are worth n / (1 + (n - 1) rho) independent ones (Kish 1965, section 5.4).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DISCOVER, CONFIRM = 0, 1
"""The halves' indices in every array with an axis of halves."""


MIN_SCALE = 1e-3
"""Selectors that are right in turns, never together, have a mean without any variance: intervals stay finite."""


@dataclass(frozen=True)
class Results:
    """One class's outcomes, one row a group and observer.

    Attributes:
        num_groups: groups of the class, G.
        group: (C,) index of the group, 0 .. G-1.
        half: (C,) DISCOVER or CONFIRM, the same for all rows of an observer.
        observer: (C,) index of the observer, from 0.
        num_photos: (C,) photos, at least 1.
        sum_correct: (C,) sum over photos of the outcome: 1 = right, 0 = wrong, or the mean over selectors.
        sum_squares: (C,) sum over photos of the squared outcome.
    """

    num_groups: int
    group: Ints
    half: Ints
    observer: Ints
    num_photos: Floats
    sum_correct: Floats
    sum_squares: Floats

    def by_half(self, values: Floats) -> Floats:
        """(C,) -> (2, G): sums over observers, by half and group."""
        stratum = self.half * self.num_groups + self.group
        sums: Floats = np.bincount(stratum, values, 2 * self.num_groups).astype(np.float64)
        return sums.reshape(2, self.num_groups)

    def by_group(self, values: Floats) -> Floats:
        """(C,) -> (G,): sums over observers, by group."""
        return np.bincount(self.group, values, self.num_groups).astype(np.float64)


@dataclass(frozen=True)
class Dispersion:
    """How outcomes scatter around their group's accuracy.

    Attributes:
        observer_correlation: correlation of two photos of one observer in one group, in [0, 1].
        scale: variance of one photo's outcome over p (1 - p): 1 for right-or-wrong outcomes,
            less for the mean over several selectors.
    """

    observer_correlation: float
    scale: float

    def weights(self, num_photos: Floats) -> Floats:
        """(C,) -> (C,): what each observer's photos are worth, in independent photos."""
        return num_photos / (1.0 + (num_photos - 1.0) * self.observer_correlation)


def estimate_dispersion(classes: Iterable[Results]) -> Dispersion:
    """The dispersion pooled over all classes and groups.

    The correlation is the analysis-of-variance estimator (Donner 1986; for binary outcomes
    Ridout, Demetrio and Firth 1999) with its sums of squares pooled over groups. It is 0 where
    no observer has two photos in a group, for then it does not matter.
    """
    between = within = binomial = size = df_between = df_within = 0.0
    for results in classes:
        n, s = results.num_photos, results.sum_correct
        photos, observers = results.by_group(n), results.by_group(np.ones_like(n))
        kept = observers > 1
        photos, observers = photos[kept], observers[kept]
        correct, means = results.by_group(s)[kept], results.by_group(s * s / n)[kept]
        between += float((means - correct**2 / photos).sum())
        within += float((results.by_group(results.sum_squares)[kept] - means).sum())
        binomial += float((correct - correct**2 / photos).sum())
        size += float((photos - results.by_group(n * n)[kept] / photos).sum())
        df_between += float((observers - 1).sum())
        df_within += float((photos - observers).sum())
    scale = max((between + within) / binomial, MIN_SCALE) if binomial > 0 else 1.0
    if df_within <= 0 or df_between <= 0 or between + within <= 0:
        return Dispersion(0.0, scale)
    within_variance = within / df_within
    between_variance = (between / df_between - within_variance) * df_between / size
    rho = between_variance / (between_variance + within_variance)
    return Dispersion(float(np.clip(rho, 0.0, 1.0)), scale)
