"""A release's metrics for models: class by class, class-balanced, photo average, top 5, worst group.

Intervals of means over classes come from a Bayesian bootstrap over observers (Rubin 1981):
every draw gives each observer one exponential weight for all of that observer's photos, in
whatever class and group, and all models share the draw, so that differences between models
and between common and counter are paired. Unlike resampling, no small group ever empties.
Intervals of single classes are score intervals whose size counts observers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from counterset.statistics.choice import overlap
from counterset.statistics.intervals import CONFIDENCE, drop_interval, jeffreys
from counterset.statistics.observers import DISCOVER, Floats, Results, estimate_dispersion
from counterset.statistics.schemas import CLASS_METRICS, MODEL_METRICS
from counterset.tables import table_of

NUM_DRAWS = 2_000
COMMON, COUNTER = 0, 1


class Metric(StrEnum):
    """What a model is measured by."""

    BALANCED = "balanced"
    """Unweighted mean over classes of the accuracy: the default, as published."""
    PHOTO_AVERAGE = "photo_average"
    """Mean over photos ("unbalanced")."""
    BALANCED_TOP5 = "balanced_top5"
    WORST_CLASS = "worst_class"
    """The lowest accuracy of a class; its drop is that of the class hit hardest."""


@dataclass(frozen=True)
class Outcomes:
    """Photos of a release's pairs under M models.

    Attributes:
        class_ids: (K,) names; every class has photos on both sides.
        models: (M,) names.
        class_index: (N,) index into `class_ids`.
        side: (N,) COMMON or COUNTER.
        observer: (N,) index of the observer, from 0, over all classes.
        is_correct: (N, M) right or wrong.
        is_top5: (N, M) the truth is among the five highest; None = not known.
    """

    class_ids: tuple[str, ...]
    models: tuple[str, ...]
    class_index: npt.NDArray[np.int64]
    side: npt.NDArray[np.int64]
    observer: npt.NDArray[np.int64]
    is_correct: npt.NDArray[np.bool_]
    is_top5: npt.NDArray[np.bool_] | None = None


def class_metrics(outcomes: Outcomes) -> pa.Table:
    """One row a model, class and side (common, counter, drop), with its interval; class_metrics schema."""
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
                cells.observer[kept],
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
            shared = rho * overlap(results, results.num_photos, COMMON, COUNTER) * np.sqrt((worth / photos).prod())
            both = [jeffreys(float(accuracy[side]), float(worth[side])) for side in (COMMON, COUNTER)]
            gap = drop_interval(accuracy[COMMON], worth[COMMON], accuracy[COUNTER], worth[COUNTER], shared)
            values = (*accuracy, accuracy[COMMON] - accuracy[COUNTER])
            for side, value, number_of, (low, high) in zip(
                ("common", "counter", "drop"), values, (*photos, photos.sum()), (*both, gap), strict=True
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


def model_metrics(outcomes: Outcomes, *, seed: int, num_draws: int = NUM_DRAWS) -> pa.Table:
    """One row a model, metric and side (common, counter, drop), with its 95 % interval; model_metrics schema."""
    rows = []
    draws = draw_metrics(outcomes, seed=seed, num_draws=num_draws)
    for metric, values in draws.items():
        # (1 + B, M, 2): the first is the plain value
        sides = {"common": values[..., COMMON], "counter": values[..., COUNTER], "drop": _drop(metric, values)}
        for side, drawn in sides.items():
            low, high = np.quantile(drawn[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
            for index, model in enumerate(outcomes.models):
                rows.append(
                    {
                        "model": model,
                        "metric": metric.value,
                        "side": side,
                        "value": float(drawn[0, index]),
                        "low": float(low[index]),
                        "high": float(high[index]),
                    }
                )
    return table_of(MODEL_METRICS, rows)


def draw_metrics(outcomes: Outcomes, *, seed: int, num_draws: int = NUM_DRAWS) -> dict[Metric, Floats]:
    """Each metric's (1 + B, M, 2) values by draw, model and side; draw 0 weighs all observers alike.

    WORST_CLASS has a third side, the largest drop of a class; extremes of few photos, its values
    lean outwards, in draws more than in the data.
    """
    cells = _cells(outcomes)
    num_cells, num_classes = len(cells.side), len(outcomes.class_ids)
    weights = np.random.default_rng(seed).standard_exponential((int(outcomes.observer.max()) + 1, num_draws))
    weights = np.hstack([np.ones((len(weights), 1)), weights])  # (O, 1 + B)
    to_group = sparse.csr_array(
        (np.ones(num_cells), (cells.class_index * 2 + cells.side, np.arange(num_cells))),
        shape=(2 * num_classes, num_cells),
    )
    to_observer = sparse.csr_array(
        (np.ones(num_cells), (np.arange(num_cells), cells.observer)), shape=(num_cells, len(weights))
    )

    def total(values: npt.NDArray[np.bool_] | Floats) -> Floats:
        """(N,) -> (1 + B, K, 2): weighted sums by class and side."""
        grouped = to_group @ sparse.diags_array(cells.sums(values)) @ to_observer
        return np.asarray(grouped @ weights).T.reshape(-1, num_classes, 2)

    photos = total(np.ones(len(outcomes.side)))
    collected: dict[Metric, list[Floats]] = {metric: [] for metric in Metric}
    for index in range(len(outcomes.models)):
        correct = total(outcomes.is_correct[:, index])
        accuracy = correct / photos
        collected[Metric.BALANCED].append(accuracy.mean(axis=1))
        collected[Metric.PHOTO_AVERAGE].append(correct.sum(axis=1) / photos.sum(axis=1))
        hardest = (accuracy[..., COMMON] - accuracy[..., COUNTER]).max(axis=1)
        collected[Metric.WORST_CLASS].append(np.column_stack([accuracy.min(axis=1), hardest]))
        if outcomes.is_top5 is not None:
            collected[Metric.BALANCED_TOP5].append((total(outcomes.is_top5[:, index]) / photos).mean(axis=1))
    return {metric: np.stack(values, axis=1) for metric, values in collected.items() if values}


def _drop(metric: Metric, values: Floats) -> Floats:
    return values[..., 2] if metric is Metric.WORST_CLASS else values[..., COMMON] - values[..., COUNTER]


@dataclass(frozen=True)
class _Cells:
    """One element a class, side and observer; `inverse` (N,) gives each photo's."""

    class_index: npt.NDArray[np.int64]
    side: npt.NDArray[np.int64]
    observer: npt.NDArray[np.int64]
    inverse: npt.NDArray[np.intp]

    def sums(self, values: npt.NDArray[np.bool_] | Floats) -> Floats:
        """(N,) -> (cells,)"""
        return np.bincount(self.inverse, values, len(self.side)).astype(np.float64)


def _cells(outcomes: Outcomes) -> _Cells:
    num_observers = int(outcomes.observer.max()) + 1
    key = (outcomes.class_index * 2 + outcomes.side) * num_observers + outcomes.observer
    unique, inverse = np.unique(key, return_inverse=True)
    group = unique // num_observers
    return _Cells(group // 2, group % 2, unique % num_observers, inverse)
