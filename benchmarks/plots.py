"""Draw the plots of docs/method.md from the figures of `simulations.py` and the published tables.

python benchmarks/plots.py --figures docs/figures/simulations.json --folder docs/figures
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt
import numpy as np

from counterset.manifests import manifest_path
from counterset.statistics.robustness import Scale, effective_robustness

BLUE, ORANGE = "#1f5a9c", "#c8641e"
Row = dict[str, Any]


def save(figure: Any, path: Path) -> None:
    """Write an SVG whose bytes depend on the figures alone."""
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def breaking(rows: list[Row], path: Path) -> None:
    """Null classes confirmed through errors that follow the outcome, and those marked fragile."""
    figure, axes = plt.subplots(figsize=(5, 2.8))
    chosen = [row for row in rows if row["photos"] == 300]
    places = np.arange(len(chosen))
    confirmed = np.array([row["confirmed_share"] for row in chosen])
    fragile = confirmed * np.array([row["fragile_0.1"] or 0.0 for row in chosen])
    axes.bar(places, fragile, color=BLUE, label="confirmed falsely, marked fragile (limit 0.1)")
    axes.bar(places, confirmed - fragile, bottom=fragile, color=ORANGE, label="confirmed falsely, not marked")
    axes.set_xticks(places, [f"{100 * row['share']:g} %" for row in chosen])
    axes.set_xlabel("share of wrong photos moved to one group")
    axes.set_ylabel("share of null classes")
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)


def robustness(path: Path) -> None:
    """The published models around the ImageNet line, on logit axes."""
    with manifest_path("published/models_1v1000.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    common, counter = (
        np.array([float(row[f"{side}_accuracy"]) for row in rows]) / 100 for side in ("common", "counter")
    )
    is_imagenet = np.array([row["family"] == "ImageNet" for row in rows])
    line = effective_robustness(common, counter, is_imagenet, Scale.LOGIT).line
    figure, axes = plt.subplots(figsize=(4.6, 4))
    along = np.linspace(common.min() - 0.01, common.max() + 0.01, 100)
    axes.plot(Scale.LOGIT.forward(along), Scale.LOGIT.forward(line.counter(along)), color=ORANGE, linewidth=1)
    for mask, label, colour in ((is_imagenet, "ImageNet models", ORANGE), (~is_imagenet, "CLIP models", BLUE)):
        axes.scatter(Scale.LOGIT.forward(common[mask]), Scale.LOGIT.forward(counter[mask]), 14, colour, label=label)
    for axis, ticks in ((axes.xaxis, (0.6, 0.7, 0.8, 0.9)), (axes.yaxis, (0.4, 0.5, 0.6, 0.7, 0.8))):
        axis.set_ticks(Scale.LOGIT.forward(np.array(ticks)), [f"{100 * tick:.0f}" for tick in ticks])
    axes.set_xlabel("common accuracy, % (logit axis)")
    axes.set_ylabel("counter accuracy, % (logit axis)")
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)


def main() -> None:
    """Draw all plots into the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, default=Path("docs/figures/simulations.json"))
    parser.add_argument("--folder", type=Path, default=Path("docs/figures"))
    arguments = parser.parse_args()
    mpl.rcParams.update({"svg.hashsalt": "counterset", "svg.fonttype": "none", "axes.spines.top": False})
    mpl.rcParams.update({"axes.spines.right": False, "font.size": 9})
    figures = json.loads(arguments.figures.read_text())
    breaking(figures["dependent"], arguments.folder / "breaking.svg")
    robustness(arguments.folder / "robustness.svg")


if __name__ == "__main__":
    main()
