"""A release's drops as sums of parts, the background among them as far as an intervention showed it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from counterset.causes.balance import BACKGROUND, UNEXPLAINED, over_classes, with_background
from counterset.causes.control import Interval
from counterset.causes.schemas import DECOMPOSITION
from counterset.evaluation.effects_plot import SHOWN, saved, words
from counterset.evaluation.points import COLOURS
from counterset.load import Release
from counterset.tables import table_of, write_bytes, write_table

FILE = "decomposition"


def intervened_drops(release: Release, interventions: pa.Table) -> pa.Table | None:
    """The release's decomposition with the background beside the other parts, for the classes of both.

    The drops are those of the selectors' answers, so the effect is that on the same models: the mean over them, and of
    the ends of their intervals, which is no narrower than the mean's own.

    Args:
        release: its tables.
        interventions: one row per class, model and intervention.

    Returns:
        Rows of the decomposition schema; None where a selector did not see the composites, or the release has no
        decomposition.
    """
    selectors = set(selectors_of(release))
    effects: dict[str, list[dict[str, Any]]] = {}
    for row in interventions.to_pylist():
        if row["intervention"] == SHOWN and row["model"] in selectors:
            effects.setdefault(row["class_id"], []).append(row)
    parts: dict[str, list[dict[str, Any]]] = {}
    for row in release.table("decomposition").to_pylist():
        parts.setdefault(row["class_id"], []).append(row)
    rows = []
    for class_id in sorted(set(parts) & set(effects)):
        if {row["model"] for row in effects[class_id]} == selectors:
            made = with_background(parts[class_id], _mean(effects[class_id]))
            rows += [{"class_id": class_id} | row for row in made]
    return table_of(DECOMPOSITION, rows) if rows else None


def selectors_of(release: Release) -> list[str]:
    """The models of whose answers the drops are."""
    return [model["name"] for model in release.metadata["models"] if model["role"] == "selector"]


def _mean(effects: Sequence[dict[str, Any]]) -> Interval:
    def mean(name: str) -> float | None:
        return None if any(row[name] is None for row in effects) else sum(row[name] for row in effects) / len(effects)

    return Interval(sum(row["effect"] for row in effects) / len(effects), mean("effect_low"), mean("effect_high"), None)


def keep_drops(parts: pa.Table | None, title: str, folder: Path) -> None:
    """Write `decomposition.parquet` and its pictures, or remove those of an earlier run with other models.

    Args:
        parts: of `intervened_drops`.
        title: above the picture.
        folder: of the interventions.
    """
    if parts is None:
        for suffix in ("parquet", "svg", "png"):
            (folder / f"{FILE}.{suffix}").unlink(missing_ok=True)
        return
    write_table(parts, DECOMPOSITION, folder / f"{FILE}.parquet")
    for suffix, content in draw_drops(parts, title).items():
        write_bytes(content, folder / f"{FILE}.{suffix}")


def draw_drops(parts: pa.Table, title: str) -> dict[str, bytes]:
    """Suffix -> a picture of the mean drop's parts with their intervals; the same table gives the same bytes.

    Args:
        parts: of `intervened_drops`.
        title: above the plot.
    """
    means = [row for row in over_classes(parts.to_pylist()) if row["explained"] is not None]
    total = sum(row["explained"] for row in means)
    colours = {BACKGROUND: next(iter(COLOURS.values())), UNEXPLAINED: "#999999"}
    with rc_context({"svg.hashsalt": "counterset", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(6.8, 1.3 + 0.32 * len(means)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for place, row in enumerate(means):
            colour = colours.get(row["component"], "#555555")
            axes.plot([100 * row["explained"]], [place], "o", color=colour, markersize=5)
            if row["explained_low"] is not None:
                axes.plot([100 * row["explained_low"], 100 * row["explained_high"]], [place, place], color=colour)
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.set_yticks(range(len(means)), [words(row["component"]) for row in means])
        axes.set_ylim(len(means) - 0.5, -0.5)
        axes.set_xlabel("part of the mean drop, points (95 % interval)")
        axes.set_title(f"{title}: a mean drop of {100 * total:.1f} points as the sum of its parts", fontsize=10)
        axes.grid(axis="x", color="#eeeeee", linewidth=0.6)
        axes.set_axisbelow(True)
        return {suffix: saved(figure, suffix) for suffix in ("svg", "png")}
