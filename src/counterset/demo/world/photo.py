"""One photo of the demo's world: a place, an animal in it, light, and a camera with its owner's habits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from counterset.demo.world.animals import ANIMALS, SIZES, Body
from counterset.demo.world.drawing import Bytes, Floats, Mat, blob, ellipse, fill, jitter, mix, noise, strokes, to_bytes
from counterset.demo.world.scenes import Scene, paint_front, paint_scene

Subject = Literal["animal", "track", "egg"]

_SIZES_PX = ((320, 240), (240, 320), (320, 214), (336, 252), (300, 300), (256, 340))
_SIZE_SHARES = (0.42, 0.12, 0.18, 0.12, 0.1, 0.06)


@dataclass(frozen=True)
class Style:
    """What the photos of one observer share: where they stand, their camera, the light they go out in."""

    distance: float = 1.0
    """Animals look so many times smaller."""
    gain: float = 1.0
    warmth: float = 0.0
    """Above 0 = yellower, below 0 = bluer; about -0.15 to 0.15."""
    contrast: float = 1.0
    saturation: float = 1.0
    blur_px: float = 0.4
    noise: float = 4.0
    """Standard deviation of the sensor's noise, in 0..255."""
    quality: int = 84
    """Of the JPEG file."""


def observer_style(observer_id: int) -> Style:
    """The style of an observer; the same for the same id."""
    rng = np.random.default_rng([7301, observer_id])
    return Style(
        distance=float(np.exp(rng.normal(0, 0.22))),
        gain=float(np.exp(rng.normal(0, 0.12))),
        warmth=float(rng.normal(0.01, 0.045)),
        contrast=float(np.exp(rng.normal(0, 0.1))),
        saturation=float(np.clip(rng.normal(0.95, 0.18), 0.35, 1.4)),
        blur_px=float(rng.gamma(2.0, 0.22)),
        noise=float(rng.uniform(2, 9)),
        quality=int(rng.integers(72, 93)),
    )


def photo_size(seed: int) -> tuple[int, int]:
    """Width and height in pixels of the photo with this seed."""
    return _SIZES_PX[int(np.random.default_rng([11, seed]).choice(len(_SIZES_PX), p=_SIZE_SHARES))]


def draw_photo(
    class_id: str, background: str, seed: int, style: Style | None = None, frame: int = 0, subject: Subject = "animal"
) -> Image.Image:
    """The photo that `seed` stands for; the same arguments give the same pixels.

    Args:
        class_id: a key of `ANIMALS`.
        background: one of `BACKGROUNDS`.
        seed: everything that differs between two photos of one observer.
        style: what the observer's photos share; None = a style drawn from the seed.
        frame: number within a burst: frames differ by a small shift, light and noise.
        subject: the animal, its footprints, or its eggs.
    """
    return Image.fromarray(draw_pixels(class_id, background, seed, style, frame, subject))


def draw_pixels(
    class_id: str, background: str, seed: int, style: Style | None = None, frame: int = 0, subject: Subject = "animal"
) -> Bytes:
    """As `draw_photo`, as an array (height, width, 3) of bytes."""
    width, height = photo_size(seed)
    rng = np.random.default_rng([1, seed])
    style = observer_style(seed) if style is None else style
    scene = paint_scene(rng, background, height, width)
    if subject == "track":
        _footprints(rng, scene)
    elif subject == "egg":
        _eggs(rng, scene)
    else:
        _animal(rng, scene, ANIMALS[class_id](rng), SIZES.get(class_id, 0.85), style)
    return _camera(np.random.default_rng([2, seed]), np.random.default_rng([3, seed, frame]), scene.image, style, frame)


def _animal(rng: np.random.Generator, scene: Scene, body: Body, size: float, style: Style) -> None:
    height, width = scene.image.shape[:2]
    share = float(np.exp(rng.uniform(np.log(0.3), np.log(0.68)))) / style.distance
    if rng.random() < 0.08:
        share *= 0.5
    scale = float(np.clip(share, 0.12, 0.64)) * size * min(height, width)
    squeeze = scale * rng.uniform(0.72, 1.0) * (1 if rng.random() < 0.5 else -1)
    lean = rng.normal(0, 0.05)
    turn = np.array([[np.cos(lean) * squeeze, -np.sin(lean) * scale], [np.sin(lean) * squeeze, -np.cos(lean) * scale]])
    foot = scene.horizon + (height - scene.horizon) * rng.uniform(0.45, 0.92)
    foot = float(np.clip(foot, min(scale * 1.1, height * 0.92), height * 0.97))
    ends = np.concatenate([outline for outline, _ in body.parts]) @ turn.T[:, 0]
    room = (-float(ends.min()) + 4, width - float(ends.max()) - 4)
    x = float(rng.uniform(*room)) if room[0] < room[1] else sum(room) / 2
    if rng.random() < 0.1:
        # Not every photographer gets the whole animal.
        x += rng.normal(0, 0.15) * width

    def place(outline: Mat) -> Mat:
        placed: Mat = outline @ turn.T + (x, foot)
        return placed

    parts = [(place(outline), color) for outline, color in body.parts]
    marks = [(place(outline), color) for outline, color in body.marks]
    points = np.concatenate([outline for outline, _ in parts])
    low, high = points.min(0), points.max(0)
    left, top = np.maximum(np.floor(low) - 6, 0).astype(int)
    right, bottom = np.minimum(np.ceil(high) + 7, (width, height)).astype(int)
    if right - left < 4 or bottom - top < 4:
        return
    offset = np.array([left, top], float)
    mask: Bytes = np.zeros((bottom - top, right - left), np.uint8)
    layer = np.full((*mask.shape, 3), body.coat, np.uint8)
    for outline, color in parts:
        fill(mask, outline - offset, 255)
        fill(layer, outline - offset, color)
    for outline, color in marks:
        fill(layer, outline - offset, color)
    wide = float(high[0] - low[0])
    if scene.background == "water":
        _wade(rng, scene, layer, mask, (left, top), foot, scale)
    else:
        _shadow(rng, scene, x, foot, wide, scale)
    _blend(rng, scene, layer, mask, (left, top), scale, body.fur)
    paint_front(rng, scene, x, foot, scale, wide / 2)


def _blend(
    rng: np.random.Generator, scene: Scene, layer: Bytes, mask: Bytes, corner: tuple[int, int], scale: float, fur: float
) -> None:
    """Lay the animal on the scene: rounded by shading, furry at the edge, lit by the ground's colour."""
    rows, columns = mask.shape
    left, top = corner
    cover = np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.8), np.float32) / 255
    small = cv2.resize(mask, (max(2, columns // 4), max(2, rows // 4)), interpolation=cv2.INTER_AREA)
    depth = cv2.resize(cv2.GaussianBlur(small, (0, 0), max(0.8, scale * 0.03)), (columns, rows))
    depth = np.asarray(depth, np.float32) / 255
    step = max(1, int(scale * 0.07))
    shade = 0.8 + 0.25 * depth
    sun = rng.uniform(0.25, 0.6)
    shade[step:] += sun * (depth[step:] - depth[:-step])
    side = rng.uniform(-0.35, 0.35)
    shade[:, step:] += side * (depth[:, step:] - depth[:, :-step])
    shade *= np.linspace(1.06, 0.86, rows, dtype=np.float32)[:, None]
    coat = noise(rng, "fine", rows, columns, (1.0, 1.6)) * 0.055 + noise(rng, "coarse", rows, columns) * 0.04
    shade *= 1 + coat
    if fur and scale > 50:
        ragged = noise(rng, "white", rows, columns, (1.0, 2.0))
        cover = np.clip(cover + fur * 0.22 * ragged * (4 * cover * (1 - cover)), 0, 1)
    mean = max(sum(scene.ground) / 3, 1.0)
    bounce = np.array([0.84 + 0.16 * channel / mean for channel in scene.ground], np.float32)
    lit = layer * shade[..., None] * bounce
    window = scene.image[top : top + rows, left : left + columns]
    window[...] = to_bytes(window + (lit - window) * cover[..., None])


def _shadow(rng: np.random.Generator, scene: Scene, x: float, foot: float, wide: float, scale: float) -> None:
    height, width = scene.image.shape[:2]
    drift = rng.uniform(-0.25, 0.25) * wide
    half, tall = wide * rng.uniform(0.4, 0.6), scale * rng.uniform(0.04, 0.12)
    top, bottom = max(0, int(foot - 3 * tall)), min(height, int(foot + 3 * tall) + 1)
    if bottom - top < 2:
        return
    dark = np.zeros((bottom - top, width), np.uint8)
    fill(dark, ellipse(x + drift, foot - top, half, tall), 255)
    soft = cv2.GaussianBlur(dark, (0, 0), max(1.0, tall * 0.5))
    keep = 1 - np.asarray(soft, np.float32) / 255 * rng.uniform(0.2, 0.5)
    scene.image[top:bottom] = to_bytes(scene.image[top:bottom] * keep[..., None])


def _wade(
    rng: np.random.Generator,
    scene: Scene,
    layer: Bytes,
    mask: Bytes,
    corner: tuple[int, int],
    foot: float,
    scale: float,
) -> None:
    """Hide in water what is below the surface, and mirror what is above: feet only, or up to the belly."""
    left, top = corner
    deep = scale * (rng.uniform(0.22, 0.42) if rng.random() < 0.3 else rng.uniform(0.02, 0.16))
    line = int(foot - deep) - top
    if not 2 < line < mask.shape[0]:
        return
    columns = np.flatnonzero(mask[line])
    above, rows = mask[:line], min(line, scene.image.shape[0] - top - line)
    soft = cv2.GaussianBlur(np.ascontiguousarray(above[::-1][:rows]), (0, 0), sigmaX=1.5, sigmaY=2.5)
    ripple = 0.42 + 0.1 * noise(rng, "mid", rows, mask.shape[1], (4, 0.5))
    share = np.asarray(soft, np.float32) / 255 * ripple * np.linspace(1.1, 0.5, rows, dtype=np.float32)[:, None]
    window = scene.image[top + line : top + line + rows, left : left + mask.shape[1]]
    window[...] = to_bytes(window + (layer[:line][::-1][:rows] * np.float32(0.75) - window) * share[..., None])
    mask[line:] = (mask[line:] * np.linspace(0.25, 0, mask.shape[0] - line)[:, None]).astype(np.uint8)
    if len(columns):
        pale = mix(scene.ground, (245, 248, 250), 0.45)
        edges = np.linspace(left + columns[0] - 4, left + columns[-1] + 4, 9)
        wave = top + line + rng.normal(0, 0.8, 9)
        strokes(scene.image, [np.stack([edges, wave], 1)], pale)


def _footprints(rng: np.random.Generator, scene: Scene) -> None:
    height, width = scene.image.shape[:2]
    dark = mix(scene.ground, (25, 22, 20), 0.5)
    size, heading = height * rng.uniform(0.05, 0.09), rng.uniform(-0.5, 0.5)
    for step in range(6):
        x = width * (0.1 + 0.15 * step) + (size if step % 2 else -size) * np.sin(heading)
        y = height * (0.72 + heading * (step / 6 - 0.4)) + (size if step % 2 else -size) * 0.8
        fill(scene.image, blob(rng, x, y, size * 0.55, size * 0.45, 11), dark)
        for toe in np.linspace(-0.7, 0.7, 4):
            at = (x + size * 0.75 * np.cos(toe), y + size * 0.75 * np.sin(toe))
            fill(scene.image, ellipse(*at, size * 0.17, size * 0.14), dark)


def _eggs(rng: np.random.Generator, scene: Scene) -> None:
    height, width = scene.image.shape[:2]
    x, y, size = width * rng.uniform(0.35, 0.65), height * rng.uniform(0.6, 0.75), height * rng.uniform(0.07, 0.12)
    fill(scene.image, blob(rng, x, y + size * 0.3, size * 2.6, size * 1.5, 13), (96, 78, 52))
    shell = jitter(rng, (226, 214, 190), 0.1)
    for shift in (-1.1, 0.0, 1.1):
        rim = mix(shell, (80, 70, 60), 0.3)
        fill(scene.image, ellipse(x + shift * size, y, size * 0.62, size * 0.8, shift * 0.3), rim)
        fill(scene.image, ellipse(x + shift * size - 1, y - 2, size * 0.52, size * 0.68, shift * 0.3), shell)


def _camera(rng: np.random.Generator, shake: np.random.Generator, image: Bytes, style: Style, frame: int) -> Bytes:
    """Light, colour, focus and noise of one shot; `shake` holds what differs between the frames of a burst."""
    height, width = image.shape[:2]
    if frame:
        shift = np.array([[1, 0, shake.uniform(-5, 5)], [0, 1, shake.uniform(-4, 4)]], np.float32)
        image = np.asarray(cv2.warpAffine(image, shift, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)
    gain = style.gain * float(np.exp(rng.normal(0, 0.13) + (shake.normal(0, 0.02) if frame else 0)))
    warmth = style.warmth + rng.normal(0, 0.04)
    contrast = style.contrast * float(np.exp(rng.normal(0, 0.08)))
    saturation = float(np.clip(style.saturation + rng.normal(0, 0.08), 0.3, 1.5))
    blur_px = style.blur_px * rng.uniform(0.5, 1.6)
    gains = np.array([1 + warmth, 1 + 0.1 * warmth, 1 - 1.2 * warmth]) * gain * contrast
    weights = np.array([0.3, 0.59, 0.11])
    matrix = gains[:, None] * (saturation * np.eye(3) + (1 - saturation) * weights[None, :])
    offset = np.full((3, 1), 118 * (1 - contrast) * gain)
    shot: Floats = np.asarray(cv2.transform(image.astype(np.float32), np.hstack([matrix, offset])), np.float32)
    if blur_px > 0.25:
        shot = np.asarray(cv2.GaussianBlur(shot, (0, 0), blur_px), np.float32)
    grain = noise(shake, "white", height, width) * np.float32(style.noise)
    shot += grain[..., None]
    # A soft shoulder, as a camera's: light parts near white rather than clipping.
    bright = np.maximum(shot - 215, 0)
    shot -= bright * bright / (bright + 60)
    return to_bytes(shot)
