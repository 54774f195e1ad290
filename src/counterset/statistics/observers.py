"""The observer as the independent unit: how alike one observer's photos are, and what each is worth.

Photos by one observer share that observer's luck (place, season, camera, skill). If the
correlation between the outcomes of two photos of one observer in one group is `rho`, an
observer's n photos are worth n / (1 + (n - 1) rho) independent ones (Kish 1965, section 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """One row a (stratum, observer): that observer's photos in that stratum.

    Attributes:
        stratum: (C,) index of the stratum, e.g. of class and group and half, from 0.
        observer: (C,) index of the observer.
        num_photos: (C,) photos, at least 1.
        sum_correct: (C,) sum over photos of the outcome, each in [0, 1].
        sum_squares: (C,) sum over photos of the squared outcome.
    """

    stratum: Ints
    observer: Ints
    num_photos: Floats
    sum_correct: Floats
    sum_squares: Floats


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


def estimate_dispersion(cells: Cells) -> Dispersion:
    """The dispersion pooled over all strata.

    The correlation is the analysis-of-variance estimator (Donner 1986; for binary outcomes
    Ridout, Demetrio and Firth 1999), its sums of squares pooled over strata. It is 0 where
    no observer has two photos in a stratum, for then it does not matter.
    """
    num_strata = int(cells.stratum.max()) + 1 if len(cells.stratum) else 0

    def total(values: Floats) -> Floats:
        return np.bincount(cells.stratum, weights=values, minlength=num_strata)

    n, s = cells.num_photos, cells.sum_correct
    photos, observers = total(n), total(np.ones_like(n))
    kept = observers > 1
    if not kept.any():
        return Dispersion(0.0, 1.0)
    photos_kept = photos[kept]
    correct, squares, means_squared = total(s)[kept], total(cells.sum_squares)[kept], total(s * s / n)[kept]
    between = float((means_squared - correct**2 / photos_kept).sum())
    within = float((squares - means_squared).sum())
    df_between = float((observers[kept] - 1).sum())
    df_within = float((photos_kept - observers[kept]).sum())
    binomial = float((correct - correct**2 / photos_kept).sum())
    scale = (between + within) / binomial if binomial > 0 else 1.0
    if df_within <= 0:
        return Dispersion(0.0, scale)
    photos_per_observer = float((photos_kept - total(n * n)[kept] / photos_kept).sum()) / df_between
    within_variance = within / df_within
    between_variance = (between / df_between - within_variance) / photos_per_observer
    variance = between_variance + within_variance
    rho = between_variance / variance if variance > 0 else 0.0
    return Dispersion(min(max(rho, 0.0), 1.0), scale)


def observer_weights(num_photos: Floats, observer_correlation: float) -> Floats:
    """What each observer's photos are worth, in independent photos: n / (1 + (n - 1) rho)."""
    return num_photos / (1.0 + (num_photos - 1.0) * observer_correlation)
