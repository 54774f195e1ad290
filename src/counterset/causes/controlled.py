"""What remains of each pair's drop once its covariates are out: the balance, decomposition and controlled tables of
a release.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.causes.balance import balance_of, components_of
from counterset.causes.control import MIN_UNITS, Controlled, Interval, Pair, control, moved, robustness_value
from counterset.causes.covariates import answers_of, mean_outcomes
from counterset.causes.design import COMMON, COUNTER, Bools, Floats, Ints, all_values_of, design_of
from counterset.causes.regression import Regression, sums_by
from counterset.causes.schemas import BALANCE, CONTROLLED, DECOMPOSITION
from counterset.causes.wrong_answers import units_of
from counterset.schemas import Half
from counterset.statistics.observers import CONFIRM, DISCOVER, Dispersion, Results, estimate_dispersion
from counterset.statistics.permutation import selection_test
from counterset.statistics.selector_margin import double_ranks
from counterset.tables import ranks, table_of

FLOOR = 0.02
"""Accuracies of a pair that are both nearer than this to 0, or to 1, leave a drop no room."""

_READ = ("group", "half", "observer", "unit")


class Remains(NamedTuple):
    """Tables of the balance, decomposition and controlled schemas."""

    balance: pa.Table
    decomposition: pa.Table
    controlled: pa.Table


class ClassPhotos(NamedTuple):
    """The grouped photos of one class with an answer of every selector.

    Attributes:
        row: of the pairs table, with a pair and its drop.
        groups: (G,) names of the photos' groups, in alphabetical order.
        group: (N,) numbers of each photo's group.
        is_confirm: (N,) whether it is on confirm.
        unit: (N,) numbers of units.
        covariates: of these photos (covariates schema; more columns do no harm).
        outcome: (N,) share of the selectors that are right.
        rank: (N,) mean rank of the selectors' margins among these photos, in [0, 1].
    """

    row: Mapping[str, Any]
    groups: list[str]
    group: Ints
    is_confirm: Bools
    unit: Ints
    covariates: pa.Table
    outcome: Floats
    rank: Floats

    @classmethod
    def of(
        cls, row: Mapping[str, Any], photos: pa.Table, covariates: pa.Table, outcome: Floats, margins: Floats
    ) -> ClassPhotos | None:
        """From all photos of the class, in the order of their ids; None where none counts, or there is no pair.

        Args:
            row: of the pairs table.
            photos: group, half and the unit (`unit`, or `observer` where there is none) are read.
            covariates: of these photos, in this order.
            outcome: (N,) nan = a selector gave no answer.
            margins: (N, S) of the selectors.
        """
        kept = np.flatnonzero(~np.isnan(outcome) & pc.is_valid(photos["group"]).to_numpy())
        if row["common"] is None or row["drop"] is None or not len(kept):
            return None
        if len(kept) < len(photos):
            photos, covariates = (table.take(pa.array(kept)) for table in (photos, covariates))
            outcome, margins = outcome[kept], margins[kept]
        group, names = ranks(photos["group"])
        is_confirm = pc.equal(photos["half"], Half.CONFIRM.value).to_numpy()
        rank = double_ranks(margins) / (2 * len(kept) * margins.shape[1])
        return cls(row, names.to_pylist(), group, is_confirm, units_of(photos), covariates, outcome, rank)

    def pair(self) -> Pair:
        """The same photos, with the pair's groups first."""
        first = [self.row["common"], self.row["counter"]]
        order = {name: number for number, name in enumerate(dict.fromkeys([*first, *self.groups]))}
        number_of = np.array([order[name] for name in self.groups], np.int64)
        return Pair(self.outcome, number_of[self.group], self.unit, self.covariates)


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
    """`remains_of` all classes of some tables.

    Args:
        all_photos: photo_id, class_id, group, half and the unit are read.
        pairs: class_id, common, counter and drop with its interval are read.
        predictions: photo_id, model, is_correct and margin are read.
        covariates: of all photos (covariates schema).
        selectors: the models whose mean outcome is the drop's.
        min_photos, num_permutations, seed: as for `remains_of`.
    """
    classes = _classes(all_photos, pairs, predictions, covariates, selectors)
    return remains_of(classes, min_photos=min_photos, num_permutations=num_permutations, seed=seed)


def remains_of(classes: Iterable[ClassPhotos | None], *, min_photos: int, num_permutations: int, seed: int) -> Remains:
    """One row per class with a pair, one per class and covariate, and one per class and component.

    One class is in memory at a time, and of those before it one row per unit and group.

    Args:
        classes: those that count, in the order of the rows; looked at once.
        min_photos: on each half, of a group that takes part in the test.
        num_permutations: of the test.
        seed: of the permutations; each class has draws of its own.
    """
    balance: list[dict[str, Any]] = []
    components: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    residuals: list[Residuals | None] = []
    for item in classes:
        if item is None:
            continue
        pair = item.pair()
        found = control(pair, item.row["drop"])
        key = {"class_id": item.row["class_id"]}
        rows.append(key | _row(item, pair, found))
        residuals.append(_residuals(item, min_photos))
        if found is not None:
            balance += [key | row for row in balance_of(pair, found)]
            components += [key | row for row in components_of(found, _moved(item, found, found.whole))]
    tested = [one.results for one in residuals if one is not None]
    if tested:
        dispersion = estimate_dispersion(tested)
        for row, one in zip(rows, residuals, strict=True):
            if one is not None and row["p_controlled"] is not None:
                rng = _generator(seed, row["class_id"])
                row["p_controlled"] = max(row["p_controlled"], one.p_value(dispersion, num_permutations, rng))
            else:
                row["p_controlled"] = None
    _fill_in_q_values(rows)
    return Remains(table_of(BALANCE, balance), table_of(DECOMPOSITION, components), table_of(CONTROLLED, rows))


def _classes(
    all_photos: pa.Table, pairs: pa.Table, predictions: pa.Table, covariates: pa.Table, selectors: Collection[str]
) -> Iterator[ClassPhotos | None]:
    told = [name for name in ("photo_id", "class_id", *_READ) if name in all_photos.column_names]
    all_photos, covariates = (table.sort_by("photo_id") for table in (all_photos.select(told), covariates))
    photo_ids = all_photos["photo_id"].combine_chunks()
    outcome = mean_outcomes(photo_ids, predictions, selectors)
    margins = margins_of(photo_ids, predictions, selectors)
    number, class_ids = ranks(all_photos["class_id"])
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], np.arange(len(class_ids) + 1))
    places_of = {name: order[ends[at] : ends[at + 1]] for at, name in enumerate(class_ids.to_pylist())}
    for row in pairs.to_pylist():
        places = places_of.get(row["class_id"], order[:0])
        photos, known = (table.take(pa.array(places)) for table in (all_photos, covariates))
        yield ClassPhotos.of(row, photos, known, outcome[places], margins[places])


def margins_of(photo_ids: pa.Array, predictions: pa.Table, selectors: Collection[str]) -> Floats:
    """(N, S) each selector's margins; nan where it gave no answer."""
    names = sorted(selectors)
    answered, place = answers_of(photo_ids, predictions, names)
    margins = np.full((len(photo_ids), len(names)), np.nan)
    selector = pc.index_in(answered["model"].cast(pa.string()), pa.array(names, pa.string())).to_numpy()
    margins[place, selector] = answered["margin"].to_numpy()
    return margins


def _moved(item: ClassPhotos, found: Controlled, regression: Regression) -> Interval:
    """The class's drop with the covariates of one of its regressions taken out."""
    return moved(item.row["drop"], item.row["drop_low"], item.row["drop_high"], found.plain, regression)


def _row(item: ClassPhotos, pair: Pair, found: Controlled | None) -> dict[str, Any]:
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
    return row | {
        "covariates": [covariate.name for covariate in found.adjust.covariates],
        "drop_controlled": controlled.drop,
        "drop_controlled_low": controlled.low,
        "drop_controlled_high": controlled.high,
        "drop_unexplained": whole.drop,
        "drop_unexplained_low": whole.low,
        "drop_unexplained_high": whole.high,
        "overlap": found.overlap,
        "p_controlled": controlled.p_value,
        "robustness_value": robustness_value(found.t_value, found.controlled.freedom),
    }


def _fill_in_q_values(rows: list[dict[str, Any]]) -> None:
    from statsmodels.stats.multitest import multipletests

    tested = [row for row in rows if row["p_controlled"] is not None]
    if tested:
        q_values = multipletests([row["p_controlled"] for row in tested], method="fdr_bh")[1]
        for row, q_value in zip(tested, q_values, strict=True):
            row["q_controlled"] = float(q_value)


class Residuals(NamedTuple):
    """One class's ranks once the covariates are out, by group and unit, to test whether they differ between groups.

    Freedman and Lane's (1983) way: ranks are regressed on the covariates without any group, and the residuals take the
    ranks' place in the permutation test of the pairs. Every deal chooses its own pair by residuals, while the pair that
    is tested was chosen by ranks: the statistic of the real one is no larger than that of a choice by residuals, so
    the test errs on the safe side.

    A cell is a unit in a group, and a kind all cells of one of the pair's groups that have equally many photos.

    Attributes:
        results: one row per cell.
        pair: numbers of common and counter.
        first: (K,) a cell of each kind.
        num_photos: (K,) of each kind.
        fitted: (K, P) summed over a kind's photos, the covariates as P columns at right angles, of length 1.
        products: (K + P, K + P) of the units' photos of each kind and their sums of these columns, summed over units.
    """

    results: Results
    pair: tuple[int, int]
    first: Ints
    num_photos: Floats
    fitted: Floats
    products: Floats

    @classmethod
    def of(cls, results: Results, pair: tuple[int, int], cell: Ints, exogenous: Floats) -> Residuals:
        """From the photos.

        Args:
            results: one row per cell.
            pair: numbers of common and counter.
            cell: (N,) the cell of each photo.
            exogenous: (N, P) what the ranks were regressed on.
        """
        triangle = np.linalg.qr(exogenous, mode="r")
        of_cells = sums_by(cell, exogenous) @ np.linalg.inv(triangle)
        in_pair = np.flatnonzero(np.isin(results.group, pair))
        size = results.num_photos[in_pair].astype(np.int64)
        _, first, kind = np.unique(
            results.group[in_pair] * (size.max() + 1) + size, return_index=True, return_inverse=True
        )
        of_kinds = sums_by(kind, np.column_stack([size, of_cells[in_pair]]))
        by_unit = np.zeros((int(results.observer.max()) + 1, len(first) + exogenous.shape[1]))
        by_unit[results.observer[in_pair], kind] = size
        by_unit[:, len(first) :] = sums_by(results.observer, of_cells)
        return cls(results, pair, in_pair[first], of_kinds[:, 0], of_kinds[:, 1:], by_unit.T @ by_unit)

    def variance_left(self, weights: Floats, correlation: float) -> float:
        """The variance of the pair's difference of residuals, over that of a deal, which knows of no covariate.

        Covariates that differ between the groups take a part of the difference out, and with it a part of its noise.

        Args:
            weights: (C,) what each cell is worth.
            correlation: of two photos of one unit.
        """
        results, first = self.results, self.first
        group = results.group[first]
        sign = np.where(group == self.pair[0], 1.0, -1.0)
        # (K,) the difference is the sum over photos of contrast times rank
        contrast = sign * weights[first] / results.num_photos[first] / results.by_group(weights)[group]
        taken_out = contrast @ self.fitted

        def variance(taken_out: Floats) -> float:
            of_photos = self.num_photos @ contrast**2 - taken_out @ taken_out
            both = np.concatenate([contrast, -taken_out])
            return float((1 - correlation) * of_photos + correlation * (both @ self.products @ both))

        return max(variance(taken_out), 0.0) / variance(np.zeros_like(taken_out))

    def p_value(self, dispersion: Dispersion, num_permutations: int, rng: np.random.Generator) -> float:
        """Of margins that do not differ between the groups once the covariates are out."""
        weights = dispersion.weights(self.results.num_photos)
        left = self.variance_left(weights, dispersion.observer_correlation)
        return selection_test(
            self.results, weights, num_permutations=num_permutations, rng=rng, pair=self.pair, variance=left
        ).p_value


def _residuals(item: ClassPhotos, min_photos: int) -> Residuals | None:
    """Of the groups that take part; None where the pair's own do not, as in paper mode, which has no halves."""
    num_photos = np.bincount(2 * item.group + item.is_confirm, minlength=2 * len(item.groups)).reshape(-1, 2)
    is_large = num_photos.min(axis=1) >= min_photos
    large = [name for name, enough in zip(item.groups, is_large.tolist(), strict=True) if enough]
    if not {item.row["common"], item.row["counter"]} <= set(large):
        return None
    rows = np.flatnonzero(is_large[item.group])
    covariates = item.covariates if is_large.all() else item.covariates.take(pa.array(rows))
    design = design_of(all_values_of(covariates)).with_role("adjust")
    exogenous = np.column_stack([np.ones(len(rows)), design.columns])
    rank = item.rank[rows]
    # 0.5 is the mean rank: residuals stay where ranks are, which the weights of units expect.
    left = rank - exogenous @ np.linalg.lstsq(exogenous, rank, rcond=None)[0] + 0.5
    number = (np.cumsum(is_large) - 1)[item.group[rows]]
    cell, first, inverse = np.unique(
        number * (int(item.unit.max()) + 1) + item.unit[rows], return_index=True, return_inverse=True
    )
    results = Results(
        len(large),
        number[first].astype(np.int32),  # narrow, for they stay until all classes are there
        np.where(item.is_confirm[rows][first], CONFIRM, DISCOVER).astype(np.int8),
        np.unique(item.unit[rows][first], return_inverse=True)[1].astype(np.int32),
        np.bincount(inverse, minlength=len(cell)).astype(np.float64),
        *sums_by(inverse, np.column_stack([left, left**2])).T,
    )
    pair = large.index(item.row["common"]), large.index(item.row["counter"])
    return Residuals.of(results, pair, inverse, exogenous)


def _generator(seed: int, class_id: str) -> np.random.Generator:
    digest = hashlib.sha256(f"controlled\x00{class_id}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8])])
