"""Selection on simulated worlds whose annotations have errors, at random or where the selector is wrong.

    python benchmarks/simulations.py --worlds 500 --output docs/figures/simulations.json

prints two tables and writes the figures, which `benchmarks/plots.py` draws.
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

from counterset.config import SelectConfig
from counterset.stages.select import pair_rows
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
    rows = []
    for index, (units, row, accuracy) in enumerate(zip(classes, found, accuracies, strict=True)):
        if row["verdict"] == "too_small":
            continue
        common, counter = (units.groups.index(row[name]) for name in ("common", "counter"))
        rows.append(
            row
            | {
                "planted": index < num_planted,
                "truth": float(accuracy[common] - accuracy[counter]),
                "is_right": (common, counter) == (1, 2),
            }
        )
    return rows


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
    """What null worlds say: false worlds, classes confirmed and their mean drop."""
    rows = [row for world in found for row in world]
    return {
        "worlds": len(found),
        "false_worlds": float(
            np.mean([any(row["verdict"] == "confirmed" and row["truth"] <= 0 for row in world) for world in found])
        ),
        "confirmed_share": float(np.mean([row["verdict"] == "confirmed" for row in rows])),
        "mean_drop": float(np.mean([row["drop"] for row in rows])),
    }


def planted_summary(found: list[list[Row]]) -> Row:
    """Power over the planted classes, the too small ones counted as missed."""
    planted = [row for world in found for row in world if row["planted"]]
    number = NUM_PLANTED * len(found)
    return {
        "recovered": sum(row["verdict"] == "confirmed" and row["is_right"] for row in planted) / number,
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


PARTS: dict[str, Callable[[int], list[Row]]] = {
    "noisy": noisy_worlds,
    "dependent": dependent_worlds,
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
