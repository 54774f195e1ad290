"""A pair's drop, corrected for photos that are named wrongly, from labels of some of them.

Names that are wrong where the model is make a drop of their own, in both halves alike. Labels of a random sample say
how often a photo of each group that the selector gets right, and one that it gets wrong, is truly of common, of
counter, or of neither: the misclassification matrix, by outcome. With it the photos of every group, which are all
counted, are dealt to what they truly show.

The choice of the pair saw groups and outcomes but no label. Given those, what a photo truly is does not depend on the
choice, so that labels of both halves count; the pair's own accuracies are those that had no part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from counterset.statistics.intervals import CONFIDENCE, drop_interval
from counterset.statistics.naming import effective
from counterset.statistics.observers import Floats, Ints

COMMON, COUNTER, ELSEWHERE = 0, 1, 2
"""What a photo truly shows: the columns of every matrix here. The first two also number the pair's own groups."""
NUM_DRAWS = 4_000
PRIOR = 1.0
"""Labels that a cell counts more, spread as those of cells of its kind are: a cell of few labels is not taken to be
without errors because none was seen."""
FLOOR = 0.5
"""The same for each column of a kind of cell that has no labels at all."""
LEAST, MOST = 1e-4, 1e4
"""Bounds of the effective number of photos over their number."""


class Corrected(NamedTuple):
    """The drop between photos that truly are of common and of counter, with its 95 % interval; all in [-1, 1]."""

    drop: float
    low: float
    high: float


@dataclass(frozen=True)
class Groups:
    """All photos of a class by what they were named: common first, then counter, then the others.

    Attributes:
        num_photos: (G,) of each group; those without a name may be one.
        accuracy: (G,) of the selectors, in [0, 1]; of the pair's own groups those that had no part in the choice.
        low, high: the 95 % interval of the drop between the first two, without regard to wrong names.
    """

    num_photos: Floats
    accuracy: Floats
    low: float
    high: float

    def sizes(self) -> Floats:
        """(G,) effective numbers of photos under which the drop would have the interval that it has."""
        (common, counter), (first, second) = self.accuracy[:2].tolist(), self.num_photos[:2].tolist()

        def excess(log_share: float) -> float:
            share = float(np.exp(log_share))
            low, high = drop_interval(common, share * first, counter, share * second)
            return (high - low) - (self.high - self.low)

        ends = np.log([LEAST, MOST])
        if excess(ends[0]) <= 0 or excess(ends[1]) >= 0:  # an interval as wide as can be, or none
            share = LEAST if excess(ends[0]) <= 0 else MOST
        else:
            share = float(np.exp(brentq(excess, *ends)))
        return share * self.num_photos


@dataclass(frozen=True)
class Labels:
    """The labelled photos of the class.

    Attributes:
        group: (N,) as numbered in `Groups`.
        truth: (N, 3) share of the reviewers who say common, counter, elsewhere; rows sum to 1.
        outcome: (N,) share of the selectors that are right, in [0, 1].
        weight: (N,) one over the probability of being labelled.
        unit: (N,) who took the photo, from 0.
    """

    group: Ints
    truth: Floats
    outcome: Floats
    weight: Floats
    unit: Ints

    def counts(self, num_groups: int, correlations: Sequence[float]) -> Floats:
        """(2, G, 3) effective labels of wrong and of right photos of each group, by what they truly show."""
        counts = np.zeros((2, num_groups, 3))
        for group in range(num_groups):
            own = self.group == group
            for right, share in enumerate((1 - self.outcome[own], self.outcome[own])):
                weight = self.weight[own] * share
                if weight.sum() > 0:
                    size = effective(weight, self.unit[own], correlations[right])
                    counts[right, group] = size * (weight @ self.truth[own]) / weight.sum()
        return counts


def corrected_drop(
    groups: Groups, labels: Labels, correlations: Sequence[float], rng: np.random.Generator
) -> Corrected | None:
    """The drop between what photos truly show; None where a group that has photos has no label.

    Draws of accuracies (Jeffreys' posteriors) and of the matrix (Dirichlet's) give the interval; the estimate is taken
    at their means.

    Args:
        groups: all photos.
        labels: of some.
        correlations: of two photos of one unit and group in being named rightly: of those that the selector gets wrong,
            and of those that it gets right.
        rng: the class's own generator.
    """
    num_groups = len(groups.num_photos)
    labelled = np.bincount(labels.group, minlength=num_groups)
    if (labelled[:2] == 0).any() or ((groups.num_photos > 0) & (labelled == 0)).any():
        return None
    counts = labels.counts(num_groups, correlations)
    alpha = counts + PRIOR * _expected(counts)
    # (D, 2, G, 3): Dirichlet draws, all cells at once
    gamma = rng.standard_gamma(np.broadcast_to(alpha, (NUM_DRAWS, *alpha.shape)))
    matrix = gamma / np.maximum(gamma.sum(axis=-1, keepdims=True), 1e-300)
    size = groups.sizes()
    accuracy = rng.beta(groups.accuracy * size + 0.5, (1 - groups.accuracy) * size + 0.5, (NUM_DRAWS, num_groups))
    low, high = np.quantile(_drop(groups.num_photos, accuracy, matrix), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    mean = alpha / alpha.sum(axis=-1, keepdims=True)
    drop = float(_drop(groups.num_photos, groups.accuracy, mean))
    return Corrected(drop, min(float(low), drop), max(float(high), drop))


def _expected(counts: Floats) -> Floats:
    """(2, G, 3) what a label of each cell is expected to say: as those of its group, whatever the outcome, in the
    pair's own groups; as those of all other groups in these."""
    own = counts[:, :2].sum(axis=0)
    others = counts[:, 2:].sum(axis=(0, 1))
    kinds = np.vstack([own, np.tile(others, (counts.shape[1] - 2, 1))]) + FLOOR
    return np.broadcast_to(kinds / kinds.sum(axis=-1, keepdims=True), counts.shape)


def _drop(num_photos: Floats, accuracy: Floats, matrix: Floats) -> Floats:
    """(..., G) accuracies and (..., 2, G, 3) matrices -> (...): the drop between true common and true counter."""
    right = (num_photos * accuracy)[..., None] * matrix[..., 1, :, :]
    wrong = (num_photos * (1 - accuracy))[..., None] * matrix[..., 0, :, :]
    of_truth = right.sum(axis=-2), wrong.sum(axis=-2)
    accuracies = of_truth[0] / np.maximum(of_truth[0] + of_truth[1], 1e-12)
    return np.asarray(accuracies[..., COMMON] - accuracies[..., COUNTER])
