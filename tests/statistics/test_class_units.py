"""Classes' outcomes in few bytes: the same numbers as when they were given."""

from __future__ import annotations

import numpy as np

from counterset.statistics.class_units import AllUnits, Sums


def sums(number: int) -> Sums:
    rng = np.random.default_rng(number)
    large = np.array([0, 1 << 40, *rng.integers(0, 9, 48)])  # squares of ranks of many photos
    columns = [rng.integers(0, 3, 50) for _ in range(9)]
    return Sums(
        columns[0], columns[1] % 2, np.arange(50), *(column.astype(np.float64) for column in columns[3:]), large
    )


def test_outcomes_are_means_over_selectors_and_ranks_shares_of_the_largest() -> None:
    classes = AllUnits(4)
    for number, class_id in enumerate(("bear", "lion")):
        classes.append(class_id, ("grass", "sand", "snow"), 80, sums(number))
    assert [one.class_id for one in classes] == ["bear", "lion"] and len(classes[1:]) == 1
    given, made = sums(1), classes[1]
    assert made.results.group.dtype == np.int64 and made.results.num_photos.dtype == np.float64
    for found, expected in (
        (made.results.group, given.group),
        (made.results.half, given.half),
        (made.results.observer, given.unit),
        (made.results.num_photos, given.num_photos),
        (made.results.sum_correct, given.correct / 4),
        (made.results.sum_squares, given.squares / 16),
        (made.num_sure, given.num_sure),
        (made.correct_sure, given.correct_sure / 4),
        (made.graded.sum_correct, given.ranks / 640),
        (made.graded.sum_squares, given.rank_squares / 640**2),
    ):
        np.testing.assert_array_equal(found, expected)


def test_a_row_takes_a_fifth_of_what_the_statistics_see() -> None:
    classes = AllUnits(1)
    classes.append("bear", ("grass", "sand", "snow"), 80, sums(0)._replace(rank_squares=np.arange(50) ** 2))
    [kept] = classes._kept
    assert sum(column.nbytes for column in kept.sums) <= 50 * 80 / 5


def test_a_class_without_rows() -> None:
    classes = AllUnits(1)
    classes.append("unseen", (), 0, Sums(*(np.zeros(0, np.int64),) * 10))
    assert len(classes[0].results.group) == 0 and classes[0].groups == ()
