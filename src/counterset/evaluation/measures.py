"""From predictions to one row per model: every metric, and effective robustness with its interval."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from counterset.errors import ExtensionError, ReleaseError, UserError
from counterset.evaluation.bounds import Cells, drop_bounds
from counterset.evaluation.metric import Metric
from counterset.evaluation.metrics import METRICS
from counterset.evaluation.photos import PairPhotos
from counterset.evaluation.schemas import metrics
from counterset.statistics.metrics import (
    COMMON,
    COUNTER,
    NUM_DRAWS,
    Draws,
    Outcomes,
    class_metrics,
    draw_observers,
)
from counterset.statistics.robustness import Scale, effective_robustness, residual_intervals
from counterset.tables import table_of

logger = logging.getLogger(__name__)

TOP = 5
MIN_LINE_MODELS = 3
LINES = ("ImageNet", "CLIP")
"""Families through which a line may go, the first that has enough models."""


@dataclass(frozen=True)
class AskedFacts:
    """What else is said of a model that was asked in words.

    Attributes:
        num_refused: answers that say there will be none; in `num_unknown`, as are the next two.
        num_cut: answers that name no candidate before the number of tokens ran out.
        num_turned_away: photos that its endpoint would not take.
        tokens_in, tokens_out: of all questions and answers; None = not told.
        served: the models that answered, in the endpoint's words.
        tokens_photo: that one photo adds to its question; 0 = the endpoint may drop photos; None = not told.
        price: that the user stated of a million tokens of questions and of answers.
        cost: of all questions and answers at this price; None = no price, or some answer did not tell its tokens.
    """

    num_refused: int
    num_cut: int
    num_turned_away: int
    tokens_in: int | None
    tokens_out: int | None
    served: tuple[str, ...]
    tokens_photo: int | None = None
    price: tuple[float, float] | None = None
    cost: float | None = None


@dataclass(frozen=True)
class ModelFacts:
    """What is said of a model beside its predictions.

    Attributes:
        family: CLIP, ImageNet, classifier or other.
        weights_sha256: "" for a callable.
        pretraining_data: as far as known.
        in_sample_reason: what it shares with the selector or annotator; "" = nothing known.
        has_scores: whether labels have an order behind the first.
        num_unknown: answers that name no candidate.
        unknown_answers: some of them.
        version: that its user stated of a callable.
        asked: of a model that was asked in words.
    """

    family: str
    weights_sha256: str = ""
    pretraining_data: tuple[str, ...] = ()
    in_sample_reason: str = ""
    has_scores: bool = True
    num_unknown: int = 0
    unknown_answers: tuple[str, ...] = ()
    version: str = ""
    asked: AskedFacts | None = None


@dataclass(frozen=True)
class Measures:
    """The two tables of an evaluation, and what was left out.

    Attributes:
        metrics: one row per model (metrics schema).
        by_class: one row per model, class and side (class_metrics schema).
        one_sided: classes without photos on both sides.
    """

    metrics: pa.Table
    by_class: pa.Table
    one_sided: tuple[str, ...]


def measure(
    photos: PairPhotos,
    predictions: pa.Table,
    facts: Mapping[str, ModelFacts],
    *,
    scale: Scale,
    seed: int,
    num_draws: int = NUM_DRAWS,
    vanished: PairPhotos | None = None,
    withdrawn: Cells | None = None,
) -> Measures:
    """All figures of some models on the same photos.

    Args:
        photos: those that figures are read from.
        predictions: of at least these photos, by each model (predictions schema).
        facts: model -> what is said of it.
        scale: the axes of the line that residuals are measured from.
        seed: of the draws of units.
        num_draws: how many.
        vanished: photos of the release that could not be fetched, so that nothing is known of them; None = none.
        withdrawn: numbers of photos that earlier versions of the release had; None = none.

    Raises:
        ReleaseError: no class has photos on both sides.
    """
    models = tuple(sorted(facts))
    bounds = None
    if vanished is None:
        vanished = photos.only(np.zeros(len(photos.photo_id), np.bool_))
    num_vanished = len(vanished.photo_id) + sum((withdrawn or {}).values())
    if num_vanished:
        bounds = drop_bounds(photos, _by_photo(photos, predictions, models)[0], vanished, withdrawn or {})
    photos, one_sided = two_sided(photos)
    outcomes = outcomes_of(photos, predictions, models)
    by_class = class_metrics(outcomes)
    rows: list[dict[str, Any]] = []
    label_spaces = dict(zip(predictions["model"].to_pylist(), predictions["label_space"].to_pylist(), strict=True))
    balanced, widening = [], 1.0
    for model, draws in zip(models, draw_observers(outcomes, seed=seed, num_draws=num_draws), strict=True):
        fact = facts[model]
        row: dict[str, Any] = {
            "model": model,
            "family": fact.family,
            "label_space": label_spaces[model],
            "is_in_sample": bool(fact.in_sample_reason),
            "in_sample_reason": fact.in_sample_reason or None,
            "num_classes": len(outcomes.class_ids),
            "num_photos": len(photos.photo_id),
            "num_observers": len(set(photos.observer.tolist())),
            "num_units": len(set(photos.unit.tolist())),
            "num_unknown": fact.num_unknown,
            "num_vanished": num_vanished,
            "drop_lowest": None if bounds is None else float(bounds[len(rows), 0]),
            "drop_highest": None if bounds is None else float(bounds[len(rows), 1]),
        }
        for name, metric in METRICS.items():
            row |= _figures(name, metric, draws if fact.has_scores else replace(draws, top5=None))
        rows.append(row)
        balanced.append(draws.balanced)
        widening = draws.widening
    # M x (1 + B, 2) -> (1 + B, M, 2)
    drawn = np.stack(balanced, axis=1)
    for row, residual in zip(rows, _residuals(drawn, rows, scale, len(photos.photo_id), widening), strict=True):
        row |= residual
    return Measures(table_of(metrics(), rows), by_class, one_sided)


def two_sided(photos: PairPhotos) -> tuple[PairPhotos, tuple[str, ...]]:
    """The photos of classes that have some on both sides, and the other classes.

    Raises:
        ReleaseError: no class has.
    """
    sides = {c: set(photos.side[photos.class_id == c].tolist()) for c in sorted(set(photos.class_id.tolist()))}
    one_sided = tuple(class_id for class_id, own in sides.items() if len(own) < 2)
    photos = photos.only(np.array([class_id not in one_sided for class_id in photos.class_id], np.bool_))
    if not len(photos.photo_id):
        raise ReleaseError("no class of the release has photos on both sides; take other verdicts or --half all")
    return photos, one_sided


def outcomes_of(photos: PairPhotos, predictions: pa.Table, models: Sequence[str]) -> Outcomes:
    """Which models are right on which photos.

    Args:
        photos: of classes with both sides.
        predictions: of at least these photos, by each model (predictions schema).
        models: which of them.
    """
    is_correct, rank = _by_photo(photos, predictions, models)
    classes, class_index = np.unique(photos.class_id.astype(str), return_inverse=True)
    _, unit = np.unique(photos.unit.astype(str), return_inverse=True)
    return Outcomes(
        tuple(classes.tolist()),
        tuple(models),
        class_index.astype(np.int64),
        photos.side,
        unit.astype(np.int64),
        is_correct,
        rank <= TOP,
    )


def _figures(name: str, metric: Metric, draws: Draws) -> Mapping[str, Any]:
    """The values of a metric's columns.

    Raises:
        ExtensionError: it gives others.
    """
    figures = metric.values(draws)
    if figures.keys() != {column.name for column in metric.columns}:
        raise ExtensionError(
            f"the metric {name!r} gives {', '.join(figures)} and not its columns; "
            "update or uninstall the package that it comes from"
        )
    return figures


def _by_photo(
    photos: PairPhotos, predictions: pa.Table, models: Sequence[str]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """(N, M), (N, M): right or wrong, and the rank of the truth, by photo and model."""
    place = {photo_id: row for row, photo_id in enumerate(photos.photo_id.tolist())}
    column = {model: index for index, model in enumerate(models)}
    is_correct = np.zeros((len(place), len(column)), np.bool_)
    rank = np.zeros((len(place), len(column)), np.int64)
    names = ("photo_id", "model", "is_correct", "rank_of_truth")
    for photo_id, model, right, at in zip(*(predictions[name].to_pylist() for name in names), strict=True):
        if photo_id in place and model in column:
            is_correct[place[photo_id], column[model]] = right
            rank[place[photo_id], column[model]] = at
    if not rank.all():  # ranks begin at 1
        raise UserError("predictions of some photos are missing; delete the evaluation's folder and run again")
    return is_correct, rank


def line_family(families: Sequence[str], is_in_sample: Sequence[bool]) -> str | None:
    """The family whose line residuals are measured from: ImageNet models, or else CLIP models; None = too few."""
    for family in LINES:
        fit = [f == family and not seen for f, seen in zip(families, is_in_sample, strict=True)]
        if sum(fit) >= MIN_LINE_MODELS:
            return family
    return None


def _residuals(
    draws: npt.NDArray[np.float64], rows: Sequence[Mapping[str, Any]], scale: Scale, num_photos: int, widening: float
) -> list[dict[str, Any]]:
    """Each model's distance from the line, with its interval; nulls where no line can be fitted.

    Args:
        draws: (1 + B, M, 2) class-balanced accuracies by draw, model and side.
        rows: of the models, with `family` and `is_in_sample`: in-sample models draw no line.
        scale: the axes.
        num_photos: accuracies are kept this far, half a photo, from 0 and 1, where logits have no end.
        widening: how much wider than the draws the intervals must be, for observers are few.
    """
    family = line_family([row["family"] for row in rows], [row["is_in_sample"] for row in rows])
    nothing = dict.fromkeys(("line", "scale", "residual", "residual_low", "residual_high"))
    if family is None:
        return [dict(nothing) for _ in rows]
    is_baseline = np.array([row["family"] == family and not row["is_in_sample"] for row in rows], np.bool_)
    clipped = np.clip(draws, 0.5 / num_photos, 1 - 0.5 / num_photos)
    common, counter = clipped[..., COMMON], clipped[..., COUNTER]
    if np.ptp(common[0, is_baseline]) == 0:
        logger.warning("the %s models are equally accurate on common, so no line goes through them", family)
        return [dict(nothing) for _ in rows]
    robustness = effective_robustness(common[0], counter[0], is_baseline, scale)
    low, high = residual_intervals(common[1:], counter[1:], is_baseline, scale, widening)
    return [
        {
            "line": family,
            "scale": scale.value,
            "residual": float(robustness.residual[index]),
            "residual_low": float(low[index]),
            "residual_high": float(high[index]),
        }
        for index in range(len(rows))
    ]
