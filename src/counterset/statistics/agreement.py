"""Agreement of two groupings of the same photos."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy.special import comb
from scipy.stats.contingency import crosstab


def adjusted_rand_index(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """How alike two groupings are beyond chance (Hubert and Arabie 1985, equation 5): 1 = the same, 0 = by chance.

    Args:
        first: the group of each photo.
        second: the same photos' groups in the other grouping, in the same order.

    Raises:
        ValueError: the two have different lengths.
    """
    if len(first) != len(second):
        raise ValueError(f"two groupings of one set of photos have {len(first)} and {len(second)} rows")
    if len(first) < 2:
        return 1.0
    _, counts = crosstab(_codes(first), _codes(second))
    both = float(comb(counts, 2).sum())
    rows, columns = (float(comb(counts.sum(axis=axis), 2).sum()) for axis in (1, 0))
    by_chance = rows * columns / float(comb(len(first), 2))
    largest = (rows + columns) / 2
    return 1.0 if largest == by_chance else (both - by_chance) / (largest - by_chance)


def _codes(groups: Sequence[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(group, len(numbers)) for group in groups]


def mean_agreement(groupings: Sequence[Sequence[Hashable]]) -> float:
    """The mean adjusted Rand index over all pairs of groupings of the same photos."""
    pairs = [(a, b) for index, a in enumerate(groupings) for b in groupings[:index]]
    return float(np.mean([adjusted_rand_index(a, b) for a, b in pairs])) if pairs else 1.0
