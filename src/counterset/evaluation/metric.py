"""What a metric of an evaluation is: its columns with their meaning, their values, and what is shown of them.

A metric is a file in `counterset.evaluation.metrics`, or an entry point of the group `counterset.metrics` of another
package. The table's schema, the reference, the command line and the bootstrap ask the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from counterset.schemas import FLOAT64, Column
from counterset.statistics.intervals import drawn_interval
from counterset.statistics.metrics import Draws
from counterset.statistics.observers import Floats

Row = Mapping[str, Any]


class Metric(NamedTuple):
    """One metric.

    Attributes:
        columns: of the table `metrics`, with their meaning.
        values: from one model's draws to the value of each column.
        shown: from a model's row to what the command line shows of it, by title.
    """

    columns: tuple[Column, ...]
    values: Callable[[Draws], Row]
    shown: Callable[[Row], Mapping[str, str]]


def estimate_columns(name: str, doc: str) -> tuple[Column, Column, Column]:
    """The columns of a value and of its interval."""
    return (
        Column(name, FLOAT64, doc),
        Column(f"{name}_low", FLOAT64, "lower end of its 95 % interval, over units"),
        Column(f"{name}_high", FLOAT64, "upper end"),
    )


def estimate(name: str, drawn: Floats, widening: float = 1.0) -> dict[str, float]:
    """A value and its interval.

    Args:
        name: of the column.
        drawn: (1 + B,) the plain value, then one value per draw of observers.
        widening: `Draws.widening`.
    """
    low, high = drawn_interval(drawn[1:], widening)
    return {name: float(drawn[0]), f"{name}_low": float(low), f"{name}_high": float(high)}


def percent(value: float | None) -> str:
    """A fraction in percent or points."""
    return "" if value is None else f"{100 * value:.1f}"


def interval(row: Row, name: str) -> str:
    """A value's interval in percent or points."""
    return "" if row[name] is None else f"{percent(row[f'{name}_low'])} to {percent(row[f'{name}_high'])}"
