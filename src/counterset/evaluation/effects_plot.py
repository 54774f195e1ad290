"""The effect of backgrounds as SVG and PNG: a row per class, a point with its interval per model."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from counterset.evaluation.points import COLOURS

SHOWN = "common_background"
"""The intervention whose effect is drawn: the same animals on common rather than on counter backgrounds."""
ALL = "all classes"


def draw_effects(interventions: pa.Table, by_model: pa.Table, title: str) -> dict[str, bytes]:
    """Suffix -> the plot's file; the same tables give the same bytes.

    Args:
        interventions: one row per class, model and intervention.
        by_model: the same over all classes.
        title: above the plot.
    """
    rows = [row for row in interventions.to_pylist() if row["intervention"] == SHOWN]
    means = [row | {"class_id": ALL} for row in by_model.to_pylist() if row["intervention"] == SHOWN]
    lines = [*sorted({row["class_id"] for row in rows}), ALL]
    models = sorted({row["model"] for row in means})
    with rc_context({"svg.hashsalt": "counterset", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(6.8, 1.6 + (0.2 + 0.12 * len(models)) * len(lines)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for number, model in enumerate(models):
            colour = list(COLOURS.values())[number % len(COLOURS)]
            own = [row for row in (*rows, *means) if row["model"] == model]
            at = [lines.index(row["class_id"]) + (number - (len(models) - 1) / 2) * 0.7 / len(models) for row in own]
            axes.plot([100 * row["effect"] for row in own], at, "o", color=colour, markersize=4, label=model)
            for row, place in zip(own, at, strict=True):
                if row["effect_low"] is not None:
                    ends = [100 * row["effect_low"], 100 * row["effect_high"]]
                    axes.plot(ends, [place, place], color=colour, linewidth=1)
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.axhline(len(lines) - 1.5, color="#cccccc", linewidth=0.8)
        axes.set_yticks(range(len(lines)), [words(line) for line in lines])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlabel("right answers on common less on counter backgrounds, same animals, points (95 % interval)")
        axes.set_title(f"{title}: effect of the background", fontsize=10)
        axes.grid(axis="x", color="#eeeeee", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(loc="best", framealpha=0.8, edgecolor="none", fontsize=8)
        return {suffix: saved(figure, suffix) for suffix in ("svg", "png")}


def words(name: str) -> str:
    """A name without underscores."""
    return name.replace("_", " ")


def saved(figure: Any, suffix: str) -> bytes:
    """A figure's file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix, dpi=160, metadata={"Date": None} if suffix == "svg" else None)
    return buffer.getvalue()
