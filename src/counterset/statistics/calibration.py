"""The smallest margin at which labelled photos' groups are right as often as wished."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

NUM_THRESHOLDS = 10
"""Thresholds that are tried: those that keep 10, 20, ... 100 % of the labelled photos."""


class Threshold(NamedTuple):
    """One threshold of the margin, and what it does on the labelled photos.

    Attributes:
        min_margin: photos of this margin or more are kept.
        precision: share of the kept that are right.
        precision_low: its lower confidence bound, which holds for all thresholds tried at once.
        coverage: share of the labelled photos that is kept.
        num_kept: photos.
    """

    min_margin: float
    precision: float
    precision_low: float
    coverage: float
    num_kept: int


def thresholds(
    margins: npt.NDArray[np.floating],
    is_right: npt.NDArray[np.bool_],
    confidence: float = 0.95,
    weights: npt.NDArray[np.floating] | None = None,
) -> list[Threshold]:
    """Every threshold tried, most coverage first.

    The bound is Clopper and Pearson's (1934), one-sided, at 1 - (1 - confidence) / NUM_THRESHOLDS
    (Bonferroni), so that it also holds for the one that is chosen after seeing them all.
    The share kept, not the threshold, is fixed beforehand. Photos are taken as independent.

    Args:
        margins: (N,) of labelled photos.
        is_right: (N,) whether their background is the labelled one.
        confidence: of all bounds together.
        weights: (N,) one over the probability of being labelled; None = alike. Unequal ones are worth as many photos as
            Kish's (1965) effective size says.
    """
    worth = np.ones(len(margins)) if weights is None else weights
    order = np.argsort(-margins, kind="stable")
    found = []
    for part in range(NUM_THRESHOLDS, 0, -1):
        wanted = len(margins) * part // NUM_THRESHOLDS
        if not wanted:
            continue
        # The last one keeps every photo, whatever margins unlabelled photos have.
        lowest = 0.0 if wanted == len(margins) else float(margins[order[wanted - 1]])
        kept = margins >= lowest if lowest else np.ones(len(margins), bool)
        size = float(worth[kept].sum() ** 2 / (worth[kept] ** 2).sum())
        precision = float(worth[kept & is_right].sum() / worth[kept].sum())
        level = (1 - confidence) / NUM_THRESHOLDS
        low = float(beta.ppf(level, precision * size, (1 - precision) * size + 1)) if precision else 0.0
        found.append(Threshold(lowest, precision, low, float(worth[kept].sum() / worth.sum()), int(kept.sum())))
    return found
