"""The test of a chosen pair's drop in answers: on all photos, given that this pair was chosen.

Only discover chose, but the photos of both halves may test, if the choice is paid for. Ranks
of margins choose, and they are lucky where answers are; how much of that luck there is depends
on how clear the choice was. Answers of a pair that does not differ have a normal law. Given
all photos, a random split chooses the pair with a known probability, and it does so the sooner
the larger the drop in answers happens to be, for its ranks go with it. So the law of the drop,
given the choice, is the normal one weighed by that probability: "data carving" (Fithian, Sun
and Taylor 2014, section 4). What ranks say beyond answers is held fixed, so that it does not
matter how the groups' margins differ: where they differ clearly the choice takes no luck, and
nothing is paid.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from counterset.statistics.observers import Bools, Floats, Results

GUARD = 3.0
"""The exact test of ranks may have a p-value so many times that of the drop in answers: it is there for what the normal
law of answers may miss, and to be paid for in full by both would cost power twice."""
MOST = 1 - 1e-6


def joint_p_value(drop: float, ranks: float) -> float:
    """The p-value of a drop in answers of 0 or less, at least a third of that of the test of ranks.

    Args:
        drop: `carved_p_value`.
        ranks: of the test of ranks (`permutation`).
    """
    return max(drop, ranks / GUARD)


def guarded(p_value: float) -> float:
    """What the test of ranks has to reach where `p_value` has to be reached in all."""
    return min(GUARD * p_value, MOST)


def rank_per_answer(residuals: Floats, rank_residuals: Floats) -> float:
    """How much a group's mean rank is off where its accuracy is off by one, by luck; at least 0.

    Args:
        residuals: (C,) of each row's answers, weighted, around its group's accuracy.
        rank_residuals: (C,) the same of ranks.
    """
    squares = float(residuals @ residuals)
    return max(float(residuals @ rank_residuals) / squares, 0.0) if squares > 0 else 0.0


def weighted_residuals(results: Results, weights: Floats) -> Floats:
    """(C,) weights times the distance of each row's mean outcome from its group's."""
    outcome = results.sum_correct / results.num_photos
    weight = results.by_group(weights)
    mean = np.divide(results.by_group(weights * outcome), weight, out=np.zeros_like(weight), where=weight > 0)
    return np.asarray(weights * (outcome - mean[results.group]))


def moves_until_chosen(means: Floats, eligible: Bools, pair: tuple[int, int], per_drop: tuple[float, float]) -> Floats:
    """(S,) how much larger the drop in answers would have to be for each split to choose the pair; below 0 = it does.

    Args:
        means: (S, G) mean ranks on discover.
        eligible: (S, G) groups that may be chosen.
        pair: (common, counter).
        per_drop: how far the mean rank of common rises, and that of counter falls, as the drop grows by one.
    """
    common, counter = pair
    others = eligible.copy()
    others[:, pair] = False
    highest = np.where(others, means, -np.inf).max(axis=1)
    lowest = np.where(others, means, np.inf).min(axis=1)
    rises, falls = (max(each, 1e-9) for each in per_drop)
    moves = np.stack(
        [
            (highest - means[:, common]) / rises,
            (means[:, counter] - lowest) / falls,
            (means[:, counter] - means[:, common]) / (rises + falls),
        ]
    ).max(axis=0)
    return np.where(eligible[:, pair].all(axis=1), moves, np.inf)


def carved_p_value(drop: float, error: float, moves: Floats) -> float:
    """One-sided, of a drop of 0 or less, given that the pair was chosen.

    With F the normal law of the drop and a share s(x) of splits choosing the pair at a drop of x, it is the
    integral of s dF beyond the drop over that of all; s is a staircase, so both are sums over splits.

    Args:
        drop: in answers, over all photos.
        error: its standard error.
        moves: (S,) as `moves_until_chosen` gives them, the true split among them.
    """
    beyond = ndtr(-(drop + np.maximum(moves, 0.0)) / error)
    anywhere = ndtr(-(drop + moves) / error)
    return float(beyond.sum() / anywhere.sum())
