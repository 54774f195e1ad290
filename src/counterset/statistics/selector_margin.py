"""The graded outcome: how sure the selectors are of a photo's class, compared with the class's other photos.

Right-or-wrong answers throw away how near a model was to the other side. A selector's margin (its
score of the class less the best other) says it, but margins of models differ in scale, and those
of one model are skewed: bounded above where the class is easy. Their ranks within the class have
neither scale nor skew. docs/method.md has the normal curve that was tried beside them.

This is not `backgrounds.margin`, which is the annotator's and is about the background.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import norm, rankdata

from counterset.statistics.observers import Floats

NEAREST = 0.02
"""An accuracy is taken to be so far from 0 and 1 when ranks are compared with it."""


def double_ranks(margins: Floats) -> Floats:
    """(N, M) margins of one class's photos under M selectors -> (N,) whole numbers, the sums of their ranks.

    Each selector's photos are ranked; the lowest margin has 1, the highest 2 N - 1, equal ones their
    mean. Divided by 2 N M this is the mean over selectors of the share of the class's photos of which
    the selector is less sure, in (0, 1). A margin that is not a number is below all others.
    """
    known = np.where(np.isnan(margins), -np.inf, margins)
    return np.asarray((2 * rankdata(known, axis=0) - 1).sum(axis=1)) if len(margins) else np.zeros(0)


def rank_per_accuracy(accuracy: float) -> float:
    """How much the mean rank of a group differs where its accuracy differs by a little, for normal margins.

    With margins N(m, 1), accuracy is Phi(m) and changes by phi(m) a unit of m, while the chance to be above
    a photo of the class changes by 1 / (2 sqrt(pi)).

    Args:
        accuracy: of the class, in [0, 1].
    """
    level = norm.ppf(min(max(accuracy, NEAREST), 1 - NEAREST))
    return float(1 / (2 * math.sqrt(math.pi)) / norm.pdf(level))
