"""Models by name, whatever their kind: what they make of photos, and what they compare it with."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from counterset.evaluation.vectors import Floats32, VectorStore
from counterset.models.open_clip_encoder import OpenClipEncoder, features_id, load_encoder, texts_id, weights_sha256
from counterset.models.prompts import LabelSpace, mean_text_features, prompts
from counterset.models.timm_classifier import TimmClassifier, is_classifier, load_classifier
from counterset.workspace import digest

PROMPTS_PER_SHARD = 2_560
"""Texts that are encoded between two files."""


class Model(Protocol):
    """What an evaluation needs of a model.

    Attributes:
        name: as it was asked for.
        family: CLIP, ImageNet or classifier.
        weights_sha256: of its weights.
        folder: name of the folder of its vectors; another model, other weights, another folder.
    """

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def weights_sha256(self) -> str: ...
    @property
    def folder(self) -> str: ...

    def encode_images(self, images: Sequence[bytes], batch_size: int) -> Floats32:
        """(N, D) vectors of encoded photos."""
        ...

    def label_rows(self, space: LabelSpace, templates: str, folder: Path) -> Floats32:
        """(C, D) rows, one a label: a photo's score for a label is the product of their vectors."""
        ...


class ImageTextModel:
    """An open_clip model, loaded only when something is missing."""

    family = "CLIP"

    def __init__(self, name: str) -> None:
        self.name = f"local-dir:{name}" if Path(name).is_dir() and ":" not in name else name
        self.weights_sha256 = weights_sha256(self.name)
        self.folder = _folder(self.name, digest(features_id(self.name), texts_id(self.name)))

    @functools.cached_property
    def encoder(self) -> OpenClipEncoder:
        """The loaded model."""
        return load_encoder(self.name)

    def encode_images(self, images: Sequence[bytes], batch_size: int) -> Floats32:
        """(N, D) unit-length image features."""
        return self.encoder.encode_images(images, batch_size)

    def label_rows(self, space: LabelSpace, templates: str, folder: Path) -> Floats32:
        """(C, D) unit-length means of the text features of each label's prompts, kept in `folder`."""
        sets = {_key(prompts(templates, label)): prompts(templates, label) for label in space.labels}
        size = max(1, PROMPTS_PER_SHARD // max(len(texts) for texts in sets.values()))
        store = VectorStore(folder, size)
        store.fill(sets, lambda keys: mean_text_features(self.encoder, [sets[key] for key in keys]))
        return store.read([_key(prompts(templates, label)) for label in space.labels])


class FixedClassModel:
    """A classifier: its vectors are logits, and a label picks one of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._classifier: TimmClassifier = load_classifier(name)
        self.family = "ImageNet" if self._classifier.labels is None else "classifier"
        self.weights_sha256 = self._classifier.weights_sha256
        self.folder = _folder(name, self._classifier.features_id)

    def encode_images(self, images: Sequence[bytes], batch_size: int) -> Floats32:
        """(N, C) logits."""
        return self._classifier.encode_images(images, batch_size)

    def label_rows(self, space: LabelSpace, templates: str, folder: Path) -> Floats32:
        """(C', C) rows of zeros with a one at the label's class."""
        columns = self._classifier.columns(space)
        labels = self._classifier.labels
        return np.eye(len(labels) if labels is not None else 1000, dtype=np.float32)[columns]


def open_model(name: str) -> Model:
    """The model of a name.

    Raises:
        ModelError: no such model, or its weights cannot be had or do not fit.
    """
    return FixedClassModel(name) if is_classifier(name) else ImageTextModel(name)


def _key(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _folder(name: str, features: str) -> str:
    """A readable name, and a digest of all that decides the vectors."""
    if name.startswith("local-dir:"):
        name = f"local-{Path(name).name}"
    elif "@" in name or "local-dir:" in name:
        name = f"{name.partition('@')[0].partition('local-dir:')[0]}-{Path(name).name}"
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")
    return f"{readable}-{digest(readable, features)[:12]}"
