"""Why a class is too small, what its groups hold, and what would help."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from counterset.release.small_classes import small_classes

SETTINGS = {"mode": "split", "min_photos": 10, "min_units": 10}


def pairs(*verdicts: str) -> pa.Table:
    rows = [{"class_id": f"c{n}", "verdict": verdict, "reason": "why"} for n, verdict in enumerate(verdicts)]
    return pa.Table.from_pylist(rows)


def groups(**halves: tuple[tuple[int, int], tuple[int, int]]) -> pa.Table:
    """Of class c0: name = (photos and units on discover), (the same on confirm); each unit is of two observers."""
    rows: list[dict[str, Any]] = []
    for name, (discover, confirm) in halves.items():
        both = discover[0] + confirm[0], discover[1] + confirm[1]
        for half, (photos, units) in (("discover", discover), ("confirm", confirm), ("all", both)):
            for model in ("one", "two"):
                row = {"class_id": "c0", "group": name, "half": half, "model": model}
                rows.append(row | {"num_photos": photos, "num_observers": 2 * units, "num_units": units})
    return pa.Table.from_pylist(rows)


def test_large_classes_are_not_named() -> None:
    assert small_classes(pairs("confirmed", "unconfirmed"), groups(snow=((9, 9), (9, 9))), SETTINGS) == []


def test_the_nearest_remedy_is_in_photos_and_in_limits() -> None:
    table = groups(snow=((30, 20), (28, 21)), grass=((5, 5), (7, 6)), rock=((1, 1), (0, 0)))
    [one] = small_classes(pairs("too_small"), table, SETTINGS)
    assert one.counts == "snow 58, grass 12, rock 1"
    assert "grass, has 5 photos of 5 units on its smaller half" in one.remedy
    assert "2 times as many photos of the class, about 150, would do" in one.remedy  # 71 photos now
    assert "take it as it is by select.min_photos = 5 and select.min_units = 5, and" in one.remedy
    [few] = small_classes(pairs("too_small"), table, SETTINGS | {"min_units": 3})
    assert "take it as it is by select.min_photos = 5, and" in few.remedy, "what is enough stays"


def test_a_release_of_before_units_counts_observers() -> None:
    table = groups(snow=((30, 20), (28, 21)), grass=((5, 5), (7, 6)))
    observers = table.set_column(table.column_names.index("num_observers"), "num_observers", table["num_units"])
    old = {"mode": "split", "min_photos": 10, "min_observers": 10}
    [one] = small_classes(pairs("too_small"), observers.drop_columns(["num_units"]), old)
    assert "has 5 photos of 5 observers on its smaller half" in one.remedy
    assert "select.min_observers = 5" in one.remedy


def test_no_remedy_asks_for_groups_of_one_photo() -> None:
    [one] = small_classes(pairs("too_small"), groups(snow=((30, 20), (28, 21)), grass=((2, 2), (2, 2))), SETTINGS)
    assert "5 times as many photos" in one.remedy and "select.min_photos" not in one.remedy


def test_a_group_on_one_half_only() -> None:
    [one] = small_classes(pairs("too_small"), groups(snow=((30, 20), (28, 21)), grass=((4, 3), (0, 0))), SETTINGS)
    assert "many times as many photos" in one.remedy


def test_a_retired_pair_is_not_replaced_by_groups_that_are_large_enough() -> None:
    [one] = small_classes(pairs("too_small"), groups(snow=((30, 20), (28, 21)), grass=((30, 20), (28, 21))), SETTINGS)
    assert one.remedy == "a confirmed pair is never replaced: more photos of its two groups bring it back"


def test_one_group_or_none() -> None:
    [one] = small_classes(pairs("too_small"), groups(snow=((30, 20), (28, 21))), SETTINGS)
    assert "photos on other backgrounds" in one.remedy
    [none] = small_classes(pairs("too_small"), _empty(), SETTINGS)
    assert none.counts == "no photo has a group"


def _empty() -> pa.Table:
    return groups(snow=((1, 1), (1, 1))).slice(0, 0)
