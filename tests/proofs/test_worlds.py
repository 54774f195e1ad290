"""The generator of the proofs: what a crowd says is what its worlds have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from .worlds import NOWHERE, Crowd, Geometric, Sizes, World, Zipf, draw_world, planted


def world_of(crowd: Crowd, *, photos: int = 300, accuracy: float = 0.7, num_classes: int = 40, seed: int = 0) -> World:
    return draw_world(np.random.default_rng(seed), np.full((num_classes, 4), accuracy), photos, crowd)


def correlation(values: Any, first: Any, second: Any) -> float:
    """Of two photos with equal `first` and unequal `second`: all products of residuals, written out by sums."""
    residual = values - values.mean()
    _, block = np.unique(first, return_inverse=True)
    _, cell = np.unique(np.column_stack([first, second]), axis=0, return_inverse=True)
    products = (np.bincount(block, residual) ** 2).sum() - (np.bincount(cell.ravel(), residual) ** 2).sum()
    pairs = (np.bincount(block).astype(float) ** 2).sum() - (np.bincount(cell.ravel()).astype(float) ** 2).sum()
    return float(products / pairs / residual.var())


def of_photos(world: World) -> float:
    """Of two photos of one observer in one group."""
    cell = world.observer * world.accuracies.shape[1] + world.group
    return correlation(world.margin[:, 0] > 0, cell, np.arange(len(cell)))


@pytest.mark.parametrize("rho", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("sizes", [Zipf(1.5, 30), Geometric(4.0)])
def test_photos_of_one_observer_correlate_as_said(rho: float, sizes: Sizes) -> None:
    world = world_of(Crowd(rho=rho, sizes=sizes))
    assert of_photos(world) == pytest.approx(rho, abs=0.02)
    assert (world.margin > 0).mean() == pytest.approx(0.7, abs=0.02)


def test_groups_and_classes_have_correlations_of_their_own() -> None:
    by_group = world_of(Crowd(rho=(0.0, 0.0, 0.4, 0.4), sizes=Geometric(4.0), crossing=0.0))
    assert of_photos(by_group.kept(by_group.group < 2)) == pytest.approx(0.0, abs=0.02)
    assert of_photos(by_group.kept(by_group.group >= 2)) == pytest.approx(0.4, abs=0.03)
    by_class = world_of(Crowd(rho_by_class=(0.0, 0.5), sizes=Geometric(4.0)))
    found = [of_photos(by_class.kept(by_class.class_index == number)) for number in range(40)]
    assert max(found) > 0.3 and min(found) < 0.1


@pytest.mark.parametrize(("across", "expected"), [(1.0, 0.3), (0.0, 0.0)])
def test_luck_is_the_observers_or_the_trips(across: float, expected: float) -> None:
    world = world_of(Crowd(rho=0.3, across=across, crossing=1.0, sizes=Geometric(5.0)))
    assert correlation(world.margin[:, 0] > 0, world.observer, world.group) == pytest.approx(expected, abs=0.02)


def test_observers_of_one_place_share_luck_and_group() -> None:
    world = world_of(Crowd(rho=0.3, crossing=0.0, observers_per_place=5, place_share=0.5))
    blocks = np.column_stack([world.place, world.class_index, world.group])
    groups = np.unique(blocks, axis=0)
    assert len(groups) == len(np.unique(world.place)) and world.place.min() == 0
    assert 4 < len(np.unique(world.observer)) / len(groups) < 6
    shared = correlation(world.margin[:, 0] > 0, world.place, world.observer)
    assert shared == pytest.approx(0.15, abs=0.03), "the place has half of the variance of luck"
    by_place = world.by_place(max_share=1.0)
    assert len(np.unique(by_place.observer)) == len(groups)
    halves = by_place.tables()[0].group_by("observer").aggregate([("half", "count_distinct")])
    assert pc.max(halves["half_count_distinct"]).as_py() == 1


def test_visitors_join_places_until_units_are_cut() -> None:
    """With few visits a unit is a place and who came there; with many all would be one, and large ones are cut."""
    still = world_of(Crowd(rho=0.3, crossing=0.0, observers_per_place=5))
    for visiting in (0.02, 0.5):
        world = world_of(Crowd(rho=0.3, crossing=0.0, observers_per_place=5, visiting=visiting))
        assert (world.place != still.place).mean() == pytest.approx(visiting, abs=0.05)
        units = world.by_place()
        for number in range(len(world.accuracies)):
            own = units.class_index == number
            photos = np.bincount(units.observer[own])
            alone = [len(np.unique(world.observer[units.observer == unit])) for unit in np.flatnonzero(photos > 0)]
            assert all(photos[photos > 0][np.array(alone) > 1] <= 0.1 * own.sum())


def test_who_wanders_has_no_place() -> None:
    world = world_of(Crowd(crossing=0.3, observers_per_place=5))
    assert (world.place == NOWHERE).mean() == pytest.approx(0.3)
    by_place = world.by_place()
    wanders = world.place == NOWHERE
    pairs = np.unique(np.column_stack([by_place.observer, world.observer])[wanders], axis=0)
    assert len(pairs) == len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1]))


def test_one_observer_dominates_a_group_of_each_class() -> None:
    world = world_of(Crowd(dominated=True, crossing=0.2), photos=100)
    largest = [np.bincount(world.observer[world.class_index == number]).max() for number in range(40)]
    assert set(largest) == {50}


def test_skill_ability_and_planted_pairs_move_accuracies() -> None:
    accuracies = planted(np.random.default_rng(1), 30, 4, base=(0.7, 0.7), drop=0.2, num_planted=30)
    assert accuracies[0].tolist() == pytest.approx([0.7, 0.8, 0.6, 0.7])
    world = draw_world(np.random.default_rng(1), accuracies, 300, Crowd())
    found = [(world.margin[world.group == group] > 0).mean() for group in range(4)]
    assert found == pytest.approx([0.7, 0.8, 0.6, 0.7], abs=0.03)
    assert world.truth("class0000", "group01", "group02") == pytest.approx(0.2)
    skilled = world_of(Crowd(skill=(0.1, 0.0, 0.0, -0.1), crossing=0.0))
    found = [(skilled.margin[skilled.group == group] > 0).mean() for group in range(4)]
    assert found == pytest.approx([0.8, 0.7, 0.7, 0.6], abs=0.03)
    able = world_of(Crowd(rho=0.2, ability=1.0, sizes=Zipf(1.2)))
    photos = np.bincount(able.observer)[able.observer]
    assert (able.margin[photos > 10] > 0).mean() > 0.05 + (able.margin[photos == 1] > 0).mean()


def test_models_agree_as_far_as_they_are_alike() -> None:
    def agreement(likeness: float) -> float:
        margin = world_of(Crowd(rho=0.0, num_models=2, likeness=likeness)).margin
        return float(np.corrcoef(margin.T)[0, 1])

    assert agreement(0.6) == pytest.approx(0.6, abs=0.02)
    assert agreement(0.0) == pytest.approx(0.0, abs=0.02)


def test_normal_margins_have_the_accuracy_and_correlate_as_margins() -> None:
    world = world_of(Crowd(rho=0.2, is_normal=True, sizes=Geometric(5.0)))
    assert (world.margin > 0).mean() == pytest.approx(0.7, abs=0.02)
    cell = world.observer * 4 + world.group
    assert correlation(world.margin[:, 0], cell, np.arange(len(cell))) == pytest.approx(0.2, abs=0.02)


def test_a_pool_of_observers_is_shared_by_the_classes() -> None:
    world = world_of(Crowd(is_pool=True), photos=100)
    classes = [len(np.unique(world.class_index[world.observer == observer])) for observer in range(200)]
    assert np.mean(classes) > 2
    assert len(np.unique(world.observer)) == int(world.observer.max()) + 1


def test_tables_say_the_same_at_any_share() -> None:
    world = world_of(Crowd(num_models=2), photos=60, num_classes=3)
    members, backgrounds, predictions = world.tables(0.75)
    assert members.num_rows == backgrounds.num_rows == 720 and predictions.num_rows == 1440
    assert world.class_ids == ("class0000", "class0001", "class0002") and world.models == ("model0", "model1")
    is_discover = np.array(members["half"]) == "discover"
    assert (is_discover == (world.coin < 0.75)[world.observer]).all()
    assert 0.6 < is_discover.mean() < 0.9
    second = predictions.filter(pc.equal(predictions["model"], "model1"))
    assert second["is_correct"].to_pylist() == (world.margin[:, 1] > 0).tolist()
    early = world.kept(world.arrival < 0.5)
    assert 0.3 < len(early.group) / 720 < 0.7
    assert not set(early.observer) & set(world.kept(world.arrival >= 0.5).observer), "one observer's come together"
