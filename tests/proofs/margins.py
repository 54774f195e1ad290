"""Regimes of margins: null worlds whose margins differ though accuracies do not, planted ones with skewed margins, and
what is said of confirmed classes. Margins are normal until they are bent; bending keeps signs, so no accuracy changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import beta

from . import first, regimes
from .regimes import LATENT, Build, Regime, Row, named
from .worlds import Floats, World

COSINES = ((5.0, 1.5), (2.0, 2.0), (3.0, 1.0), (1.5, 4.0), (6.0, 3.0), (2.0, 1.2))
"""Beta laws that have the bounds and the skew of cosines' margins, in easy classes and in hard ones."""


BENDS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "spread": lambda margin, level: margin * np.exp(level),
    "location": lambda margin, level: margin * np.exp(np.sign(margin) * level),
    "skew": lambda margin, level: margin * np.exp((margin > 0) * level),
    "tails": lambda margin, level: np.sign(margin) * np.abs(margin) ** np.exp(level),
}
"""What differs between groups, from margins and the level of their group. In location right photos are surer and wrong
ones less wrong; in skew right ones alone are surer."""


@dataclass(frozen=True)
class Bent:
    """One build of margins bent by group, levels going from -most to most, in another order of groups in each class."""

    shape: str
    most: float

    @property
    def __name__(self) -> str:
        return repr(self)

    def __call__(self, build: Build, regime: Regime, world: World, seed: int) -> list[Row]:
        """The rows of the bent world."""
        rng = np.random.default_rng([seed, 1])
        num_classes, num_groups = world.accuracies.shape
        levels = rng.permuted(np.tile(np.linspace(-self.most, self.most, num_groups), (num_classes, 1)), axis=1)
        margin = BENDS[self.shape](world.margin, levels[world.class_index, world.group][:, None])
        return build(regime, replace(world, margin=margin), seed)


def cosines(build: Build, regime: Regime, world: World, seed: int) -> list[Row]:
    """One build; margins have the skew of cosines, the same in all groups of a class."""
    return build(regime, _like_cosines(world, seed, is_mixed=False), seed)


def mixed_cosines(build: Build, regime: Regime, world: World, seed: int) -> list[Row]:
    """One build; margins have the skew of cosines, and each group another one."""
    return build(regime, _like_cosines(world, seed, is_mixed=True), seed)


def with_another_model(build: Build, regime: Regime, world: World, seed: int) -> list[Row]:
    """One build; rows have `drop_other`, the pair's drop on confirm under the last model, which did not select."""
    rows = build(regime, world, seed)
    share = first.DISCOVER_SHARE if build is regimes.build_first else regimes.DISCOVER_SHARE
    is_confirm = (world.coin >= share)[world.observer]
    is_right = world.margin[:, -1] > 0
    for row in rows:
        in_class = is_confirm & (world.class_index == world.class_ids.index(row["class_id"]))
        common, counter = (
            is_right[in_class & (world.group == world.groups.index(row[name]))].mean() for name in ("common", "counter")
        )
        row["drop_other"] = float(common - counter)
    return rows


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


BENT = (
    *(
        Regime(
            f"equal accuracies, margins that differ {much}in {shape}, {named(selectors)}",
            LATENT,
            photos=150,
            base=(0.7, 0.7),
            num_selectors=selectors,
            procedure=Bent(shape, most),
        )
        for shape, most, much, each in (
            ("spread", 0.5, "", (1, 3)),
            ("location", 0.5, "", (1, 3)),
            ("skew", 0.5, "", (1, 3)),
            ("tails", 0.4, "", (1, 3)),
            ("spread", 0.15, "a little ", (3,)),
            ("location", 0.15, "a little ", (3,)),
            ("skew", 0.15, "a little ", (3,)),
        )
        for selectors in each
    ),
    *(
        Regime(
            f"equal accuracies, each group another cosine law, {named(selectors)}",
            LATENT,
            photos=150,
            base=(0.7, 0.7),
            num_selectors=selectors,
            procedure=mixed_cosines,
        )
        for selectors in (1, 3)
    ),
)
SKEWED = tuple(
    Regime(
        f"margins skewed as cosines, {round(100 * drop)} points, accuracy {base:g}, {named(selectors)}",
        LATENT,
        base=(base, base),
        drop=drop,
        num_selectors=selectors,
        procedure=cosines,
    )
    for base, drop in ((0.7, 0.2), (0.87, 0.15))
    for selectors in (1, 3)
)
PICKED = (
    *(
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
    ),
    Regime(
        "after selection, accuracies spread by 7 points, 150 photos, 3 selectors and another model",
        replace(LATENT, num_models=4),
        photos=150,
        base=(0.7, 0.7),
        spread=0.07,
        num_selectors=3,
        procedure=with_another_model,
    ),
)
MARGINS: tuple[Regime, ...] = (*BENT, *SKEWED, *PICKED)
