"""The report's drawing of the replication clock: how confirmed pairs do on units that came later."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from counterset.release.publish.figures import WIDTH, Tick

MAX_NAMES = 12
"""Pairs whose names are written beside their lines; of more, only the pointer tells."""

_TOP, _LEFT, _SIDE, _NAMES, _FEET = 12.0, 44.0, 250.0, 96.0, 40.0


@dataclass(frozen=True)
class Trace:
    """One confirmed pair: its drop when it was confirmed, then over the units that came since, look by look."""

    name: str
    title: str
    points: tuple[tuple[float, float], ...]

    @property
    def path(self) -> str:
        """The points as SVG writes them."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)


@dataclass(frozen=True)
class ReplicationPlot:
    """Drops against looks, and what they come to.

    Attributes:
        stated: mean drop of the pairs when they were confirmed, which is lucky.
        since: mean drop of the same pairs over the units that came since.
    """

    width: float
    height: float
    left: float
    top: float
    right: float
    bottom: float
    zero: float
    looks: tuple[Tick, ...]
    ticks: tuple[Tick, ...]
    traces: tuple[Trace, ...]
    stated: float
    since: float
    is_named: bool


def replication_plot(
    replication: Sequence[Mapping[str, Any]], looks: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> ReplicationPlot | None:
    """The plot of the confirmed pairs that later units tell of; None where there are none.

    Args:
        replication: rows of the replication table.
        looks: rows of the looks table.
        names: the class names by id.
    """
    stated = {(row["class_id"], row["look"]): row["drop"] for row in looks}
    by_class: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(replication, key=lambda row: (row["class_id"], row["look"])):
        first = stated.get((row["class_id"], row["confirmed_look"]))
        if row["drop_since"] is not None and first is not None:
            by_class.setdefault(row["class_id"], []).append(row)
    if not by_class:
        return None
    lines = {
        class_id: [(rows[0]["confirmed_look"], stated[class_id, rows[0]["confirmed_look"]])]
        + [(row["look"], row["drop_since"]) for row in rows]
        for class_id, rows in by_class.items()
    }
    values = [0.0] + [value for line in lines.values() for _, value in line]
    step = 0.1 if max(values) - min(values) <= 0.7 else 0.2
    low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
    high = high if high > low else low + step
    numbers = sorted({look for line in lines.values() for look, _ in line})
    is_named = len(lines) <= MAX_NAMES
    right = WIDTH - (_NAMES if is_named else 14.0)

    def x(look: int) -> float:
        return float(round(_LEFT + (look - numbers[0]) / (numbers[-1] - numbers[0]) * (right - _LEFT), 2))

    def y(value: float) -> float:
        return float(round(_TOP + (high - value) / (high - low) * _SIDE, 2))

    days = {row["look"]: row["day"] for row in looks}
    every = math.ceil(len(numbers) / 5)  # days are long
    return ReplicationPlot(
        width=WIDTH,
        height=_TOP + _SIDE + _FEET,
        left=_LEFT,
        top=_TOP,
        right=right,
        bottom=_TOP + _SIDE,
        zero=y(0.0),
        looks=tuple(Tick(x(look), days.get(look, "")) for look in numbers[::-every]),
        ticks=tuple(
            Tick(y(low + step * index), f"{(low + step * index) * 100:.0f}")
            for index in range(round((high - low) / step) + 1)
        ),
        traces=tuple(
            Trace(
                names.get(class_id, class_id), _title(by_class[class_id]), tuple((x(at), y(drop)) for at, drop in line)
            )
            for class_id, line in lines.items()
        ),
        stated=_mean([line[0][1] for line in lines.values()]),
        since=_mean([line[-1][1] for line in lines.values()]),
        is_named=is_named,
    )


def _title(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the pointer tells of a pair: its drop over all units that came since."""
    last = rows[-1]
    interval = ""
    if last["low_since"] is not None:
        interval = f" [{last['low_since'] * 100:+.1f}, {last['high_since'] * 100:+.1f}]"
    return f"{last['drop_since'] * 100:+.1f} points{interval} over {last['num_units_since']} units since"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
