"""How the groups of a pair differ in each covariate, and the drop as parts that add up in whatever order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy.special import stdtrit

from counterset.causes.control import Controlled, Interval, Pair, times_as_strong
from counterset.causes.covariates import known_covariates
from counterset.causes.design import COMMON, COUNTER, LEAST_SPREAD, Floats, Ints, numbers_of
from counterset.causes.regression import share_moved
from counterset.statistics.intervals import CONFIDENCE

UNEXPLAINED = "unexplained"
"""The component that no covariate explains: the background is in it, and everything that was not measured."""
BACKGROUND = "background, by intervention"
"""The component that an intervention showed: what another background does to the answers about the same animals."""

_WITH_MEANS = ("number", "log")
"""Scales whose plain means say something."""
_ENDS = ("explained", "explained_low", "explained_high")


def balance_of(pair: Pair, found: Controlled) -> list[dict[str, Any]]:
    """One row per covariate of the project, whether it is known here or not (balance schema, without the class)."""
    everything = [covariate.name for covariate in found.everything.covariates]
    adjusted = {covariate.name: number for number, covariate in enumerate(found.adjust.covariates)}
    explained = dict(zip(everything, _explained(found, [[number] for number in range(len(everything))]), strict=True))
    gaps = differences(pair)
    rows = []
    for covariate in known_covariates():
        row: dict[str, Any] = {
            "covariate": covariate.name,
            "component": covariate.component,
            "role": covariate.role,
            **gaps[covariate.name],
            **dict.fromkeys(_ENDS),
            **dict.fromkeys(("partial_r2_group", "partial_r2_outcome", "times_as_strong")),
            **explained.get(covariate.name, {}),
        }
        if covariate.name in adjusted:
            own = np.flatnonzero(found.adjust.owner == adjusted[covariate.name])
            of_group, of_outcome = found.controlled.partial_r2(own)
            row |= {
                "partial_r2_group": of_group,
                "partial_r2_outcome": of_outcome,
                "times_as_strong": times_as_strong(found.t_value, found.controlled.freedom, of_group, of_outcome),
            }
        rows.append(row)
    return rows


def differences(pair: Pair) -> dict[str, dict[str, Any]]:
    """Of every covariate its means and standardised difference (Austin 2009), on a circle the length of both
    coordinates'; null where fewer than two photos of a side are known."""
    covariates = known_covariates()
    first = np.cumsum([0, *(pair.values[covariate.name].shape[1] for covariate in covariates)])
    raw = {one.name: numbers_of(pair.table[one.name]) for one in covariates if one.scale in _WITH_MEANS}
    # (columns, N): on their scales, and as they are
    stacked = np.stack([*(column for one in covariates for column in pair.values[one.name].T), *raw.values()])
    known, mean, variance = zip(*(_moments(stacked[:, pair.group == side]) for side in (COMMON, COUNTER)), strict=True)
    gap, spread = mean[0] - mean[1], np.sqrt((variance[0] + variance[1]) / 2)
    standardised = np.divide(gap, spread, out=np.zeros_like(gap), where=spread > LEAST_SPREAD)
    place_of_raw = {name: place for place, name in enumerate(raw, first[-1])}
    rows = {}
    for covariate, start, end in zip(covariates, first[:-1], first[1:], strict=True):
        row: dict[str, Any] = {"num_known": int(known[0][start] + known[1][start])}
        row |= dict.fromkeys(("mean_common", "mean_counter", "difference"))
        if min(known[0][start], known[1][start]) >= 2:
            own = standardised[start:end]
            row |= {"difference": float(np.linalg.norm(own)) if len(own) > 1 else float(own[0])}
            if covariate.name in place_of_raw:
                means = (float(of_side[place_of_raw[covariate.name]]) for of_side in mean)
                row |= dict(zip(("mean_common", "mean_counter"), means, strict=True))
        rows[covariate.name] = row
    return rows


def _moments(values: Floats) -> tuple[Ints, Floats, Floats]:
    """(K, N) values, nan = not known -> (K,) how many are known, their mean, and their variance with one less."""
    is_known = ~np.isnan(values)
    known = is_known.sum(axis=1)
    mean = np.where(is_known, values, 0.0).sum(axis=1) / np.maximum(known, 1)
    squares = np.where(is_known, (values - mean[:, None]) ** 2, 0.0).sum(axis=1)
    return known, mean, squares / np.maximum(known - 1, 1)


def components_of(found: Controlled, unexplained: Interval) -> list[dict[str, Any]]:
    """One row per component of the project and one of what none explains (decomposition schema, without the class).

    The rows sum to the drop of the pairs table.

    Args:
        found: the regressions of the pair.
        unexplained: the drop with all covariates taken out, which may pass what accuracies allow, as parts may.
    """
    covariates = found.everything.covariates
    components = dict.fromkeys(covariate.component for covariate in known_covariates())
    numbers = {name: [n for n, one in enumerate(covariates) if one.component == name] for name in components}
    explained = iter(_explained(found, [own for own in numbers.values() if own]))
    rows = [
        {"component": name, "covariates": [covariates[number].name for number in own], **dict.fromkeys(_ENDS)}
        | (next(explained) if own else {})
        for name, own in numbers.items()
    ]
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


def _explained(found: Controlled, sets: list[list[int]]) -> list[dict[str, float]]:
    """The parts of the drop that go with some covariates: coefficients times differences (Gelbach 2016).

    The parts of all covariates and the coefficient of the group sum to the plain drop, in whatever order. Of the luck
    of the choice, which is in the plain drop, each part holds as much as it moves with that drop from unit to unit;
    that is taken out. The parts and the coefficient of the group move by the plain drop's move, so the shares sum to 1.

    Args:
        found: the regressions of the pair.
        sets: of covariates, as indices into `found.everything.covariates`; one part each.
    """
    # (P, K) which columns are in each set
    taken = np.array([np.isin(found.everything.owner, own) for own in sets], np.float64).reshape(len(sets), -1).T
    moves = found.part_moves @ taken
    size = found.whole.num_units
    quantile = float(stdtrit(size - 1, (1 + CONFIDENCE) / 2))
    reach = quantile * np.sqrt((moves**2).sum(axis=0) * size / (size - 1))
    values = found.parts @ taken - share_moved(moves, found.plain) * found.luck
    ends = np.stack([values, values - reach, values + reach], axis=1).tolist()
    return [dict(zip(_ENDS, of_set, strict=True)) for of_set in ends]
