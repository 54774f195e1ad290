"""Models beside each other on the same photos: differences with intervals, corrected for how many there are.

All models share the draws of units, so a difference is paired by unit: what a photographer's photos have in common
cancels. Its standard error is that of its draws, its quantiles are Student's with the degrees of freedom that
the units leave (`intervals.few_observers`). p-values are corrected by Holm (1979) over all comparisons of a measure, so
the chance of any false difference is at most 5 %, however the comparisons depend on each other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import t

from counterset.statistics.intervals import CONFIDENCE, FewObservers
from counterset.statistics.metrics import COMMON, COUNTER, Draws, Outcomes
from counterset.statistics.observers import Bools, Floats
from counterset.statistics.power import POWER
from counterset.statistics.schemas import MODEL_PAIRS, MODEL_RANKS
from counterset.tables import table_of

LEVEL = 1 - CONFIDENCE
MEASURES = ("drop", "common", "counter")
"""Each with its own family of comparisons."""


class Difference(StrEnum):
    """What a comparison says."""

    HIGHER = "higher"
    LOWER = "lower"
    UNDECIDED = "undecided"
    SAME = "same"


def measured(draws: Draws, classes: slice = slice(None)) -> dict[str, Floats]:
    """Each measure by draw: (1 + B,), the first without weights.

    Args:
        draws: of one model.
        classes: whose means they are.
    """
    balanced = draws.accuracy[:, classes].mean(axis=1)
    common, counter = balanced[:, COMMON], balanced[:, COUNTER]
    return {"drop": common - counter, "common": common, "counter": counter}


def model_pairs(outcomes: Outcomes, draws: Sequence[Draws]) -> pa.Table:
    """One row per two models and measure (model_pairs schema).

    Args:
        outcomes: of at least two models.
        draws: of each of them, in order.
    """
    values = [measured(one) for one in draws]
    rows: list[dict[str, Any]] = []
    for measure in MEASURES:
        side = {"common": outcomes.side == COMMON, "counter": outcomes.side == COUNTER}.get(measure)
        pairs = list(itertools.combinations(range(len(draws)), 2))
        compared = [
            {
                "model": outcomes.models[one],
                "other": outcomes.models[other],
                "measure": measure,
                **_only(outcomes.is_correct[:, [one, other]], side),
                **_difference(values[one][measure] - values[other][measure], draws[one].few, len(pairs)),
            }
            for one, other in pairs
        ]
        rows += _corrected(compared)
    return table_of(MODEL_PAIRS, rows)


def model_ranks(outcomes: Outcomes, draws: Sequence[Draws], pairs: pa.Table) -> pa.Table:
    """One row per model, with the ranks that the comparisons leave it (model_ranks schema).

    A model's true rank is outside of its range only if some comparison is false, so all ranges together hold all true
    ranks in at least 95 % of evaluations.
    """
    larger: dict[str, set[str]] = {model: set() for model in outcomes.models}
    for row in pairs.to_pylist():
        if row["measure"] == "drop" and row["verdict"] in (Difference.HIGHER, Difference.LOWER):
            ends = (row["model"], row["other"])
            high, low = ends if row["verdict"] == Difference.HIGHER else ends[::-1]
            larger[low].add(high)
    smaller = {model: {low for low, of in larger.items() if model in of} for model in outcomes.models}
    rows = [
        {
            "model": model,
            **{measure: float(value[0]) for measure, value in measured(one).items()},
            "rank_low": 1 + len(smaller[model]),
            "rank_high": len(outcomes.models) - len(larger[model]),
        }
        for model, one in zip(outcomes.models, draws, strict=True)
    ]
    return table_of(MODEL_RANKS, rows)


def between_parts(parts: Sequence[tuple[str, Draws, int]]) -> list[dict[str, Any]]:
    """One row per model and measure: one part of the photos less the other.

    Args:
        parts: of each model its name, its draws over the classes of both parts, in which a unit of both has one weight,
            and how many of the classes, from the first, are of the first part.

    Returns:
        `model`, `measure`, `first`, `second` and the columns of a comparison.
    """
    rows: list[dict[str, Any]] = []
    for measure in MEASURES:
        compared = []
        for model, draws, num_first in parts:
            first = measured(draws, slice(num_first))[measure]
            second = measured(draws, slice(num_first, None))[measure]
            compared.append(
                {
                    "model": model,
                    "measure": measure,
                    "first": float(first[0]),
                    "second": float(second[0]),
                    **_difference(first - second, draws.few, len(parts)),
                }
            )
        rows += _corrected(compared)
    return rows


def _difference(drawn: Floats, few: FewObservers, num_compared: int) -> dict[str, float]:
    """A difference, its interval, p-value, and the smallest true one that so many comparisons show with power 0.8."""
    error = float(drawn[1:].std(ddof=1)) * math.sqrt(few.lost)
    value, quantile = float(drawn[0]), float(t.ppf(1 - LEVEL / 2, few.freedom))
    if error < 1e-12:  # no draw changes it, but for rounding
        error = 0.0
    p_value = float(2 * t.sf(abs(value) / error, few.freedom)) if error else float(abs(value) < 1e-9)
    needed = float(t.ppf(1 - LEVEL / (2 * num_compared), few.freedom) + t.ppf(POWER, few.freedom))
    return {
        "difference": value,
        "low": value - quantile * error,
        "high": value + quantile * error,
        "p_value": p_value,
        "detectable": needed * error,
    }


def _corrected(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a measure with their corrected p-values and what they say."""
    if not rows:
        return []
    corrected = _holm(np.array([row["p_value"] for row in rows]))
    found = []
    for row, p_value in zip(rows, corrected, strict=True):
        verdict = Difference.UNDECIDED
        is_same = row["p_value"] == 1 and row["detectable"] == 0  # in every draw
        if is_same if "first" in row else row["num_model_only"] == row["num_other_only"] == 0:
            verdict = Difference.SAME
        elif p_value <= LEVEL:
            verdict = Difference.HIGHER if row["difference"] > 0 else Difference.LOWER
        found.append({**row, "p_adjusted": float(p_value), "verdict": verdict.value})
    return found


def _holm(p_values: Floats) -> Floats:
    """(C,) corrected p-values. statsmodels' own collects garbage in each call, which took 99 % of a comparison."""
    order = np.argsort(p_values, kind="stable")
    steps = (len(order) - np.arange(len(order))) * p_values[order]
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def _only(is_correct: Bools, of_side: Bools | None) -> dict[str, int]:
    """Photos that one of two models alone gets right; all others are ties.

    Args:
        is_correct: (N, 2)
        of_side: (N,) the photos that count; None = all.
    """
    one, other = (is_correct if of_side is None else is_correct[of_side]).T
    return {
        "num_photos": len(one),
        "num_model_only": int((one & ~other).sum()),
        "num_other_only": int((other & ~one).sum()),
    }
