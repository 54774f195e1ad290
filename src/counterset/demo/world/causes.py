"""Worlds of known causes: a background effect, a confounder, both, neither, or wrong names, planted on purpose.

One pool of photos is drawn and embedded once; any number of worlds are then drawn from it by resampling. Of every
animal the pool holds the same pose and coat on its class's home and on its counter background, from the usual distance,
from far away, out of focus and at night, so that what a change of the background alone does to a model is not estimated
but counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counterset.demo.world.classes import TIES
from counterset.demo.world.spec import PhotoSpec, usual_spec

VARIANTS = ("usual", "far", "blurred", "night")
"""How a pooled photo is taken; all but the first are what a confounder may be."""

CLASSES = tuple(TIES)
SIDES = ("common", "counter")
FAR, BLUR_PX = 0.5, 3.5
PHOTOS_PER_OBSERVER = 3
CONFOUNDED_SHARES = (0.2, 0.8)
"""Of the photos that a typical observer takes of the common and of the counter group, the share that is confounded."""
UNCONFOUNDED_SHARE = 0.5
OBSERVER_SPREAD = 1.0
"""Standard deviation, in logits, of how much more often some observers take such photos."""

Integers = NDArray[np.int64]
CauseName = Literal["neither", "background", "confounder", "both", "label_error"]


@dataclass(frozen=True)
class Causes:
    """What makes the two groups of a class differ.

    Attributes:
        has_background: false = both groups lie on the home background, and only their names differ, so that no
            model can have a background effect.
        has_confounder: the counter group's photos are more often confounded (`CONFOUNDED_SHARES`).
        label_error: share of the photos whose group is named wrongly.
    """

    has_background: bool
    has_confounder: bool
    label_error: float = 0.0


CAUSES: dict[CauseName, Causes] = {
    "neither": Causes(has_background=False, has_confounder=False),
    "background": Causes(has_background=True, has_confounder=False),
    "confounder": Causes(has_background=False, has_confounder=True),
    "both": Causes(has_background=True, has_confounder=True),
    "label_error": Causes(has_background=True, has_confounder=False, label_error=0.15),
}

CAUSES_SCHEMA = pa.schema(
    [
        pa.field("photo_id", pa.int64(), nullable=False),
        pa.field("class_id", pa.string(), nullable=False),
        pa.field("animal", pa.int64(), nullable=False),
        pa.field("background", pa.string(), nullable=False),
        pa.field("variant", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("true_group", pa.string(), nullable=False),
        pa.field("observer_id", pa.int64(), nullable=False),
    ]
)
"""One row per photo. `photo_id` is its number in the pool; `animal` numbers the animals of a class; `group` is the name
that the photo was given, `true_group` the right one."""


def pool_specs(animals_per_class: int, seed: int = 0) -> list[PhotoSpec]:
    """All photos of a pool, in the order of their numbers: classes, animals, home and counter, variants.

    Args:
        animals_per_class: each is drawn 8 times, and there are 7 classes with a tie: 3,500 make 196,000 photos.
        seed: of the pool; pools of different seeds have no animal in common.
    """
    specs = []
    for number, class_id in enumerate(CLASSES):
        for animal in range(animals_per_class):
            usual = usual_spec(class_id, TIES[class_id][0], (seed * len(CLASSES) + number) * 10_000_000 + animal)
            usual = replace(usual, light="day", scale=max(usual.scale, 0.4))
            for background in TIES[class_id][:2]:
                specs += [_variant(replace(usual, background=background), variant) for variant in VARIANTS]
    return specs


def _variant(photo: PhotoSpec, variant: str) -> PhotoSpec:
    """The same photo, taken in another way."""
    if variant == "far":
        return replace(photo, scale=photo.scale * FAR)
    if variant == "blurred":
        return replace(photo, camera=replace(photo.camera, blur_px=BLUR_PX))
    return replace(photo, light="night") if variant == "night" else photo


def pool_number(
    animals_per_class: int, class_number: int, animal: Integers, is_counter: Integers, variant: Integers
) -> Integers:
    """The numbers of photos in a pool: `animal`, `is_counter` and `variant` (a position in `VARIANTS`) are (N,)."""
    place = (class_number * animals_per_class + animal) * len(SIDES) + is_counter
    return np.asarray(place * len(VARIANTS) + variant, np.int64)


def draw_world(
    name: CauseName, animals_per_class: int, photos_per_class: int, seed: int, confounder: str = "far"
) -> pa.Table:
    """One world of a pool: half of each class's photos in either group, no animal twice (schema: CAUSES_SCHEMA).

    Args:
        name: of the causes.
        animals_per_class: of the pool.
        photos_per_class: at most as many.
        seed: of the world.
        confounder: one of `VARIANTS`, of which the usual one is none.
    """
    causes = CAUSES[name]
    rng = np.random.default_rng([seed, 611, list(CAUSES).index(name)])
    tables = []
    for number, class_id in enumerate(CLASSES):
        animal = rng.permutation(animals_per_class)[:photos_per_class]
        observer = np.sort(rng.integers(0, max(1, photos_per_class // PHOTOS_PER_OBSERVER), photos_per_class))
        is_counter = rng.permutation(np.arange(photos_per_class) % 2)
        shares = np.array(CONFOUNDED_SHARES if causes.has_confounder else [UNCONFOUNDED_SHARE] * 2)
        leaning = rng.normal(0, OBSERVER_SPREAD, photos_per_class)[observer]
        logits = np.log(shares / (1 - shares))[is_counter] + leaning
        is_confounded = rng.random(photos_per_class) < 1 / (1 + np.exp(-logits))
        variant = np.where(is_confounded, VARIANTS.index(confounder), 0)
        on_counter = is_counter * causes.has_background
        named = np.where(rng.random(photos_per_class) < causes.label_error, 1 - is_counter, is_counter)
        columns = {
            "photo_id": pool_number(animals_per_class, number, animal, on_counter, variant),
            "class_id": [class_id] * photos_per_class,
            "animal": animal,
            "background": np.array(TIES[class_id][:2])[on_counter],
            "variant": np.array(VARIANTS)[variant],
            "group": np.array(SIDES)[named],
            "true_group": np.array(SIDES)[is_counter],
            "observer_id": number * animals_per_class + observer,
        }
        tables.append(pa.table({key: pa.array(column) for key, column in columns.items()}, schema=CAUSES_SCHEMA))
    return pa.concat_tables(tables)
