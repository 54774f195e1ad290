"""Who takes part, who is chosen, and who stands behind both groups: small cases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from counterset.statistics.choice import Limits, choose, eligible_groups, overlap
from counterset.statistics.observers import CONFIRM, DISCOVER, Results


def results_of(rows: list[tuple[int, int, int, float, float]]) -> Results:
    """Results from rows of group, half, observer, photos, right ones."""
    group, half, observer, photos, correct = (np.array(column) for column in zip(*rows, strict=True))
    return Results(int(group.max()) + 1, group, half, observer, photos, correct, correct)


def test_a_group_needs_enough_photos_and_observers_on_each_half() -> None:
    limits = Limits(min_photos=10, min_units=3)
    photos = np.array([[10.0, 9.0, 30.0, 10.0, 10.0], [10.0, 30.0, 9.0, 10.0, 10.0]])
    observers = np.array([[3.0, 5.0, 5.0, 2.0, 5.0], [3.0, 5.0, 5.0, 5.0, 2.0]])
    assert limits.met(photos, observers).tolist() == [True, False, False, False, False]
    assert limits.met(photos[None], observers[None]).tolist() == [[True, False, False, False, False]]


def test_eligible_groups_count_photos_and_observers_apart() -> None:
    rows = [(group, half, 10 * half + number, 4.0, 2.0) for group in (0, 1) for half in (0, 1) for number in range(3)]
    rows += [(2, half, 30 + half, 100.0, 50.0) for half in (0, 1)]  # one observer with many photos on each half
    rows = [row for row in rows if row[:3] != (1, CONFIRM, 12)]
    assert eligible_groups(results_of(rows), Limits(12, 3)).tolist() == [True, False, False]
    assert eligible_groups(results_of(rows), Limits(8, 2)).tolist() == [True, True, False]
    assert eligible_groups(results_of(rows), Limits(13, 1)).tolist() == [False, False, True]


def test_only_discover_chooses_and_by_accuracy() -> None:
    weights = np.array([[10.0, 20.0, 40.0], [10.0, 10.0, 10.0]])
    correct = np.array([[5.0, 18.0, 30.0], [0.0, 0.0, 10.0]])
    pair = choose(weights, correct)
    assert (int(pair.common), int(pair.counter)) == (1, 0)
    pair = choose(weights, correct, np.array([True, False, True]))
    assert (int(pair.common), int(pair.counter)) == (2, 0)


def test_a_group_without_weight_is_as_bad_as_can_be() -> None:
    pair = choose(np.array([[0.0, 4.0], [1.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 1.0]]))
    assert (int(pair.common), int(pair.counter)) == (1, 0)
    pair = choose(np.array([[0.5, 4.0], [1.0, 1.0]]), np.array([[0.5, 1.0], [1.0, 1.0]]))
    assert (int(pair.common), int(pair.counter)) == (0, 1), "half a photo's worth is an accuracy"


def test_of_equal_groups_the_first_is_common_and_the_last_counter() -> None:
    weights = np.full((2, 4), 3.0)
    correct = np.array([[1.0, 2.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    pair = choose(weights, correct)
    assert (int(pair.common), int(pair.counter)) == (1, 3)
    many = choose(np.stack([weights] * 2), np.stack([correct, correct[:, ::-1]]))
    assert many.common.tolist() == [1, 1] and many.counter.tolist() == [3, 3]


@pytest.mark.parametrize("num_groups", [1, 2, 3, 7])
def test_many_choices_are_those_made_one_by_one(num_groups: int) -> None:
    rng = np.random.default_rng(num_groups)
    weights, correct = rng.integers(0, 3, (2, 500, 2, num_groups)).astype(float)  # ties, and groups without weight
    eligible = rng.random((500, num_groups)) < 0.7
    for allowed in (None, eligible):
        many = choose(weights, correct, allowed)
        for row in range(500):
            accuracy = [
                right / weight if weight else 0.0
                for right, weight in zip(correct[row, 0], weights[row, 0], strict=True)
            ]
            part = [group for group in range(num_groups) if allowed is None or allowed[row, group]]
            if part:
                assert many.common[row] == max(part, key=lambda group: (accuracy[group], -group))
                assert many.counter[row] == min(part, key=lambda group: (accuracy[group], -group))


def test_overlap_is_the_shared_share_of_both_weights() -> None:
    rows = [
        (0, DISCOVER, 0, 4.0, 2.0),
        (1, DISCOVER, 0, 9.0, 2.0),
        (0, DISCOVER, 1, 5.0, 2.0),
        (1, DISCOVER, 2, 7.0, 2.0),
        (2, CONFIRM, 3, 8.0, 2.0),
    ]
    results = results_of(rows)
    assert overlap(results, results.num_photos, 0, 1) == pytest.approx(4 * 9 / np.sqrt(9 * 16))
    assert overlap(results, results.num_photos, 1, 0) == overlap(results, results.num_photos, 0, 1)
    assert overlap(results, results.num_photos, 0, 2) == 0
