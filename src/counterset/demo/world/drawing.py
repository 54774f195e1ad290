"""Shared tools of the demo's drawings: noise fields, polygons, colours.

Colours are (red, green, blue) in 0..255; points are (x, y) in pixels with y downwards.
All randomness comes from the generator that the caller hands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Color = tuple[float, float, float]
Mat = NDArray[Any]

FIELD_SIZE_PX = 704
"""Side of the stored noise fields: photos are at most half as large, so crops differ."""

_SHIFT = 4
_BLUR_PX = {"white": 0.0, "fine": 1.0, "mid": 3.0, "coarse": 9.0, "broad": 28.0}


@lru_cache(maxsize=1)
def _fields() -> dict[str, Floats]:
    """Noise of mean 0 and deviation 1 at several scales, made once: drawing noise anew costs more than a photo."""
    rng = np.random.default_rng(20231117)
    fields: dict[str, Floats] = {}
    for name, blur_px in _BLUR_PX.items():
        noise = rng.standard_normal((FIELD_SIZE_PX, FIELD_SIZE_PX)).astype(np.float32)
        if blur_px:
            noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), blur_px, borderType=cv2.BORDER_REFLECT), np.float32)
        fields[name] = (noise - noise.mean()) / noise.std()
    cloud = 0.25 * fields["fine"] + 0.5 * fields["mid"] + 0.8 * fields["coarse"] + fields["broad"]
    fields["cloud"] = (cloud - cloud.mean()) / cloud.std()
    return fields


def noise(
    rng: np.random.Generator, kind: str, height: int, width: int, stretch: tuple[float, float] = (1, 1)
) -> Floats:
    """A (height, width) crop of a noise field, its features made `stretch` = (x, y) times larger."""
    rows = min(FIELD_SIZE_PX, max(2, round(height / stretch[1])))
    columns = min(FIELD_SIZE_PX, max(2, round(width / stretch[0])))
    top = int(rng.integers(0, FIELD_SIZE_PX - rows + 1))
    left = int(rng.integers(0, FIELD_SIZE_PX - columns + 1))
    crop = _fields()[kind][top : top + rows, left : left + columns]
    if (rows, columns) == (height, width):
        return crop
    return np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def ground_noise(
    rng: np.random.Generator, kind: str, height: int, width: int, far: float = 0.25, stretch: float = 1.0
) -> Floats:
    """Noise lying on a plane seen at a slant: fine at the top edge (`far` times as large), coarse at the bottom."""
    span = FIELD_SIZE_PX * 0.5
    near_w, far_w = min(span, span * far / stretch * 1.6), min(FIELD_SIZE_PX - 2.0, span / stretch)
    top, left = rng.uniform(0, FIELD_SIZE_PX - span - 1), rng.uniform(0, FIELD_SIZE_PX - far_w - 1)
    middle = left + far_w / 2
    source = np.array(
        [[left, top], [left + far_w, top], [middle - near_w / 2, top + span], [middle + near_w / 2, top + span]],
        np.float32,
    )
    target = np.array([[0, 0], [width, 0], [0, height], [width, height]])
    # Soft noise needs few pixels: warp a small picture and enlarge it.
    less = 3 if kind in ("coarse", "broad") else 1
    size = (max(2, width // less), max(2, height // less))
    matrix = cv2.getPerspectiveTransform(source, (target * (size[0] / width, size[1] / height)).astype(np.float32))
    warped = cv2.warpPerspective(_fields()[kind], matrix, size, borderMode=cv2.BORDER_REFLECT)
    if less > 1:
        warped = cv2.resize(warped, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(warped, np.float32)


def tint(amount: Floats, low: Color, high: Color) -> Floats:
    """Colours between `low` (amount 0) and `high` (amount 1): (H, W) -> (H, W, 3), not clipped."""
    mixed = cv2.merge([np.asarray(a + (b - a) * amount, np.float32) for a, b in zip(low, high, strict=True)])
    return np.asarray(mixed, np.float32)


def jitter(rng: np.random.Generator, color: Color, spread: float) -> Color:
    """A colour near `color`: brightness varies by `spread`, each channel by a third of it (fractions)."""
    gain = 1 + spread * rng.uniform(-1, 1)
    red, green, blue = (float(np.clip(c * gain * (1 + spread / 3 * rng.uniform(-1, 1)), 0, 255)) for c in color)
    return red, green, blue


def mix(first: Color, second: Color, share: float) -> Color:
    """`first` moved toward `second` by `share`."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def to_bytes(image: Mat) -> Bytes:
    """Rounded and clipped to 0..255."""
    return np.asarray(cv2.convertScaleAbs(np.maximum(image, 0)), np.uint8)


def fill(image: Mat, points: Mat, color: Color | float) -> None:
    """Fill one polygon with smooth edges; points (N, 2) in pixels."""
    fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(image, [fixed], color, cv2.LINE_AA, _SHIFT)


def strokes(image: Mat, lines: Mat | Sequence[Mat], color: Color | float, thickness: int = 1) -> None:
    """Draw open lines with smooth edges; lines (M, N, 2) in pixels."""
    fixed = [np.round(line * (1 << _SHIFT)).astype(np.int32) for line in lines]
    cv2.polylines(image, fixed, False, color, thickness, cv2.LINE_AA, _SHIFT)


_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 20)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 20)[:-1])], 1)


def ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> Mat:
    """The outline of an ellipse turned by `angle` radians: (19, 2)."""
    cos, sin = np.cos(angle), np.sin(angle)
    outline: Mat = (_CIRCLE * (rx, ry)) @ np.array([[cos, sin], [-sin, cos]]) + (x, y)
    return outline


def tube(points: Sequence[tuple[float, float]], radii: Sequence[float]) -> Mat:
    """The outline of a bent tube through `points` with a radius at each: (2N, 2)."""
    middle, widths = np.asarray(points, float), np.asarray(radii, float)
    along = np.gradient(middle, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], 1) * widths[:, None]
    start, end = middle[0] - along[0] * widths[0] * 0.8, middle[-1] + along[-1] * widths[-1] * 0.8
    return np.concatenate([[start], middle + across, [end], (middle - across)[::-1]])


def blob(rng: np.random.Generator, x: float, y: float, rx: float, ry: float, corners: int = 9) -> Mat:
    """An irregular rounded outline, as of a stone or a bush: (corners, 2)."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = rng.uniform(0.72, 1.1, corners)
    return np.stack([x + rx * reach * np.cos(angles), y + ry * reach * np.sin(angles)], 1)
