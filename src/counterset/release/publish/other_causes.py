"""What the pages say of covariates: how far the groups of pairs differ, and of which parts the drops are made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from counterset.causes.balance import UNEXPLAINED
from counterset.release.publish.figures import WIDTH, Tick
from counterset.release.publish.text import points

_ROW, _LABELS, _NUMBERS, _TOP = 21.0, 152.0, 50.0, 26.0
_MOST_TICKS = 8


@dataclass(frozen=True)
class CovariateLine:
    """One covariate over all pairs.

    Attributes:
        name: in words.
        is_adjusted: whether `drop_controlled` takes it out.
        num_pairs: pairs for which it is known.
        largest: largest standardised difference, of either sign; None where it is known of no pair.
        class_id: of that pair.
        explained: mean part of the drop that goes with it, over the pairs whose regression holds it.
    """

    name: str
    is_adjusted: bool
    num_pairs: int
    largest: float | None
    class_id: str
    explained: float | None


def covariate_lines(balance: pa.Table) -> list[CovariateLine]:
    """One line per covariate, in the project's order of components: those taken out first."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in balance.to_pylist():
        rows.setdefault(row["covariate"], []).append(row)
    lines = [_line(name, found) for name, found in rows.items()]
    return sorted(lines, key=lambda line: (not line.is_adjusted, line.largest is None, line.name))


def _line(name: str, rows: list[dict[str, Any]]) -> CovariateLine:
    known = [row for row in rows if row["difference"] is not None]
    most = max(known, key=lambda row: (abs(row["difference"]), row["class_id"]), default=None)
    parts = [row["explained"] for row in rows if row["explained"] is not None]
    return CovariateLine(
        name.replace("_", " "),
        rows[0]["role"] == "adjust",
        len(known),
        most["difference"] if most else None,
        most["class_id"] if most else "",
        math.fsum(parts) / len(parts) if parts else None,
    )


@dataclass(frozen=True)
class PartRow:
    """One component of a drop; positions in drawing units, None = no interval."""

    label: str
    title: str
    number: str
    is_unexplained: bool
    y: float
    x: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PartsPlot:
    """A drop as the sum of its components.

    Attributes:
        rows: components of which something is known; what none explains comes last.
        missing: the others, in words.
        total: the drop.
    """

    width: float
    height: float
    left: float
    right: float
    top: float
    zero: float
    rows: tuple[PartRow, ...]
    ticks: tuple[Tick, ...]
    missing: tuple[str, ...]
    total: float


def parts_plot(components: Sequence[Mapping[str, Any]]) -> PartsPlot | None:
    """The plot of one class's decomposition rows, or of their means; None without any."""
    known = sorted(
        (row for row in components if row["explained"] is not None), key=lambda row: row["component"] == UNEXPLAINED
    )
    if not known:
        return None
    ends = [row[key] for row in known for key in ("explained", "explained_low", "explained_high")]
    values = [0.0, *(value for value in ends if value is not None)]
    spread = max(max(values) - min(values), 0.02)
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if spread / step <= _MOST_TICKS - 2)
    low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
    high = high if high > low else low + step
    right = WIDTH - _NUMBERS

    def x(value: float) -> float:
        return float(round(_LABELS + (value - low) / (high - low) * (right - _LABELS), 2))

    rows = []
    for number, row in enumerate(known):
        interval = row["explained_low"], row["explained_high"]
        has_interval = None not in interval
        rows.append(
            PartRow(
                label=row["component"],
                title=points(row["explained"], signed=True)
                + (f" points ({points(interval[0])} to {points(interval[1])})" if has_interval else " points"),
                number=points(row["explained"], signed=True),
                is_unexplained=row["component"] == UNEXPLAINED,
                y=_TOP + _ROW * (number + 0.5),
                x=x(row["explained"]),
                low=x(interval[0]) if has_interval else None,
                high=x(interval[1]) if has_interval else None,
            )
        )
    return PartsPlot(
        width=WIDTH,
        height=_TOP + _ROW * len(rows) + 8,
        left=_LABELS,
        right=right,
        top=_TOP,
        zero=x(0.0),
        rows=tuple(rows),
        ticks=tuple(
            Tick(x(low + step * place), points(low + step * place).removesuffix(".0"))
            for place in range(round((high - low) / step) + 1)
        ),
        missing=tuple(row["component"] for row in components if row["explained"] is None),
        total=math.fsum(row["explained"] for row in known),
    )
