"""What may be said of a class after it was confirmed.

Confirmed classes are the lucky ones: of two classes with one true drop, the one whose photos
happen to show a larger one is confirmed sooner. Their drops are therefore too large and their
intervals, each right by itself, miss too often. Two remedies, both from what a release states:
drops shrunken by what all tested classes show together, and wider intervals for those picked.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from counterset.statistics.intervals import CONFIDENCE
from counterset.statistics.observers import Floats

GRID = np.linspace(0.0, 1.0, 401)
"""The true drops that are thought of: the pair of a class that has no difference has a drop of 0, hardly one below."""
WIDTHS = (0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.45)
"""Standard deviations of the half-normal laws that a prior is mixed of, beside the point at 0."""
NUM_ITERATIONS = 500


class Shrunken(NamedTuple):
    """Posterior means of true drops, in [0, 1], and both ends of their 95 % intervals; (K,) each."""

    drop: Floats
    low: Floats
    high: Floats


def shrink(drops: Floats, errors: Floats) -> Shrunken:
    """The drops of all tested classes, shrunken by empirical Bayes.

    The prior is a mixture of a point at 0 and of half-normal laws, its shares those of most
    posterior density given all classes (an EM algorithm; Stephens 2017, whose "unimodal at 0" it
    shares). One count more for the point at 0 keeps one large drop among few classes from
    being believed at once. Whether a class was confirmed plays no part, so its posterior is right
    for confirmed and other classes alike, as far as the prior is.

    Args:
        drops: (K,) unbiased estimates, of the tested classes.
        errors: (K,) their standard errors, above 0.
    """
    laws = np.exp(-0.5 * (GRID / np.array(WIDTHS)[:, None]) ** 2)
    point = np.zeros_like(GRID)
    point[0] = 1.0
    laws = np.vstack([point, laws / laws.sum(axis=1, keepdims=True)])  # (L, T)
    distance = (drops[:, None] - GRID) / errors[:, None]  # (K, T)
    # relative to the nearest true drop, for an estimate far below 0 has no density to speak of
    density = np.exp(-0.5 * (distance**2 - (distance**2).min(axis=1, keepdims=True)))
    by_law = density @ laws.T  # (K, T) @ (T, L) -> (K, L)
    shares = np.full(len(laws), 1 / len(laws))
    for _ in range(NUM_ITERATIONS):
        member = by_law * shares
        counts = (member / member.sum(axis=1, keepdims=True)).sum(axis=0)
        counts[0] += 1.0
        shares = counts / counts.sum()
    posterior = density * (shares @ laws)
    posterior /= posterior.sum(axis=1, keepdims=True)
    below = posterior.cumsum(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = (GRID[np.minimum((below < level).sum(axis=1), len(GRID) - 1)] for level in (tail, 1 - tail))
    return Shrunken(posterior @ GRID, low, high)


def confidence_among(num_picked: int, num_tested: int) -> float:
    """The confidence at which the intervals of picked classes miss 5 % of the time, on average over those picked.

    Benjamini and Yekutieli (2005, procedure 3.1): 1 - 0.05 * picked / tested, whatever the rule of
    picking, for independent classes.

    Args:
        num_picked: confirmed classes, at least 1.
        num_tested: classes among which they were picked.
    """
    return 1 - (1 - CONFIDENCE) * num_picked / num_tested
