"""Worlds in which something else than the background drives accuracy: what is claimed of them with it and without.

    python -m tests.proofs.causes --worlds 50

Three groups per class, one selector with normal margins. A covariate lowers every margin that it is high in; in the
group of the planted common background it is low, in that of the counter high, and some observers lean to it. The
covariate is measured, as a column of covariates that a release adjusts for. A claim is a pair with q <= 0.05 and an
interval above 0: plain as the select stage confirms, controlled as `what_remains` says. Best = the select stage on
margins from which the covariate's true effect was taken.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import ndtr, ndtri

from counterset.causes.controlled import what_remains
from counterset.causes.schemas import COVARIATES
from counterset.config import SelectConfig
from counterset.stages.select import select_pairs
from counterset.statistics.halves import DISCOVER_SHARE
from counterset.tables import table_of

from .worlds import LABELS, Crowd, World, draw_world, planted

Floats = npt.NDArray[np.float64]

CROWD = Crowd(rho=0.15, crossing=0.3, is_normal=True)


@dataclass(frozen=True)
class Cause:
    """Worlds of one kind.

    Attributes:
        name: in the table.
        strength: of the covariate, in standard deviations of a margin.
        shift: how much higher the covariate is in group 2 than in group 1, in its standard deviations.
        drop: planted between group 1 and group 2, in accuracy.
        is_binary: the covariate is yes or no, at 0.2 and 0.8 of the photos of groups 1 and 2 where `shift` is not 0.
        photos: of each group.
    """

    name: str
    strength: float = 0.0
    shift: float = 0.0
    drop: float = 0.0
    is_binary: bool = False
    photos: int = 150


CAUSES = (
    Cause("neither"),
    Cause("a confounder alone, yes or no", 1.0, 1.0, is_binary=True),
    Cause("a confounder alone, a number", 0.6, 1.0),
    Cause("a confounder alone, 400 photos", 0.6, 1.0, photos=400),
    Cause("it matters, and does not differ", 0.6),
    Cause("the background alone, 20 points", 0.0, 1.0, 0.2),
    Cause("both, yes or no, 20 points", 1.0, 1.0, 0.2, is_binary=True),
    Cause("both, a number, 20 points", 0.6, 1.0, 0.2),
    Cause("both, a number, 20 points, 400 photos", 0.6, 1.0, 0.2, photos=400),
)
NUM_CLASSES = 12
"""Of a world."""
OTHERS = ("megapixels", "aspect", "observer_photos")
"""Covariates that vary and do nothing."""


def run(cause: Cause, seed: int, num_permutations: int = 2_000, num_classes: int = NUM_CLASSES) -> list[dict[str, Any]]:
    """One row per tested class of world number `seed`: claims, truth and intervals."""
    rng = np.random.default_rng([*cause.name.encode(), seed])
    accuracies = planted(rng, num_classes, 3, base=(0.6, 0.8), drop=cause.drop, num_planted=num_classes)
    world = draw_world(rng, accuracies, cause.photos, CROWD)
    covariate = _covariate(rng, cause, world)
    burden = cause.strength * (covariate - covariate.mean())
    shown = replace(world, margin=world.margin - burden[:, None])
    tables = shown.tables(DISCOVER_SHARE)
    plain = _select(tables, shown, seed, num_permutations)
    best = _select(world.tables(DISCOVER_SHARE), world, seed, num_permutations) if cause.drop else plain
    members, backgrounds, predictions = tables
    photos = members.append_column("group", backgrounds["group"])
    others = {name: np.exp(rng.normal(0, 0.5, len(covariate))) for name in OTHERS}
    known = {name: [None] * len(covariate) for name in COVARIATES.arrow().names}
    known |= {"photo_id": photos["photo_id"], "class_id": photos["class_id"], "observer_accuracy": covariate}
    known |= {"size_bytes": np.ones(len(covariate), np.int64)} | others
    known["observer_photos"] = (10 * others["observer_photos"]).astype(np.int64)
    remains = what_remains(
        photos,
        plain,
        predictions,
        table_of(COVARIATES, known),
        world.models,
        min_photos=10,
        num_permutations=num_permutations,
        seed=seed,
    )
    confirmed = {row["class_id"]: row["verdict"] == "confirmed" for row in best.to_pylist()}
    controlled = {row["class_id"]: row for row in remains.controlled.to_pylist()}
    rows = []
    for pair in plain.to_pylist():
        row = controlled.get(pair["class_id"])
        if row is not None and row["drop_controlled"] is not None:
            rows.append(
                row
                | {
                    "is_claimed_plainly": pair["verdict"] == "confirmed",
                    "is_claimed": row["q_controlled"] <= 0.05 and row["drop_controlled_low"] > 0,
                    "is_claimed_by_best": confirmed[pair["class_id"]],
                    "truth": _truth(world, burden, pair),
                    "drop": pair["drop"],
                    "covers_plainly": pair["drop_low"] <= _truth(world, burden, pair) <= pair["drop_high"],
                }
            )
    return rows


def _covariate(rng: np.random.Generator, cause: Cause, world: World) -> Floats:
    """(N,) the covariate of each photo, with a part of its own for every observer."""
    leaning = rng.normal(0, 1, len(world.coin))[world.observer]
    towards = np.array([0.0, -0.5, 0.5])[world.group] * cause.shift
    if cause.is_binary:
        logit = towards * 2 * np.log(4) + leaning
        return (rng.random(len(leaning)) < 1 / (1 + np.exp(-logit))).astype(np.float64)
    return np.asarray(towards + 0.6 * leaning + 0.8 * rng.normal(0, 1, len(leaning)))


def _select(tables: tuple[pa.Table, ...], world: World, seed: int, num_permutations: int) -> pa.Table:
    config = SelectConfig(num_permutations=num_permutations)
    return select_pairs(
        *tables, config, selectors=world.models, label_space=LABELS, class_ids=world.class_ids, seed=seed
    ).pairs


def _truth(world: World, burden: Floats, pair: dict[str, Any]) -> float:
    """The drop if every photo of the pair were taken before both backgrounds, all else as it is."""
    number = world.class_ids.index(pair["class_id"])
    sides = [world.groups.index(pair[side]) for side in ("common", "counter")]
    own = burden[(world.class_index == number) & np.isin(world.group, sides)]
    level = [float(ndtri(world.accuracies[number, side])) for side in sides]
    return float(np.mean(ndtr(level[0] - own) - ndtr(level[1] - own)))


def summary(cause: Cause, worlds: list[list[dict[str, Any]]]) -> dict[str, float]:
    """Shares over worlds (false claims) and over classes (power, coverage), and the mean error in points."""
    rows = [row for world in worlds for row in world]

    def share(values: list[bool]) -> float:
        return float(np.mean(values)) if values else float("nan")

    def covers(row: dict[str, Any]) -> bool:
        return bool(row["drop_controlled_low"] <= row["truth"] <= row["drop_controlled_high"])

    return {
        "worlds": len(worlds),
        "false_plain": share([any(r["is_claimed_plainly"] and r["truth"] <= 1e-9 for r in world) for world in worlds]),
        "false": share([any(r["is_claimed"] and r["truth"] <= 1e-9 for r in world) for world in worlds]),
        "plain": share([r["is_claimed_plainly"] for r in rows]),
        "claimed": share([r["is_claimed"] for r in rows]),
        "best": share([r["is_claimed_by_best"] for r in rows if cause.drop]),
        "covered_plain": share([r["covers_plainly"] for r in rows]),
        "covered": share([covers(r) for r in rows]),
        "bias": 100 * float(np.mean([r["drop_controlled"] - r["truth"] for r in rows])),
        "bias_plain": 100 * float(np.mean([r["drop"] - r["truth"] for r in rows])),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of names of rows; all without any")
    parser.add_argument("--worlds", type=int, default=50, help="of each row")
    args = parser.parse_args()
    for cause in CAUSES:
        if not args.names or any(name in cause.name for name in args.names):
            found = summary(cause, [run(cause, seed) for seed in range(args.worlds)])
            figures = " ".join(f"{name} {value:.3g}" for name, value in found.items())
            print(f"{cause.name}: {figures}", flush=True)


if __name__ == "__main__":
    main()
