"""Classes that are too small for a pair: what their groups hold, and the nearest remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from counterset.schemas import Half, Verdict

HALVES = (Half.DISCOVER.value, Half.CONFIRM.value)
LEAST_PHOTOS = 3
"""Of a group on one half: no remedy asks for fewer."""


@dataclass(frozen=True)
class SmallGroup:
    """One group of a class.

    Attributes:
        num_photos, num_units: of both halves.
        photos, units: on the half that has fewer of them.
    """

    name: str
    num_photos: int
    num_units: int
    photos: int
    units: int


@dataclass(frozen=True)
class SmallClass:
    """One class without a pair; `remedy` is one sentence, `groups` the largest first."""

    class_id: str
    reason: str
    remedy: str
    groups: tuple[SmallGroup, ...]

    @property
    def counts(self) -> str:
        """Its groups with their photos, in words."""
        return ", ".join(f"{group.name} {group.num_photos}" for group in self.groups) or "no photo has a group"


def small_classes(pairs: pa.Table, groups: pa.Table, settings: Mapping[str, Any]) -> list[SmallClass]:
    """The classes that are too small, in the order of `pairs`.

    Args:
        pairs: a release's or a build's.
        groups: group accuracies: class_id, group, half, num_photos, num_observers and num_units are read.
        settings: the section `[select]` of the config.
    """
    rows = [row for row in pairs.select(["class_id", "verdict", "reason"]).to_pylist()]
    small = [row for row in rows if row["verdict"] == Verdict.TOO_SMALL.value]
    if not small:
        return []
    counted = _counted(groups)
    return [
        SmallClass(row["class_id"], row["reason"] or "", _remedy(of, settings), of)
        for row in small
        for of in [counted.get(row["class_id"], ())]
    ]


def _counted(groups: pa.Table) -> dict[str, tuple[SmallGroup, ...]]:
    """class_id -> its groups; models may have predicted different photos, of which the most count."""
    sizes: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
    columns = ("class_id", "group", "half", "num_photos", "num_observers", "num_units")
    for row in groups.select([name for name in columns if name in groups.column_names]).to_pylist():
        known = sizes.setdefault((row["class_id"], row["group"]), {})
        units = row.get("num_units") or row["num_observers"]  # as older releases have it
        known[row["half"]] = max(known.get(row["half"], (0, 0)), (row["num_photos"], units))
    by_class: dict[str, list[SmallGroup]] = {}
    for (class_id, name), halves in sizes.items():
        parts = [halves.get(half, (0, 0)) for half in HALVES]
        whole = halves.get(Half.ALL.value, (sum(photos for photos, _ in parts), sum(number for _, number in parts)))
        parts = parts if halves.keys() & set(HALVES) else [whole]
        smaller = min(photos for photos, _ in parts), min(units for _, units in parts)
        by_class.setdefault(class_id, []).append(SmallGroup(name, *whole, *smaller))
    return {name: tuple(sorted(of, key=lambda one: (-one.num_photos, one.name))) for name, of in by_class.items()}


def _remedy(groups: tuple[SmallGroup, ...], settings: Mapping[str, Any]) -> str:
    """What would give a class a second group, in one sentence."""
    if len(groups) < 2:
        return "add photos on other backgrounds, or name more backgrounds in annotate.vocabulary"
    photos = int(settings["min_photos"])
    key = "min_units" if "min_units" in settings else "min_observers"
    units = int(settings[key]) if settings.get("mode") != "paper" else 1
    second = sorted(groups, key=lambda one: -min(one.photos / photos, one.units / units))[1]
    has = f"the second largest group, {second.name}, has {second.photos} photos of {second.units} {key[4:]}"
    has += " on its smaller half"
    share = min(second.photos / photos, second.units / units)
    if share >= 1:
        return "a confirmed pair is never replaced: more photos of its two groups bring it back"
    if share == 0:
        return f"{has}: this class needs many times as many photos, or photos on fewer backgrounds"
    times = math.ceil(10 / share) / 10
    total = sum(group.num_photos for group in groups)
    more = f"{times:g} times as many photos of the class, about {math.ceil(times * total / 10) * 10}, would do"
    known = (("min_photos", second.photos, photos), (key, second.units, units))
    lacking = {name: number for name, number, least in known if number < least}
    if min(lacking.values()) < LEAST_PHOTOS:
        return f"{has}: {more}"
    lower = " and ".join(f"select.{name} = {number}" for name, number in lacking.items())
    return f"{has}: {more}; or take it as it is by {lower}, and only a large drop is then confirmed"
