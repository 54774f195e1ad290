"""How the groups of a pair differ in each covariate, and the drop as parts that add up in whatever order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from counterset.causes.control import (
    COMMON,
    COUNTER,
    LEAST_SPREAD,
    Controlled,
    Interval,
    Pair,
    by_unit,
    share_moved,
    times_as_strong,
    values_of,
)
from counterset.causes.covariates import Covariate, known_covariates
from counterset.statistics.intervals import CONFIDENCE

Bools = npt.NDArray[np.bool_]

UNEXPLAINED = "unexplained"
"""The component that no covariate explains: the background is in it, and everything that was not measured."""
BACKGROUND = "background, by intervention"
"""The component that an intervention showed: what another background does to the answers about the same animals."""

_ENDS = ("explained", "explained_low", "explained_high")


def balance_of(pair: Pair, found: Controlled) -> list[dict[str, Any]]:
    """One row per covariate of the project, whether it is known here or not (balance schema, without the class)."""
    everything = {covariate.name: number for number, covariate in enumerate(found.everything.covariates)}
    adjusted = {covariate.name: number for number, covariate in enumerate(found.adjust.covariates)}
    rows = []
    for covariate in known_covariates():
        row: dict[str, Any] = {
            "covariate": covariate.name,
            "component": covariate.component,
            "role": covariate.role,
            **difference(pair, covariate),
            **dict.fromkeys(_ENDS),
            **dict.fromkeys(("partial_r2_group", "partial_r2_outcome", "times_as_strong")),
        }
        if covariate.name in everything:
            row |= _explained(pair, found, found.everything.owner == everything[covariate.name])
        if covariate.name in adjusted:
            columns, own = found.adjust.columns, found.adjust.owner == adjusted[covariate.name]
            group, others = (pair.group == COMMON).astype(np.float64), columns[:, ~own]
            of_group = pair.partial_r2(group, others, columns[:, own])
            of_outcome = pair.partial_r2(pair.outcome, np.column_stack([group, others]), columns[:, own])
            row |= {
                "partial_r2_group": of_group,
                "partial_r2_outcome": of_outcome,
                "times_as_strong": times_as_strong(found.t_value, found.controlled.freedom, of_group, of_outcome),
            }
        rows.append(row)
    return rows


def difference(pair: Pair, covariate: Covariate) -> dict[str, Any]:
    """A covariate's means and standardised difference (Austin 2009); on a circle the length of both coordinates'."""
    values = values_of(pair.table, covariate, pair.group <= COUNTER)
    sides = [~np.isnan(values[:, 0]) & (pair.group == side) for side in (COMMON, COUNTER)]
    row: dict[str, Any] = {"num_known": int(sum(side.sum() for side in sides))}
    row |= dict.fromkeys(("mean_common", "mean_counter", "difference"))
    if min(side.sum() for side in sides) < 2:
        return row
    gap = values[sides[0]].mean(axis=0) - values[sides[1]].mean(axis=0)
    spread = np.sqrt((values[sides[0]].var(axis=0, ddof=1) + values[sides[1]].var(axis=0, ddof=1)) / 2)
    standardised = np.divide(gap, spread, out=np.zeros_like(gap), where=spread > LEAST_SPREAD)
    row |= {"difference": float(np.linalg.norm(standardised)) if len(gap) > 1 else float(standardised[0])}
    if covariate.scale in ("number", "log"):
        raw = np.array([math.nan if value is None else value for value in pair.table[covariate.name].to_pylist()])
        means = [float(raw[side].mean()) for side in sides]
        row |= {"mean_common": means[0], "mean_counter": means[1]}
    return row


def components_of(pair: Pair, found: Controlled, unexplained: Interval) -> list[dict[str, Any]]:
    """One row per component of the project and one of what none explains (decomposition schema, without the class).

    The rows sum to the drop of the pairs table.

    Args:
        pair: the photos.
        found: their regressions.
        unexplained: the drop with all covariates taken out, which may pass what accuracies allow, as parts may.
    """
    rows = []
    for component in dict.fromkeys(covariate.component for covariate in known_covariates()):
        numbers = [n for n, covariate in enumerate(found.everything.covariates) if covariate.component == component]
        row: dict[str, Any] = {
            "component": component,
            "covariates": [found.everything.covariates[number].name for number in numbers],
            **dict.fromkeys(_ENDS),
        }
        rows.append(row | (_explained(pair, found, np.isin(found.everything.owner, numbers)) if numbers else {}))
    ends = dict(zip(_ENDS, unexplained[:3], strict=True))
    return [*rows, {"component": UNEXPLAINED, "covariates": []} | ends]


def with_background(rows: Iterable[Mapping[str, Any]], effect: Interval) -> list[dict[str, Any]]:
    """The components of one class's drop, with what an intervention showed of its background beside them.

    The intervention exchanges all of a background's look. So a component with a covariate in which that look may be is
    none of its own any more: it goes into what is unexplained, from which the effect is taken. The rows still sum to
    the drop. What is unexplained then has the errors of all that it is made of, as if they were independent.

    Args:
        rows: of the decomposition schema, of one class.
        effect: of the background on the answers of the same models, with its interval.
    """
    shared = {covariate.component for covariate in known_covariates() if covariate.role == "apart"}
    kept = [dict(row) for row in rows if row["component"] not in {*shared, UNEXPLAINED}]
    folded = [row for row in rows if row["component"] in {*shared, UNEXPLAINED} and row["explained"] is not None]
    value = math.fsum(row["explained"] for row in folded) - effect.drop
    left: dict[str, Any] = {"component": UNEXPLAINED, "covariates": []} | dict.fromkeys(_ENDS) | {"explained": value}
    arms = [[row["explained"] - row["explained_low"] for row in folded if row["explained_low"] is not None]]
    arms += [[row["explained_high"] - row["explained"] for row in folded if row["explained_high"] is not None]]
    if effect.low is not None and effect.high is not None and {len(arm) for arm in arms} == {len(folded)}:
        below = math.hypot(*arms[0], effect.high - effect.drop)
        above = math.hypot(*arms[1], effect.drop - effect.low)
        left |= {"explained_low": value - below, "explained_high": value + above}
    shown = {"component": BACKGROUND, "covariates": []} | dict(zip(_ENDS, effect[:3], strict=True))
    return [*({name: row[name] for name in left} for row in kept), shown, left]


def over_classes(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The mean of each component over the classes of decomposition rows, in their order.

    A class in which nothing of a component is known counts as 0, for its regression gives it nothing. Each end of an
    interval lies as far from the mean as classes that are independent of each other make it.

    Returns:
        component, num_classes (in which it is known), explained, explained_low and explained_high; null where it is
        known of no class.
    """
    by_component: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_component.setdefault(row["component"], []).append(row)
    means = []
    for component, own in by_component.items():
        known = [row for row in own if row["explained"] is not None]
        mean: dict[str, Any] = {"component": component, "num_classes": len(known)} | dict.fromkeys(_ENDS)
        if known:
            value = math.fsum(row["explained"] for row in known) / len(own)
            mean["explained"] = value
            for end, sign in (("explained_low", -1), ("explained_high", 1)):
                if all(row[end] is not None for row in known):
                    squares = math.fsum((row[end] - row["explained"]) ** 2 for row in known)
                    mean[end] = value + sign * math.sqrt(squares) / len(own)
        means.append(mean)
    return means


def _explained(pair: Pair, found: Controlled, own: Bools) -> dict[str, float]:
    """The part of the drop that goes with some columns: coefficients times differences (Gelbach 2016).

    The parts of all covariates and the coefficient of the group sum to the plain drop, in whatever order. Of the luck
    of the choice, which is in the plain drop, each part holds as much as it moves with that drop from unit to unit;
    that is taken out. The parts and the coefficient of the group move by the plain drop's move, so the shares sum to 1.
    """
    columns = found.everything.columns[:, own]
    sides = [pair.group == side for side in (COMMON, COUNTER)]
    means = [columns[side].mean(axis=0) for side in sides]
    gap, coefficients = means[0] - means[1], found.whole.coefficients[own]
    # (N, P) what each photo adds to the errors of the differences
    of_gap = np.zeros_like(columns)
    for side, mean, sign in zip(sides, means, (1, -1), strict=True):
        of_gap[side] = sign * (columns[side] - mean) / side.sum()
    moves = by_unit(of_gap, pair.unit) @ coefficients + found.whole.moves[:, 1:][:, own] @ gap
    size = found.whole.num_units
    reach = float(t.ppf((1 + CONFIDENCE) / 2, size - 1)) * math.sqrt(float((moves**2).sum()) * size / (size - 1))
    value = float(coefficients @ gap) - share_moved(moves, found.plain) * found.luck
    return dict(zip(_ENDS, (value, value - reach, value + reach), strict=True))
