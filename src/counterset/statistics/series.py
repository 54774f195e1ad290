"""A series of releases: one family of questions that is asked again and again as photos come.

A series is a source with its classes, whatever its releases are named. Every look at more photos tests
all its classes. What the looks may confirm falsely is shared out among them, so that a series that goes
on for ever keeps the error of a single look: look k spends 6 / (pi k)^2 of it, and these add up to 1.
New classes are tested with the others and share what their look spends. A pair that was confirmed is
tested again as the same pair, never chosen again: it counts among the look's discoveries, and no look
after its first one can confirm it falsely.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.schemas import PAIRS, Verdict
from counterset.statistics.intervals import drop_interval
from counterset.statistics.observers import Bools, Floats, Ints
from counterset.statistics.schemas import LOOKS
from counterset.tables import table_of


def share_spent(look: int) -> float:
    """The share of a series' error that one look spends; the first has 0.61 of it.

    Args:
        look: from 1.
    """
    return 6 / (math.pi * look) ** 2


class Held(NamedTuple):
    """A pair that an earlier look confirmed.

    Attributes:
        common, counter: its groups.
        look: that first confirmed it.
    """

    common: str
    counter: str
    look: int


class Series(NamedTuple):
    """What a look knows of the looks before it.

    Attributes:
        look: its number, from 1.
        held: class_id -> the pair that an earlier look confirmed.
    """

    look: int
    held: dict[str, Held]

    def level(self, max_q_value: float) -> float:
        """The largest q-value that this look confirms, where the whole series may spend `max_q_value`."""
        return max_q_value * share_spent(self.look)


def begin() -> Series:
    """The first look of a series."""
    return Series(1, {})


def after(looks: pa.Table, *, is_same_look: bool) -> Series:
    """The look that follows those of a release.

    Args:
        looks: of the last release of the series (looks schema).
        is_same_look: its photos are the same, so that its last look is only taken again.
    """
    last = pc.max(looks["look"]).as_py()
    if last is None:
        return begin()
    number = last if is_same_look else last + 1
    held: dict[str, Held] = {}
    for row in looks.sort_by([("look", "ascending"), ("class_id", "ascending")]).to_pylist():
        if row["look"] < number and row["verdict"] == Verdict.CONFIRMED:
            held.setdefault(row["class_id"], Held(row["common"], row["counter"], row["look"]))
    return Series(number, held)


def with_looks(pairs: pa.Table, series: Series, level: float) -> pa.Table:
    """Pairs that say which look tested them, at which level, and which look first confirmed them.

    Args:
        pairs: of this look (pairs schema); those with a q-value were tested.
        series: what the look knows of those before it.
        level: the largest q-value that it confirms.
    """
    rows = pairs.to_pylist()
    for row in rows:
        is_tested = row["q_value"] is not None
        held = series.held.get(row["class_id"])
        own = series.look if row["verdict"] == Verdict.CONFIRMED and is_tested else None
        row |= {"look": series.look, "level": level} if is_tested else {}
        row["confirmed_look"] = held.look if held else own
    return table_of(PAIRS, rows)


def looks_until(looks: pa.Table, pairs: pa.Table, day: str) -> pa.Table:
    """The looks of a series with the one that gave `pairs` (looks schema).

    Args:
        looks: those that came before.
        pairs: of this release; those that were tested have the number of its look.
        day: of the source's answers.
    """
    names = [name for name in LOOKS.arrow().names if name != "day"]
    now = pairs.filter(pc.is_valid(pairs["look"])).select(names)
    rows = [row | {"day": day} for row in now.to_pylist()]
    number = pc.max(now["look"]).as_py()
    if number is not None:
        rows += looks.filter(pc.less(looks["look"], number)).to_pylist()
    return table_of(LOOKS, rows)


class Replication(NamedTuple):
    """A confirmed pair's drop on units that came later.

    Attributes:
        num_units: units on either side.
        num_common, num_counter: photos.
        drop: accuracy of common less that of counter, over photos; NaN where a side has none.
        low, high: its 95 % interval.
    """

    num_units: int
    num_common: int
    num_counter: int
    drop: float
    low: float
    high: float


def replicate(outcome: Floats, is_counter: Bools, unit: Ints, correlation: float) -> Replication:
    """The drop of a pair over some of its photos, none of which had a part in confirming it.

    Args:
        outcome: (N,) 1 = right, 0 = wrong, or the mean over selectors.
        is_counter: (N,) the photo's side.
        unit: (N,) from 0.
        correlation: of two photos of one unit in one group.
    """
    sides = []
    for side in (~is_counter, is_counter):
        photos = np.bincount(unit[side]).astype(np.float64) if side.any() else np.zeros(0)
        # Photos' average: a unit of n photos adds n (1 + (n - 1) rho) photos' variances to that of the sum
        inflated = float((photos * (1 + (photos - 1) * correlation)).sum())
        number = float(photos.sum())
        sides.append((float(outcome[side].mean()) if number else math.nan, number**2 / inflated if number else 0.0))
    (common, size_common), (counter, size_counter) = sides
    low, high = (math.nan, math.nan)
    if size_common and size_counter:
        low, high = drop_interval(common, size_common, counter, size_counter, 0.0)
    return Replication(
        len(np.unique(unit)), int((~is_counter).sum()), int(is_counter.sum()), common - counter, low, high
    )


def replication_rows(
    outcome: Floats, is_counter: Bools, unit: Ints, since: Ints, confirmed: int, look: int, correlation: float
) -> list[dict[str, Any]]:
    """One row per look after the one that confirmed a pair: its drop on the units that this look saw first, and on all
    that came since.

    Args:
        outcome, is_counter, unit: (N,) of the pair's photos, as for `replicate`.
        since: (N,) the look that first saw the photo's unit.
        confirmed: the look that confirmed the pair.
        look: the present one.
        correlation: of two photos of one unit in one group.
    """
    rows = []
    for number in range(confirmed + 1, look + 1):
        new, later = since == number, (since > confirmed) & (since <= number)
        own, all_since = (replicate(outcome[kept], is_counter[kept], unit[kept], correlation) for kept in (new, later))
        row: dict[str, Any] = {"look": number, "confirmed_look": confirmed}
        row |= own._asdict() | {f"{name}_since": value for name, value in all_since._asdict().items()}
        rows.append({name: None if value != value else value for name, value in row.items()})
    return rows
