"""The mean over photos, in which a class counts as much as it has photos."""

from __future__ import annotations

from counterset.evaluation.metric import Metric, Row, estimate, estimate_columns, percent
from counterset.schemas import FLOAT64, Column
from counterset.statistics.metrics import COMMON, COUNTER, Draws


def values(draws: Draws) -> Row:
    """Both sides, and the drop with its interval."""
    # (1 + B, K, 2) -> (1 + B, 2)
    average = draws.correct.sum(axis=1) / draws.photos.sum(axis=1)
    sides = {
        "photo_average_common": float(average[0, COMMON]),
        "photo_average_counter": float(average[0, COUNTER]),
    }
    return sides | estimate("photo_average_drop", average[:, COMMON] - average[:, COUNTER], draws.widening)


def shown(row: Row) -> dict[str, str]:
    """The drop."""
    return {"by photo %": percent(row["photo_average_drop"])}


metric = Metric(
    (
        Column("photo_average_common", FLOAT64, "share of all common photos that are right, in [0, 1]"),
        Column("photo_average_counter", FLOAT64, "the same of counter"),
        *estimate_columns("photo_average_drop", "photo_average_common - photo_average_counter"),
    ),
    values,
    shown,
)
