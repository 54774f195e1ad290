"""What a build of the demo says, beside what is true of its world."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from counterset.schemas import PAIRS, Verdict
from counterset.tables import read_table

TRUTH = Path(__file__).resolve().parent / "weights" / "truth.json"


def true_accuracies(model: str = "selector") -> dict[str, dict[str, float]]:
    """class_id -> background -> a demo model's accuracy on fresh photos of this world (see `demo.training.truth`)."""
    accuracies: dict[str, dict[str, float]] = json.loads(TRUTH.read_text(encoding="utf-8"))["accuracy"][model]
    return accuracies


def truth_rows(pairs_path: str | Path) -> list[dict[str, Any]]:
    """One row per class: the pair found, its true drop, and the largest true drop of the class.

    Keys: class_id, verdict, common, counter, drop, drop_low, drop_high (all as in the
    pairs table), true_drop (of that pair), largest_drop, largest_pair, is_covered (the
    interval holds true_drop). Drops are fractions.
    """
    truth = true_accuracies()
    rows = []
    for pair in read_table(pairs_path, PAIRS).to_pylist():
        by_background = truth[pair["class_id"]]
        best, worst = (
            max(by_background, key=by_background.__getitem__),
            min(by_background, key=by_background.__getitem__),
        )
        row = {
            name: pair[name] for name in ("class_id", "verdict", "common", "counter", "drop", "drop_low", "drop_high")
        }
        row["largest_drop"] = by_background[best] - by_background[worst]
        row["largest_pair"] = f"{best} > {worst}"
        row["true_drop"] = row["is_covered"] = None
        if pair["common"] in by_background and pair["counter"] in by_background:
            row["true_drop"] = by_background[pair["common"]] - by_background[pair["counter"]]
            if pair["drop"] is not None:
                row["is_covered"] = pair["drop_low"] <= row["true_drop"] <= pair["drop_high"]
        rows.append(row)
    return rows


def remaining_rows(rows: list[dict[str, Any]], controlled: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of `truth_rows` of which a controlled drop is known, with it: `is_covered` is of its interval.

    Args:
        rows: of `truth_rows`.
        controlled: rows of a release's table of this name.
    """
    known = {row["class_id"]: row for row in controlled}
    left = []
    for row in rows:
        own = known.get(row["class_id"], {})
        low, high = own.get("drop_controlled_low"), own.get("drop_controlled_high")
        if low is not None and high is not None and row["true_drop"] is not None:
            left.append(row | own | {"is_covered": low <= row["true_drop"] <= high})
    return left


def remaining_summary(left: list[dict[str, Any]]) -> str:
    """How far off the drops and the controlled drops are, in one line."""
    if not left:
        return "no class has photographers enough on both sides for a controlled drop"
    covered = sum(row["is_covered"] for row in left)
    errors = [sum(row[name] - row["true_drop"] for row in left) / len(left) for name in ("drop", "drop_controlled")]
    return (
        f"away from home animals are mostly photographed from twice as far: drops are {100 * errors[0]:+.1f} points "
        f"off in the mean, what remains of them {100 * errors[1]:+.1f}, and {covered} of "
        f"{len(left)} of its intervals hold the true drop, which is that of photos from the usual distance"
    )


def truth_summary(rows: list[dict[str, Any]]) -> str:
    """What the demo's build got right and wrong, in one line."""
    large = [row for row in rows if row["largest_drop"] >= 0.15]
    found = [row for row in large if row["true_drop"] is not None and row["largest_drop"] - row["true_drop"] <= 0.05]
    confirmed = [row for row in rows if row["verdict"] == Verdict.CONFIRMED]
    false = [row["class_id"] for row in confirmed if row["true_drop"] is None or row["true_drop"] <= 0]
    stated = [row["is_covered"] for row in rows if row["is_covered"] is not None]
    return (
        f"{len(found)} of {len(large)} classes with a true drop of 15 points or more have a pair within 5 points of "
        f"the largest; {len(confirmed)} classes confirmed, {len(false)} of them wrongly; "
        f"{sum(stated)} of {len(stated)} intervals hold the true drop"
    )
