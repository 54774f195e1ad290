"""The unweighted mean over classes of the share of photos whose truth is among the five highest labels."""

from __future__ import annotations

from counterset.evaluation.metric import Metric, Row, percent
from counterset.schemas import FLOAT64, Column
from counterset.statistics.metrics import COMMON, COUNTER, Draws


def values(draws: Draws) -> Row:
    """Both sides; nothing for a model whose labels have no order behind the first."""
    if draws.top5 is None:
        return {"top5_common": None, "top5_counter": None}
    balanced = (draws.top5[0] / draws.photos[0]).mean(axis=0)  # (K, 2) -> (2,)
    return {"top5_common": float(balanced[COMMON]), "top5_counter": float(balanced[COUNTER])}


def shown(row: Row) -> dict[str, str]:
    """Both sides."""
    known = row["top5_common"] is not None
    return {"top 5 %": f"{percent(row['top5_common'])} / {percent(row['top5_counter'])}" if known else ""}


metric = Metric(
    (
        Column("top5_common", FLOAT64, "class-balanced, truth among the five highest; null = no scores", True),
        Column("top5_counter", FLOAT64, "the same of counter", True),
    ),
    values,
    shown,
)
