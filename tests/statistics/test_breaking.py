"""The breaking share undoes exactly the errors that were made."""

from __future__ import annotations

import numpy as np
import pytest

from counterset.statistics.breaking import FoundShare, breaking_share, found_share, share_moved
from counterset.statistics.intervals import drop_interval

PHOTOS = np.array([300.0, 200.0, 500.0, 100.0])


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("gaining", [0, 1, 3])
def test_moved_photos_are_found(share: float, gaining: int) -> None:
    wrong, right = PHOTOS * 0.3, PHOTOS * 0.7
    moved = share * wrong
    moved[gaining] = 0.0
    wrong = wrong - moved
    wrong[gaining] += moved.sum()
    accuracy = right / (right + wrong)
    drop = float(accuracy[2] - accuracy[gaining])
    assert share_moved(wrong, right, gaining, 2, drop) == pytest.approx(share, abs=1e-9)
    assert breaking_share(right + wrong, right, 2, gaining, drop) <= share + 1e-9


def test_larger_drops_take_more_and_none_takes_nothing() -> None:
    photos, correct = np.array([100.0, 100.0, 300.0]), np.array([90.0, 50.0, 210.0])
    shares = [breaking_share(photos, correct, 0, 1, drop) for drop in (-0.1, 0.0, 0.1, 0.2, 0.4)]
    assert shares[:2] == [0.0, 0.0]
    assert shares[1:] == sorted(shares[1:])


def test_a_drop_that_no_error_explains() -> None:
    assert breaking_share(np.array([100.0, 100.0]), np.array([100.0, 0.0]), 0, 1, 0.9) == 1.0


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_labelled_photos_show_the_share_that_was_moved(share: float) -> None:
    """Intervals over 200 audits of 600 photos hold the true share about 95 times of 100, random errors or not."""
    rng = np.random.default_rng(0)
    found, held = [], 0
    for _ in range(200):
        truth, is_correct = rng.integers(0, 4, 600), rng.random(600) < 0.7
        named = np.where(rng.random(600) < 0.1, rng.integers(0, 4, 600), truth)  # random errors, right or wrong alike
        named = np.where(~is_correct & (rng.random(600) < share), 1, named)
        audit = found_share(named == 1, named == 2, named == truth, is_correct)
        assert audit is not None
        found.append(audit.share)
        held += audit.low <= share <= audit.high
    assert abs(np.mean(found) - share) < 0.02
    assert held >= 180


def test_nothing_to_compare() -> None:
    is_all = np.ones(5, np.bool_)
    assert found_share(~is_all, ~is_all, is_all, is_all) is None


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("gaining", [0, 1, 3])
def test_right_photos_moved_to_common_are_found(share: float, gaining: int) -> None:
    """The other way to invent a drop: common looks easy because right photos were put into it."""
    wrong, right = PHOTOS * 0.4, PHOTOS * 0.6
    moved = share * right
    moved[gaining] = 0.0
    right = right - moved
    right[gaining] += moved.sum()
    accuracy = right / (right + wrong)
    drop = float(accuracy[gaining] - accuracy[2])
    other_way = share_moved(wrong, right, 2, gaining, drop)
    assert breaking_share(right + wrong, right, gaining, 2, drop) == pytest.approx(min(share, other_way), abs=1e-9)
    assert share_moved(right, wrong, gaining, 2, drop) == pytest.approx(share, abs=1e-9)


def test_the_smaller_of_both_shares_counts() -> None:
    photos, correct = np.array([100.0, 100.0, 900.0]), np.array([80.0, 60.0, 300.0])
    ways = [
        share_moved(photos - correct, correct, 1, 0, 0.1),
        share_moved(correct, photos - correct, 0, 1, 0.1),
    ]
    assert abs(ways[0] - ways[1]) > 0.005
    assert breaking_share(photos, correct, 0, 1, 0.1) == min(ways)


def test_without_other_photos_or_room_no_share_would_do() -> None:
    only = np.array([20.0, 0.0])
    assert share_moved(only, np.array([80.0, 100.0]), 0, 1, 0.1) == 1.0, "no photo of another group to move"
    moved, kept = np.array([10.0, 30.0]), np.array([90.0, 70.0])
    assert share_moved(moved, kept, 0, 1, 0.4) == 1.0, "not even all of them lower it so far"
    assert 0 < share_moved(moved, kept, 0, 1, 0.15) < 1


def test_a_group_without_photos_has_no_share_of_them() -> None:
    moved, kept = np.array([30.0, 0.0, 20.0]), np.array([70.0, 0.0, 80.0])
    odds = 0.1 / 0.9
    back = 30 - odds * 20
    assert share_moved(moved, kept, 0, 1, 0.3 - back / (back + 70)) == pytest.approx(0.1)


def test_a_group_that_was_all_moved_there_loses_all() -> None:
    """Undoing the move leaves counter empty, and no drop: 10 of 40 wrong photos of the others."""
    assert share_moved(np.array([10.0, 30.0]), np.array([0.0, 70.0]), 0, 1, 0.5) == pytest.approx(0.25)


def audited(counts: dict[tuple[bool, bool, bool, bool], int]) -> FoundShare | None:
    """What photos show: numbers by put into counter, put into common, named rightly, predicted right."""
    columns = np.array([row for row, number in counts.items() for _ in range(number)])
    return found_share(*columns.T)


def test_the_audit_counts_wrong_photos_in_counter_against_right_ones() -> None:
    counts = {
        (True, False, False, False): 6,  # wrong, and put into counter
        (False, False, True, False): 24,
        (True, False, False, True): 4,  # right, and put into counter all the same
        (False, False, True, True): 36,
        (True, False, True, False): 50,  # rightly in counter: not among those that could be moved there
        (True, False, True, True): 50,
    }
    found = audited(counts)
    assert found is not None
    assert found == pytest.approx((6 / 30 - 4 / 40, *drop_interval(6 / 30, 30, 4 / 40, 40)))


def test_the_audit_counts_right_photos_in_common_against_wrong_ones() -> None:
    counts = {
        (False, True, False, True): 9,
        (False, False, True, True): 21,
        (False, True, False, False): 4,
        (False, False, True, False): 36,
        (False, True, True, True): 50,
        (False, True, True, False): 50,
    }
    found = audited(counts)
    assert found is not None
    # photos rightly in common are outside counter, where none was put: that side shows 0
    assert found == pytest.approx((9 / 30 - 4 / 40, *drop_interval(9 / 30, 30, 4 / 40, 40)))


def test_one_outcome_alone_shows_nothing() -> None:
    assert audited({(True, False, False, False): 5, (False, False, True, False): 5}) is None
    assert audited({(True, False, False, True): 5, (False, False, True, True): 5}) is None
