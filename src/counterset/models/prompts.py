"""Label spaces and prompt templates, as open_clip ships them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES

from counterset.classes import ClassSpec, normal_name, tidy_name
from counterset.errors import ConfigError
from counterset.models.door import FixedClasses, Model, TextModel, identity, reads_texts
from counterset.models.precision import Features
from counterset.workspace import digest

PAPER_TEMPLATE = "A photo of {label}."
"""The one prompt of CounterAnimal (arXiv 2403.11497, section 3)."""


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
    """The label space of a config: `imagenet1k`, `classes`, or a text file of names, one a line.

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


def prompts(templates: str, label: str) -> list[str]:
    """The prompts of one label: the paper's one (`paper`), OpenAI's 80 (`openai80`), or those of a text file."""
    if templates == "openai80":
        return [template(label) for template in OPENAI_IMAGENET_TEMPLATES]
    if templates == "paper":
        return [PAPER_TEMPLATE.format(label=label)]
    return [template.replace("{label}", label) for template in _templates_of(Path(templates))]


@functools.cache
def _templates_of(path: Path) -> tuple[str, ...]:
    """The templates of a text file, one a line.

    Raises:
        ConfigError: no such file, no template in it, or one without `{label}`.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the templates {path} ({error}); use paper, openai80, or a text file of templates, one a line"
        ) from error
    templates = tuple(line for line in lines if line)
    without = [template for template in templates or ("",) if "{label}" not in template]
    if without:
        raise ConfigError(f"the template {without[0]!r} in {path} has no {{label}}; put it where the name belongs")
    return templates


def mean_text_features(encoder: TextModel, prompt_sets: Sequence[Sequence[str]]) -> Features:
    """(C, D) unit-length means of the text features of C prompt sets."""
    flat = encoder.encode_texts([prompt for prompt_set in prompt_sets for prompt in prompt_set])
    ends = np.cumsum([len(prompt_set) for prompt_set in prompt_sets])
    # (sum of set sizes, D) -> (C, D)
    means = np.stack([part.mean(axis=0) for part in np.split(flat, ends[:-1])])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)


def label_rows(model: Model, space: LabelSpace, templates: str) -> Features:
    """(C, D) rows of a label space, one per label: a photo's score for a label is the product of their vectors.

    For an image-text model they are unit-length means over the prompts; a classifier needs no prompts.

    Raises:
        ModelError: a label is none of the classes of a model that knows its own only.
    """
    if reads_texts(model):
        return mean_text_features(model, [prompts(templates, label) for label in space.labels])
    return cast(FixedClasses, model).label_rows(space)


def labels_id(model: Model, space: LabelSpace, templates: str) -> str:
    """Names all that decides `label_rows`."""
    if reads_texts(model):
        texts = [prompts(templates, label) for label in space.labels]
        return digest("classifier", model.texts_id, space.labels, texts)
    return digest("classifier", identity(model), space.labels, space.imagenet_index)


def check_labels(model: Model, space: LabelSpace) -> None:
    """See, before anything is fetched, that a model can answer a label space.

    Raises:
        ModelError: it cannot.
    """
    if not reads_texts(model):
        cast(FixedClasses, model).check_labels(space)
