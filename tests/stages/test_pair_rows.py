"""One row of pairs: each column by hand, and each bound of the verdict from both of its sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from counterset.config import SelectConfig
from counterset.stages import select
from counterset.stages.select import pair_rows
from counterset.statistics.after_selection import shrink
from counterset.statistics.breaking import breaking_share
from counterset.statistics.class_units import ClassUnits
from counterset.statistics.intervals import Interval
from counterset.statistics.observers import CONFIRM, DISCOVER, Dispersion, Results
from counterset.statistics.power import detectable_drop
from counterset.statistics.resplit import Estimate

Cells = dict[tuple[str, int], tuple[int, int]]
"""Photos and right ones by group and half; every photo is by an observer of its own, so each is worth one."""

CONFIG = SelectConfig(min_photos=10, min_units=5, num_permutations=400)


def units_of(class_id: str, cells: Cells, sure: Cells | None = None) -> ClassUnits:
    """A class's outcomes; of each cell the first photos are right, and `sure` gives how many are sure and right."""
    groups = tuple(sorted({group for group, _ in cells}))
    rows = []
    for (group, half), (photos, right) in cells.items():
        num_sure, sure_right = (sure or {}).get((group, half), (0, 0))
        assert sure_right <= right and num_sure - sure_right <= photos - right
        sures = [True] * sure_right + [False] * (right - sure_right)
        sures += [True] * (num_sure - sure_right) + [False] * (photos - right - num_sure + sure_right)
        rows += [(groups.index(group), half, float(place < right), sures[place]) for place in range(photos)]
    group, half, correct, is_sure = (np.array(column) for column in zip(*rows, strict=True))
    ones, observer = np.ones(len(rows)), np.arange(len(rows))
    results = Results(len(groups), group, half, observer, ones, correct, correct)
    return ClassUnits(class_id, groups, results, is_sure.astype(float), is_sure * correct, results)


def cells_of(*accuracies: float, photos: int = 40) -> Cells:
    """Groups g0, g1, ... of equal size and of these accuracies on both halves."""
    return {
        (f"g{number}", half): (photos, round(photos * accuracy))
        for number, accuracy in enumerate(accuracies)
        for half in (DISCOVER, CONFIRM)
    }


def rows_of(*classes: ClassUnits, seed: int = 0, **config: Any) -> list[dict[str, Any]]:
    return pair_rows(list(classes), CONFIG.model_copy(update=config), seed=seed)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the estimate that every class gets: common 0.8, counter 0.6, and the interval asked for."""

    def put(low: float, high: float = 0.4) -> None:
        class Told(Estimate):
            def interval(self, confidence: float = 0.95) -> Interval:
                return Interval(low, high)

        monkeypatch.setattr(select, "estimate_drop", lambda *args: Told(0.8, 0.6, 50, 50, 0.0, 0.5, 0.001))

    return put


SIZED: Cells = {
    ("grass", DISCOVER): (20, 10),
    ("grass", CONFIRM): (30, 21),
    ("rock", DISCOVER): (25, 20),
    ("rock", CONFIRM): (15, 12),
    ("sand", DISCOVER): (12, 3),
    ("sand", CONFIRM): (40, 12),
}
SURE: Cells = {("rock", CONFIRM): (5, 5), ("sand", CONFIRM): (10, 4), ("grass", CONFIRM): (9, 9)}


def test_a_row_counts_and_measures_its_pair() -> None:
    [row] = rows_of(units_of("cat", SIZED, SURE))
    assert (row["class_id"], row["common"], row["counter"]) == ("cat", "rock", "sand")
    assert (row["num_common"], row["num_counter"]) == (40, 52)
    assert (row["num_observers_common"], row["num_observers_counter"]) == (40, 52)
    assert row["frequency_common"] == pytest.approx(40 / 142)
    assert row["frequency_counter"] == pytest.approx(52 / 142)
    assert row["is_common_rarer"] is True
    assert row["drop_discover"] == pytest.approx(20 / 25 - 3 / 12)
    assert row["drop_confirm"] == pytest.approx(12 / 15 - 12 / 40)
    assert row["drop_sure"] == pytest.approx(5 / 5 - 4 / 10)
    assert row["drop_unsure"] == pytest.approx(7 / 10 - 8 / 30)
    assert row["observer_correlation"] == 0
    assert row["drop"] == pytest.approx(row["accuracy_common"] - row["accuracy_counter"])
    assert row["drop_low"] < row["drop"] < row["drop_high"]
    photos, correct = np.array([50.0, 40.0, 52.0]), np.array([31.0, 32.0, 15.0])
    assert row["breaking_share"] == pytest.approx(breaking_share(photos, correct, 1, 2, row["drop_low"]))
    assert row["breaking_share"] < breaking_share(photos, correct, 1, 2, row["drop"])


def test_common_is_rarer_only_where_it_has_fewer_photos() -> None:
    [equal] = rows_of(units_of("a", cells_of(0.9, 0.5)))
    assert equal["is_common_rarer"] is False
    [more] = rows_of(units_of("a", cells_of(0.9, 0.5) | {("g0", CONFIRM): (41, 36)}))
    assert more["is_common_rarer"] is False


def test_what_no_photo_shows_is_null() -> None:
    """Where all photos of a group are sure there is no drop of the others, and the reverse."""
    every = {key: SIZED[key] for key in (("rock", CONFIRM), ("sand", CONFIRM))}
    [row] = rows_of(units_of("cat", SIZED, every))
    assert row["drop_unsure"] is None and row["drop_sure"] == pytest.approx(row["drop_confirm"])
    [row] = rows_of(units_of("cat", SIZED, {("rock", CONFIRM): (5, 5)}))
    assert row["drop_sure"] is None and row["drop_unsure"] == pytest.approx(7 / 10 - 12 / 40)


def test_outcomes_of_observers_with_many_photos_weigh_less() -> None:
    """The choice weighs observers by what their photos are worth; drops on confirm are plain means of photos."""
    rows = []  # group, half, observer, photos, right ones
    for half in (DISCOVER, CONFIRM):
        rows += [(0, half, 100 * half + number, 1.0, float(number % 4 > 0)) for number in range(16)]
        rows += [(1, half, 100 * half + 20 + number, 1.0, float(number % 2)) for number in range(16)]
        rows += [(1, half, 100 * half + 50, 30.0, 30.0), (0, half, 100 * half + 51, 6.0, 0.0)]
    group, half_of, observer, photos, right = (np.array(column) for column in zip(*rows, strict=True))
    results = Results(2, group, half_of, observer, photos, right, right)
    units = ClassUnits("a", ("g", "h"), results, photos, right, results)
    [row] = rows_of(units)
    assert row["observer_correlation"] > 0.5
    assert (row["common"], row["counter"]) == ("g", "h"), "by photos alone it would be the other way about"
    assert row["drop_confirm"] == pytest.approx(12 / 22 - 38 / 46)
    assert row["drop_discover"] == pytest.approx(12 / 22 - 38 / 46), "of photos, as its description says"
    assert (row["num_observers_common"], row["num_common"]) == (34, 44)


@pytest.mark.parametrize(
    ("by_background", "is_uneven"),
    [
        ({"g0": 0.05, "g1": 0.21}, True),
        ({"g0": 0.05, "g1": 0.19}, False),
        ({"g0": 0.3, "g1": 0.05}, False),
        ({"g0": 0.04}, True),
    ],
)
def test_a_smaller_group_whose_observers_are_more_alike_is_not_confirmed(
    by_background: dict[str, float], is_uneven: bool, measured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(0.1)
    dispersion = Dispersion(0.2, 1.0, 0.15, by_background)
    monkeypatch.setattr(select, "estimate_dispersion", lambda *asked: dispersion)
    cells = cells_of(0.95, 0.3) | {("g1", half): (20, 6) for half in (DISCOVER, CONFIRM)}
    [row] = rows_of(units_of("a", cells))
    assert (row["common"], row["counter"]) == ("g0", "g1")
    assert row["observer_correlation"] == 0.2 and row["unit_correlation_across"] == 0.15
    assert row["unit_correlation_common"] == by_background["g0"]
    assert row["unit_correlation_counter"] == by_background.get("g1", 0.2)
    assert row["is_uneven"] is is_uneven
    assert row["verdict"] == ("unconfirmed" if is_uneven else "confirmed")
    if is_uneven:
        assert row["reason"].startswith("one observer's photos are more alike in the smaller group (0.")


def test_a_class_whose_observers_are_more_alike_has_the_wider_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    half = np.tile([DISCOVER, DISCOVER, CONFIRM], 40)
    group, photos = np.repeat([0, 1], 60), np.full(120, 4.0)
    right = np.where(group == 0, 3.0, 2.0)
    results = Results(2, group, half, np.arange(120), photos, right, right)
    rows = {}
    for own in (0.2, 0.6):
        dispersion = Dispersion(0.2, 1.0, 0.1, {"g0": 0.2, "g1": 0.2}, {"a": own})
        monkeypatch.setattr(select, "estimate_dispersion", lambda *asked, found=dispersion: found)
        [rows[own]] = rows_of(ClassUnits("a", ("g0", "g1"), results, photos, right, results))
    plain, alike = rows[0.2], rows[0.6]
    assert (plain["unit_correlation_common"], alike["unit_correlation_common"]) == pytest.approx((0.2, 0.6))
    assert plain["unit_correlation"] == alike["unit_correlation"] == 0.2, "that of all classes"
    assert alike["drop_high"] - alike["drop_low"] > 1.1 * (plain["drop_high"] - plain["drop_low"])


def slow_q_values(p_values: list[float]) -> list[float]:
    """Benjamini and Hochberg, written out."""
    number, order = len(p_values), np.argsort(p_values)
    q_values = [0.0] * number
    lowest = 1.0
    for rank in range(number, 0, -1):
        place = int(order[rank - 1])
        lowest = min(lowest, p_values[place] * number / rank)
        q_values[place] = lowest
    return q_values


MIXED = [
    units_of(name, cells_of(*accuracies, photos=photos))
    for name, accuracies, photos in (
        ("a", (0.9, 0.4, 0.7), 40),
        ("b", (0.7, 0.65), 40),
        ("c", (0.8, 0.5, 0.7), 24),
        ("d", (0.8, 0.55, 0.7), 20),
    )
]


def test_q_values_are_those_of_benjamini_and_hochberg() -> None:
    rows = rows_of(*MIXED)
    joint = [max(row["p_value_drop"], row["p_value"] / 3) for row in rows]
    assert [row["q_value"] for row in rows] == pytest.approx(slow_q_values(joint))
    assert len({row["q_value"] for row in rows}) >= 3


def test_a_class_is_confirmed_up_to_its_own_q_value(measured: Any) -> None:
    measured(0.1)
    q_value = rows_of(*MIXED)[3]["q_value"]
    assert 0 < q_value < 0.5
    at, below, half = (rows_of(*MIXED, max_q_value=limit)[3] for limit in (q_value, q_value * 0.999, q_value * 0.6))
    assert at["verdict"] == "confirmed" and "reason" not in at
    for row, limit in ((below, q_value * 0.999), (half, q_value * 0.6)):
        assert row["verdict"] == "unconfirmed"
        assert row["reason"] == f"q = {q_value:.3f} is above {limit:.3g}"


@pytest.mark.parametrize(("low", "verdict"), [(1e-9, "confirmed"), (0.0, "unconfirmed"), (-0.02, "unconfirmed")])
def test_an_interval_that_reaches_0_confirms_nothing(measured: Any, low: float, verdict: str) -> None:
    measured(low)
    [row] = rows_of(units_of("a", cells_of(0.95, 0.3)))
    assert row["q_value"] <= 0.05
    assert row["verdict"] == verdict
    assert row.get("reason") == (None if low > 0 else f"the drop's interval reaches down to {low:.3f}")


def test_a_large_q_value_is_the_first_reason(measured: Any) -> None:
    measured(-0.1)
    [row] = rows_of(units_of("a", cells_of(0.6, 0.6)))
    assert row["verdict"] == "unconfirmed" and row["reason"].startswith("q = ")


def test_fragile_is_what_fewer_errors_explain_than_the_share(measured: Any) -> None:
    measured(0.15)
    [row] = rows_of(units_of("a", cells_of(0.9, 0.5, 0.7)))
    share = row["breaking_share"]
    for limit, is_fragile in ((share, False), (share * 1.01, True), (share * 0.99, False)):
        assert rows_of(units_of("a", cells_of(0.9, 0.5, 0.7)), fragile_share=limit)[0]["is_fragile"] is is_fragile


def test_what_a_class_could_have_confirmed_is_asked_at_the_next_rank(
    measured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With r of n classes found, one more would have to reach max_q_value (r + 1) / n; with all found, of n / n."""
    measured(0.1)
    asked: list[tuple[float, ...]] = []

    def noted(*values: float) -> float:
        asked.append(values)
        return detectable_drop(*values)  # type: ignore[arg-type]

    monkeypatch.setattr(select, "detectable_drop", noted)
    rows = rows_of(*MIXED)
    num_found = sum(row["q_value"] <= 0.05 for row in rows)
    assert 0 < num_found < 4
    needed = 0.05 * (num_found + 1) / 4
    assert [values[-1] for values in asked] == pytest.approx([needed] * 4)
    critical, accuracy, error, rank_error, num_groups, _ = asked[2]
    assert accuracy == pytest.approx((19 + 12 + 17) / 72)
    assert num_groups == 3
    assert error == pytest.approx(np.sqrt(accuracy * (1 - accuracy) * (1 / 48 + 1 / 48)))
    assert rank_error == pytest.approx(error), "here answers are graded as right or wrong"
    assert 1 < critical < 5
    assert [row["detectable_drop"] for row in rows] == [detectable_drop(*values) for values in asked]  # type: ignore[arg-type]
    asked.clear()
    rows_of(MIXED[0])
    assert [values[-1] for values in asked] == pytest.approx([0.05]), "all found: no rank is left"


def test_the_errors_are_those_of_the_pair(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(0.1)
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(select, "detectable_drop", lambda *values: asked.append(values) or 0.5)
    [row] = rows_of(units_of("cat", SIZED))
    assert (row["common"], row["counter"]) == ("rock", "sand")
    share = (31 + 32 + 15) / 142
    assert asked[0][2] == pytest.approx(np.sqrt(share * (1 - share) * (1 / 40 + 1 / 52)))
    assert row["detectable_drop"] == 0.5


def graded_by(units: ClassUnits, ranks: Any) -> ClassUnits:
    """The class with other graded outcomes, (C,) in [0, 1]."""
    return units._replace(graded=replace(units.results, sum_correct=ranks, sum_squares=ranks**2))


def test_margins_choose_and_answers_measure() -> None:
    """Answers say g0 over g1; margins say g1 over g2."""
    units = units_of("a", cells_of(0.9, 0.5, 0.6))
    ranks = np.array([0.5, 0.8, 0.2])[units.results.group] + np.linspace(-0.1, 0.1, len(units.results.group))
    [row] = rows_of(graded_by(units, ranks))
    assert (row["common"], row["counter"]) == ("g1", "g2")
    assert row["drop_confirm"] == pytest.approx(0.5 - 0.6)
    assert row["accuracy_common"] == pytest.approx(0.5, abs=0.02)


def test_margins_that_differ_confirm_nothing_where_answers_do_not() -> None:
    """The test of margins is beyond doubt; q follows the other one. And the reverse."""
    units = units_of("a", cells_of(0.75, 0.72, 0.7))
    ranks = np.array([0.8, 0.5, 0.2])[units.results.group] + np.linspace(-0.1, 0.1, len(units.results.group))
    [row] = rows_of(graded_by(units, ranks))
    assert row["p_value"] < 0.01 < 0.1 < row["p_value_drop"] == row["q_value"]
    assert row["verdict"] == "unconfirmed"
    units = units_of("a", cells_of(0.95, 0.5, 0.7))
    noise = np.random.default_rng(0).uniform(0.4, 0.6, len(units.results.group))
    [row] = rows_of(graded_by(units, noise + 0.008 * (units.results.group == 0) - 0.008 * (units.results.group == 1)))
    assert row["q_value"] == pytest.approx(row["p_value"] / 3) and row["q_value"] > 0.05 > row["p_value_drop"]


def test_what_is_said_after_selection() -> None:
    """Shrunken drops of all tested pairs; wider intervals and the coin of confirmed ones."""
    rows = rows_of(*MIXED, units_of("e", cells_of(0.9, 0.5, photos=4)))
    verdicts = [row["verdict"] for row in rows]
    assert {"confirmed", "unconfirmed"} <= set(verdicts[:4]) and verdicts[4] == "too_small"
    num_confirmed = verdicts.count("confirmed")
    errors = np.array([(row["drop_high"] - row["drop_low"]) / (2 * norm.ppf(0.975)) for row in rows[:4]])
    shrunken = shrink(np.array([row["drop"] for row in rows[:4]]), errors)
    for row, *expected in zip(rows[:4], *shrunken, strict=True):
        names = ("drop_shrunken", "drop_shrunken_low", "drop_shrunken_high")
        assert [row[name] for name in names] == pytest.approx(expected, abs=0.004)
        assert 0 < row["share_chosen"] <= 1
        if row["verdict"] == "confirmed":
            reach = (norm.ppf(1 - 0.025 * num_confirmed / 4) / norm.ppf(0.975)) * (row["drop"] - row["drop_low"])
            assert row["drop_adjusted_low"] < row["drop_low"]
            assert row["drop"] - row["drop_adjusted_low"] == pytest.approx(reach, rel=0.1)
            assert row["drop_adjusted_high"] > row["drop_high"]
            assert 0 < row["share_confirmed"] <= 1
        else:
            assert not {"drop_adjusted_low", "share_confirmed"} & row.keys()
    assert "drop_shrunken" not in rows[4]


def test_a_class_needs_two_groups_that_are_large_enough() -> None:
    fits = cells_of(0.9, 0.5, photos=10)
    small = fits | {("g1", CONFIRM): (9, 4)}
    assert rows_of(units_of("a", fits))[0]["verdict"] != "too_small"
    [row] = rows_of(units_of("a", small))
    assert row == {
        "class_id": "a",
        "verdict": "too_small",
        "num_common": 0,
        "num_counter": 0,
        "num_observers_common": 0,
        "num_observers_counter": 0,
        "num_units_common": 0,
        "num_units_counter": 0,
        "is_common_rarer": False,
        "is_fragile": False,
        "reason": "1 of 2 groups have 10 photos and 5 units on each half; two are needed",
    }
    rows = rows_of(units_of("a", small), units_of("b", fits), units_of("c", small))
    assert [row["class_id"] for row in rows] == ["a", "b", "c"]
    assert [row["verdict"] == "too_small" for row in rows] == [True, False, True]
    joint = max(rows[1]["p_value"] / 3, rows[1]["p_value_drop"])
    assert rows[1]["q_value"] == joint, "classes that were not tested are no part of the correction"


def test_a_group_that_is_too_small_takes_no_part() -> None:
    """The best and the worst group may be such: pair, test and drop are those of the class without them."""
    kept = {("b", half): (30, 25) for half in (DISCOVER, CONFIRM)} | {("d", half): (30, 14) for half in (0, 1)}
    small = {("a", DISCOVER): (9, 9), ("c", CONFIRM): (9, 0), ("c", DISCOVER): (9, 0), ("e", CONFIRM): (40, 40)}
    [alone], [beside] = rows_of(units_of("x", kept)), rows_of(units_of("x", kept | small))
    for name in ("common", "counter", "drop_confirm", "drop_discover", "num_common", "num_counter"):
        assert beside[name] == alone[name], name
    assert beside["p_value"] == pytest.approx(alone["p_value"], abs=0.02)
    assert beside["frequency_common"] == pytest.approx(60 / (120 + 67))


def test_draws_are_the_classs_own() -> None:
    """They change with the seed and the class's name, and not with other classes."""

    def p_of(class_id: str, *others: ClassUnits, seed: int = 0) -> float:
        rows = rows_of(*others, units_of(class_id, cells_of(0.75, 0.6)), seed=seed)
        return float(rows[-1]["p_value"])

    alone = p_of("a")
    assert p_of("a") == p_of("a", MIXED[1], MIXED[2]) == alone
    assert len({p_of(name, seed=seed) for name in ("a", "b", "c") for seed in (0, 1)}) > 3


def test_at_least_as_many_permutations_as_the_config_says() -> None:
    [row] = rows_of(units_of("a", cells_of(1.0, 0.0)), num_permutations=900)
    assert row["p_value"] == pytest.approx(1 / 901)


PAPER: dict[str, Any] = {"mode": "paper", "min_photos": 16, "min_drop": 0.25}
WHOLE: Cells = {
    ("g0", DISCOVER): (4, 2),
    ("g0", CONFIRM): (12, 10),
    ("g1", DISCOVER): (16, 12),
    ("g1", CONFIRM): (16, 4),
    ("g2", DISCOVER): (15, 15),
}


def test_paper_mode_takes_the_extremes_of_all_photos() -> None:
    [row] = rows_of(units_of("a", WHOLE), **PAPER)
    assert row == {
        "class_id": "a",
        "common": "g0",
        "counter": "g1",
        "num_common": 16,
        "num_counter": 32,
        "num_observers_common": 16,
        "num_observers_counter": 32,
        "num_units_common": 16,
        "num_units_counter": 32,
        "frequency_common": 16 / 63,
        "frequency_counter": 32 / 63,
        "is_common_rarer": True,
        "is_fragile": False,
        "verdict": "unconfirmed",
        "drop": 0.25,
        "accuracy_common": 0.75,
        "accuracy_counter": 0.5,
        "reason": "the drop is not above 0.25",
    }
    [above] = rows_of(units_of("a", WHOLE), **(PAPER | {"min_drop": 0.24}))
    assert (above["verdict"], above["reason"]) == ("confirmed", None)


def test_paper_mode_needs_two_groups_of_enough_photos() -> None:
    [row] = rows_of(units_of("a", WHOLE), **(PAPER | {"min_photos": 17}))
    assert row["verdict"] == "too_small"
    assert row["reason"] == "1 of 3 groups have 17 photos; two are needed"
    [row] = rows_of(units_of("a", WHOLE), **(PAPER | {"min_photos": 15}))
    assert (row["common"], row["verdict"]) == ("g2", "confirmed")


def test_a_held_pair_is_tested_again_and_not_chosen() -> None:
    """Whatever the photos would choose now; its drop and counts are its own."""
    cells = cells_of(0.9, 0.7, 0.2)
    [chosen] = rows_of(units_of("a", cells))
    assert (chosen["common"], chosen["counter"]) == ("g0", "g2")
    [held] = pair_rows([units_of("a", cells)], CONFIG, seed=0, held={"a": ("g1", "g2"), "other": ("x", "y")})
    assert (held["common"], held["counter"]) == ("g1", "g2")
    assert held["drop_confirm"] == pytest.approx(0.5)
    assert held["share_chosen"] < chosen["share_chosen"]
    assert held["p_value"] >= chosen["p_value"]
    [worse] = pair_rows([units_of("a", cells)], CONFIG, seed=0, held={"a": ("g2", "g0")})
    assert (worse["drop_confirm"], worse["verdict"]) == (pytest.approx(-0.7), "unconfirmed")
    assert worse["p_value"] > 0.9


def test_a_held_pair_is_as_hard_to_confirm_as_a_chosen_one() -> None:
    """Held or chosen, the same pair has the same p-value."""
    units = units_of("a", cells_of(0.8, 0.6, 0.5))
    [chosen] = rows_of(units)
    [held] = pair_rows([units], CONFIG, seed=0, held={"a": (chosen["common"], chosen["counter"])})
    assert held == chosen


def test_a_pair_that_can_no_longer_be_formed_is_retired_not_replaced() -> None:
    cells = cells_of(0.9, 0.7, 0.2)
    cells[("g2", CONFIRM)] = (9, 2)
    [row] = pair_rows([units_of("a", cells)], CONFIG, seed=0, held={"a": ("g1", "g2")})
    assert row["verdict"] == "too_small" and row.get("common") is None
    assert row["reason"] == "retired: g2 no longer has 10 photos and 5 units on each half"
    [row] = pair_rows([units_of("a", cells)], CONFIG, seed=0, held={"a": ("gone", "g2")})
    assert row["reason"] == "retired: gone and g2 no longer have 10 photos and 5 units on each half"
