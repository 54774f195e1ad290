"""Who is one unit: against a slow search by hand, and each promise in a small case."""

from __future__ import annotations

import numpy as np
import pytest

from counterset.statistics.observers import CONFIRM, DISCOVER
from counterset.statistics.units import NONE, Published, Units, join


def joined(
    photos: list[tuple[int, int]],
    published: list[int] | None = None,
    half: tuple[int, ...] = (DISCOVER, CONFIRM),
    max_share: float = 1.0,
) -> tuple[list[set[int]], Units]:
    """The sets of photos that are units, from each photo's observer, place and published unit."""
    observer, place = np.array(photos).reshape(-1, 2).T
    last = None if published is None else Published(np.array(published), np.array(half))
    units = join(observer, place, last, max_share)
    return [set(np.flatnonzero(units.unit == number).tolist()) for number in np.unique(units.unit)], units


def slow_units(observer: list[int], place: list[int]) -> list[int]:
    """Each photo's unit, by spreading labels until none changes."""
    label = list(range(len(observer)))
    has_changed = True
    while has_changed:
        has_changed = False
        for i in range(len(label)):
            for j in range(len(label)):
                is_near = observer[i] == observer[j] or (place[i] == place[j] != NONE)
                if is_near and label[i] > label[j]:
                    label[i], has_changed = label[j], True
    return label


def test_a_unit_is_all_that_observers_and_places_connect() -> None:
    units, _ = joined([(0, 0), (1, 0), (1, 1), (2, 1), (3, NONE), (4, NONE), (3, 2)])
    assert units == [{0, 1, 2, 3}, {4, 6}, {5}]


def test_units_equal_a_slow_search() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        observer, place = rng.integers(0, 15, 30), rng.integers(-1, 25, 30)
        found = join(observer, place, max_share=1.0).unit
        expected = np.unique(slow_units(observer.tolist(), place.tolist()), return_inverse=True)[1]
        assert all((found[i] == found[j]) == (expected[i] == expected[j]) for i in range(30) for j in range(30))


def test_without_places_every_observer_is_a_unit() -> None:
    rng = np.random.default_rng(1)
    observer = rng.integers(0, 20, 200)
    units = join(observer, np.full(200, NONE))
    assert len(np.unique(units.unit)) == len(np.unique(observer))
    assert not units.bridges.any() and not units.is_cut.any()
    assert (units.continues == NONE).all()


def test_a_class_without_photos_has_no_units() -> None:
    nothing = np.zeros(0, np.int64)
    assert [len(column) for column in join(nothing, nothing)] == [0, 0, 0, 0]


def test_a_large_unit_is_cut_where_most_meet() -> None:
    """Two colonies of five, joined by one traveller who has been everywhere: he is a unit of his own."""
    colonies = [(colony * 5 + number, colony) for colony in range(2) for number in range(5) for _ in range(4)]
    traveller = [(10, place) for place in range(8)]
    others = [(11 + number, 8 + number) for number in range(42)]
    units, found = joined(colonies + traveller + others, max_share=0.25)
    assert {frozenset(unit) for unit in units if len(unit) > 1} == {
        frozenset(range(20)),
        frozenset(range(20, 40)),
        frozenset(range(40, 48)),
    }
    # The colonies' places hold photos of two units each now, his other places only his own.
    assert np.flatnonzero(found.is_cut).tolist() == list(range(42))
    assert len(joined(colonies + traveller + others, max_share=0.6)[0]) == 43


def test_no_unit_of_several_observers_is_above_the_share() -> None:
    rng = np.random.default_rng(2)
    for share in (0.05, 0.1, 0.3):
        observer = rng.zipf(1.7, 500).clip(max=60) - 1
        place = rng.zipf(1.5, 500).clip(max=80) - 1
        unit = join(observer, place, max_share=share).unit
        for number in np.unique(unit):
            inside = unit == number
            assert inside.sum() <= share * 500 or len(np.unique(observer[inside])) == 1
        assert len(np.unique(np.stack([observer, unit]), axis=1).T) == len(np.unique(observer))


def test_the_cut_keeps_together_what_it_can() -> None:
    """Beside one colony that is too large, small ones stay whole."""
    large = [(number, 0) for number in range(50)]
    small = [(50 + 2 * place + number, 1 + place) for place in range(25) for number in range(2)]
    units, found = joined(large + small, max_share=0.1)
    assert sorted(len(unit) for unit in units) == [1] * 50 + [2] * 25
    assert found.is_cut.tolist() == [True] * 50 + [False] * 50


def test_who_joins_a_published_unit_continues_it() -> None:
    photos = [(0, 0), (1, 0), (2, 1), (3, 0), (4, NONE), (3, 5)]
    units, found = joined(photos, [1, 1, 0, NONE, NONE, NONE])
    assert units == [{2}, {0, 1, 3, 5}, {4}]
    assert found.continues.tolist() == [0, 1, NONE]


def test_two_units_of_one_half_may_become_one() -> None:
    units, found = joined([(0, 0), (1, 1), (2, 0), (2, 1)], [1, 0, NONE, NONE], (CONFIRM, CONFIRM))
    assert units == [{0, 1, 2, 3}]
    assert found.continues.tolist() == [0]
    assert not found.bridges.any()


def test_a_photo_that_joins_two_halves_bridges_them() -> None:
    units, found = joined([(0, 0), (1, 1), (0, 1), (0, 2)], [0, 1, NONE, NONE])
    assert found.bridges.tolist() == [False, False, True, False]
    assert units == [{0, 2, 3}, {1}]


def test_a_chain_of_new_photos_bridges_at_its_last_one() -> None:
    """A new observer goes with the first published place where he is seen; his photo in the other is the bridge."""
    _, found = joined([(0, 0), (1, 1), (2, 0), (2, 2), (3, 2), (3, 1), (4, 1)], [0, 1, *[NONE] * 5])
    assert found.bridges.tolist() == [False] * 5 + [True, False]
    assert found.continues[found.unit].tolist() == [0, 1, 0, 0, 0, 0, 1]
    _, found = joined([(0, 0), (1, 1), (3, 1), (3, 2), (2, 2), (2, 0)], [0, 1, *[NONE] * 4])
    assert found.bridges.tolist() == [False] * 5 + [True]


def test_published_units_stay_as_they_are() -> None:
    """What an earlier release had cut, or knew no places of, stays apart, and new observers join the larger part."""
    photos = [(0, 0), (1, 0), (1, 0), (2, 0), (2, 0), (0, 0)]
    units, found = joined(photos, [0, 1, 1, NONE, NONE, NONE])
    assert not found.bridges.any()
    assert units == [{0, 5}, {1, 2, 3, 4}]
    assert found.is_cut.all()
    # The photo that joined two observers is withdrawn: they stay one unit.
    assert joined([(0, 0), (1, 1)], [0, 0])[0] == [{0, 1}]


def test_halves_stay_whatever_comes_later() -> None:
    """Six months of growth: published photos stay in their units and halves, units have one half, few photos bridge."""
    rng = np.random.default_rng(3)
    observer, place = rng.zipf(1.8, 600).clip(max=150) - 1, rng.integers(-1, 200, 600)
    unit_of = np.full(600, NONE)
    half_of = np.zeros(0, np.int64)
    for number in range(100, 601, 100):
        before, known = unit_of[:number].copy(), unit_of[:number] != NONE
        units = join(observer[:number], place[:number], Published(before, half_of))
        coins = rng.integers(0, 2, len(units.continues))
        halves = np.where(units.continues == NONE, coins, half_of[units.continues] if len(half_of) else coins)
        assert not units.bridges[known].any()
        assert (halves[units.unit[known]] == half_of[before[known]]).all()
        assert len(np.unique(np.stack([before[known], units.unit[known]]), axis=1).T) == len(np.unique(before[known]))
        unit_of[:number] = np.where(units.bridges, NONE, units.unit)
        half_of = halves
        again = join(observer[:number], place[:number], Published(unit_of[:number].copy(), half_of))
        assert (again.continues[again.unit] == unit_of[:number])[unit_of[:number] != NONE].all()  # nothing new: as is
    assert (unit_of != NONE).mean() > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_observers_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    observer, place = rng.zipf(1.7, 300).clip(max=60) - 1, rng.integers(-1, 60, 300)
    first = join(observer, place).unit
    names, places = rng.permutation(60), np.append(rng.permutation(60), NONE)
    second = join(names[observer], places[place]).unit
    pairs = np.unique(np.stack([first, second]), axis=1)
    assert len(pairs.T) == len(np.unique(first)) == len(np.unique(second))
