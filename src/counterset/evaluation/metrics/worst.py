"""The lowest accuracy of a class on one side, and the largest drop of a class: extremes, which lean outwards."""

from __future__ import annotations

import numpy as np

from counterset.evaluation.metric import Metric, Row, percent
from counterset.schemas import FLOAT64, STRING, Column
from counterset.statistics.metrics import COMMON, COUNTER, SIDES, Draws


def values(draws: Draws) -> Row:
    """Both extremes and where they are; of equal ones the first by class, then common."""
    accuracy = draws.accuracy[0]  # (K, 2)
    lowest, side = np.unravel_index(int(accuracy.argmin()), accuracy.shape)
    drops = accuracy[:, COMMON] - accuracy[:, COUNTER]
    return {
        "worst_group": float(accuracy[lowest, side]),
        "worst_group_name": f"{draws.class_ids[lowest]} {SIDES[side]}",
        "worst_drop": float(drops.max()),
        "worst_drop_class": draws.class_ids[int(drops.argmax())],
    }


def shown(row: Row) -> dict[str, str]:
    """The lowest accuracy."""
    return {"worst group": f"{row['worst_group_name']} {percent(row['worst_group'])}"}


metric = Metric(
    (
        Column("worst_group", FLOAT64, "lowest accuracy of a class and side, in [0, 1]"),
        Column("worst_group_name", STRING, "that class and side, e.g. lion counter"),
        Column("worst_drop", FLOAT64, "largest drop of a class"),
        Column("worst_drop_class", STRING, "that class"),
    ),
    values,
    shown,
)
