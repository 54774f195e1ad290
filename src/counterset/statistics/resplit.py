"""The drop of a chosen pair: what confirm says, averaged over every split that would choose the same pair.

Observers were split at random into discover and confirm. Given that discover chose the pair,
confirm's drop is unbiased. So is its mean over all splits of the same observers that choose
this pair, for the split was random; and by Rao and Blackwell that mean varies less (for two
normal stages it is the estimator of Cohen and Sackrowitz 1989). Where the choice is clear
nearly every split makes it, and all photos count; where it is not, few do, and the estimate
is close to the confirm half's own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from counterset.statistics.choice import Limits, choose, overlap
from counterset.statistics.intervals import drop_interval
from counterset.statistics.observers import CONFIRM, Dispersion, Floats, Results

NUM_SPLITS = 1_000
CHUNK_ELEMENTS = 10_000_000


class Estimate(NamedTuple):
    """A pair's accuracies and drop, in [0, 1] and [-1, 1], with the drop's 95 % interval."""

    accuracy_common: float
    accuracy_counter: float
    drop: float
    low: float
    high: float


def estimate_drop(
    results: Results,
    weights: Floats,
    dispersion: Dispersion,
    pair: tuple[int, int],
    limits: Limits,
    rng: np.random.Generator,
    num_splits: int = NUM_SPLITS,
) -> Estimate:
    """The pair's drop with its interval.

    The variance is the confirm drop's, less its variance over the splits that agree (law of
    total variance); the interval is `drop_interval` with group sizes that have this variance.

    Args:
        results: all groups of the class.
        weights: (C,) worth of each result in photos.
        dispersion: of the outcomes.
        pair: (common, counter), as chosen by the true split.
        limits: as used in the choice.
        rng: the class's own generator.
        num_splits: splits tried, the true one first.
    """
    num_observers = int(results.observer.max()) + 1
    on_confirm = rng.integers(0, 2, (num_splits, num_observers), dtype=np.bool_)
    on_confirm[0, results.observer] = results.half == CONFIRM
    by_group = np.zeros((len(weights), results.num_groups))
    by_group[np.arange(len(weights)), results.group] = 1.0
    columns = np.stack(
        [weights, weights * results.sum_correct / results.num_photos, results.num_photos, np.ones_like(weights)]
    )
    stacked = (columns[:, :, None] * by_group).transpose(1, 0, 2).reshape(len(weights), -1)  # (C, 4 G)
    # (S, C) @ (C, 4 G) -> (S, 4, G), some splits at a time
    parts = np.array_split(on_confirm, math.ceil(num_splits * len(weights) / CHUNK_ELEMENTS))
    confirm = np.concatenate([part[:, results.observer].astype(np.float64) @ stacked for part in parts])
    confirm = confirm.reshape(num_splits, 4, -1)
    total = stacked.sum(axis=0).reshape(4, -1)
    halves = np.stack([total - confirm, confirm], axis=2)
    eligible = limits.met(halves[:, 2], halves[:, 3])
    chosen = choose(halves[:, 0], halves[:, 1], eligible)
    agrees = (chosen.common == pair[0]) & (chosen.counter == pair[1]) & eligible[:, pair].all(axis=-1)
    agrees[0] = True
    weight = halves[agrees, 0, CONFIRM][:, pair]  # (splits, 2)
    accuracies = halves[agrees, 1, CONFIRM][:, pair] / weight
    accuracy = accuracies.mean(axis=0)
    correlation = dispersion.across_groups * overlap(results, weights, *pair)

    def variance(size: Floats) -> Floats:
        smoothed = (accuracy * total[0, list(pair)] + 1) / (total[0, list(pair)] + 2)
        each = smoothed * (1 - smoothed) * dispersion.scale / size
        return np.asarray(each.sum(axis=-1) - 2 * correlation * np.sqrt(each.prod(axis=-1)))

    whole = float(variance(total[0, list(pair)]))
    agreed = float(variance(weight).mean() - np.diff(accuracies, axis=1).var())
    size = total[0, list(pair)] / dispersion.scale * (whole / max(agreed, whole))
    low, high = drop_interval(accuracy[0], size[0], accuracy[1], size[1], correlation)
    return Estimate(float(accuracy[0]), float(accuracy[1]), float(accuracy[0] - accuracy[1]), low, high)
