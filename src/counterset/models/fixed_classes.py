"""A classifier as the door gives it: its vectors are logits, and a label picks one of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from counterset.models.image_text import first_weights
from counterset.models.labels import LabelSpace
from counterset.models.lineage import data_of_folder
from counterset.models.precision import Backend
from counterset.models.timm_classifier import (
    NUM_IMAGENET_CLASSES,
    Logits,
    TimmClassifier,
    columns,
    labels_of,
    load_classifier,
)


class FixedClassModel:
    """A `counterset.models.door.FixedClasses` of timm or torchvision. It computes in float32 under every backend."""

    def __init__(self, name: str, backend: Backend = "torch") -> None:
        self.name = name

    @property
    def origin(self) -> str:
        """The library's name of it."""
        return self.name

    @property
    def trained_on(self) -> frozenset[str]:
        """Nothing is known."""
        return frozenset()

    @functools.cached_property
    def labels(self) -> tuple[str, ...] | None:
        """The names of its classes; None = ImageNet-1K's, by index."""
        return labels_of(self.name)

    @property
    def family(self) -> str:
        """ImageNet, or classifier for one with classes of its own."""
        return "ImageNet" if self.labels is None else "classifier"

    @functools.cached_property
    def weights_sha256(self) -> str:
        """Of its tensors, which are read for it."""
        return self._classifier.weights_sha256

    @functools.cached_property
    def features_id(self) -> str:
        """Names all that decides its logits; its weights are read for it."""
        return self._classifier.features_id

    @property
    def embedding_dim(self) -> int:
        """The number of its classes."""
        return NUM_IMAGENET_CLASSES if self.labels is None else len(self.labels)

    @property
    def _classifier(self) -> TimmClassifier:
        return load_classifier(self.name)

    def encode_images(self, images: Sequence[bytes], batch_size: int) -> Logits:
        """(N, C) logits."""
        return self._classifier.encode_images(images, batch_size)

    def check_labels(self, space: LabelSpace) -> None:
        """See, without its weights, that each label is one of its classes.

        Raises:
            ModelError: one is not.
        """
        columns(self.name, self.labels, space)

    def label_rows(self, space: LabelSpace) -> Logits:
        """(C', C) rows of zeros with a one at the label's class."""
        return np.eye(self.embedding_dim, dtype=np.float32)[columns(self.name, self.labels, space)]


class FolderOfClassifier(FixedClassModel):
    """A classifier of timm in a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self._folder = folder

    @property
    def origin(self) -> str:
        """The folder's path."""
        return str(self._folder.resolve())

    @property
    def trained_on(self) -> frozenset[str]:
        """The data sets that its recipe names."""
        return data_of_folder(self._folder)

    @property
    def cached(self) -> Path | None:
        """A file of its weights."""
        return first_weights(self._folder.glob("*"))
