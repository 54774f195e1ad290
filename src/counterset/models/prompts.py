"""Prompt templates, as open_clip ships them, and the features of a label space's labels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from open_clip import OPENAI_IMAGENET_TEMPLATES

from counterset.errors import ConfigError
from counterset.models.door import FixedClasses, Model, identity, reads_texts
from counterset.models.kept_texts import KeptTexts
from counterset.models.labels import LabelSpace
from counterset.models.precision import Features
from counterset.storage import Place
from counterset.workspace import digest

PAPER_TEMPLATE = "A photo of {label}."
"""The one prompt of CounterAnimal (arXiv 2403.11497, section 3)."""


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


class TextEncoder(Protocol):
    """A `TextModel`, or what looks into its kept texts first."""

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length text features, in order."""
        ...


def mean_text_features(encoder: TextEncoder, prompt_sets: Sequence[Sequence[str]]) -> Features:
    """(C, D) unit-length means of the text features of C prompt sets."""
    flat = encoder.encode_texts([prompt for prompt_set in prompt_sets for prompt in prompt_set])
    ends = np.cumsum([len(prompt_set) for prompt_set in prompt_sets])
    # (sum of set sizes, D) -> (C, D)
    means = np.stack([part.mean(axis=0) for part in np.split(flat, ends[:-1])])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)


def label_rows(model: Model, space: LabelSpace, templates: str, kept: Place | None = None) -> Features:
    """(C, D) rows of a label space, one per label: a photo's score for a label is the product of their vectors.

    For an image-text model they are unit-length means over the prompts; a classifier needs no prompts.

    Args:
        model: an image-text model, or one that knows its own classes only.
        space: the label space.
        templates: of the prompts.
        kept: the folder of the texts that were encoded under this model; None = none is kept.

    Raises:
        ModelError: a label is none of the classes of a model that knows its own only.
    """
    if reads_texts(model):
        encoder = model if kept is None else KeptTexts(model, kept)
        return mean_text_features(encoder, [prompts(templates, label) for label in space.labels])
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
