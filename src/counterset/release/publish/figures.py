"""The report's drawings as plain coordinates; the template turns them into SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterset.release.publish.summary import ModelScore

WIDTH = 460
"""Units of every drawing's width; a phone shows them at about 0.8 pixels each."""

_ROW = 21
_LABELS = 118
_TOP = 26


@dataclass(frozen=True)
class Tick:
    """One axis tick: its position and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Other:
    """A pair's drop under one model and set of prompts."""

    x: float
    title: str


@dataclass(frozen=True)
class DropRow:
    """One class of the drop plot; positions in drawing units."""

    label: str
    title: str
    verdict: str
    y: float
    x: float
    low: float
    high: float
    others: tuple[Other, ...] = ()


@dataclass(frozen=True)
class DropPlot:
    """Drops over classes, largest first, with their intervals and a line at zero."""

    width: int
    height: float
    left: float
    top: float
    zero: float
    rows: tuple[DropRow, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Point:
    """One model of the scatter."""

    number: int
    title: str
    family: int
    is_in_sample: bool
    x: float
    y: float


@dataclass(frozen=True)
class Line:
    """A fitted line, clipped to the axes."""

    family: int
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Scatter:
    """Accuracy on counter against accuracy on common, one point per model."""

    width: int
    height: float
    left: float
    top: float
    side: float
    ticks: tuple[Tick, ...]
    points: tuple[Point, ...]
    lines: tuple[Line, ...]
    families: tuple[str, ...]
    is_numbered: bool


def drop_plot(
    pairs: Sequence[Mapping[str, Any]], names: Mapping[str, str], sensitivity: Sequence[Mapping[str, Any]] = ()
) -> DropPlot | None:
    """The drop plot of `pairs` rows, with `sensitivity` rows as small marks; None when no class has a drop."""
    rows = [row for row in pairs if row["drop"] is not None]
    if not rows:
        return None
    rows.sort(key=lambda row: (-row["drop"], row["class_id"]))
    ends = [0.0] + [row[key] for row in rows for key in ("drop", "drop_low", "drop_high") if row[key] is not None]
    ends += [row["drop"] for row in sensitivity]
    step = 0.1 if max(ends) - min(ends) <= 0.7 else 0.2
    low, high = math.floor(min(ends) / step) * step, math.ceil(max(ends) / step) * step
    high = high if high > low else low + step

    def x(value: float) -> float:
        return float(round(_LABELS + (value - low) / (high - low) * (WIDTH - _LABELS - 14), 2))

    drawn = []
    for index, row in enumerate(rows):
        interval = row["drop_low"], row["drop_high"]
        bounds = interval if None not in interval else (row["drop"], row["drop"])
        drawn.append(
            DropRow(
                label=names.get(row["class_id"], row["class_id"]),
                title=f"{row['drop'] * 100:+.1f} points [{bounds[0] * 100:+.1f}, {bounds[1] * 100:+.1f}]",
                verdict=row["verdict"],
                y=_TOP + _ROW * (index + 0.5),
                x=x(row["drop"]),
                low=x(bounds[0]),
                high=x(bounds[1]),
                others=tuple(
                    Other(
                        x(other["drop"]), f"{other['model']}, {other['templates']} prompts: {100 * other['drop']:+.1f}"
                    )
                    for other in sensitivity
                    if other["class_id"] == row["class_id"]
                ),
            )
        )
    count = round((high - low) / step)
    ticks = [low + step * i for i in range(count + 1)]
    return DropPlot(
        width=WIDTH,
        height=_TOP + _ROW * len(rows) + 10,
        left=_LABELS,
        top=_TOP,
        zero=x(0.0),
        rows=tuple(drawn),
        ticks=tuple(Tick(x(tick), f"{tick * 100:.0f}" if abs(tick) > 1e-9 else "0") for tick in ticks),
    )


def scatter(scores: Sequence[ModelScore]) -> Scatter | None:
    """The scatter over models with one least-squares line (linear axes) for each family of
    three or more models, in-sample models left out of the fit; None without models."""
    if not scores:
        return None
    values = [value for score in scores for value in (score.common, score.counter)]
    low = max(math.floor((min(values) - 0.02) * 10) / 10, 0.0)
    high = min(math.ceil((max(values) + 0.02) * 10) / 10, 1.0)
    left, top, side = 44.0, 10.0, float(WIDTH - 44 - 12)
    families = tuple(sorted({score.family for score in scores}))

    def x(value: float) -> float:
        return round(left + (value - low) / (high - low) * side, 2)

    def y(value: float) -> float:
        return round(top + side - (value - low) / (high - low) * side, 2)

    points = tuple(
        Point(
            number,
            f"{score.name}: common {score.common * 100:.1f}, counter {score.counter * 100:.1f}",
            families.index(score.family),
            score.is_in_sample,
            x(score.common),
            y(score.counter),
        )
        for number, score in enumerate(scores, 1)
    )
    lines = []
    for index, family in enumerate(families):
        own = [score for score in scores if score.family == family and not score.is_in_sample]
        commons = np.array([score.common for score in own])
        if len(own) >= 3 and np.ptp(commons) > 1e-6:
            slope, intercept = np.polyfit(commons, [score.counter for score in own], 1)
            ends = _clip(float(slope), float(intercept), float(commons.min()), float(commons.max()), low, high)
            if ends:
                lines.append(Line(index, x(ends[0]), y(ends[1]), x(ends[2]), y(ends[3])))
    step = 0.1 if high - low > 0.35 else 0.05
    ticks = [low + step * i for i in range(round((high - low) / step) + 1)]
    return Scatter(
        width=WIDTH,
        height=top + side + 44,
        left=left,
        top=top,
        side=side,
        ticks=tuple(Tick(round((tick - low) / (high - low) * side, 2), f"{tick * 100:.0f}") for tick in ticks),
        points=points,
        lines=tuple(lines),
        families=families,
        is_numbered=len(scores) <= 20,
    )


def _clip(
    slope: float, intercept: float, first: float, last: float, low: float, high: float
) -> tuple[float, float, float, float] | None:
    """The part of a line over its own points' range (a little more) that lies inside the axes."""
    slack = 0.15 * (last - first)
    start, end = max(first - slack, low), min(last + slack, high)
    if abs(slope) > 1e-9:
        crossings = sorted(((low - intercept) / slope, (high - intercept) / slope))
        start, end = max(start, crossings[0]), min(end, crossings[1])
    if start >= end:
        return None
    return start, slope * start + intercept, end, slope * end + intercept
