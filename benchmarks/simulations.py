"""Selection on simulated worlds whose annotations have errors, at random or where the selector is wrong.

    python -m benchmarks.simulations --worlds 200 --output docs/figures/simulations.json

Run from the checkout. Prints two tables and writes the figures, which `benchmarks/plots.py` draws.
45 classes, 6 groups, mean accuracy 0.7, observers with 3 photos on average.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from tests.proofs.regimes import Regime, build_now
from tests.proofs.worlds import Crowd, Geometric, World, with_names_at_random, with_wrong_photos_moved

NUM_PLANTED = 15
WORLDS = Regime(
    "errors of names",
    Crowd(crossing=0.2, sizes=Geometric()),
    photos=300,
    base=(0.7, 0.7),
    num_planted=NUM_PLANTED,
    config=dict(num_permutations=5_000),
)

Spoil = Callable[[World, np.random.Generator], World]
Row = dict[str, Any]


def run_world(regime: Regime, spoil: Spoil | None, seed: int) -> list[Row]:
    """One row per tested class: what the build says beside what is true."""
    world = regime.draw(seed)
    return build_now(regime, spoil(world, np.random.default_rng([seed, 3])) if spoil else world, seed)


def worlds(regime: Regime, number: int, spoil: Spoil | None) -> Iterator[list[Row]]:
    """The rows of each of `number` worlds, worked out on all cores."""
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        yield from pool.map(partial(run_world, regime, spoil), range(number), chunksize=4)


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
    planted = [row for world in found for row in world if row["is_planted"]]
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
        spoil = partial(with_names_at_random, share=share) if share else None
        null = summary(list(worlds(WORLDS, number, spoil)))
        planted = planted_summary(list(worlds(replace(WORLDS, drop=0.4), max(number // 4, 4), spoil)))
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
            spoil = partial(with_wrong_photos_moved, share=share, target=3)
            found = list(worlds(replace(WORLDS, photos=photos), max(number // 4, 4), spoil))
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
    parser.add_argument("--worlds", type=int, default=200)
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
