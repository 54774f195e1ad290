"""Label spaces: the candidate labels that models choose among, and which of them each class is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from open_clip import IMAGENET_CLASSNAMES

from counterset.classes import ClassSpec, normal_name, tidy_name
from counterset.errors import ConfigError


@dataclass(frozen=True)
class LabelSpace:
    """Candidate labels, and which of them each class is.

    Attributes:
        name: as in the config.
        labels: candidate labels, in the order of the classifier's columns.
        index_of: class_id -> position of its label.
        imagenet_index: each label's index in ImageNet-1K; None = none known.
    """

    name: str
    labels: tuple[str, ...]
    index_of: dict[str, int]
    imagenet_index: tuple[int | None, ...] = ()


def label_space(name: str, specs: Sequence[ClassSpec]) -> LabelSpace:
    """The label space of a config: `imagenet1k`, `classes`, or a text file of names, one per line.

    Raises:
        ConfigError: a class has no label in it, or it has fewer than two.
    """
    if name == "imagenet1k":
        labels = tuple(IMAGENET_CLASSNAMES)
        positions = {spec.class_id: spec.imagenet_index for spec in specs}
        indices: tuple[int | None, ...] = tuple(range(len(labels)))
        remedy = "fill in imagenet_index in the class list, or choose the label space 'classes'"
    elif name == "classes":
        known = {normal_name(spec.name): spec.imagenet_index for spec in reversed(specs)}
        # As below, each name once; two classes of one name then share its label.
        labels = _each_once(spec.name for spec in specs)
        lookup = {normal_name(label): index for index, label in enumerate(labels)}
        positions = {spec.class_id: lookup[normal_name(spec.name)] for spec in specs}
        indices = tuple(known[normal_name(label)] for label in labels)
        remedy = ""
    else:
        try:
            lines = Path(name).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path with a null character
            raise ConfigError(
                f"cannot read the label space {name} ({error}); "
                "use imagenet1k, classes, or a text file of names, one a line"
            ) from error
        # A name said twice would tie with itself, and ties count as wrong.
        labels = _each_once(tidy_name(line) for line in lines if line.strip())
        lookup = {normal_name(label): index for index, label in enumerate(labels)}
        positions = {spec.class_id: lookup.get(normal_name(spec.name)) for spec in specs}
        known = {normal_name(spec.name): spec.imagenet_index for spec in specs}
        names = {normal_name(label): index for index, label in enumerate(IMAGENET_CLASSNAMES)}
        indices = tuple(known.get(normal_name(label), names.get(normal_name(label))) for label in labels)
        remedy = f"add its name to {name}"
    if len(labels) < 2:
        raise ConfigError(
            f"the label space {name!r} has {len(labels)} label, so every prediction would be right; "
            "choose imagenet1k, or a text file with more names"
        )
    index_of = {}
    for spec in specs:
        position = positions[spec.class_id]
        if position is None or not 0 <= position < len(labels):
            raise ConfigError(f"class {spec.class_id!r} has no label in the label space {name!r}; {remedy}")
        index_of[spec.class_id] = position
    return LabelSpace(name, labels, index_of, indices)


def _each_once(labels: Iterable[str]) -> tuple[str, ...]:
    """The labels in their order, of equal names the first."""
    first: dict[str, str] = {}
    for label in labels:
        first.setdefault(normal_name(label), label)
    return tuple(first.values())
