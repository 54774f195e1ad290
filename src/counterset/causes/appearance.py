"""What a photo looks like as a whole, from its pixels: no model, about as long as decoding it takes."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from counterset.pictures import Picture

SIDE_PX = 256
"""The shorter side that photos are scaled down to, so that a large file is not sharper than a small one by its size."""
_LEAST_VARIANCE = 1e-8
"""Of a Laplacian: a photo of one colour has a sharpness of -8."""


def appearance(content: bytes) -> dict[str, float]:
    """Sharpness, luminance, contrast and colourfulness of a photo (columns of the appearance schema).

    Sharpness is the variance of the Laplacian (Pech-Pacheco et al. 2000), colourfulness that of Hasler and Süsstrunk
    (2003). Brightness is that of Rec. 601.

    Raises:
        PictureError: as `Picture.read` and `Picture.rgb`.
    """
    image = Picture.read(content).rgb(SIDE_PX)
    factor = SIDE_PX / min(image.size)
    if factor < 1:
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.float32) / 255  # (H, W, 3)
    red, green, blue = (pixels[..., channel] for channel in range(3))
    bright = 0.299 * red + 0.587 * green + 0.114 * blue
    inner = bright[1:-1, 1:-1]
    edges = bright[:-2, 1:-1] + bright[2:, 1:-1] + bright[1:-1, :-2] + bright[1:-1, 2:] - 4 * inner
    first, second = red - green, (red + green) / 2 - blue
    spread = math.hypot(float(first.std(dtype=np.float64)), float(second.std(dtype=np.float64)))
    shift = math.hypot(float(first.mean(dtype=np.float64)), float(second.mean(dtype=np.float64)))
    variance = float(edges.var(dtype=np.float64)) if edges.size else 0.0
    values = {
        "sharpness": math.log10(max(variance, _LEAST_VARIANCE)),
        "luminance": float(bright.mean(dtype=np.float64)),
        "contrast": float(bright.std(dtype=np.float64)),
        "colourfulness": spread + 0.3 * shift,
    }
    return {name: round(value, 6) for name, value in values.items()}
