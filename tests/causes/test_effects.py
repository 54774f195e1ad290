"""Effects of interventions: what is compared with what, and intervals in worlds of known truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import t

from counterset.causes.effects import COMPARED, RENDERED, Answers, Effect, effects, outcomes, paired_effect

Ints = npt.NDArray[np.int64]


def answers(num_photos: int = 90, seed: int = 1, without: str = "") -> Answers:
    rng = np.random.default_rng(seed)
    unit = rng.integers(0, 30, num_photos)
    right = {name: rng.integers(0, 2, num_photos).astype(float) for name in RENDERED if name != without}
    units = {name: np.stack([unit, rng.integers(0, 30, num_photos)], 1) for name in right}
    return Answers(right, np.arange(num_photos) % 3, (rng.random(num_photos) < 0.3).astype(np.int64), units)


def test_outcomes_are_of_the_background_wherever_the_animal_was_photographed() -> None:
    given = answers()
    found = outcomes(given)
    assert list(found) == list(COMPARED)
    for photo in range(len(given.side)):
        pasted = [given.right[name][photo] for name in ("own_background", "other_background")]
        common, counter = pasted if given.side[photo] == 0 else pasted[::-1]
        assert (found["common_background"][photo], found["counter_background"][photo]) == (common, counter)
        alike = given.class_id == given.class_id[photo]
        share = (given.side[alike] == 1).mean()
        assert found["same_class_background"][photo] == pytest.approx((1 - share) * common + share * counter)


def test_a_row_is_the_mean_of_both_sides_and_of_all_classes() -> None:
    given = answers()
    rows = {row["intervention"]: row for row in effects(given)}
    assert list(rows) == list(COMPARED)
    found = outcomes(given)
    for name, row in rows.items():
        sides = []
        for side in (0, 1):
            means = [found[name][(given.side == side) & (given.class_id == one)].mean() for one in range(3)]
            sides.append(np.mean(means))
        assert [row["accuracy_common"], row["accuracy_counter"]] == pytest.approx(sides)
        assert row["accuracy"] == pytest.approx(np.mean(sides)) and row["num_photos"] == 90
        compared = COMPARED[name]
        if compared is None:
            assert row["effect"] is None and row["effect_low"] is None
        else:
            assert row["effect"] == pytest.approx(row["accuracy"] - rows[compared]["accuracy"])
            assert row["effect_low"] < row["effect"] < row["effect_high"]


def test_a_release_of_one_class_has_no_other_classes_backgrounds() -> None:
    rows = {row["intervention"]: row for row in effects(answers(without="other_class_background"))}
    assert "other_class_background" not in rows
    assert rows["same_class_background"]["effect"] is None and rows["same_class_background"]["compared_with"] is None


def test_few_changed_answers_leave_an_interval_with_a_width() -> None:
    cell, unit = np.repeat([0, 1], 50), np.arange(100)[:, None]
    unchanged = paired_effect(np.zeros(100), cell, unit)
    assert unchanged.value == 0 and unchanged.high == -unchanged.low and 0.02 < unchanged.high < 0.08  # type: ignore[operator]
    few = np.zeros(100)
    few[:2] = -1
    found = paired_effect(few, cell, unit)
    assert found.value == -0.02 and found.low is not None and -0.1 < found.low < -0.02 < 0 < found.high  # type: ignore[operator]
    every = paired_effect(np.ones(100), cell, unit)
    assert every.value == 1 == every.high and 0.88 < every.low < 1  # type: ignore[operator]


def test_too_few_photographers_have_no_interval() -> None:
    found = paired_effect(np.ones(40), np.repeat([0, 1], 20), np.repeat(np.arange(4), 10)[:, None])
    assert found == Effect(1.0, None, None, None, None)


def drawn(rng: np.random.Generator, truth: float) -> tuple[npt.NDArray[np.float64], Ints]:
    """Differences of 100 photos of 30 photographers, some of whom have animals or places that change more."""
    photographer = np.sort(rng.integers(0, 30, 100))
    place = rng.permutation(photographer)
    pull = rng.normal(truth, 0.5, 30)[photographer] + rng.normal(0, 0.5, 30)[place]
    rise = rng.normal(0, 0.6, (100, 2)) + np.stack([pull / 2, -pull / 2], 1)
    return (rise[:, 0] > 0).astype(float) - (rise[:, 1] > 0), np.stack([photographer, place], 1)


def test_intervals_cover_the_truth_where_photographers_give_animals_and_places() -> None:
    cell = np.arange(100) % 2
    for number, shift in enumerate((0.0, 0.5)):
        rng = np.random.default_rng(20 + number)
        worlds = [drawn(rng, shift) for _ in range(600)]
        truth = float(np.mean([difference.mean() for difference, _ in worlds]))
        found = [paired_effect(difference, cell, units) for difference, units in worlds]
        covered = np.mean([effect.low <= truth <= effect.high for effect in found])  # type: ignore[operator]
        assert 0.93 <= covered <= 0.98
        photos_alone = [abs(d.mean() - truth) <= t.ppf(0.975, 99) * d.std(ddof=1) / 10 for d, _ in worlds]
        assert np.mean(photos_alone) < 0.91, "photos of one photographer would pass for independent"
