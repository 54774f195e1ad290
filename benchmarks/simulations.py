"""Selection on simulated worlds of known truth: false confirmations, coverage, bias, power, annotation errors.

    python benchmarks/simulations.py --worlds 500 --output docs/figures/simulations.json

prints one table a promise and writes the figures, which `benchmarks/plots.py` draws.
45 classes, 6 groups, mean accuracy 0.7, observers with 3 photos on average.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportions_ztest

from counterset.config import SelectConfig
from counterset.stages.select import pair_rows
from counterset.statistics.observers import CONFIRM, Results
from counterset.statistics.plan import Assumptions, plan_sample_size
from counterset.statistics.simulate import (
    Design,
    Photos,
    class_units,
    planted_accuracies,
    simulate_world,
    with_label_noise,
    with_outcome_errors,
)

NUM_CLASSES, NUM_GROUPS, NUM_PLANTED = 45, 6, 15
CONFIG = SelectConfig(num_permutations=5_000)
PAPER = SelectConfig(mode="paper")

Spoil = Callable[[Photos, np.random.Generator], Photos]
Row = dict[str, Any]


def run_world(design: Design, drop: float, num_planted: int, spoil: Spoil | None, base: float, seed: int) -> list[Row]:
    """One row a tested class: what was found beside what is true."""
    rng = np.random.default_rng(seed)
    accuracies = planted_accuracies(NUM_CLASSES, NUM_GROUPS, num_planted=num_planted, drop=drop, base=base)
    classes = []
    for index, (photos, half) in enumerate(simulate_world(accuracies, design, rng)):
        kept = photos if spoil is None else spoil(photos, rng)
        classes.append(class_units(f"class{index:02d}", kept, half, NUM_GROUPS))
    found = pair_rows(classes, CONFIG, seed=seed)
    paper = pair_rows(classes, PAPER, seed=seed)
    rows = []
    for index, (units, row, published, accuracy) in enumerate(zip(classes, found, paper, accuracies, strict=True)):
        if row["verdict"] == "too_small":
            continue
        common, counter = (units.groups.index(row[name]) for name in ("common", "counter"))
        rows.append(
            row
            | {
                "planted": index < num_planted,
                "truth": float(accuracy[common] - accuracy[counter]),
                "is_right": (common, counter) == (1, 2),
                "photo_p": photo_level_p(units.results, common, counter),
                "best_p": best_p(units.results, design.observer_correlation),
                "paper_confirmed": published["verdict"] == "confirmed",
            }
        )
    for name in ("photo", "best"):
        q_values = multipletests([row[f"{name}_p"] for row in rows], method="fdr_bh")[1] if rows else []
        for row, q_value in zip(rows, q_values, strict=True):
            row[f"{name}_confirmed"] = bool(q_value <= CONFIG.max_q_value)
    return rows


def photo_level_p(results: Results, common: int, counter: int) -> float:
    """The naive test: two proportions on confirm, as if photos were independent."""
    photos, correct = results.by_half(results.num_photos)[CONFIRM], results.by_half(results.sum_correct)[CONFIRM]
    pair = [common, counter]
    if correct[pair].sum() in (0, photos[pair].sum()):
        return 1.0
    return float(proportions_ztest(correct[pair], photos[pair], alternative="larger")[1])


def best_p(results: Results, observer_correlation: float) -> float:
    """The best possible test: it knows the pair and the observers' correlation, and uses every photo."""
    weights = results.num_photos / (1 + (results.num_photos - 1) * observer_correlation)
    weight = results.by_group(weights)[[1, 2]]
    accuracy = results.by_group(weights * results.sum_correct / results.num_photos)[[1, 2]] / weight
    variance = accuracy * (1 - accuracy) / weight
    return float(norm.sf((accuracy[0] - accuracy[1]) / max(np.sqrt(variance.sum()), 1e-9)))


def worlds(
    design: Design,
    number: int,
    *,
    drop: float = 0.0,
    num_planted: int = 0,
    spoil: Spoil | None = None,
    base: float = 0.7,
) -> Iterator[list[Row]]:
    """The rows of each of `number` worlds, worked out on all cores."""
    work = partial(run_world, design, drop, num_planted, spoil, base)
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        yield from pool.map(work, range(number), chunksize=4)


def summary(found: list[list[Row]]) -> Row:
    """The promises' figures over worlds."""
    rows = [row for world in found for row in world]

    def false_worlds(key: str) -> float:
        return float(np.mean([any(row[key] and row["truth"] <= 0 for row in world) for world in found]))

    for row in rows:
        row["confirmed"] = row["verdict"] == "confirmed"
    truth, drop, confirm, discover = (
        np.array([row[name] for row in rows]) for name in ("truth", "drop", "drop_confirm", "drop_discover")
    )
    inside = [row["drop_low"] <= row["truth"] <= row["drop_high"] for row in rows]
    root = np.sqrt(len(rows))
    confirmed = [row for row in rows if row["confirmed"]]
    return {
        "worlds": len(found),
        "tested_classes": len(rows) / len(found),
        "false_worlds": false_worlds("confirmed"),
        "false_worlds_photo_level": false_worlds("photo_confirmed"),
        "paper_passes": float(np.mean([row["paper_confirmed"] for row in rows])),
        "false_discovery_rate": float(
            np.mean(
                [
                    sum(row["confirmed"] and row["truth"] <= 0 for row in world)
                    / max(sum(row["confirmed"] for row in world), 1)
                    for world in found
                ]
            )
        ),
        "coverage": float(np.mean(inside)),
        "coverage_of_confirmed": float(
            np.mean([row["drop_low"] <= row["truth"] <= row["drop_high"] for row in confirmed])
        )
        if confirmed
        else None,
        "bias": float((drop - truth).mean()),
        "bias_error": float((drop - truth).std() / root),
        "confirm_bias": float((confirm - truth).mean()),
        "confirm_bias_error": float((confirm - truth).std() / root),
        "discover_bias": float((discover - truth).mean()),
        "rmse": float((drop - truth).std()),
        "confirm_rmse": float((confirm - truth).std()),
        "width": float(np.mean([row["drop_high"] - row["drop_low"] for row in rows])),
        "observer_correlation": float(np.mean([row["observer_correlation"] for row in rows])),
        "detectable_drop": float(np.median([row["detectable_drop"] for row in rows])),
        "mean_drop": float(drop.mean()),
        "fragile_of_confirmed": float(np.mean([row["is_fragile"] for row in confirmed])) if confirmed else None,
        "confirmed_share": len(confirmed) / len(rows),
    }


def planted_summary(found: list[list[Row]]) -> Row:
    """Power over the planted classes, the too small ones counted as missed."""
    planted = [row for world in found for row in world if row["planted"]]
    number = NUM_PLANTED * len(found)
    for row in planted:
        row["confirmed"] = row["verdict"] == "confirmed"
    return {
        "confirmed": sum(row["confirmed"] for row in planted) / number,
        "recovered": sum(row["confirmed"] and row["is_right"] for row in planted) / number,
        "chosen": sum(row["is_right"] for row in planted) / number,
        "best": sum(row["best_confirmed"] for row in planted) / number,
        "mean_drop": float(np.mean([row["drop"] for row in planted])) if planted else None,
    }


def table(title: str, rows: list[Row], columns: list[str]) -> None:
    """Print a Markdown table."""

    def cell(value: Any) -> str:
        return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)

    lines = [f"\n### {title}\n", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(name)) for name in columns) + " |" for row in rows]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


COVERAGE = ["coverage", "bias", "bias_error", "confirm_bias", "confirm_bias_error", "discover_bias"]


def null_worlds(number: int) -> list[Row]:
    """No true difference, 100 photos a group."""
    rows = []
    for rho in (0.0, 0.1, 0.3):
        for base in (0.7, 0.93):
            design = Design(100, observer_correlation=rho)
            rows.append({"rho": rho, "accuracy": base} | summary(list(worlds(design, number, base=base))))
    columns = [
        "rho",
        "accuracy",
        "worlds",
        "tested_classes",
        "false_worlds",
        "false_worlds_photo_level",
        "paper_passes",
    ]
    table("Null worlds", rows, [*columns, *COVERAGE, "rmse", "confirm_rmse", "observer_correlation"])
    return rows


def planted_worlds(number: int) -> list[Row]:
    """15 of 45 classes have a true pair."""
    rows = []
    for photos in (100, 300, 1000):
        for drop in (0.05, 0.10, 0.20, 0.40):
            found = list(
                worlds(
                    Design(photos), max(number // (8 if photos < 1000 else 16), 4), drop=drop, num_planted=NUM_PLANTED
                )
            )
            rows.append({"photos": photos, "drop": drop} | summary(found) | planted_summary(found))
    columns = ["photos", "drop", "worlds", "confirmed", "recovered", "chosen", "best", "false_discovery_rate"]
    table("Planted worlds", rows, [*columns, *COVERAGE, "coverage_of_confirmed", "detectable_drop"])
    return rows


def dominant_worlds(number: int) -> list[Row]:
    """No true difference, one observer gave half of one group."""
    rows = []
    for rho in (0.1, 0.3):
        design = Design(100, observer_correlation=rho, dominance=0.5)
        rows.append({"rho": rho} | summary(list(worlds(design, number))))
    table("One observer gave half of a group", rows, ["rho", "false_worlds", "false_worlds_photo_level", *COVERAGE])
    return rows


def noisy_worlds(number: int) -> list[Row]:
    """Random annotation errors."""
    rows = []
    for share in (0.0, 0.1, 0.2, 0.3):
        spoil = partial(with_label_noise, share=share, num_groups=NUM_GROUPS) if share else None
        null = summary(list(worlds(Design(300), max(number // 5, 4), spoil=spoil)))
        found = list(worlds(Design(300), max(number // 10, 4), drop=0.4, num_planted=NUM_PLANTED, spoil=spoil))
        planted = planted_summary(found)
        rows.append(
            {
                "share": share,
                "false_worlds": null["false_worlds"],
                "recovered": planted["recovered"],
                "mean_drop": planted["mean_drop"],
            }
        )
    table("Random annotation errors (planted drop 0.4)", rows, ["share", "false_worlds", "recovered", "mean_drop"])
    return rows


def dependent_worlds(number: int) -> list[Row]:
    """Annotation errors that follow the outcome: a share of the wrong photos is moved to one group."""
    rows = []
    for photos in (100, 300):
        for share in (0.02, 0.05, 0.1, 0.2):
            found = list(
                worlds(Design(photos), max(number // 10, 4), spoil=partial(with_outcome_errors, share=share, target=3))
            )
            confirmed = [row for world in found for row in world if row["verdict"] == "confirmed"]
            rows.append(
                {"photos": photos, "share": share}
                | {name: summary(found)[name] for name in ("false_worlds", "confirmed_share", "mean_drop")}
                | {
                    f"fragile_{limit}": float(np.mean([row["breaking_share"] < limit for row in confirmed]))
                    if confirmed
                    else None
                    for limit in (0.05, 0.1, 0.2)
                }
            )
    columns = ["photos", "share", "false_worlds", "confirmed_share", "mean_drop"]
    table("Outcome-dependent annotation errors", rows, [*columns, "fragile_0.05", "fragile_0.1", "fragile_0.2"])
    return rows


def power_worlds(number: int) -> list[Row]:
    """Power at the drop that detectable_drop names, and with the photos that the plan asks for."""
    rows = []
    for photos in (100, 300, 1000):
        probe = summary(list(worlds(Design(photos), 4, drop=0.2, num_planted=NUM_PLANTED)))
        drop = round(probe["detectable_drop"], 3)
        found = list(worlds(Design(photos), max(number // 25, 4), drop=drop, num_planted=NUM_PLANTED))
        rows.append({"what": "detectable_drop", "photos": photos, "drop": drop} | planted_summary(found))
    for drop in (0.1, 0.2, 0.3):
        assumptions = Assumptions(
            NUM_CLASSES, observer_correlation=0.1, photos_per_observer=3.0, share_confirmed=NUM_PLANTED / NUM_CLASSES
        )
        photos = plan_sample_size(drop, NUM_GROUPS, assumptions).photos_per_group
        found = list(worlds(Design(photos), max(number // 25, 4), drop=drop, num_planted=NUM_PLANTED))
        rows.append({"what": "plan", "photos": photos, "drop": drop} | planted_summary(found))
    table("Power, promised 0.8", rows, ["what", "photos", "drop", "confirmed", "recovered"])
    return rows


PARTS: dict[str, Callable[[int], list[Row]]] = {
    "null": null_worlds,
    "planted": planted_worlds,
    "dominant": dominant_worlds,
    "noisy": noisy_worlds,
    "dependent": dependent_worlds,
    "power": power_worlds,
}


def main() -> None:
    """Run the parts named, print their tables and write their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--worlds", type=int, default=500)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    figures = {}
    if arguments.output and arguments.output.exists():
        figures = json.loads(arguments.output.read_text())
    for name in arguments.parts:
        figures[name] = PARTS[name](arguments.worlds)
        if arguments.output:
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
