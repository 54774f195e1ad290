"""Regimes of wrong names: 15 % of them, half of these where the model is wrong, with labels of 300 photos per class.

`corrected` puts the corrected drop where a build's own drop stands, so that the same promises are asked of it;
`powered` puts there what prediction-powered inference makes of the same labels, which builds do not use.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from counterset.config import SelectConfig
from counterset.config_sections import NamingConfig
from counterset.review.sample import draw_sample
from counterset.stages.naming import name_pairs
from counterset.stages.select import select_pairs
from counterset.statistics.halves import DISCOVER_SHARE

from .regimes import LOW, Build, Regime, Row
from .worlds import LABELS, Crowd, Floats, Ints, World, Zipf

NORMAL = 1.96
WRONG = 0.15
"""Share of the photos that are named wrongly; half of them at random, half among those that the first model gets wrong,
all into one group."""
GAINING = 2
LABELS_PER_CLASS = 300


def misnamed(world: World, seed: int) -> Ints:
    """(N,) the group that each photo is put into."""
    rng = np.random.default_rng([seed, 15])
    number, num_groups = len(world.group), world.accuracies.shape[1]
    named = world.group.copy()
    is_wrong = world.margin[:, 0] <= 0
    others = is_wrong & (world.group != GAINING)
    moved = others & (rng.random(number) < WRONG / 2 * number / max(others.sum(), 1))
    named[moved] = GAINING
    at_random = ~moved & (rng.random(number) < WRONG / 2)
    named[at_random] = (world.group[at_random] + rng.integers(1, num_groups, at_random.sum())) % num_groups
    return named


def labelled(world: World, named: World, seed: int) -> pa.Table:
    """The decisions of one reviewer who names all photos of the audit sample rightly."""
    _, backgrounds, _ = named.tables()
    sample = draw_sample(backgrounds, LABELS_PER_CLASS // world.accuracies.shape[1], seed=seed)
    photos = sample["photo_id"].to_pylist()
    truth = [world.groups[world.group[int(photo_id)]] for photo_id in photos]
    return pa.table(
        {
            "photo_id": photos,
            "mode": ["audit"] * len(photos),
            "reviewer": ["one"] * len(photos),
            "said_name": truth,
            "probability": sample["probability"],
        }
    )


def corrected(build: Build, regime: Regime, world: World, seed: int) -> list[Row]:
    """One build of misnamed photos; the drop is the corrected one."""
    return [
        row
        | {
            "drop": row["drop_corrected"],
            "drop_low": row["drop_corrected_low"],
            "drop_high": row["drop_corrected_high"],
        }
        for row in uncorrected(build, regime, world, seed)
        if row["drop_corrected"] is not None
    ]


def uncorrected(build: Build, regime: Regime, world: World, seed: int) -> list[Row]:
    """One build of misnamed photos, as if the names were right."""
    named = replace(world, group=misnamed(world, seed))
    members, backgrounds, predictions = named.tables(DISCOVER_SHARE)
    options = dict(selectors=world.models[: regime.num_selectors], label_space=LABELS, seed=seed)
    config = SelectConfig(**regime.config)
    backgrounds = backgrounds.append_column("elsewhere", pa.nulls(len(backgrounds), pa.float32()))
    chosen = select_pairs(members, backgrounds, predictions, config, class_ids=world.class_ids, **options)
    decisions = labelled(world, named, seed)
    pairs = name_pairs(
        decisions, [members], [backgrounds], [predictions], chosen.pairs, NamingConfig(), **options
    ).pairs
    rows = []
    for row in pairs.to_pylist():
        if row["common"] is not None:
            truth = world.truth(row["class_id"], row["common"], row["counter"])
            is_planted = regime.drop > 0 and world.class_ids.index(row["class_id"]) < regime.num_planted
            # Of misnamed groups a verdict says little: `naming` says so, and only the interval is judged here.
            rows.append(row | {"verdict": "unconfirmed", "truth": truth, "is_planted": is_planted, "is_right": False})
    return rows


def powered(build: Build, regime: Regime, world: World, seed: int) -> list[Row]:
    """One build of misnamed photos; the drop is by prediction-powered inference (Angelopoulos et al. 2023).

    The names of all photos are the predictions, and what the labels add to and take from them corrects numerators and
    denominators of both accuracies. Its variance is that of the sums of influences over units. Outcomes of the pair's
    groups are first moved by what the choice of the pair added to them.
    """
    named = replace(world, group=misnamed(world, seed))
    sample = labelled(world, named, seed)
    weight = np.zeros(len(world.group))
    weight[[int(photo_id) for photo_id in sample["photo_id"].to_pylist()]] = 1 / sample["probability"].to_numpy()
    right = (world.margin[:, : regime.num_selectors] > 0).mean(axis=1)
    rows = []
    for row in uncorrected(build, regime, world, seed):
        own = world.class_index == world.class_ids.index(row["class_id"])
        pair = [world.groups.index(row[side]) for side in ("common", "counter")]
        unit, outcome = np.unique(world.observer[own], return_inverse=True)[1], right[own]
        is_named, is_truly = (np.equal.outer(groups[own], pair).astype(float) for groups in (named.group, world.group))
        for side, name in enumerate(("common", "counter")):
            inside = is_named[:, side] > 0
            num_photos = np.bincount(unit[inside])
            by_unit = np.bincount(unit[inside], outcome[inside]) / np.maximum(num_photos, 1)
            worth = num_photos / (1 + (num_photos - 1) * (row[f"unit_correlation_{name}"] or 0.0))
            outcome = np.where(inside, outcome + row[f"accuracy_{name}"] - np.average(by_unit, weights=worth), outcome)
        drop, error = _prediction_powered(outcome, is_named, is_truly, weight[own], unit)
        half_width = NORMAL * error
        rows.append(row | {"drop": drop, "drop_low": drop - half_width, "drop_high": drop + half_width})
    return rows


def _prediction_powered(
    outcome: Floats, is_named: Floats, is_truly: Floats, weight: Floats, unit: Ints
) -> tuple[float, float]:
    """The drop and its standard error.

    Args:
        outcome: (N,) of all photos of the class.
        is_named: (N, 2) 1 where they are named common, counter.
        is_truly: (N, 2) 1 where they truly are; read only where `weight` is above 0.
        weight: (N,) one over the probability of being labelled; 0 = not labelled.
        unit: (N,) from 0.
    """
    corrected = is_named + weight[:, None] * (is_truly - is_named)
    number = corrected.sum(axis=0)
    accuracy = outcome @ corrected / number
    # (N, 2) @ (2,) -> (N,)
    influence = (corrected * (outcome[:, None] - accuracy) / number) @ np.array([1.0, -1.0])
    return float(accuracy[0] - accuracy[1]), float(np.sqrt((np.bincount(unit, influence) ** 2).sum()))


MISNAMED = Regime(
    "15 % of names wrong, corrected by 300 labels",
    Crowd(crossing=0.2),
    photos=150,
    base=(0.55, 0.85),
    drop=0.2,
    num_classes=5,
    num_planted=5,
    config=dict(LOW),
    procedure=corrected,
)
RHO = Crowd(rho=0.3, crossing=0.2)
NAMES = (
    MISNAMED,
    replace(
        MISNAMED,
        name="15 % of names wrong, as if they were right",
        procedure=uncorrected,
        waived="the drop is that of photos as they are named",
    ),
    replace(MISNAMED, name="15 % of names wrong, prediction-powered", procedure=powered),
    replace(MISNAMED, name="15 % of names wrong, corrected, rho 0.3", crowd=RHO),
    replace(MISNAMED, name="15 % of names wrong, prediction-powered, rho 0.3", crowd=RHO, procedure=powered),
    replace(
        MISNAMED,
        name="15 % of names wrong, corrected, accuracy 0.85 to 0.95",
        base=(0.85, 0.95),
        drop=0.1,
    ),
    replace(MISNAMED, name="15 % of names wrong, corrected, heavy tails", crowd=Crowd(crossing=0.2, sizes=Zipf(1.6))),
    replace(MISNAMED, name="15 % of names wrong, corrected, no drop", drop=0.0, num_planted=0),
    replace(
        MISNAMED,
        name="15 % of names wrong, corrected, 3 selectors",
        crowd=Crowd(crossing=0.2, num_models=3),
        num_selectors=3,
    ),
    replace(MISNAMED, name="15 % of names wrong, corrected, 150 to 800 photos", photos=(800, 150, 150, 800, 800, 300)),
    replace(
        MISNAMED,
        name="15 % of names wrong, prediction-powered, 150 to 800 photos",
        photos=(800, 150, 150, 800, 800, 300),
        procedure=powered,
    ),
)
