"""A metric of evaluations, the column `median_counter`: the counter accuracy of the class in the middle."""

from __future__ import annotations

import numpy as np

from counterset.evaluation.metric import Metric, Row, estimate, estimate_columns, percent
from counterset.statistics.metrics import COUNTER, Draws


def values(draws: Draws) -> Row:
    """The median over classes, with its interval over draws of observers."""
    return estimate("median_counter", np.median(draws.accuracy[..., COUNTER], axis=1))  # (1 + B, K) -> (1 + B,)


def shown(row: Row) -> dict[str, str]:
    """A column of the table that `counterset evaluate` prints."""
    return {"median counter %": percent(row["median_counter"])}


metric = Metric(
    estimate_columns("median_counter", "median over classes of the accuracy on counter, in [0, 1]"), values, shown
)
