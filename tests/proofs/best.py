"""The best possible test of a planted pair, beside which power is to be seen.

It knows which pair would differ, and how margins scatter: the variances of observers and of photos and how alike models
are. With normal margins of known variances the likelihood ratio of a drop, whatever its size, is a z-test of the pair's
weighted means, one-sided, over the photos of both halves. Nothing needs to be chosen or estimated.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr
from statsmodels.stats.multitest import multipletests

from .regimes import Regime
from .worlds import Floats, World


def best_confirmed(regime: Regime, world: World) -> dict[str, float]:
    """How many planted classes it confirms at a q-value of 0.05 by all margins (`best`), and by answers alone.

    Zero where margins are not normal, where there is no such test.
    """
    if not regime.drop or not regime.crowd.is_normal:
        return {"best": 0.0, "best_answers": 0.0}
    rho, alike = float(np.asarray(regime.crowd.rho)), regime.crowd.likeness
    used = regime.num_selectors
    margin = world.margin[:, :used].mean(axis=1)
    of_photo = (1 - rho) * (alike + (1 - alike) / used)
    by_margin = _confirmed(regime, world, margin, rho, of_photo)
    right = (world.margin[:, :used] > 0).mean(axis=1)
    between, within = _scatter(world, right)
    return {"best": by_margin, "best_answers": _confirmed(regime, world, right, between, within)}


def _scatter(world: World, values: Floats) -> tuple[float, float]:
    """The variance between observers, and within: of all photos of the world, more than a class can know."""
    stratum = world.class_index * world.accuracies.shape[1] + world.group
    residual = values - (np.bincount(stratum, values) / np.bincount(stratum))[stratum]
    cells, inverse = np.unique(np.column_stack([stratum, world.observer]), axis=0, return_inverse=True)
    n = np.bincount(inverse.ravel(), minlength=len(cells)).astype(np.float64)
    sums = np.bincount(inverse.ravel(), residual, len(cells))
    total = float((residual**2).sum())
    between = (float((sums**2).sum()) - total) / float((n * (n - 1)).sum())
    return max(between, 0.0), total / len(values) - between


def _confirmed(regime: Regime, world: World, values: Floats, between: float, within: float) -> float:
    """Planted classes among those whose z-test of groups 1 and 2 has a q-value of 0.05 or less."""
    num_classes, num_groups = world.accuracies.shape
    stratum = world.class_index * num_groups + world.group
    cells, inverse = np.unique(stratum * len(world.coin) + world.observer, return_inverse=True)
    n = np.bincount(inverse, minlength=len(cells)).astype(np.float64)
    mean = np.bincount(inverse, values, len(cells)) / n
    weight = 1 / (between + within / n)
    size = num_classes * num_groups
    sums, weights = (np.bincount(cells // len(world.coin), part, size) for part in (weight * mean, weight))
    mean, weights = (part.reshape(num_classes, num_groups) for part in (sums / weights, weights))
    z = (mean[:, 1] - mean[:, 2]) / np.sqrt(1 / weights[:, 1] + 1 / weights[:, 2])
    q_values = multipletests(ndtr(-z), method="fdr_bh")[1]
    return float((q_values[: regime.num_planted] <= 0.05).sum())
