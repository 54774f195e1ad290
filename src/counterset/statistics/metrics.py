"""Accuracies of models class by class, and what metrics are computed from: right answers, weighed by drawn units.

Intervals of metrics come from a Bayesian bootstrap over units (Rubin 1981):
every draw gives each unit one exponential weight for all of that unit's photos, in
whatever class and group, and all models share the draw, so that differences between models
and between common and counter are paired. Unlike resampling, no small group ever empties.
Intervals of single classes are score intervals whose size counts units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from counterset.statistics.choice import overlap
from counterset.statistics.intervals import FewObservers, drop_interval, few_observers, jeffreys
from counterset.statistics.observers import DISCOVER, Floats, Results, estimate_dispersion
from counterset.statistics.schemas import CLASS_METRICS
from counterset.tables import table_of

NUM_DRAWS = 2_000
MANY = FewObservers(1.0, math.inf)
"""Observers that cost nothing."""
COMMON, COUNTER = 0, 1
SIDES = ("common", "counter")


@dataclass(frozen=True)
class Outcomes:
    """Photos of a release's pairs under M models.

    Attributes:
        class_ids: (K,) names; every class has photos on both sides.
        models: (M,) names.
        class_index: (N,) index into `class_ids`.
        side: (N,) COMMON or COUNTER.
        unit: (N,) index of the independent unit, from 0, over all classes.
        is_correct: (N, M) right or wrong.
        is_top5: (N, M) the truth is among the five highest; None = not known.
        observer: (N,) index of the photographer, from 0; None = the unit is one.
    """

    class_ids: tuple[str, ...]
    models: tuple[str, ...]
    class_index: npt.NDArray[np.int64]
    side: npt.NDArray[np.int64]
    unit: npt.NDArray[np.int64]
    is_correct: npt.NDArray[np.bool_]
    is_top5: npt.NDArray[np.bool_] | None = None
    observer: npt.NDArray[np.int64] | None = None

    @property
    def observers(self) -> npt.NDArray[np.int64]:
        """(N,) index of the photographer, from 0."""
        return self.unit if self.observer is None else self.observer


def class_metrics(outcomes: Outcomes) -> pa.Table:
    """One row per model, class and side (common, counter, drop), with its interval; class_metrics schema."""
    rows = []
    cells = _cells(outcomes)
    num_photos = cells.sums(np.ones(len(outcomes.side)))
    for index, model in enumerate(outcomes.models):
        correct = cells.sums(outcomes.is_correct[:, index])
        classes = []
        for number in range(len(outcomes.class_ids)):
            kept = cells.class_index == number
            results = Results(
                2,
                cells.side[kept],
                np.full(int(kept.sum()), DISCOVER),
                cells.unit[kept],
                num_photos[kept],
                correct[kept],
                correct[kept],
            )
            classes.append(results)
        dispersion = estimate_dispersion(classes)
        for class_id, results in zip(outcomes.class_ids, classes, strict=True):
            rho, photos = dispersion.observer_correlation, results.by_group(results.num_photos)
            accuracy = results.by_group(results.sum_correct) / photos
            # the variance of a plain mean over photos is p (1 - p) / worth
            worth = photos**2 / results.by_group(results.num_photos * (1 + (results.num_photos - 1) * rho))
            shared = (
                dispersion.across_groups
                * overlap(results, results.num_photos, COMMON, COUNTER)
                * np.sqrt((worth / photos).prod())
            )
            both = [jeffreys(float(accuracy[side]), float(worth[side])) for side in (COMMON, COUNTER)]
            gap = drop_interval(accuracy[COMMON], worth[COMMON], accuracy[COUNTER], worth[COUNTER], shared)
            values = (*accuracy, accuracy[COMMON] - accuracy[COUNTER])
            for side, value, number_of, (low, high) in zip(
                (*SIDES, "drop"), values, (*photos, photos.sum()), (*both, gap), strict=True
            ):
                rows.append(
                    {
                        "model": model,
                        "class_id": class_id,
                        "side": side,
                        "num_photos": int(number_of),
                        "accuracy": float(value),
                        "low": low,
                        "high": high,
                    }
                )
    return table_of(CLASS_METRICS, rows)


@dataclass(frozen=True)
class Draws:
    """One model's right answers by draw of units, class and side; draw 0 weighs all units alike.

    Attributes:
        class_ids: (K,) names.
        photos: (1 + B, K, 2) weighted numbers of photos.
        correct: (1 + B, K, 2) of these, where the model is right.
        top5: (1 + B, K, 2) of these, where the truth is among the five highest; None = not known.
        few: what it costs an interval that observers are few.
    """

    class_ids: tuple[str, ...]
    photos: Floats
    correct: Floats
    top5: Floats | None
    few: FewObservers = MANY

    @property
    def widening(self) -> float:
        """How much wider than the draws an interval must be."""
        return self.few.factor

    @property
    def accuracy(self) -> Floats:
        """(1 + B, K, 2) in [0, 1]."""
        return self.correct / self.photos

    @property
    def balanced(self) -> Floats:
        """(1 + B, 2) unweighted means over classes."""
        return np.asarray(self.accuracy.mean(axis=1), np.float64)


def draw_observers(outcomes: Outcomes, *, seed: int, num_draws: int = NUM_DRAWS) -> Iterator[Draws]:
    """Each model's draws, one after the other; the weights of a draw are the same for all of them."""
    cells = _cells(outcomes)
    num_cells, num_classes = len(cells.side), len(outcomes.class_ids)
    weights = np.random.default_rng(seed).standard_exponential((int(outcomes.unit.max()) + 1, num_draws))
    weights = np.hstack([np.ones((len(weights), 1)), weights])  # (O, 1 + B)
    to_group = sparse.csr_array(
        (np.ones(num_cells), (cells.class_index * 2 + cells.side, np.arange(num_cells))),
        shape=(2 * num_classes, num_cells),
    )
    to_unit = sparse.csr_array(
        (np.ones(num_cells), (np.arange(num_cells), cells.unit)), shape=(num_cells, len(weights))
    )

    def total(values: npt.NDArray[np.bool_] | Floats) -> Floats:
        """(N,) -> (1 + B, K, 2): weighted sums by class and side."""
        grouped = to_group @ sparse.diags_array(cells.sums(values)) @ to_unit
        return np.asarray(grouped @ weights).T.reshape(-1, num_classes, 2)

    ones = np.ones(len(outcomes.side))
    photos, few = total(ones), few_observers(cells.sums(ones), cells.class_index * 2 + cells.side)
    for index in range(len(outcomes.models)):
        top5 = total(outcomes.is_top5[:, index]) if outcomes.is_top5 is not None else None
        yield Draws(outcomes.class_ids, photos, total(outcomes.is_correct[:, index]), top5, few)


@dataclass(frozen=True)
class _Cells:
    """One element per class, side and unit; `inverse` (N,) gives each photo's."""

    class_index: npt.NDArray[np.int64]
    side: npt.NDArray[np.int64]
    unit: npt.NDArray[np.int64]
    inverse: npt.NDArray[np.intp]

    def sums(self, values: npt.NDArray[np.bool_] | Floats) -> Floats:
        """(N,) -> (cells,)"""
        return np.bincount(self.inverse, values, len(self.side)).astype(np.float64)


def _cells(outcomes: Outcomes) -> _Cells:
    num_units = int(outcomes.unit.max()) + 1
    key = (outcomes.class_index * 2 + outcomes.side) * num_units + outcomes.unit
    unique, inverse = np.unique(key, return_inverse=True)
    group = unique // num_units
    return _Cells(group // 2, group % 2, unique % num_units, inverse)
