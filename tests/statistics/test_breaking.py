"""The breaking share undoes exactly the errors that were made."""

from __future__ import annotations

import numpy as np
import pytest

from counterset.statistics.breaking import breaking_share, found_share, share_moved

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
