"""The unweighted mean over classes: the metric of CounterAnimal (arXiv 2403.11497), and of the lines."""

from __future__ import annotations

from counterset.evaluation.metric import Metric, Row, estimate, estimate_columns, interval, percent
from counterset.statistics.metrics import COMMON, COUNTER, Draws


def values(draws: Draws) -> Row:
    """Both sides and the drop, with their intervals."""
    balanced = draws.balanced
    common, counter = balanced[:, COMMON], balanced[:, COUNTER]
    drawn = {"common": common, "counter": counter, "drop": common - counter}
    return {key: value for name in drawn for key, value in estimate(name, drawn[name], draws.widening).items()}


def shown(row: Row) -> dict[str, str]:
    """Both sides, and the drop with its interval."""
    sides = {f"{name} %": percent(row[name]) for name in ("common", "counter", "drop")}
    return {**sides, "95 % interval": interval(row, "drop")}


metric = Metric(
    (
        *estimate_columns("common", "class-balanced accuracy on common, in [0, 1]"),
        *estimate_columns("counter", "class-balanced accuracy on counter, in [0, 1]"),
        *estimate_columns("drop", "common - counter"),
    ),
    values,
    shown,
)
