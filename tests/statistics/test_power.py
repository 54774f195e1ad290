"""Plans: their inverse, their directions, and the power they promise in simulated normal classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from counterset.statistics.power import Assumptions, detectable_drop, deviations, plan_classes, plan_sample_size
from counterset.statistics.power import planned_drop as drop_of

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
    assert plan_sample_size(0.2, 12, KNOWN).photos_per_group > photos
    assert plan_sample_size(0.2, 6, replace(KNOWN, num_classes=1000)).photos_per_group > photos
    assert plan_sample_size(0.2, 6, replace(KNOWN, observer_correlation=0.3)).photos_per_group > photos
    assert plan_sample_size(0.2, 6, replace(KNOWN, share_confirmed=0.5)).photos_per_group < photos


def test_deviations_hold_in_a_plain_simulation() -> None:
    critical, drop = deviations(6, 0.01, None), deviations(6, 0.01, 0.8)
    rng = np.random.default_rng(7)
    truth = np.zeros(6)

    def statistics(gap: float) -> np.ndarray:
        truth[0], truth[5] = gap / 2, -gap / 2
        first, second = truth + rng.standard_normal((2, 40_000, 6))
        rows, common, counter = np.arange(40_000), first.argmax(axis=1), first.argmin(axis=1)
        both = (first + second) / 2
        return np.asarray(both[rows, common] - both[rows, counter])

    assert np.mean(statistics(0.0) >= critical) == pytest.approx(0.01, abs=0.002)
    assert np.mean(statistics(drop) >= critical) == pytest.approx(0.8, abs=0.015)


def test_detectable_drop_shrinks_with_photos_and_never_passes_one() -> None:
    drops = [detectable_drop(1.7, 0.7, photos, photos, 1.0, 6, 0.001) for photos in (1.0, 50.0, 500.0)]
    assert drops[0] == 1.0
    assert drops[1] > drops[2] > 0
    assert drops[1] == pytest.approx(drops[2] * np.sqrt(10))


def test_plans_of_classes() -> None:
    plans = plan_classes({"a": [0.5, 0.25, 0.05], "b": [0.9], "c": []}, 1_000, 0.2, 20, KNOWN)
    assert [plan.class_id for plan in plans] == ["a", "b", "c"]
    first, second, third = plans
    assert first.num_groups == 3
    assert first.class_photos == int(np.ceil(first.photos_per_group / 0.25))
    assert first.detectable_drop == pytest.approx(drop_of(500, 250, 3, KNOWN))
    assert (second.num_groups, second.class_photos, second.detectable_drop) == (1, 0, 1.0)
    assert (third.num_groups, third.class_photos, third.detectable_drop) == (0, 0, 1.0)
