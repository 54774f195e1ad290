"""Image towers: photos' bytes to features, in the way and the numbers that suit the model and the machine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import torch
from open_clip.transform import PreprocessCfg
from torch.nn import functional

from counterset.models import precision
from counterset.models.decoding import PixelDecoder
from counterset.models.packed import pack
from counterset.pictures import rgb

logger = logging.getLogger(__name__)


class ImageTower(Protocol):
    """What turns photos into features.

    Attributes:
        precision: what it computes in.
        is_serial: it takes one batch at a time: a GPU, or a library with threads of its own.
    """

    precision: str
    is_serial: bool

    def decode(self, content: bytes) -> torch.Tensor:
        """(3, H, W) of one photo; called from several threads."""

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) of decoded photos -> (B, D) features in float32, of any length."""


class PlainTower:
    """open_clip's own preprocessing and float32: for small models, and whatever else fits no other tower."""

    precision = "float32"

    def __init__(self, model: Any, preprocess: Callable[[Any], torch.Tensor]) -> None:
        self._model = model
        self._preprocess = preprocess
        self._device = model.logit_scale.device
        self.is_serial = self._device.type == "cuda"

    def decode(self, content: bytes) -> torch.Tensor:
        return self._preprocess(rgb(content))

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._model.encode_image(_on(self._device, pixels))
        return features.float()


class TorchTower:
    """8-bit pixels, normalised a batch at a time, and a tower in `dtype`."""

    def __init__(self, model: Any, dtype: torch.dtype) -> None:
        self.precision = str(dtype).removeprefix("torch.")
        self.pixels = PixelDecoder(PreprocessCfg(**model.visual.preprocess_cfg))
        self.decode = self.pixels.decode
        self._model = model
        self._dtype = dtype
        self._device = model.logit_scale.device
        self.is_serial = self._device.type == "cuda"
        if dtype is torch.bfloat16 and self._device.type == "cpu" and pack(model.visual):
            logger.debug("the image tower's weights are laid out for bfloat16")
        model.visual.to(dtype)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        pixels = self.pixels.normalise(_on(self._device, pixels), self._dtype)
        features: torch.Tensor = self._model.encode_image(pixels)
        return features.float()


def _on(device: torch.device, pixels: torch.Tensor) -> torch.Tensor:
    """Pixels on a device; a GPU takes them from pinned memory and does not wait."""
    if device.type != "cuda":
        return pixels
    return (pixels if pixels.is_pinned() else pixels.pin_memory()).to(device, non_blocking=True)


def probe_features(tower: ImageTower, size: tuple[int, int]) -> precision.Features:
    """(16, D) unit-length features of the probe images."""
    with torch.inference_mode():
        encoded = tower.encode(torch.from_numpy(precision.probes(size)))
    return functional.normalize(encoded, dim=-1).cpu().numpy()
