"""Named models with their intervals, one per row, as SVG and PNG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from counterset.evaluation.effects_plot import saved
from counterset.evaluation.points import COLOURS


class Bar(NamedTuple):
    """One model: its value with its interval, fractions, and what stands beside them."""

    model: str
    value: float
    low: float
    high: float
    note: str


def draw_bars(bars: Sequence[Bar], title: str, label: str) -> dict[str, bytes]:
    """Suffix -> the plot's file; the same bars give the same bytes.

    Args:
        bars: from above to below.
        title: above the plot.
        label: of the axis, in points.
    """
    with rc_context({"svg.hashsalt": "counterset", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7.2, 1.2 + 0.28 * len(bars)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for row, bar in enumerate(bars):
            axes.plot([100 * bar.low, 100 * bar.high], [row, row], color=COLOURS["ImageNet"], linewidth=1.4)
            axes.plot([100 * bar.value], [row], "o", color=COLOURS["ImageNet"], markersize=5)
            axes.annotate(
                bar.note,
                (1.01, row),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
                color="#555555",
                annotation_clip=False,
            )
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.set_yticks(range(len(bars)), [bar.model for bar in bars])
        axes.set_ylim(len(bars) - 0.5, -0.5)
        axes.set_xlabel(label)
        axes.set_title(title, fontsize=10)
        axes.grid(axis="x", color="#eeeeee", linewidth=0.6)
        axes.set_axisbelow(True)
        return {suffix: saved(figure, suffix) for suffix in ("svg", "png")}
