"""Worlds of known truth, on which every promise of the statistics is tested.

A class has groups of photos, each taken by an observer. An observer's luck is one uniform
draw; in each group it picks the observer's own accuracy from a beta distribution around the
group's, so that two photos of one observer in one group correlate by `observer_correlation`
(beta-binomial), and an observer lucky in one group is lucky in all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.stats import beta

from counterset.schemas import BACKGROUNDS, MEMBERS, PREDICTIONS, Half
from counterset.statistics.counts import ClassUnits
from counterset.statistics.observers import Bools, Floats, Ints, Results
from counterset.tables import table_of


@dataclass(frozen=True)
class Photos:
    """One class's photos, one element each: observer and group from 0, right or wrong."""

    observer: Ints
    group: Ints
    is_correct: Bools


@dataclass(frozen=True)
class Design:
    """How the photos of a class are taken.

    Attributes:
        photos_per_group: photos of each group.
        photos_per_observer: mean of a geometric distribution.
        observer_correlation: of two photos of one observer in one group.
        mixing: share of photos whose group is independent of the observer's other photos;
            0 = nearly every observer keeps to one group.
        dominance: share of group 0 that one single observer gave.
    """

    photos_per_group: int
    photos_per_observer: float = 3.0
    observer_correlation: float = 0.1
    mixing: float = 0.2
    dominance: float = 0.0


def simulate_class(accuracy: Floats, design: Design, rng: np.random.Generator) -> Photos:
    """The photos of one class whose groups have the true accuracies `accuracy` (G,)."""
    num_groups = len(accuracy)
    num_photos = num_groups * design.photos_per_group
    sizes: Ints = rng.geometric(1 / design.photos_per_observer, num_photos)
    if design.dominance:
        sizes[0] = round(design.dominance * design.photos_per_group)
    observer = np.repeat(np.arange(num_photos), sizes)[:num_photos]
    group = np.repeat(np.arange(num_groups), design.photos_per_group)
    mixed = np.flatnonzero((rng.random(num_photos) < design.mixing) & (observer > 0))
    group[mixed] = rng.permutation(group[mixed])
    luck = rng.random(num_photos)[observer]
    expected = accuracy[group]
    if design.observer_correlation > 0:
        precision = 1 / design.observer_correlation - 1
        inside = np.clip(expected, 1e-9, 1 - 1e-9)
        expected = beta.ppf(luck, inside * precision, (1 - inside) * precision)
    return Photos(observer, group, rng.random(num_photos) < expected)


def with_label_noise(photos: Photos, rng: np.random.Generator, *, share: float, num_groups: int) -> Photos:
    """The photos with a share of their groups replaced by another, whatever the outcome."""
    noisy = rng.random(len(photos.group)) < share
    other = (photos.group + rng.integers(1, num_groups, len(photos.group))) % num_groups
    return replace(photos, group=np.where(noisy, other, photos.group))


def with_outcome_errors(photos: Photos, rng: np.random.Generator, *, share: float, target: int) -> Photos:
    """The photos with a share of the wrong ones of all other groups moved to the group `target`."""
    moved = ~photos.is_correct & (photos.group != target) & (rng.random(len(photos.group)) < share)
    return replace(photos, group=np.where(moved, target, photos.group))


def split_observers(photos: Photos, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(N,) the half of each photo: observers are drawn into discover or confirm by a fair coin."""
    coins: Ints = rng.integers(0, 2, int(photos.observer.max()) + 1)
    return coins[photos.observer]


def class_units(class_id: str, photos: Photos, half: Ints, num_groups: int) -> ClassUnits:
    """What selection's counting gives for the photos; every photo counts as sure."""
    key, inverse = np.unique(photos.observer * num_groups + photos.group, return_inverse=True)
    num_photos = np.bincount(inverse).astype(np.float64)
    correct = np.bincount(inverse, photos.is_correct).astype(np.float64)
    halves = np.zeros(len(key), dtype=np.int64)
    halves[inverse] = half
    results = Results(num_groups, key % num_groups, halves, key // num_groups, num_photos, correct, correct)
    return ClassUnits(
        class_id, tuple(f"group{g:02d}" for g in range(num_groups)), results, num_photos, correct, results
    )


def simulate_world(
    accuracies: Floats, design: Design, rng: np.random.Generator
) -> list[tuple[Photos, npt.NDArray[np.int64]]]:
    """Photos and halves of each class of the (K, G) true accuracies."""
    classes = [simulate_class(accuracy, design, rng) for accuracy in accuracies]
    return [(photos, split_observers(photos, rng)) for photos in classes]


def planted_accuracies(
    num_classes: int, num_groups: int, *, num_planted: int, drop: float, base: float = 0.7
) -> npt.NDArray[np.float64]:
    """(K, G) true accuracies: `base`, but in the first classes group 1 is half a drop above and group 2 below."""
    accuracies = np.full((num_classes, num_groups), base)
    accuracies[:num_planted, 1] += drop / 2
    accuracies[:num_planted, 2] -= drop / 2
    return accuracies


def world_tables(
    world: list[tuple[Photos, npt.NDArray[np.int64]]], model: str, label_space: str
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The world as tables of members, backgrounds and predictions, as the stages give them."""
    members, backgrounds, predictions = [], [], []
    for index, (photos, halves) in enumerate(world):
        class_id = f"class{index:04d}"
        columns = (photos.observer, photos.group, photos.is_correct, halves)
        for number, (observer, group, correct, half) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            photo_id = f"{class_id}-{number:06d}"
            members.append(
                {
                    "photo_id": photo_id,
                    "class_id": class_id,
                    "observation_id": photo_id,
                    "observer": f"{class_id}-{observer}",
                    "unit": f"{class_id}-{observer}",
                    "half": (Half.CONFIRM if half else Half.DISCOVER).value,
                    "shard": "0",
                }
            )
            name = f"group{group:02d}"
            backgrounds.append(
                {
                    "photo_id": photo_id,
                    "class_id": class_id,
                    "profile": [1.0],
                    "background": name,
                    "margin": 1.0,
                    "group": name,
                    "is_confident": True,
                }
            )
            predictions.append(
                {
                    "photo_id": photo_id,
                    "model": model,
                    "label_space": label_space,
                    "predicted": class_id if correct else "other",
                    "is_correct": correct,
                    "rank_of_truth": 1 if correct else 2,
                    "margin": 0.1 if correct else -0.1,
                }
            )
    return table_of(MEMBERS, members), table_of(BACKGROUNDS, backgrounds), table_of(PREDICTIONS, predictions)
