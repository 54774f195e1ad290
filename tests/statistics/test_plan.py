"""Plans: their inverse, their directions, and what they learn from an earlier build."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from counterset.errors import UserError
from counterset.schemas import GROUP_ACCURACY, PAIRS
from counterset.statistics.plan import Assumptions, chances_by_look, learn, plan_classes, plan_sample_size
from counterset.statistics.plan import planned_drop as drop_of
from counterset.tables import table_of

KNOWN = Assumptions(num_classes=45, observer_correlation=0.1, photos_per_observer=3.0)


@pytest.mark.parametrize("drop", [0.05, 0.2, 0.4])
def test_planned_photos_confirm_the_planned_drop(drop: float) -> None:
    size = plan_sample_size(drop, 6, KNOWN)
    reached = drop_of(size.photos_per_group, size.photos_per_group, 6, KNOWN)
    assert reached == pytest.approx(drop, rel=0.02)
    assert reached <= drop
    assert size.observers_per_group == pytest.approx(size.photos_per_group / 3, abs=1)


def test_what_makes_a_plan_larger() -> None:
    photos = plan_sample_size(0.2, 6, KNOWN).photos_per_group
    assert plan_sample_size(0.1, 6, KNOWN).photos_per_group == pytest.approx(4 * photos, rel=0.02)
    assert photos < plan_sample_size(0.2, 12, KNOWN).photos_per_group < 1.15 * photos, "more groups, more luck"
    assert plan_sample_size(0.2, 6, replace(KNOWN, num_classes=1000)).photos_per_group > photos
    assert plan_sample_size(0.2, 6, replace(KNOWN, observer_correlation=0.3)).photos_per_group > photos
    looks = [plan_sample_size(0.2, 6, replace(KNOWN, look=number)).photos_per_group for number in (1, 2, 6)]
    assert photos == looks[0] < looks[1] < looks[2], "a look that may spend less needs more"
    assert plan_sample_size(0.2, 6, replace(KNOWN, share_confirmed=0.5)).photos_per_group < photos
    several = [plan_sample_size(0.2, 6, replace(KNOWN, num_selectors=number)).photos_per_group for number in (1, 2, 3)]
    assert several[0] == photos
    assert 0.75 * photos < several[1] < 0.8 * photos, "their ranks gain a little less over their answers"
    assert 2 / 3 * photos < several[2] < 0.73 * photos
    unlike = replace(KNOWN, num_selectors=3, selector_correlation=0.2)
    assert plan_sample_size(0.2, 6, unlike).photos_per_group < several[2]


def test_plans_of_classes() -> None:
    plans = plan_classes({"a": [0.5, 0.25, 0.05, 0.03], "b": [0.9], "c": []}, 1_000, 0.2, 10, KNOWN)
    assert [plan.class_id for plan in plans] == ["a", "b", "c"]
    first, second, third = plans
    assert first.num_groups == 3, "a quarter of its photos are on the smaller half"
    assert first.class_photos == int(np.ceil(first.photos_per_group / 0.25))
    assert first.detectable_drop == pytest.approx(drop_of(500, 250, 3, KNOWN))
    assert (second.num_groups, second.class_photos, second.detectable_drop) == (1, 0, 1.0)
    assert (third.num_groups, third.class_photos, third.detectable_drop) == (0, 0, 1.0)


def test_a_series_confirms_more_with_each_look() -> None:
    """At the first look what the plan promises; later photos add to it, and looks without new photos hardly."""
    size = plan_sample_size(0.2, 4, KNOWN).photos_per_group
    asked = ([0.3, 0.3, 0.2, 0.2], size / 0.3, 0.2, 10, KNOWN)
    growing = chances_by_look(*asked, growth=0.5, num_looks=6)
    assert growing[0] == pytest.approx(0.8, abs=0.03)
    assert growing == sorted(growing) and growing[-1] > 0.97
    assert chances_by_look(*asked, growth=0.0, num_looks=6)[-1] == growing[0], "the same photos, and less to spend"
    later = chances_by_look(*asked[:4], replace(KNOWN, look=4), growth=0.5, num_looks=1)
    assert later[0] < 0.6, "a fourth look may spend a sixteenth"
    null = chances_by_look(asked[0], size / 0.3, 1e-9, 10, KNOWN, growth=0.3, num_looks=6)
    assert null[-1] < 0.05 / 45 * 6


def test_a_class_is_tested_when_its_second_group_is_large_enough() -> None:
    asked = ([0.8, 0.1], 200, 0.4, 10, KNOWN)  # 20 photos in the second group, of which 40 are needed
    found = chances_by_look(*asked, growth=0.5, num_looks=4)
    assert found[:2] == [0.0, 0.0] and 0 < found[2] < found[3]
    assert chances_by_look([1.0], 200, 0.4, 10, KNOWN, growth=0.5, num_looks=2) == [0.0, 0.0]
    assert chances_by_look([0.5, 0.5], 0, 0.4, 10, KNOWN, growth=0.5, num_looks=2) == [0.0, 0.0]


def accuracy_row(group: str, model: str, half: str, photos: int) -> dict[str, object]:
    return {
        "class_id": "a",
        "group": group,
        "model": model,
        "half": half,
        "num_photos": photos,
        "num_observers": photos // 2,
        "num_correct": photos // 2,
        "accuracy": 0.5,
    }


def pair_row(class_id: str, verdict: str, **more: object) -> dict[str, object]:
    counts = ("num_common", "num_counter", "num_observers_common", "num_observers_counter")
    return {
        "class_id": class_id,
        "verdict": verdict,
        **dict.fromkeys(counts, 0),
        "is_common_rarer": False,
        "is_fragile": False,
        **more,
    }


def test_an_earlier_build_teaches() -> None:
    group_accuracy = table_of(
        GROUP_ACCURACY,
        [
            accuracy_row("grass", "m", "all", 300),
            accuracy_row("snow", "m", "all", 100),
            accuracy_row("snow", "partial", "all", 10),
            accuracy_row("grass", "m", "confirm", 150),
        ],
    )
    tested = {"q_value": 0.01, "accuracy_common": 0.8, "accuracy_counter": 0.6, "observer_correlation": 0.17}
    pairs = table_of(PAIRS, [pair_row("a", "confirmed", **tested), pair_row("b", "too_small")])
    frequencies, assumptions = learn(group_accuracy, pairs)
    assert frequencies == {"a": [0.75, 0.25]}
    assert assumptions == Assumptions(
        num_classes=2, observer_correlation=0.17, photos_per_observer=2.0, accuracy=0.7, share_confirmed=0.5, look=2
    )
    fourth = table_of(PAIRS, [pair_row("a", "confirmed", **tested, look=3), pair_row("b", "too_small")])
    assert learn(group_accuracy, fourth).assumptions.look == 4
    with pytest.raises(UserError, match="tested no class"):
        learn(group_accuracy, table_of(PAIRS, [pair_row("b", "too_small")]))


@pytest.mark.parametrize(
    "change",
    [{"accuracy_common": float("inf")}, {"observer_correlation": float("nan")}, {"observer_correlation": None}],
)
def test_impossible_figures_teach_nothing(change: dict[str, float | None]) -> None:
    tested = {"q_value": 0.01, "accuracy_common": 0.8, "accuracy_counter": 0.6, "observer_correlation": 0.17}
    groups = table_of(GROUP_ACCURACY, [accuracy_row("grass", "m", "all", 300)])
    learn(groups, table_of(PAIRS, [pair_row("a", "confirmed", **tested)]))
    with pytest.raises(UserError, match="figures are impossible"):
        learn(groups, table_of(PAIRS, [pair_row("a", "confirmed", **(tested | change))]))
    with pytest.raises(UserError, match="figures are impossible"):
        learn(groups.slice(0, 0), table_of(PAIRS, [pair_row("a", "confirmed", **tested)]))
