"""The robustness plot as files: SVG and PNG by matplotlib, and one page of HTML that asks nothing of the network."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from counterset.evaluation.points import COLOURS, EDGE, FAMILIES, Figure, Point
from counterset.tables import write_bytes

GREY = "#9a9a9a"
SIDE, LEFT, TOP, RIGHT, BOTTOM = 560, 62, 18, 18, 52
"""Units of the page's drawing: the square of the axes, and what surrounds it."""
LABELLED = 12
"""Own models whose names stand beside their points on paper; more would hide each other."""


def write_plots(figure: Figure, folder: Path) -> tuple[Path, Path, Path]:
    """Write robustness.svg, .png and .html into `folder` and return their paths."""
    paths = tuple(folder / f"robustness.{suffix}" for suffix in ("svg", "png", "html"))
    for path, content in zip(paths, (*draw(figure), page(figure).encode()), strict=True):
        write_bytes(content, path)
    return paths[0], paths[1], paths[2]


def draw(figure: Figure) -> tuple[bytes, bytes]:
    """The plot as SVG and as PNG; the same figures give the same bytes."""
    with rc_context({"svg.hashsalt": "counterset", "svg.fonttype": "none", "font.size": 9}):
        canvas = Canvas(figsize=(6.4, 6.6), layout="constrained")
        canvas.get_layout_engine().set(h_pad=0.1, w_pad=0.08)  # type: ignore[union-attr, call-arg]
        FigureCanvasAgg(canvas)
        axes = canvas.add_subplot()
        ends = [[_at(figure, end) for end in pair] for pair in (figure.common_range, figure.counter_range)]
        axes.axline((0, 0), slope=1, color="#999999", linewidth=0.8, linestyle=":", zorder=0)
        for fit in figure.fits:
            axes.plot(
                [_at(figure, value) for value in fit.common],
                [_at(figure, value) for value in fit.counter],
                color=COLOURS[fit.family],
                linestyle="--" if fit.is_published else "-",
                linewidth=1.2,
                alpha=0.5 if fit.is_published else 1,
                label=f"{'published ' if fit.is_published else ''}{fit.family} line",
            )
        for point in figure.points:
            _mark(axes, figure, point)
        _name_points(axes, figure)
        for family in FAMILIES:
            if any(p.family == family and not p.is_published for p in figure.points):
                axes.plot([], [], "o", color=COLOURS[family], label=family)
        for published in {p.family for p in figure.points if p.is_published}:
            axes.plot([], [], _shape(published), color=GREY, label=f"published {published}")
        for pair, set_ticks in ((figure.common_range, axes.set_xticks), (figure.counter_range, axes.set_yticks)):
            set_ticks([_at(figure, tick) for tick in figure.ticks(pair)], [_label(t) for t in figure.ticks(pair)])
        axes.set(xlim=ends[0], ylim=ends[1])
        axes.set_title(figure.title, fontsize=10, pad=8)
        axes.set_xlabel(f"accuracy on common photos, % (class-balanced, {figure.scale.value} axis)")
        axes.set_ylabel(f"accuracy on counter photos, % (class-balanced, {figure.scale.value} axis)")
        axes.grid(color="#eeeeee", linewidth=0.6)
        axes.set_axisbelow(True)
        handles, names = axes.get_legend_handles_labels()
        order = sorted(range(len(names)), key=names.__getitem__)
        axes.legend(
            [handles[i] for i in order], [names[i] for i in order], loc="best", framealpha=0.8, edgecolor="none"
        )
        canvas.supxlabel("\n".join(_wrapped(figure.notes)), fontsize=7, color="#555555", x=0.02, ha="left")
        files = []
        for kind in ("svg", "png"):
            buffer = io.BytesIO()
            canvas.savefig(buffer, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
            files.append(buffer.getvalue())
    return files[0], files[1]


def page(figure: Figure) -> str:
    """The plot as one page of HTML: pointing at a model or reaching it with Tab tells about it."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("counterset.evaluation"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    script, style = (Path(__file__).parent / "templates" / name for name in ("robustness.js", "robustness.css"))
    texts = {"script": script.read_text(encoding="utf-8"), "style": style.read_text(encoding="utf-8")}
    drawn = {
        "figure": figure,
        "width": LEFT + SIDE + RIGHT,
        "height": TOP + SIDE + BOTTOM,
        "left": LEFT,
        "top": TOP,
        "side": SIDE,
        "x_ticks": [(_label(tick), _x(figure, tick)) for tick in figure.ticks(figure.common_range)],
        "y_ticks": [(_label(tick), _y(figure, tick)) for tick in figure.ticks(figure.counter_range)],
        "diagonal": _diagonal(figure),
        "lines": [_line(figure, index) for index in range(len(figure.fits))],
        "points": [_drawn(figure, point) for point in figure.points],
        "families": [f for f in FAMILIES if any(p.family == f for p in figure.points)],
        "colours": COLOURS,
        "grey": GREY,
        "has_published": any(point.is_published for point in figure.points),
        "hashes": {name: _hash(text) for name, text in texts.items()},
        **{name: Markup(text) for name, text in texts.items()},
    }
    return templates.get_template("robustness.html.j2").render(drawn)


def _drawn(figure: Figure, point: Point) -> dict[str, Any]:
    """One point of the page, in drawing units, and what is told of it."""
    facts = [f"common {_percent(point.common, point.common_interval)}"]
    facts.append(f"counter {_percent(point.counter, point.counter_interval)}")
    facts.append(f"drop {_percent(point.common - point.counter, point.drop_interval)}")
    if point.is_in_sample:
        facts.append("in-sample: its figures flatter or mislead")
    if point.is_published:
        facts.append("published, on CounterAnimal's photos")
    low, high = point.common_interval or (point.common, point.common)
    below, above = point.counter_interval or (point.counter, point.counter)
    return {
        "model": point.model,
        "family": point.family,
        "is_published": point.is_published,
        "is_in_sample": point.is_in_sample,
        "colour": GREY if point.is_published else COLOURS[point.family],
        "is_square": point.family == "ImageNet",
        "x": _x(figure, point.common),
        "y": _y(figure, point.counter),
        "whiskers": (_x(figure, low), _x(figure, high), _y(figure, below), _y(figure, above)),
        "facts": json.dumps(facts, ensure_ascii=False),
    }


def _line(figure: Figure, index: int) -> dict[str, Any]:
    fit = figure.fits[index]
    path = " ".join(f"{_x(figure, x)},{_y(figure, y)}" for x, y in zip(fit.common, fit.counter, strict=True))
    return {
        "family": fit.family,
        "is_published": fit.is_published,
        "colour": COLOURS[fit.family],
        "path": path,
    }


def _percent(value: float, interval: tuple[float, float] | None) -> str:
    span = f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else ""
    return f"{100 * value:.1f} %{span}"


def _at(figure: Figure, accuracy: float) -> float:
    """An accuracy on the plot's scale, kept from 0 and 1 where they have no place."""
    edge = 0.0 if figure.scale == "linear" else EDGE
    return float(figure.scale.forward(np.array(min(max(accuracy, edge), 1 - edge))))


def _share(figure: Figure, accuracy: float, ends: tuple[float, float]) -> float:
    """Where an accuracy lies between the ends of an axis: 0 = at the low one."""
    low, high = (_at(figure, end) for end in ends)
    return (_at(figure, accuracy) - low) / (high - low)


def _x(figure: Figure, accuracy: float) -> float:
    return round(LEFT + SIDE * _share(figure, accuracy, figure.common_range), 1)


def _y(figure: Figure, accuracy: float) -> float:
    return round(TOP + SIDE * (1 - _share(figure, accuracy, figure.counter_range)), 1)


def _diagonal(figure: Figure) -> tuple[float, float, float, float] | None:
    """x1, y1, x2, y2 of the part of equal accuracies that both axes hold; None = no part."""
    low, high = (
        fold(pair)
        for fold, pair in zip((max, min), zip(figure.common_range, figure.counter_range, strict=True), strict=True)
    )
    return (_x(figure, low), _y(figure, low), _x(figure, high), _y(figure, high)) if low < high else None


def _label(accuracy: float) -> str:
    return f"{100 * accuracy:g}"


def _hash(text: str) -> str:
    """A content security policy's name of a script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _shape(family: str) -> str:
    return "s" if family == "ImageNet" else "o"


def _mark(axes: Any, figure: Figure, point: Point) -> None:
    x, y = _at(figure, point.common), _at(figure, point.counter)
    colour = GREY if point.is_published else COLOURS[point.family]
    if point.common_interval and point.counter_interval:
        left, right = (_at(figure, value) for value in point.common_interval)
        below, above = (_at(figure, value) for value in point.counter_interval)
        axes.plot([left, right], [y, y], color=colour, linewidth=0.7, alpha=0.6)
        axes.plot([x, x], [below, above], color=colour, linewidth=0.7, alpha=0.6)
    axes.plot(
        [x],
        [y],
        _shape(point.family),
        color=colour,
        markersize=4 if point.is_published else 6,
        markerfacecolor="white" if point.is_in_sample else colour,
        zorder=2 if point.is_published else 3,
    )


def _name_points(axes: Any, figure: Figure) -> None:
    own = [point for point in figure.points if not point.is_published]
    for point in own if len(own) <= LABELLED else ():
        at = (_at(figure, point.common), _at(figure, point.counter))
        is_right = _share(figure, point.common, figure.common_range) > 0.6
        axes.annotate(
            point.model,
            at,
            xytext=(-7 if is_right else 7, 5),
            textcoords="offset points",
            ha="right" if is_right else "left",
            fontsize=8,
        )


def _wrapped(notes: tuple[str, ...], width: int = 118) -> list[str]:
    """Notes joined into lines of at most `width` characters, broken between words."""
    lines = [""]
    for word in " ".join(notes).split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
