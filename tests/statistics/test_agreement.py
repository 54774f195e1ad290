"""The adjusted Rand index against its definition."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from counterset.statistics.agreement import adjusted_rand_index, mean_agreement


def by_pairs(first: list[int], second: list[int]) -> float:
    """From the counts of pairs of photos that are together or apart."""
    together = np.zeros((2, 2))
    for a, b in combinations(range(len(first)), 2):
        together[int(first[a] == first[b]), int(second[a] == second[b])] += 1
    both, one, other, neither = together[1, 1], together[1, 0], together[0, 1], together[0, 0]
    return float(
        2 * (both * neither - one * other) / ((both + one) * (one + neither) + (both + other) * (other + neither))
    )


def test_it_equals_the_count_of_pairs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        first = rng.integers(0, 4, 40).tolist()
        second = [value if rng.random() < 0.6 else int(rng.integers(0, 5)) for value in first]
        assert adjusted_rand_index(first, second) == pytest.approx(by_pairs(first, second))


def test_names_do_not_matter_and_chance_is_zero() -> None:
    rng = np.random.default_rng(1)
    first = rng.integers(0, 4, 3_000)
    assert adjusted_rand_index(first.tolist(), ["dcba"[value] for value in first]) == 1
    assert abs(adjusted_rand_index(first.tolist(), rng.permutation(first).tolist())) < 0.01


@pytest.mark.parametrize("groups", [[], ["a"], ["a", "a"], ["a", "b"], [None, None, None]])
def test_without_pairs_to_judge_a_grouping_agrees_with_itself(groups: list[str | None]) -> None:
    assert adjusted_rand_index(groups, groups) == 1


def test_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1"):
        adjusted_rand_index(["a", "b"], ["a"])


def test_mean_over_pairs() -> None:
    a, b = [0, 0, 1, 1], [0, 1, 0, 1]
    assert mean_agreement([a, a, b]) == pytest.approx((1 + 2 * adjusted_rand_index(a, b)) / 3)
    assert mean_agreement([a]) == 1
