"""In which numbers a model's image tower computes, and whether they are good enough.

Large towers compute in bfloat16 where the processor or GPU multiplies it natively, which
is three to four times as fast; each load compares the tower with its float32 self on
generated probe images. What a small tower costs is decoding, so it stays in float32.
"""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from counterset.machine.ways import way

Features = npt.NDArray[np.float32]
Backend = Literal["torch", "torch-float32", "openvino"]

LARGE_BYTES = 200_000_000
"""A checkpoint of so many bytes is large. Smaller ones hold towers below some 40 million parameters."""
MIN_COSINE = 0.999
"""Of each probe's features to float32's."""
MIN_SHARE_EQUAL = 0.9
"""Of the probes whose nearest label is float32's."""
NUM_PROBES = 16
PROBE_LABELS = (
    "a photo of a polar bear in the snow",
    "a photo of a lion on the grass",
    "a photo of a shark in the water",
    "a photo of an eagle in the sky",
    "a photo of a snake on the sand",
    "a photo of a spider on a leaf",
    "a photo of a dog indoors",
    "a photo of an empty road at night",
)
"""What the probes' features are compared with to name their nearest label."""

logger = logging.getLogger(__name__)


def native_half() -> torch.dtype | None:
    """The 16-bit type that this process multiplies natively; None = float32 only."""
    return {"": None, "cuda-float16": torch.float16}.get(way(), torch.bfloat16)


def probes(image_size: tuple[int, int], count: int = NUM_PROBES, seed: int = 0) -> npt.NDArray[np.uint8]:
    """(N, 3, H, W) images, always the same: coloured noise with the spectrum of photos, and a disc in each.

    Natural images' amplitudes fall with the inverse of the frequency (Field, 1987).
    """
    rng = np.random.default_rng(seed)
    height, width = image_size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    spectrum = rng.standard_normal((count, 3, *frequency.shape, 2)) @ np.array([1, 1j])
    # (N, 3, H, W), each channel of mean 0 and spread 1
    noise = np.fft.irfft2(spectrum / np.maximum(frequency, 1 / max(image_size)), s=image_size)
    noise = (noise - noise.mean((2, 3), keepdims=True)) / noise.std((2, 3), keepdims=True)
    colour = rng.uniform(60, 200, (2, count, 3, 1, 1))
    rows, columns = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    centre, radius = rng.uniform(0.3, 0.7, (2, count, 1, 1, 1)), rng.uniform(0.1, 0.35, (count, 1, 1, 1))
    is_disc = np.hypot(rows - centre[0], columns - centre[1]) < radius
    images = np.where(is_disc, colour[0] + 15 * noise, colour[1] + 40 * noise)
    rounded: npt.NDArray[np.uint8] = np.clip(np.rint(images), 0, 255).astype(np.uint8)
    return rounded


def agrees(name: str, kind: str, ours: Features, reference: Features, text_features: Features) -> bool:
    """Whether features computed in `kind` may stand for those in float32; logged either way.

    Args:
        name: the model.
        kind: e.g. bfloat16.
        ours: (16, D) unit-length features of the probes.
        reference: the same in float32.
        text_features: (L, D) unit-length features of `PROBE_LABELS`.
    """
    # (16, D), (16, D) -> (16,)
    cosine = float(np.min(np.sum(ours * reference, axis=1)))
    # (16, D) @ (D, L) -> (16,)
    equal = np.argmax(ours @ text_features.T, axis=1) == np.argmax(reference @ text_features.T, axis=1)
    share = float(np.mean(equal))
    is_fine = cosine >= MIN_COSINE and share >= MIN_SHARE_EQUAL  # False for features that are not numbers, too
    logger.log(
        logging.INFO if is_fine else logging.WARNING,
        "%s in %s against float32 on %d probes: least cosine %.5f, equal nearest label %.0f %%; %s",
        name,
        kind,
        NUM_PROBES,
        cosine,
        100 * share,
        f"{kind} is used" if is_fine else "so float32 is used",
    )
    return is_fine
