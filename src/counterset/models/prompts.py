"""Label spaces and prompt templates, as open_clip ships them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from open_clip import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES

from counterset.classes import ClassSpec
from counterset.errors import ConfigError
from counterset.models.open_clip_encoder import Features, OpenClipEncoder

PAPER_TEMPLATE = "A photo of {label}."
"""The one prompt of CounterAnimal (arXiv 2403.11497, section 3)."""


@dataclass(frozen=True)
class LabelSpace:
    """Candidate labels, and which of them each class is.

    Attributes:
        name: as in the config.
        labels: candidate labels, in the order of the classifier's columns.
        index_of: class_id -> position of its label.
    """

    name: str
    labels: tuple[str, ...]
    index_of: dict[str, int]


def label_space(name: str, specs: Sequence[ClassSpec]) -> LabelSpace:
    """The label space of a config: `imagenet1k`, `classes`, or a text file of names, one a line.

    Raises:
        ConfigError: a class has no label in it.
    """
    if name == "imagenet1k":
        labels = tuple(IMAGENET_CLASSNAMES)
        positions = {spec.class_id: spec.imagenet_index for spec in specs}
        remedy = "fill in imagenet_index in the class list, or set evaluate.label_space = 'classes'"
    elif name == "classes":
        labels = tuple(spec.name for spec in specs)
        positions = {spec.class_id: index for index, spec in enumerate(specs)}
        remedy = ""
    else:
        try:
            labels = tuple(line.strip() for line in Path(name).read_text(encoding="utf-8").splitlines() if line.strip())
        except OSError as error:
            raise ConfigError(
                f"cannot read the label space {name}: {error.strerror}; "
                "use imagenet1k, classes, or a text file of names, one a line"
            ) from error
        lookup = {label: index for index, label in enumerate(labels)}
        positions = {spec.class_id: lookup.get(spec.name) for spec in specs}
        remedy = f"add its name to {name}"
    index_of = {}
    for spec in specs:
        position = positions[spec.class_id]
        if position is None or not 0 <= position < len(labels):
            raise ConfigError(f"class {spec.class_id!r} has no label in the label space {name!r}; {remedy}")
        index_of[spec.class_id] = position
    return LabelSpace(name, labels, index_of)


def prompts(templates: str, label: str) -> list[str]:
    """The prompts of one label: the paper's one, or OpenAI's 80."""
    if templates == "openai80":
        return [template(label) for template in OPENAI_IMAGENET_TEMPLATES]
    return [PAPER_TEMPLATE.format(label=label)]


def mean_text_features(encoder: OpenClipEncoder, prompt_sets: Sequence[Sequence[str]]) -> Features:
    """(C, D) unit-length means of the text features of C prompt sets."""
    flat = encoder.encode_texts([prompt for prompt_set in prompt_sets for prompt in prompt_set])
    ends = np.cumsum([len(prompt_set) for prompt_set in prompt_sets])
    # (sum of set sizes, D) -> (C, D)
    means = np.stack([part.mean(axis=0) for part in np.split(flat, ends[:-1])])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)


def classifier(encoder: OpenClipEncoder, space: LabelSpace, templates: str) -> Features:
    """(C, D) zero-shot classifier of a label space: one unit-length row a label."""
    return mean_text_features(encoder, [prompts(templates, label) for label in space.labels])
