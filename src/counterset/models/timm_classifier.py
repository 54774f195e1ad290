"""Classifiers with fixed classes: ImageNet models of timm and torchvision, and folders in timm's layout.

A classifier's name is `timm:ARCHITECTURE[.TAG]`, `timm:ARCHITECTURE@CHECKPOINT`,
`timm:local-dir:FOLDER`, `torchvision:ARCHITECTURE[.WEIGHTS]`, or the demo's own `demo:plain`.
Checkpoints are safetensors, or torch files read with `weights_only`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch
import torchvision
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform

from counterset.errors import ModelError
from counterset.machine.ways import device
from counterset.models.batches import in_batches
from counterset.models.held import held
from counterset.models.labels import LabelSpace
from counterset.models.open_clip_encoder import DEMO_WEIGHTS, LOAD_ERRORS, PACKAGES, cannot_load, digest_of
from counterset.pictures import rgb
from counterset.workspace import digest, versions

NUM_IMAGENET_CLASSES = 1000

Logits = npt.NDArray[np.float32]


class TimmClassifier:
    """One loaded classifier. Use `load_classifier`, which loads each model once per process.

    Attributes:
        name: as it was asked for.
        weights_sha256: of the tensors' names and bytes, whatever file they came in.
        features_id: names all that decides its logits: weights, architecture, preprocessing, packages.
        labels: the names of its classes; None = ImageNet-1K's, by index.
    """

    def __init__(
        self, name: str, model: Any, transform: Any, labels: tuple[str, ...] | None, architecture: str
    ) -> None:
        self.name = name
        self.labels = labels
        self._model = model
        self._transform = transform
        self._device = next(model.parameters()).device
        self._lock = threading.Lock() if self._device.type == "cuda" else contextlib.nullcontext()
        self.weights_sha256 = _digest(model)
        described = Path(architecture.removeprefix("local-dir:")) / "config.json"
        text = described.read_text(encoding="utf-8") if described.is_file() else architecture
        self.features_id = digest(self.weights_sha256, text, repr(transform), self._device.type, versions(*PACKAGES))

    def encode_images(self, images: Sequence[bytes], batch_size: int) -> Logits:
        """(N, C) logits of encoded photos, in order.

        Args:
            images: JPEG, PNG, GIF or WebP files' bytes that decode.
            batch_size: photos in one forward pass.
        """

        def encode(batch: Sequence[bytes]) -> Logits:
            # B x (3, H, W) -> (B, 3, H, W) -> (B, C)
            pixels = torch.stack([self._transform(rgb(image)) for image in batch]).to(self._device)
            with self._lock:
                logits: Logits = self._model(pixels).float().cpu().numpy()
            return logits

        num_labels = len(self.labels) if self.labels is not None else NUM_IMAGENET_CLASSES
        return np.concatenate([np.empty((0, num_labels), np.float32), *in_batches(images, batch_size, encode)])

    def columns(self, space: LabelSpace) -> list[int]:
        """The classifier's class of each label of `space`.

        Raises:
            ModelError: a label is none of its classes.
        """
        return columns(self.name, self.labels, space)


def columns(name: str, labels: Sequence[str] | None, space: LabelSpace) -> list[int]:
    """The class, of a classifier with these names, of each label of `space`.

    Args:
        name: of the classifier.
        labels: the names of its classes; None = ImageNet-1K's, by index.
        space: the labels.

    Raises:
        ModelError: a label is none of its classes.
    """
    own = {label: index for index, label in enumerate(labels or ())}
    indices = space.imagenet_index or (None,) * len(space.labels)
    positions = []
    for label, index in zip(space.labels, indices, strict=True):
        column = index if labels is None else own.get(label)
        if column is None:
            names = f"the {len(labels)} of its own" if labels is not None else "ImageNet's 1000"
            raise ModelError(
                f"{name!r} knows fixed classes only, {names}, and the label {label!r} of the label space "
                f"{space.name!r} is none of them; choose another label space, or leave the model out"
            )
        positions.append(column)
    return positions


def labels_of(name: str) -> tuple[str, ...] | None:
    """The names of a classifier's classes, read without its weights; None = ImageNet-1K's, by index.

    Raises:
        ModelError: its folder's config cannot be read.
    """
    _, is_folder, folder = _own_name(name).partition("local-dir:")
    if not is_folder:
        return None
    try:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        return tuple(config["label_names"]) if "label_names" in config else None
    except LOAD_ERRORS as error:
        raise cannot_load(name, error) from error


def load_classifier(name: str) -> TimmClassifier:
    """Load a classifier by its name, onto a GPU where there is one; once per process, unless its files change.

    Raises:
        ModelError: no such model, its weights cannot be read or do not fit, or its classes are unknown.
    """
    own = _own_name(name)
    return held((name, _digests_of_files(own)), lambda: _load(own, name))


def _own_name(name: str) -> str:
    """A name of timm or torchvision; the demo's are folders."""
    return f"timm:local-dir:{DEMO_WEIGHTS / name.removeprefix('demo:')}" if name.startswith("demo:") else name


def _digests_of_files(name: str) -> tuple[str, ...]:
    """Of the files that a name points to; () for a name of a library's own."""
    _, is_folder, folder = name.partition("local-dir:")
    path = Path(folder if is_folder else name.partition("@")[2])
    files = sorted(path.iterdir()) if is_folder and path.is_dir() else [path]
    return tuple(f"{file.name} {digest_of(file)}" for file in files if file.is_file())


def _load(name: str, asked: str) -> TimmClassifier:
    kind, _, model_name = name.partition(":")
    try:
        model, transform = (_timm if kind == "timm" else _torchvision)(model_name)
        labels = labels_of(asked)
    except LOAD_ERRORS as error:
        raise cannot_load(asked, error) from error
    num_classes = _num_classes(model)
    if num_classes != (len(labels) if labels is not None else NUM_IMAGENET_CLASSES):
        raise ModelError(
            f"the model {asked!r} has {num_classes} classes, not ImageNet's 1000; "
            "give it as timm:local-dir:FOLDER with label_names in its config.json"
        )
    model.eval().to(device())
    return TimmClassifier(asked, model, transform, labels, model_name.partition("@")[0])


def _timm(model_name: str) -> tuple[Any, Any]:
    """Model and evaluation transform of a timm name."""
    if "@" in model_name:
        architecture, _, checkpoint = model_name.partition("@")
        if not Path(checkpoint).is_file():
            raise FileNotFoundError(f"no checkpoint at {checkpoint}")
        model = timm.create_model(architecture, checkpoint_path=checkpoint)
    else:
        model = timm.create_model(model_name, pretrained=True)
    config: Any = resolve_data_config(model.pretrained_cfg, model=model)  # type: ignore[no-untyped-call]
    return model, create_transform(**config, is_training=False)


def _torchvision(model_name: str) -> tuple[Any, Any]:
    """Model and evaluation transform of a torchvision name."""
    architecture, _, tag = model_name.partition(".")
    weights = torchvision.models.get_model_weights(architecture)[tag or "IMAGENET1K_V1"]
    return torchvision.models.get_model(architecture, weights=weights), weights.transforms()


def _num_classes(model: Any) -> int:
    """Classes of the last layer, whatever the model calls it."""
    if hasattr(model, "num_classes"):
        return int(model.num_classes)
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    return int(layers[-1].out_features)


def _digest(model: Any) -> str:
    hasher = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        hasher.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return hasher.hexdigest()
