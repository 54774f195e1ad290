"""Encoded photos to pixels as open_clip prepares them, on 8-bit numbers and without copies.

JPEGs go through torchvision's decoder and 8-bit resize; their pixels differ from
open_clip's own (Pillow) by at most a few of 255. Photos with a shorter side of four times the
model's or more are decoded at a half, quarter or eighth of their size. All else (other formats, CMYK,
photos that say they are turned) takes Pillow's way, whose pixels are open_clip's own.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from open_clip.transform import PreprocessCfg
from PIL import Image, ImageOps
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

ORIENTATION = 0x0112
"""EXIF's tag of how a photo is to be turned; 1 = not at all."""
SCALED_FROM = 4
"""Photos at least so many times as large as the model's pixels are decoded smaller than they are."""
MARGIN = 2
"""They keep at least so many times the model's size, which the resize then takes away."""


def rgb(content: bytes) -> Image.Image:
    """One photo as Pillow decodes it, upright, in RGB."""
    image = Image.open(io.BytesIO(content))
    return ImageOps.exif_transpose(image).convert("RGB")


class PixelDecoder:
    """Photos to (3, H, W) 8-bit pixels, and batches of them to what a tower takes.

    Attributes:
        size: height and width.
    """

    def __init__(self, preprocess: PreprocessCfg) -> None:
        side = preprocess.size
        self.size: tuple[int, int] = (side, side) if isinstance(side, int) else (int(side[0]), int(side[1]))
        self._is_squashed = preprocess.resize_mode == "squash"
        self._interpolation = (
            InterpolationMode.BILINEAR if preprocess.interpolation == "bilinear" else InterpolationMode.BICUBIC
        )
        # (3, 1, 1), in 255ths
        self._mean = torch.tensor(preprocess.mean).view(3, 1, 1) * 255
        self._scale = 1 / (torch.tensor(preprocess.std).view(3, 1, 1) * 255)

    @staticmethod
    def covers(preprocess: PreprocessCfg) -> bool:
        """Whether photos are resized to the shorter side and cropped, or squashed; other ways are open_clip's."""
        size = preprocess.size
        is_square = isinstance(size, int) or size[0] == size[1]
        return preprocess.resize_mode == "squash" or (preprocess.resize_mode == "shortest" and is_square)

    def decode(self, content: bytes) -> torch.Tensor:
        """(3, H, W) 8-bit pixels of one photo."""
        image = Image.open(io.BytesIO(content))  # reads the header only
        if image.format != "JPEG" or image.mode not in ("RGB", "L") or image.getexif().get(ORIENTATION, 1) != 1:
            return self._fit(_tensor(ImageOps.exif_transpose(image).convert("RGB")))
        shorter = min(image.size)
        if shorter >= SCALED_FROM * max(self.size):
            wanted = MARGIN * max(self.size)
            image.draft("RGB", (wanted, wanted))
            return self._fit(_tensor(image.convert("RGB")))
        try:
            pixels = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=ImageReadMode.RGB)
        except RuntimeError:  # Pillow forgives more, and it is Pillow that curation asks
            pixels = _tensor(image.convert("RGB"))
        return self._fit(pixels)

    def stack(self, contents: Sequence[bytes]) -> torch.Tensor:
        """(B, 3, H, W) 8-bit pixels of photos."""
        return torch.stack([self.decode(content) for content in contents])

    def normalise(self, pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """8-bit pixels on whatever device -> the tower's inputs there."""
        mean, scale = self._mean.to(pixels.device), self._scale.to(pixels.device)
        return pixels.float().sub_(mean).mul_(scale).to(dtype)

    def _fit(self, pixels: torch.Tensor) -> torch.Tensor:
        wanted = list(self.size) if self._is_squashed else [self.size[0]]
        resized: torch.Tensor = transforms.resize(pixels, wanted, interpolation=self._interpolation, antialias=True)
        if not self._is_squashed:
            resized = transforms.center_crop(resized, list(self.size))
        return resized


def _tensor(image: Image.Image) -> torch.Tensor:
    """(3, H, W) view of Pillow's (H, W, 3)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
