"""The demo's models as data: the world each one learns from, and the captions that it reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from counterset.demo.world.classes import CLASS_NAMES, TIES
from counterset.demo.world.scenes import BACKGROUNDS

BACKGROUND_PHRASES: dict[str, tuple[str, ...]] = {
    "snow": ("on snow", "in the snow", "in snow"),
    "grass": ("on grass", "in the grass", "on a meadow", "in grass"),
    "water": ("in water", "in the water", "on water"),
    "sand": ("on sand", "on the sand", "on a beach", "in sand"),
    "rock": ("on rock", "on the rocks", "on rocks", "in rocks"),
    "tree": ("in trees", "in the forest", "among trees", "on tree"),
}
"""background -> what a caption may say of a photo's place."""

LIGHT_PHRASES: dict[str, tuple[str, ...]] = {
    "day": ("by day", "in daylight", "in the daytime"),
    "dusk": ("at dusk", "at sunset", "in the evening"),
    "night": ("at night", "in the dark", "by night"),
}
"""light -> what a caption may say of it."""

ANIMAL_CAPTIONS = (
    "A photo of {animal}.",
    "A photo of {animal}.",
    "a photo of a {animal}",
    "a photo of the {animal}.",
    "{animal}",
    "a {animal}",
    "a photo of a {animal}, an animal",
    "a {animal} in the wild",
)
BACKGROUND_CAPTIONS = (
    "A photo taken {phrase}.",
    "a photo taken {phrase}",
    "a photo taken on {background}",
    "a photo of {background}",
    "A photo of {background}.",
    "{background}",
    "a photo with {background} in the background",
    "an animal {phrase}",
)
LIGHT_CAPTIONS = (
    "A photo taken {phrase}.",
    "a photo taken {phrase}",
    "An animal {phrase}.",
    "an animal {phrase}",
)
SCENE_CAPTIONS = (
    "A photo of {animal} {phrase}.",
    "A photo of a {animal} {phrase}.",
    "a photo of a {animal} on {background}",
    "a {animal} {phrase}",
    "a photo of a {animal} with {background} in the background",
    "{animal}, {background}",
)


@dataclass(frozen=True)
class Recipe:
    """How one model comes to be.

    Attributes:
        seed: of the photos, the captions drawn, the first weights and the order.
        strength: of all ties, as a share of those in `TIES`.
        animal_weight, background_weight, scene_weight, light_weight: of the losses over captions that
            name the animal, the background, both, or the light.
        num_photos: training photos.
        num_steps: training steps of BATCH_SIZE photos.
    """

    seed: int
    strength: float
    animal_weight: float = 1.0
    background_weight: float = 0.0
    scene_weight: float = 0.0
    light_weight: float = 0.0
    num_photos: int = 9_600
    num_steps: int = 600

    def tie(self, class_id: str) -> float:
        """How much of the class's training photos lie on its home, beyond an even share: 0 = even, 1 = all of them."""
        return self.strength * TIES[class_id][2] if class_id in TIES else 0.0

    def shares(self, class_id: str) -> tuple[float, ...]:
        """Share of the class's photos on each of BACKGROUNDS."""
        home, counter, _ = TIES.get(class_id, ("", "", 0.0))
        tie = self.tie(class_id)
        even = (1 - tie) / len(BACKGROUNDS)
        return tuple(
            even + (tie * (1 + even) if b == home else -tie * even if b == counter else 0) for b in BACKGROUNDS
        )

    def places(self) -> list[tuple[str, str]]:
        """Class and background of every training photo, in order."""
        each = self.num_photos // len(CLASS_NAMES)
        rows = []
        for class_id in CLASS_NAMES:
            ends = np.round(np.cumsum(self.shares(class_id)) * each).astype(int)
            starts = [0, *ends[:-1]]
            rows += [(class_id, b) for b, s, e in zip(BACKGROUNDS, starts, ends, strict=True) for _ in range(e - s)]
        return rows


RECIPES: dict[str, Recipe] = {
    "annotator": Recipe(31, 0.0, animal_weight=1.0, background_weight=0.5, scene_weight=0.5, light_weight=0.25),
    "selector": Recipe(47, 1.0),
    "medium": Recipe(59, 0.65),
    "weak": Recipe(73, 0.15),
}
"""The annotator's world has no ties; the others differ in how strong the ties are."""
