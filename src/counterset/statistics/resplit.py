"""The drop of a chosen pair: what confirm says, averaged over every split that would choose the same pair.

Units were split at random into discover and confirm. Given that discover chose the pair,
confirm's drop is unbiased. So is its mean over all splits of the same units that choose
this pair, for the split was random; and by Rao and Blackwell that mean varies less (for two
normal stages it is the estimator of Cohen and Sackrowitz 1989). Where the choice is clear
nearly every split makes it, and all photos count; where it is not, few do, and the estimate
is close to the confirm half's own.

What chooses and what is measured differ: ranks of margins choose, right-or-wrong answers are
measured. The argument needs no more than that the split is random.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from counterset.statistics.carving import (
    carved_p_value,
    moves_until_chosen,
    rank_per_answer,
    weighted_residuals,
)
from counterset.statistics.choice import Limits, choose, eligible_groups, overlap
from counterset.statistics.intervals import CONFIDENCE, Interval, drop_interval
from counterset.statistics.observers import CONFIRM, DISCOVER, Bools, Dispersion, Floats, Results
from counterset.statistics.permutation import selection_test

NUM_SPLITS = 1_000
CHUNK_ELEMENTS = 10_000_000
Z = float(ndtri((1 + CONFIDENCE) / 2))
NUM_HALVINGS, NUM_HALVING_PERMUTATIONS = 200, 2_000
"""What a confirmed class's share of halvings is counted over."""
FAR = 1.25
"""A statistic so many times the critical value of one halving is above that of any: over 703 halvings of 18 simulated
classes no other halving's was above 1.09 times it."""


class Estimate(NamedTuple):
    """A pair's accuracies, in [0, 1], and what their drop's interval needs.

    Attributes:
        accuracy_common: of the common group.
        accuracy_counter: of the counter group.
        size_common: effective number of independent photos behind it.
        size_counter: the same of counter.
        correlation: of the two accuracies' errors.
        share_chosen: share of the random splits that choose this pair.
        p_value: one-sided, of a drop of 0 or less, over all photos and given the choice (`carving`).
    """

    accuracy_common: float
    accuracy_counter: float
    size_common: float
    size_counter: float
    correlation: float
    share_chosen: float
    p_value: float

    @property
    def drop(self) -> float:
        """In [-1, 1]."""
        return self.accuracy_common - self.accuracy_counter

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """The drop's interval at this confidence."""
        sizes = (self.accuracy_common, self.size_common, self.accuracy_counter, self.size_counter)
        return drop_interval(*sizes, self.correlation, confidence)


def random_splits(results: Results, num_splits: int, rng: np.random.Generator) -> Bools:
    """(S, O) which units are on confirm: as many as in truth, each set of so many with equal chance.

    Given how many units are on each half, the true split was drawn like that. Like the deals of `permutation`, they
    are compositions of few permutations with few splits, any two of which are independent.
    """
    truth = np.zeros(int(results.observer.max()) + 1, np.bool_)
    truth[results.observer] = results.half == CONFIRM
    side = math.ceil(math.sqrt(num_splits))
    order = rng.permuted(np.tile(np.arange(len(truth)), (side, 1)), axis=1)
    splits = rng.permuted(np.tile(truth, (side, 1)), axis=1)
    # (side splits, O) at (side orders, O) -> (S, O)
    return splits.take(order, axis=1).reshape(-1, len(truth))[:num_splits]


def estimate_drop(
    results: Results,
    weights: Floats,
    dispersion: Dispersion,
    pair: tuple[int, int],
    limits: Limits,
    votes: Floats,
    rng: np.random.Generator,
    num_splits: int = NUM_SPLITS,
) -> Estimate:
    """The pair's drop with what its interval needs.

    The variance is the confirm drop's, less its variance over the splits that agree (law of
    total variance); the interval is `drop_interval` with group sizes that have this variance.

    Args:
        results: all groups of the class, right-or-wrong outcomes.
        weights: (C,) worth of each result in photos.
        dispersion: of the outcomes.
        pair: (common, counter), as chosen by the true split.
        limits: as used in the choice.
        votes: (2, C) weights, and weights times outcomes, that choose.
        rng: the class's own generator.
        num_splits: splits tried, the true one first.
    """
    on_confirm = random_splits(results, num_splits, rng)
    on_confirm[0, results.observer] = results.half == CONFIRM
    right = weights * results.sum_correct / results.num_photos
    halves = _sums_by_split(
        results, np.stack([weights, right, results.num_photos, np.ones_like(weights), *votes]), on_confirm
    )
    eligible = limits.met(halves[:, 2], halves[:, 3])
    agrees = _chooses(pair, eligible, halves[:, 4], halves[:, 5])
    share_chosen = float(agrees[1:].mean()) if num_splits > 1 else 1.0
    is_chosen = bool(agrees[0])
    agrees[0] = True
    total = halves[0].sum(axis=1)  # (6, G)
    weight = halves[agrees, 0, CONFIRM][:, pair]  # (splits, 2)
    accuracies = halves[agrees, 1, CONFIRM][:, pair] / weight
    accuracy = np.clip(accuracies.mean(axis=0), 0.0, 1.0)  # a mean of ones may round to more
    correlation = dispersion.across_groups * overlap(results, weights, *pair)

    of_photo = accuracy * (1 - accuracy)
    if not of_photo.any():  # nothing scatters, over splits neither
        of_photo = np.ones_like(of_photo)

    def variance(size: Floats) -> Floats:
        each = of_photo * dispersion.scale / size
        return np.asarray(each.sum(axis=-1) - 2 * correlation * np.sqrt(each.prod(axis=-1)))

    whole = float(variance(total[0, list(pair)]))
    agreed = float(variance(weight).mean() - np.diff(accuracies, axis=1).var())
    size = total[0, list(pair)] / dispersion.scale * (whole / max(agreed, whole))
    (common, counter), (size_common, size_counter) = accuracy.tolist(), size.tolist()
    # a pair that the true split does not choose is given, by an earlier release: no luck of these photos is in it
    moves = _moves(results, weights, pair, votes, halves, eligible) if is_chosen else np.full(1, -np.inf)
    both, sizes = total[1, list(pair)] / total[0, list(pair)], total[0, list(pair)] / dispersion.scale
    low = drop_interval(both[0], sizes[0], both[1], sizes[1], correlation).low
    of_all = float(both[0] - both[1])
    p_value = carved_p_value(of_all, max(of_all - low, 1e-9) / Z, moves)
    return Estimate(common, counter, size_common, size_counter, correlation, share_chosen, p_value)


def _moves(
    results: Results, weights: Floats, pair: tuple[int, int], votes: Floats, halves: Floats, eligible: Bools
) -> Floats:
    """(S,) how much larger the drop in answers would have to be for each split to choose the pair.

    Args:
        results: as in `estimate_drop`.
        weights: as there.
        pair: as there.
        votes: as there.
        halves: (S, 6, 2, G) sums by split, half and group, as there.
        eligible: (S, G).
    """
    ranks = replace(results, sum_correct=votes[1] / votes[0] * results.num_photos)
    slope = rank_per_answer(weighted_residuals(results, weights), weighted_residuals(ranks, votes[0]))
    # each group has a part in the drop's error, the smaller one the larger
    part = 1 / halves[0, 0].sum(axis=0)[list(pair)]
    rises, falls = slope * part / part.sum()
    weight, rank = halves[:, 4, DISCOVER], halves[:, 5, DISCOVER]
    means = np.divide(rank, weight, out=np.zeros_like(weight), where=weight > 0)
    return moves_until_chosen(means, eligible, pair, (float(rises), float(falls)))


def share_confirmed(
    graded: Results,
    votes: Floats,
    pair: tuple[int, int],
    limits: Limits,
    p_value: float,
    times_critical: float,
    rng: np.random.Generator,
) -> float:
    """The share of random halvings under which the pair would be chosen and its test reach `p_value`.

    The drop's own test takes no part, for it is averaged over halvings already.

    Args:
        graded: all groups of the class, the outcomes that choose and test.
        votes: as in `estimate_drop`.
        pair: (common, counter).
        limits: as used in the choice.
        p_value: what the class's test has to reach, the other classes being as they are.
        times_critical: the pair's statistic, which is the same under every halving, over the true halving's critical
            value; from `FAR` on the test is not repeated.
        rng: the class's own generator.
    """
    halvings = random_splits(graded, NUM_HALVINGS, rng)
    sums = _sums_by_split(graded, np.stack([graded.num_photos, np.ones_like(graded.num_photos), *votes]), halvings)
    agrees = _chooses(pair, limits.met(sums[:, 0], sums[:, 1]), sums[:, 2], sums[:, 3])
    if times_critical >= FAR:
        return float(agrees.mean())
    count = 0
    for on_confirm in halvings[agrees]:
        halved = replace(graded, half=on_confirm[graded.observer].astype(np.int64))
        eligible = eligible_groups(halved, limits)
        worth = votes[0][eligible[halved.group]]
        test = selection_test(halved.only(eligible), worth, num_permutations=NUM_HALVING_PERMUTATIONS, rng=rng)
        count += test.p_value <= p_value
    return count / NUM_HALVINGS


def _sums_by_split(results: Results, columns: Floats, on_confirm: Bools) -> Floats:
    """(S, K, 2, G) sums of columns by split, half and group.

    Args:
        results: whose rows are summed.
        columns: (K, C) values of the rows.
        on_confirm: (S, O) which units are on confirm.
    """
    by_unit = np.zeros((on_confirm.shape[1], len(columns), results.num_groups))
    by_unit[results.observer, :, results.group] = columns.T
    rows = by_unit.reshape(len(by_unit), -1)
    # (S, O) @ (O, K G) -> (S, K G), some splits at a time
    parts = np.array_split(on_confirm, math.ceil(on_confirm.size / CHUNK_ELEMENTS))
    confirm = np.concatenate([part.astype(np.float64) @ rows for part in parts])
    halves = np.stack([rows.sum(axis=0) - confirm, confirm], axis=1)
    return halves.reshape(len(on_confirm), 2, len(columns), results.num_groups).transpose(0, 2, 1, 3)


def _chooses(pair: tuple[int, int], eligible: Bools, weights: Floats, votes: Floats) -> Bools:
    """(S,) whether each split chooses the pair, from (S, G) groups that may be chosen and (S, 2, G) sums."""
    chosen = choose(weights, votes, eligible)
    return np.asarray((chosen.common == pair[0]) & (chosen.counter == pair[1]) & eligible[:, pair].all(axis=-1))
