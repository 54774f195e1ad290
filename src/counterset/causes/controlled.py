"""What remains of each pair's drop once its covariates are out: the balance, decomposition and controlled tables of
a release.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.causes.balance import balance_of, components_of
from counterset.causes.control import (
    COMMON,
    COUNTER,
    MIN_UNITS,
    Controlled,
    Interval,
    Pair,
    Regression,
    control,
    design_of,
    moved,
    robustness_value,
)
from counterset.causes.covariates import answers_of, mean_outcomes
from counterset.causes.schemas import BALANCE, CONTROLLED, DECOMPOSITION
from counterset.causes.wrong_answers import units_of
from counterset.schemas import Half
from counterset.statistics.observers import CONFIRM, DISCOVER, Dispersion, Results, estimate_dispersion
from counterset.statistics.permutation import TIE, selection_test
from counterset.statistics.selector_margin import double_ranks
from counterset.tables import ranks, table_of

FLOOR = 0.02
"""Accuracies of a pair that are both nearer than this to 0, or to 1, leave a drop no room."""

_READ = ("photo_id", "class_id", "group", "half", "observer")

Floats = npt.NDArray[np.float64]


class Remains(NamedTuple):
    """Tables of the balance, decomposition and controlled schemas."""

    balance: pa.Table
    decomposition: pa.Table
    controlled: pa.Table


class _Class(NamedTuple):
    """One class's photos with an answer of every selector, and its row of pairs."""

    row: dict[str, Any]
    photos: pa.Table
    covariates: pa.Table
    outcome: Floats
    rank: Floats
    """Mean rank of the selectors' margins among the class's photos, in [0, 1]."""
    unit: npt.NDArray[np.int64]


def what_remains(
    all_photos: pa.Table,
    pairs: pa.Table,
    predictions: pa.Table,
    covariates: pa.Table,
    selectors: Collection[str],
    *,
    min_photos: int,
    num_permutations: int,
    seed: int,
) -> Remains:
    """One row per class with a pair, one per class and covariate, and one per class and component.

    Args:
        all_photos: photo_id, class_id, group, half and the unit are read.
        pairs: class_id, common, counter and drop with its interval are read.
        predictions: photo_id, model, is_correct and margin are read.
        covariates: of all photos (covariates schema).
        selectors: the models whose mean outcome is the drop's.
        min_photos: on each half, of a group that takes part in the test.
        num_permutations: of the test.
        seed: of the permutations; each class has draws of its own.
    """
    classes = _classes(all_photos, pairs, predictions, covariates, selectors)
    balance: list[dict[str, Any]] = []
    components: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    p_values = _residual_p_values(classes, min_photos, num_permutations, seed)
    for item, p_value in zip(classes, p_values, strict=True):
        pair = _pair(item)
        found = control(pair, item.row["drop"])
        key = {"class_id": item.row["class_id"]}
        rows.append(key | _row(item, pair, found, p_value))
        if found is not None:
            balance += [key | row for row in balance_of(pair, found)]
            components += [key | row for row in components_of(pair, found, _moved(item, found, found.whole))]
    _fill_in_q_values(rows)
    return Remains(table_of(BALANCE, balance), table_of(DECOMPOSITION, components), table_of(CONTROLLED, rows))


def _classes(
    all_photos: pa.Table, pairs: pa.Table, predictions: pa.Table, covariates: pa.Table, selectors: Collection[str]
) -> list[_Class]:
    told = [name for name in (*_READ, "unit") if name in all_photos.column_names]
    all_photos, covariates = (table.sort_by("photo_id") for table in (all_photos.select(told), covariates))
    photo_ids = all_photos["photo_id"].combine_chunks()
    outcome = mean_outcomes(photo_ids, predictions, selectors)
    margins = _margins(photo_ids, predictions, selectors)
    unit = units_of(all_photos)
    is_whole = ~np.isnan(outcome) & pc.is_valid(all_photos["group"]).to_numpy()
    number, class_ids = ranks(all_photos["class_id"])
    number_of = {class_id: place for place, class_id in enumerate(class_ids.to_pylist())}
    whole = np.flatnonzero(is_whole)
    order = whole[np.argsort(number[whole], kind="stable")]
    ends = np.searchsorted(number[order], np.arange(len(class_ids) + 1))
    classes = []
    for row in pairs.to_pylist():
        at = number_of.get(row["class_id"], len(class_ids))
        places = order[ends[at] : ends[at + 1]] if at < len(class_ids) else order[:0]
        if row["common"] is not None and row["drop"] is not None and len(places):
            rank = double_ranks(margins[places]) / (2 * len(places) * margins.shape[1])
            photos, known = (table.take(pa.array(places)) for table in (all_photos, covariates))
            classes.append(_Class(row, photos, known, outcome[places], rank, unit[places]))
    return classes


def _margins(photo_ids: pa.Array, predictions: pa.Table, selectors: Collection[str]) -> Floats:
    """(N, S) each selector's margins; nan where it gave no answer."""
    names = sorted(selectors)
    answered, place = answers_of(photo_ids, predictions, names)
    margins = np.full((len(photo_ids), len(names)), np.nan)
    selector = pc.index_in(answered["model"].cast(pa.string()), pa.array(names, pa.string())).to_numpy()
    margins[place, selector] = answered["margin"].to_numpy()
    return margins


def _pair(item: _Class) -> Pair:
    number, names = ranks(item.photos["group"])
    order = [item.row["common"], item.row["counter"]]
    order += [name for name in names.to_pylist() if name not in order]
    group = np.array([order.index(name) for name in names.to_pylist()], np.int64)[number]
    return Pair(item.outcome, group, item.unit, item.covariates)


def _moved(item: _Class, found: Controlled, regression: Regression) -> Interval:
    """The class's drop with the covariates of one of its regressions taken out."""
    return moved(item.row["drop"], item.row["drop_low"], item.row["drop_high"], found.plain, regression)


def _row(item: _Class, pair: Pair, found: Controlled | None, p_value: float | None) -> dict[str, Any]:
    sides = [pair.outcome[pair.group == side] for side in (COMMON, COUNTER)]
    means = [float(side.mean()) if len(side) else math.nan for side in sides]
    row: dict[str, Any] = dict.fromkeys(CONTROLLED.arrow().names) | {
        "is_uninformative": max(means) < FLOOR or min(means) > 1 - FLOOR,
        "num_photos": sum(map(len, sides)),
        "num_units": pair.num_units,
        "covariates": [],
        "drop_plain": means[0] - means[1] if all(map(len, sides)) else None,
    }
    row.pop("class_id")
    if found is None:
        row["reason"] = f"{pair.num_units} units on the smaller side; {MIN_UNITS} are needed"
        return row
    controlled, whole = (_moved(item, found, other).possible() for other in (found.controlled, found.whole))
    both = [value for value in (p_value, controlled.p_value) if value is not None]
    return row | {
        "covariates": [covariate.name for covariate in found.adjust.covariates],
        "drop_controlled": controlled.drop,
        "drop_controlled_low": controlled.low,
        "drop_controlled_high": controlled.high,
        "drop_unexplained": whole.drop,
        "drop_unexplained_low": whole.low,
        "drop_unexplained_high": whole.high,
        "overlap": found.overlap,
        "p_controlled": max(both) if len(both) == 2 else None,
        "robustness_value": robustness_value(found.t_value, found.controlled.freedom),
    }


def _fill_in_q_values(rows: list[dict[str, Any]]) -> None:
    from statsmodels.stats.multitest import multipletests

    tested = [row for row in rows if row["p_controlled"] is not None]
    if tested:
        q_values = multipletests([row["p_controlled"] for row in tested], method="fdr_bh")[1]
        for row, q_value in zip(tested, q_values, strict=True):
            row["q_controlled"] = float(q_value)


def _residual_p_values(classes: list[_Class], min_photos: int, num_permutations: int, seed: int) -> list[float | None]:
    """Of margins that do not differ between groups once the covariates are out.

    Freedman and Lane's (1983) way: ranks are regressed on the covariates without any group, and the residuals take the
    ranks' place in the permutation test of the pairs. Every deal chooses its own pair by residuals, while the pair that
    is tested was chosen by ranks: the statistic of the real one is no larger than that of a choice by residuals, so
    the test errs on the safe side.
    """
    residuals = [_residuals(item, min_photos) for item in classes]
    tested = [one for one in residuals if one is not None]
    if not tested:
        return [None] * len(classes)
    dispersion = estimate_dispersion(one.results for one in tested)
    return [
        None if one is None else _p_value(one, dispersion, num_permutations, _generator(seed, item.row["class_id"]))
        for item, one in zip(classes, residuals, strict=True)
    ]


class _Residuals(NamedTuple):
    """One class's residual ranks, by group and unit.

    Attributes:
        results: one row per cell, which is a unit in a group.
        pair: numbers of common and counter.
        cell: (N,) the cell of each photo.
        exogenous: (N, 1 + P) what the ranks were regressed on.
    """

    results: Results
    pair: tuple[int, int]
    cell: npt.NDArray[np.int64]
    exogenous: Floats

    def variance_left(self, weights: Floats, correlation: float) -> float:
        """The variance of the pair's difference of residuals, over that of a deal, which knows of no covariate.

        Covariates that differ between the groups take a part of the difference out, and with it a part of its noise.

        Args:
            weights: (C,) what each cell is worth.
            correlation: of two photos of one unit.
        """
        results = self.results
        sign = (results.group == self.pair[0]).astype(np.float64) - (results.group == self.pair[1])
        # (N,) the difference is the sum over photos of contrast times rank
        contrast = (sign * weights / results.num_photos / results.by_group(weights)[results.group])[self.cell]
        fitted = self.exogenous @ np.linalg.lstsq(self.exogenous, contrast, rcond=None)[0]
        unit = results.observer[self.cell]

        def variance(values: Floats) -> float:
            sums = np.bincount(unit, values)
            return float((1 - correlation) * (values**2).sum() + correlation * (sums**2).sum())

        return variance(contrast - fitted) / variance(contrast)


def _residuals(item: _Class, min_photos: int) -> _Residuals | None:
    """The groups that take part; None where the pair's own do not, as in paper mode, which has no halves."""
    half = np.array(item.photos["half"].to_pylist(), str)
    group = np.array(item.photos["group"].to_pylist(), str)
    large = [
        name
        for name in sorted(set(group))
        if min(((group == name) & (half == side.value)).sum() for side in (Half.DISCOVER, Half.CONFIRM)) >= min_photos
    ]
    if not {item.row["common"], item.row["counter"]} <= set(large):
        return None
    rows = np.flatnonzero(np.isin(group, large))
    design = design_of(item.covariates.take(pa.array(rows))).with_role("adjust")
    exogenous = np.column_stack([np.ones(len(rows)), design.columns])
    rank = item.rank[rows]
    # 0.5 is the mean rank: residuals stay where ranks are, which the weights of units expect.
    left = rank - exogenous @ np.linalg.lstsq(exogenous, rank, rcond=None)[0] + 0.5
    number = np.searchsorted(large, group[rows])
    cell, inverse = np.unique(number * (int(item.unit.max()) + 1) + item.unit[rows], return_inverse=True)
    first = np.unique(inverse, return_index=True)[1]
    results = Results(
        len(large),
        number[first].astype(np.int64),
        np.where(half[rows][first] == Half.CONFIRM.value, CONFIRM, DISCOVER).astype(np.int64),
        np.unique(item.unit[rows][first], return_inverse=True)[1].astype(np.int64),
        np.bincount(inverse, minlength=len(cell)).astype(np.float64),
        np.bincount(inverse, left, len(cell)).astype(np.float64),
        np.bincount(inverse, left**2, len(cell)).astype(np.float64),
    )
    pair = large.index(item.row["common"]), large.index(item.row["counter"])
    return _Residuals(results, pair, inverse.astype(np.int64), exogenous)


def _p_value(one: _Residuals, dispersion: Dispersion, num_permutations: int, rng: np.random.Generator) -> float:
    results, pair = one.results, list(one.pair)
    weights = dispersion.weights(results.num_photos)
    test = selection_test(results, weights, num_permutations=num_permutations, rng=rng, largest_p_value=1.0)
    weight = results.by_group(weights)[pair]
    mean = results.by_group(weights * results.sum_correct / results.num_photos)[pair] / weight
    left = one.variance_left(weights, dispersion.observer_correlation)
    observed = float((mean[0] - mean[1]) / np.sqrt((1 / weight).sum() * left)) if left > 0 else 0.0
    exceedances = len(test.tail) - int(np.searchsorted(test.tail, observed - TIE))
    return (exceedances + 1) / (test.num_permutations + 1)


def _generator(seed: int, class_id: str) -> np.random.Generator:
    digest = hashlib.sha256(f"controlled\x00{class_id}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8])])
