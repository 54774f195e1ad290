"""Encoded photos to pixels as open_clip prepares them, on 8-bit numbers and without copies.

`counterset.pictures` decodes, PyTorch resizes: the pixels differ from open_clip's own by at most a few
of 255. JPEGs whose shorter side is six times the model's or more are decoded at a half, a
quarter or an eighth of their size, which for these is most of the work.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from open_clip.transform import PreprocessCfg
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from counterset.pictures import Picture, rgb

__all__ = ["PixelDecoder", "rgb"]

SCALED_FROM = 6
"""JPEGs at least so many times as large as the model's pixels are decoded smaller than they are."""
MARGIN = 3
"""They keep at least so many times the model's size, which the resize then takes away."""


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
        """(3, H, W) 8-bit pixels of one photo.

        Raises:
            PictureError: as `counterset.pictures.rgb`.
        """
        picture = Picture.read(content)
        is_large = min(picture.width_px, picture.height_px) >= SCALED_FROM * max(self.size)
        # (H, W, 3) -> (3, H, W)
        pixels = torch.from_numpy(np.array(picture.rgb(MARGIN * max(self.size) if is_large else None)))
        pixels = pixels.permute(2, 0, 1)
        wanted_sides = list(self.size) if self._is_squashed else [self.size[0]]
        fitted: torch.Tensor = transforms.resize(pixels, wanted_sides, self._interpolation, antialias=True)
        if not self._is_squashed:
            fitted = transforms.center_crop(fitted, list(self.size))
        return fitted

    def stack(self, contents: Sequence[bytes]) -> torch.Tensor:
        """(B, 3, H, W) 8-bit pixels of photos."""
        return torch.stack([self.decode(content) for content in contents])

    def normalise(self, pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """8-bit pixels on whatever device -> the tower's inputs there."""
        mean, scale = self._mean.to(pixels.device), self._scale.to(pixels.device)
        return pixels.float().sub_(mean).mul_(scale).to(dtype)
