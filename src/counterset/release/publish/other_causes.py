"""What the pages say of covariates: how far the groups of pairs differ, and of which parts the drops are made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from counterset.causes.balance import UNEXPLAINED
from counterset.causes.covariates import in_words
from counterset.release.publish.figures import WIDTH, Tick
from counterset.release.publish.text import points

_ROW, _LABELS, _NUMBERS, _TOP = 21.0, 152.0, 50.0, 26.0
_MOST_TICKS = 8


@dataclass(frozen=True)
class CovariateLine:
    """One covariate over all pairs.

    Attributes:
        name: in words.
        taken_out: whether `drop_controlled` takes it out, and why not where it could.
        num_pairs: pairs for which it is known.
        largest: largest standardised difference, of either sign; None where it is known of no pair.
        class_id: of that pair; "" = it differs in none.
        explained: mean part of the drop that goes with it, over the pairs whose regression holds it.
    """

    name: str
    taken_out: str
    num_pairs: int
    largest: float | None
    class_id: str
    explained: float | None


def covariate_lines(balance: pa.Table) -> list[CovariateLine]:
    """One line per covariate: those that may be taken out first."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in balance.to_pylist():
        rows.setdefault(row["covariate"], []).append(row)
    lines = {name: _line(name, found) for name, found in rows.items()}

    def order(name: str) -> tuple[bool, bool, str]:
        return rows[name][0]["role"] != "adjust", lines[name].largest is None, lines[name].name

    return [lines[name] for name in sorted(lines, key=order)]


def _line(name: str, rows: list[dict[str, Any]]) -> CovariateLine:
    known = [row for row in rows if row["difference"] is not None]
    most = max(known, key=lambda row: (abs(row["difference"]), row["class_id"]), default=None)
    parts = [row["explained"] for row in rows if row["explained"] is not None]
    return CovariateLine(
        in_words([name]),
        _taken_out(rows, known),
        len(known),
        most["difference"] if most else None,
        most["class_id"] if most and most["difference"] else "",
        math.fsum(parts) / len(parts) if parts else None,
    )


def _taken_out(rows: Sequence[Mapping[str, Any]], known: Sequence[Mapping[str, Any]]) -> str:
    held = sum(row["explained"] is not None for row in rows)
    if rows[0]["role"] != "adjust":
        return "no"
    if held:
        return "yes" if held == len(known) else f"in {held} of {len(known)}"
    if known and all(row["difference"] == 0 for row in known):
        return "no: always the same"
    return "no: too little is known"


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
        held: of each component with covariates what they are, in words.
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
    held: tuple[tuple[str, str], ...]
    total: float


def held_by(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Component -> the covariates that it holds in any of some decomposition rows."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["covariates"]:
            known = found.setdefault(row["component"], [])
            known += [name for name in row["covariates"] if name not in known]
    return found


def parts_plot(
    components: Sequence[Mapping[str, Any]], held: Mapping[str, Sequence[str]] | None = None
) -> PartsPlot | None:
    """The plot of one class's decomposition rows, or of their means; None without any.

    Args:
        components: rows of one drop.
        held: of `held_by`, where the plot is to say it.
    """
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
        held=tuple((name, in_words(names)) for name, names in sorted((held or {}).items())),
        total=math.fsum(row["explained"] for row in known),
    )
