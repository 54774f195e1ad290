"""What the robustness plot shows, as data: models as points, and a line for each family."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from counterset.errors import ReleaseError
from counterset.evaluation.measures import MIN_LINE_MODELS
from counterset.evaluation.metrics import METRICS
from counterset.evaluation.record import METRICS_FILE, read_part, read_record
from counterset.evaluation.schemas import metrics
from counterset.manifests import manifest_path
from counterset.statistics.robustness import Line, Scale, effective_robustness

FAMILIES = ("ImageNet", "CLIP", "classifier", "other")
COLOURS = {"ImageNet": "#0072b2", "CLIP": "#d55e00", "classifier": "#009e73", "other": "#7a5195"}
"""Okabe and Ito's, which differ for colour-blind eyes."""
EDGE = 0.005
"""Accuracies closer to 0 or 1 are drawn here on axes that have no place for them."""
TICKS = tuple(n / 10 for n in range(11))
EDGE_TICKS = (0.01, 0.02, 0.05)
"""More labels towards 0 and, mirrored, towards 1, where logits and probits stretch."""
STEPS = 60
"""Pieces of a drawn line."""


@dataclass(frozen=True)
class Point:
    """One model.

    Attributes:
        model: its name.
        family: one of FAMILIES.
        common, counter: class-balanced accuracies in [0, 1].
        common_interval, counter_interval, drop_interval: 95 %; None = none known.
        is_in_sample: it shares weights or data with the release's selector or annotator.
        is_published: a figure of the paper, measured on the paper's photos.
    """

    model: str
    family: str
    common: float
    counter: float
    common_interval: tuple[float, float] | None = None
    counter_interval: tuple[float, float] | None = None
    drop_interval: tuple[float, float] | None = None
    is_in_sample: bool = False
    is_published: bool = False


@dataclass(frozen=True)
class Fit:
    """A family's line.

    Attributes:
        family: whose models it goes through, in-sample ones left out.
        is_published: through the paper's figures.
        line: on the plot's scale.
        common, counter: (STEPS,) accuracies along it, over the range of its models.
    """

    family: str
    is_published: bool
    line: Line
    common: tuple[float, ...]
    counter: tuple[float, ...]


@dataclass(frozen=True)
class Figure:
    """The robustness plot.

    Attributes:
        title: what was evaluated.
        scale: of both axes.
        points: the models, published ones first, so that they lie below.
        fits: the lines.
        common_range, counter_range: the ends of the two axes, accuracies in [0, 1].
    """

    title: str
    scale: Scale
    points: tuple[Point, ...]
    fits: tuple[Fit, ...]
    common_range: tuple[float, float]
    counter_range: tuple[float, float]

    def ticks(self, ends: tuple[float, float]) -> tuple[float, ...]:
        """Accuracies between `ends` that get a label."""
        grid = TICKS if self.scale is Scale.LINEAR else (*EDGE_TICKS, *TICKS, *(1 - tick for tick in EDGE_TICKS))
        return tuple(sorted(round(tick, 2) for tick in grid if ends[0] <= tick <= ends[1]))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know to read it."""
        notes = [
            f"Axes and lines: {self.scale.value} scale; dotted: equal accuracy on both sides.",
            "Squares: ImageNet classifiers." if any(p.family == "ImageNet" for p in self.points) else "",
            "Whiskers: 95 % intervals, units drawn." if any(p.common_interval for p in self.points) else "",
            "Hollow: in-sample, it shares weights or training data with the selector or annotator; no line uses it."
            if any(p.is_in_sample for p in self.points)
            else "",
            "Grey: published figures of CounterAnimal (arXiv 2403.11497), measured on other photos."
            if any(p.is_published for p in self.points)
            else "",
            *(
                f"{'Published ' if fit.is_published else ''}{fit.family} line: slope {fit.line.slope:.2f}, "
                f"R² {fit.line.r_squared:.3f}, {fit.line.num_models} models."
                for fit in self.fits
            ),
        ]
        return tuple(note for note in notes if note)


def read_figure(folder: Path, scale: Scale | None = None, *, with_published: bool = False) -> Figure:
    """The plot of an evaluation's folder.

    Args:
        folder: of an evaluation.
        scale: of the axes; None = the one that its residuals were measured on.
        with_published: the paper's 28 CLIP and 15 ImageNet models too.

    Raises:
        ReleaseError: the folder holds no evaluation, or a damaged one.
    """
    record = read_record(folder)
    scale = scale or Scale(record["scale"])
    own = [_point(row) for row in read_part(folder, METRICS_FILE, metrics(METRICS.own)).to_pylist()]
    if not own:
        raise ReleaseError(f"{folder} holds no model; run counterset evaluate again")
    background = published_points() if with_published else []
    release = record["release"]
    title = f"{release['name']} {release['version']}, {record['label_space']} ({record['num_labels']} labels)"
    return make_figure(title, scale, [*background, *own])


def make_figure(title: str, scale: Scale, points: Sequence[Point]) -> Figure:
    """The plot of some models, with a line for each family that has enough of them."""
    fits = [_fit(points, family, published, scale) for published in (True, False) for family in FAMILIES]
    return Figure(
        title,
        scale,
        tuple(sorted(points, key=lambda p: (not p.is_published, p.family, p.model))),
        tuple(fit for fit in fits if fit is not None),
        _range([value for p in points for value in (p.common, *(p.common_interval or ()))], scale),
        _range([value for p in points for value in (p.counter, *(p.counter_interval or ()))], scale),
    )


def _range(values: Sequence[float], scale: Scale) -> tuple[float, float]:
    """An axis's ends: all values, with some air on the axis's own scale."""
    edge = 0.0 if scale is Scale.LINEAR else EDGE
    low, high = scale.forward(np.clip([min(values), max(values)], edge, 1 - edge))
    air = max(0.06 * (high - low), 0.01)
    low, high = scale.back(np.array([low - air, high + air]))
    return max(float(low), 0.0), min(float(high), 1.0)


def published_points() -> list[Point]:
    """The paper's 43 models on its own photos, class-balanced, 1 vs. 1000, one prompt."""
    with manifest_path("published/models_1v1000.csv").open(encoding="utf-8", newline="") as file:
        return [
            Point(
                f"{row['backbone']} {row['pretrain_dataset']}",
                row["family"],
                float(row["common_accuracy"]) / 100,
                float(row["counter_accuracy"]) / 100,
                is_published=True,
            )
            for row in csv.DictReader(file)
        ]


def _point(row: dict[str, Any]) -> Point:
    return Point(
        row["model"],
        row["family"],
        row["common"],
        row["counter"],
        (row["common_low"], row["common_high"]),
        (row["counter_low"], row["counter_high"]),
        (row["drop_low"], row["drop_high"]),
        row["is_in_sample"],
    )


def _fit(points: Sequence[Point], family: str, published: bool, scale: Scale) -> Fit | None:
    chosen = [p for p in points if p.family == family and p.is_published == published and not p.is_in_sample]
    if len(chosen) < MIN_LINE_MODELS:
        return None
    edge = 0.0 if scale is Scale.LINEAR else EDGE
    common, counter = np.clip([[p.common for p in chosen], [p.counter for p in chosen]], edge, 1 - edge)
    if np.ptp(common) == 0:
        return None
    line = effective_robustness(common, counter, np.ones(len(chosen), np.bool_), scale).line
    ends = scale.forward(np.array([common.min(), common.max()]))
    along = scale.back(np.linspace(ends[0], ends[1], STEPS))
    return Fit(family, published, line, tuple(along.tolist()), tuple(line.counter(along).tolist()))
