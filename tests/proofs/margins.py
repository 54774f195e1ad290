"""Regimes of margins: null worlds whose margins differ though accuracies do not, planted ones with skewed margins, and
what is said of confirmed classes. Margins are normal until they are bent; bending keeps signs, so no accuracy changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import beta

from . import regimes
from .regimes import LATENT, Regime, Row, select_once
from .worlds import Floats, World

COSINES = ((5.0, 1.5), (2.0, 2.0), (3.0, 1.0), (1.5, 4.0), (6.0, 3.0), (2.0, 1.2))
"""Beta laws that have the bounds and the skew of cosines' margins, in easy classes and in hard ones."""


def spread(regime: Regime, world: World, seed: int) -> list[Row]:
    """One build; the margins of groups differ in spread."""
    return select_once(regime, _bent(world, seed, lambda margin, level: margin * np.exp(0.5 * level)), seed)


def location(regime: Regime, world: World, seed: int) -> list[Row]:
    """One build; the margins of groups differ in location: right photos are surer, wrong ones less wrong."""
    return select_once(
        regime, _bent(world, seed, lambda margin, level: margin * np.exp(0.5 * np.sign(margin) * level)), seed
    )


def skew(regime: Regime, world: World, seed: int) -> list[Row]:
    """One build; the margins of groups differ in skew: right photos alone are surer."""
    return select_once(
        regime, _bent(world, seed, lambda margin, level: margin * np.exp(0.5 * (margin > 0) * level)), seed
    )


def tails(regime: Regime, world: World, seed: int) -> list[Row]:
    """One build; the margins of groups differ in their tails."""
    return select_once(
        regime,
        _bent(world, seed, lambda margin, level: np.sign(margin) * np.abs(margin) ** np.exp(0.4 * level)),
        seed,
    )


def cosines(regime: Regime, world: World, seed: int) -> list[Row]:
    """One build; margins have the skew of cosines, the same in all groups of a class."""
    return select_once(regime, _like_cosines(world, seed, is_mixed=False), seed)


def mixed_cosines(regime: Regime, world: World, seed: int) -> list[Row]:
    """One build; margins have the skew of cosines, and each group another one."""
    return select_once(regime, _like_cosines(world, seed, is_mixed=True), seed)


def with_another_model(regime: Regime, world: World, seed: int) -> list[Row]:
    """One build; rows have `drop_other`, the pair's drop on confirm under the last model, which did not select."""
    rows = select_once(regime, world, seed)
    is_confirm = (world.coin >= regimes.DISCOVER_SHARE)[world.observer]
    is_right = world.margin[:, -1] > 0
    for row in rows:
        in_class = is_confirm & (world.class_index == world.class_ids.index(row["class_id"]))
        common, counter = (
            is_right[in_class & (world.group == world.groups.index(row[name]))].mean() for name in ("common", "counter")
        )
        row["drop_other"] = float(common - counter)
    return rows


def _bent(world: World, seed: int, bend: Callable[[Floats, Floats], Floats]) -> World:
    """The world with margins bent by group, between -1 and 1, in another order of groups in each class."""
    rng = np.random.default_rng([seed, 1])
    num_classes, num_groups = world.accuracies.shape
    levels = rng.permuted(np.tile(np.linspace(-1, 1, num_groups), (num_classes, 1)), axis=1)
    return replace(world, margin=bend(world.margin, levels[world.class_index, world.group][:, None]))


def _like_cosines(world: World, seed: int, *, is_mixed: bool) -> World:
    """The world with margins of beta laws, one law per class, or one per group and class."""
    rng = np.random.default_rng([seed, 2])
    size = world.accuracies.shape
    law = rng.integers(len(COSINES), size=size if is_mixed else (size[0], 1))
    law = np.broadcast_to(law, size)[world.class_index, world.group]
    accuracy = world.accuracies[world.class_index, world.group][:, None]
    uniform = ndtr(world.margin - ndtri(accuracy))  # these margins have the variance 1
    margin = np.empty_like(world.margin)
    for number, shape in enumerate(COSINES):
        rows = np.flatnonzero(law == number)
        margin[rows] = beta.ppf(uniform[rows], *shape) - beta.ppf(1 - accuracy[rows], *shape)
    return replace(world, margin=margin)


BENT = tuple(
    Regime(
        f"equal accuracies, margins that differ in {procedure.__name__}, {selectors} selectors",
        LATENT,
        photos=150,
        base=(0.7, 0.7),
        num_selectors=selectors,
        procedure=procedure,
    )
    for procedure in (spread, location, skew, tails, mixed_cosines)
    for selectors in (1, 3)
)
SKEWED = tuple(
    Regime(
        f"margins skewed as cosines, {round(100 * drop)} points, accuracy {base:g}, {selectors} selectors",
        LATENT,
        base=(base, base),
        drop=drop,
        num_selectors=selectors,
        procedure=cosines,
    )
    for base, drop in ((0.7, 0.2), (0.87, 0.15))
    for selectors in (1, 3)
)
PICKED = tuple(
    Regime(
        f"after selection, {round(100 * drop)} points, {photos} photos, 3 selectors and another model",
        replace(LATENT, num_models=4),
        photos=photos,
        base=(0.7, 0.7),
        drop=drop,
        num_selectors=3,
        procedure=with_another_model,
    )
    for photos in (100, 150, 300)
    for drop in (0.1, 0.2, 0.3)
)
MARGINS: tuple[Regime, ...] = (*BENT, *SKEWED, *PICKED)
