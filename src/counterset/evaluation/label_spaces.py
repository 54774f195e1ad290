"""Candidate labels: which labels a photo's class competes with.

1 vs. 1000 and custom lists ask every photo about all labels; 1 vs. 20 asks a class's photos
about the 20 labels that the selector finds nearest to them (arXiv 2403.11497, section 3.3:
highest mean cosine similarity to the class's photos, common and counter together).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterset.classes import ClassSpec
from counterset.evaluation.photos import Texts
from counterset.evaluation.vectors import Floats32
from counterset.models.labels import LabelSpace, label_space

TOP = "top20"
NUM_TOP = 20


@dataclass(frozen=True)
class CandidateLabels:
    """A label space, and for each class the labels that its photos are asked about.

    Attributes:
        space: all labels.
        name: of the label space in tables and folders.
        of_class: class_id -> positions in `space.labels`, the class's own among them, sorted.
    """

    space: LabelSpace
    name: str
    of_class: Mapping[str, tuple[int, ...]]


def open_space(name: str, specs: Sequence[ClassSpec]) -> tuple[LabelSpace, bool]:
    """The label space of a name, and whether only the 20 nearest labels of each class are asked about.

    Args:
        name: `imagenet1k`, `classes`, a text file of names, or one of these after `top20:`
            (`top20` alone = `top20:imagenet1k`).
        specs: the release's classes.

    Raises:
        ConfigError: a class has no label in it.
    """
    is_top, base = _parts(name)
    return label_space(base, specs), is_top


def space_name(name: str) -> str:
    """A short name without a path: a file's stem with a digest of its content."""
    is_top, base = _parts(name)
    short = short_name(base, ("imagenet1k", "classes"))
    return (TOP if short == "imagenet1k" else f"{TOP}-{short}") if is_top else short


def _parts(name: str) -> tuple[bool, str]:
    """Whether only the nearest labels count, and the list that they come from."""
    if name == TOP:
        return True, "imagenet1k"
    return (True, name.removeprefix(f"{TOP}:")) if name.startswith(f"{TOP}:") else (False, name)


def short_name(name: str, words: Sequence[str]) -> str:
    """`name` if it is one of `words`, else the stem of the file it names with a digest of its content."""
    path = Path(name)
    if name in words or not path.is_file():
        return name
    return f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


def all_labels(space: LabelSpace, name: str, class_ids: Sequence[str]) -> CandidateLabels:
    """Every class's photos are asked about all labels."""
    everything = tuple(range(len(space.labels)))
    return CandidateLabels(space, name, dict.fromkeys(class_ids, everything))


def nearest_labels(
    space: LabelSpace,
    name: str,
    class_of: Texts,
    selectors: Sequence[tuple[Floats32, Floats32]],
    num_labels: int = NUM_TOP,
) -> CandidateLabels:
    """Each class's photos are asked about the labels of highest mean cosine similarity to them.

    The class's own label takes the last place where it is not among them.

    Args:
        space: all labels.
        name: of the result.
        class_of: (N,) class_id of each photo.
        selectors: of each selector the (N, D) image features and the (C, D) text features;
            the similarities of several are averaged.
        num_labels: how many.
    """
    of_class = {}
    for class_id in sorted(set(class_of.tolist())):
        rows = class_of == class_id
        # (D,) @ (D, C) -> (C,): the mean of cosines is the cosine sum with the mean photo
        means = [texts @ images[rows].mean(axis=0) for images, texts in selectors]
        similarity = np.mean(means, axis=0)
        truth = space.index_of[class_id]
        nearest = [int(index) for index in np.argsort(-similarity, kind="stable")[:num_labels]]
        if truth not in nearest:
            nearest[-1] = truth
        of_class[class_id] = tuple(sorted(nearest))
    return CandidateLabels(space, name, of_class)
