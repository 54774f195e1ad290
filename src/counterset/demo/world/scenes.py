"""The demo's six backgrounds: painted places, and what lies in front of an animal there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from counterset.demo.world.drawing import (
    Bytes,
    Color,
    Floats,
    blob,
    fill,
    ground_noise,
    jitter,
    mix,
    noise,
    strokes,
    tint,
    to_bytes,
)

BACKGROUNDS = ("snow", "grass", "water", "sand", "rock", "tree")


@dataclass
class Scene:
    """A painted place. `horizon` is the row where the ground begins; `ground` its mean colour."""

    background: str
    image: Bytes
    horizon: int
    ground: Color


def paint_scene(rng: np.random.Generator, background: str, height: int, width: int) -> Scene:
    """An empty place of the kind `background`, (height, width, 3) bytes."""
    is_close = rng.random() < 0.35
    horizon = 0 if is_close else round(height * rng.uniform(0.1, 0.42))
    if background == "tree":
        horizon = round(height * rng.uniform(0.45, 0.72))
    ground = _GROUNDS[background](rng, height - horizon, width)
    if not horizon:
        canvas = ground
    else:
        backdrop = _forest(rng, horizon, width) if background == "tree" else _backdrop(rng, background, horizon, width)
        canvas = np.asarray(cv2.vconcat([backdrop, ground]), np.float32)
        _soften_edge(canvas, horizon, rng.uniform(1, 5))
    image = to_bytes(canvas)
    mean = image[horizon::8, ::8].reshape(-1, 3).mean(0)
    scene = Scene(background, image, horizon, (float(mean[0]), float(mean[1]), float(mean[2])))
    _CLUTTER[background](rng, scene)
    return scene


def _soften_edge(canvas: Floats, row: int, blur_px: float) -> None:
    low, high = max(0, row - 8), min(canvas.shape[0], row + 8)
    canvas[low:high] = np.asarray(cv2.GaussianBlur(canvas[low:high], (1, 0), sigmaX=0.1, sigmaY=blur_px), np.float32)


def _backdrop(rng: np.random.Generator, background: str, height: int, width: int) -> Floats:
    """Sky with haze, sometimes hills: what is above the horizon of open country."""
    blues: tuple[Color, ...] = ((120, 165, 215), (165, 185, 205), (190, 195, 200), (150, 180, 215))
    high = jitter(rng, blues[rng.integers(4)], 0.12)
    low = mix(high, (235, 232, 228), rng.uniform(0.3, 0.9))
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None] + 0.12 * noise(rng, "broad", height, width, (2, 1))
    sky = tint(ramp, high, low)
    if rng.random() < 0.55:
        far: Color = {
            "snow": (190, 200, 215),
            "grass": (95, 120, 95),
            "water": (105, 120, 130),
            "sand": (190, 165, 135),
            "rock": (125, 120, 120),
        }[background]
        far = mix(jitter(rng, far, 0.15), low, rng.uniform(0.1, 0.5))
        ridge = noise(rng, "cloud", 1, width, (rng.uniform(1, 3), 1))[0]
        tops = height * rng.uniform(0.35, 0.85) + ridge * height * rng.uniform(0.04, 0.14)
        ground = np.arange(height, dtype=np.float32)[:, None] > tops[None, :]
        texture = 1 + 0.06 * noise(rng, "mid", height, width)
        sky = np.where(ground[..., None], np.asarray(far, np.float32) * texture[..., None], sky)
    return np.asarray(sky, np.float32)


def _relief(amount: Floats, strength: float) -> Floats:
    """Light and shade of a surface whose height is `amount`, lit from the upper left."""
    shade = np.zeros_like(amount)
    shade[1:, 1:] = amount[1:, 1:] - amount[:-1, :-1]
    return shade * strength


def _snow(rng: np.random.Generator, height: int, width: int) -> Floats:
    drifts = ground_noise(rng, "broad", height, width, 0.5)
    crust = ground_noise(rng, "mid", height, width, 0.4)
    amount = 0.62 + 0.16 * drifts + _relief(drifts, 2.2) + 0.05 * crust + _relief(crust, 0.12)
    return tint(amount, jitter(rng, (150, 172, 205), 0.1), jitter(rng, (250, 250, 252), 0.04))


def _grass(rng: np.random.Generator, height: int, width: int) -> Floats:
    dryness = rng.beta(1.2, 2.5)
    low = mix(jitter(rng, (45, 80, 30), 0.2), (110, 95, 50), dryness)
    high = mix(jitter(rng, (135, 170, 75), 0.15), (205, 190, 120), dryness)
    blades = ground_noise(rng, "fine", height, width, 0.3)
    tall = noise(rng, "fine", height, width, (1.2, 4.5))
    patches = ground_noise(rng, "coarse", height, width, 0.4)
    return tint(0.48 + 0.13 * blades + 0.11 * tall + 0.14 * patches, low, high)


def _water(rng: np.random.Generator, height: int, width: int) -> Floats:
    kind = rng.integers(4)
    low: Color = jitter(rng, [(25, 60, 90), (40, 80, 85), (60, 80, 95), (55, 75, 60)][kind], 0.2)
    high: Color = jitter(rng, [(120, 165, 200), (130, 175, 175), (175, 195, 210), (140, 160, 140)][kind], 0.12)
    waves = ground_noise(rng, "mid", height, width, 0.16, 0.7)
    long = noise(rng, "coarse", height, width, (5, 0.5))
    small = noise(rng, "mid", height, width, (4, 0.55))
    ramp = np.linspace(rng.uniform(0.0, 0.3), -0.1, height, dtype=np.float32)[:, None]
    choppy = rng.uniform(0.5, 1.3)
    return tint(0.4 + ramp + choppy * (0.07 * waves + 0.1 * long + 0.1 * small + 0.04 * _relief(small, 1.0)), low, high)


def _sand(rng: np.random.Generator, height: int, width: int) -> Floats:
    low = jitter(rng, (150, 115, 75), 0.15)
    high = jitter(rng, (238, 212, 165), 0.08)
    dunes = ground_noise(rng, "broad", height, width, 0.5)
    grain = ground_noise(rng, "fine", height, width, 0.4)
    amount = 0.58 + 0.12 * dunes + _relief(dunes, 1.6) + 0.05 * grain
    if rng.random() < 0.6:
        rows = np.linspace(0, 1, height, dtype=np.float32)[:, None] ** 0.6 * rng.uniform(60, 130)
        ripples = np.sin(rows + 3.0 * dunes + np.linspace(0, rng.uniform(-9, 9), width, dtype=np.float32)[None, :])
        amount = amount + rng.uniform(0.04, 0.1) * ripples.astype(np.float32)
    return tint(amount, low, high)


def _rock(rng: np.random.Generator, height: int, width: int) -> Floats:
    low = jitter(rng, (62, 58, 56), 0.15)
    high: Color = jitter(rng, [(178, 172, 168), (180, 165, 150), (160, 165, 172)][rng.integers(3)], 0.12)
    slabs = noise(rng, "coarse", height, width, (rng.uniform(1, 2.5), rng.uniform(0.6, 1.4)))
    grain = noise(rng, "fine", height, width)
    lumps = noise(rng, "mid", height, width, (1.6, 1.0))
    # Steps in the height make ledges; their edges are the cracks.
    ledges = np.floor(slabs * 2.2) / 2.2 + 0.25 * slabs
    amount = 0.5 + 0.1 * ledges + _relief(np.asarray(ledges, np.float32), 0.28) + 0.08 * lumps + 0.06 * grain
    return tint(np.asarray(amount, np.float32), low, high)


def _forest_floor(rng: np.random.Generator, height: int, width: int) -> Floats:
    low = jitter(rng, (38, 32, 20), 0.2)
    high: Color = jitter(rng, [(135, 112, 70), (95, 110, 55), (120, 90, 60)][rng.integers(3)], 0.15)
    leaves = ground_noise(rng, "mid", height, width, 0.3)
    light = noise(rng, "coarse", height, width, (2.5, 1))
    return tint(0.42 + 0.15 * leaves + 0.17 * light, low, high)


def _forest(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Foliage with light falling through, and trunks of several depths."""
    low = jitter(rng, (18, 32, 18), 0.25)
    high: Color = jitter(rng, [(105, 140, 70), (85, 125, 80), (140, 140, 70)][rng.integers(3)], 0.2)
    leaves = noise(rng, "mid", height, width, (1.4, 1.2))
    crowns = noise(rng, "broad", height, width)
    canvas = tint(0.34 + 0.15 * leaves + 0.2 * crowns, low, high)
    light = np.clip(noise(rng, "coarse", height, width) + 0.5 * leaves - rng.uniform(1.2, 2.0), 0, 1)
    canvas += light[..., None] * rng.uniform(40, 150)
    bark = 1 + 0.2 * noise(rng, "fine", height, width, (1, 7))
    for depth in np.linspace(0, 1, int(rng.integers(5, 13))):
        wide = max(2.0, width * rng.uniform(0.008, 0.02) * (1 + 2.4 * depth))
        left = int(rng.uniform(-0.02, 1) * width)
        right = min(width, int(left + wide) + 1)
        left = max(0, left)
        if right <= left:
            continue
        color = jitter(rng, mix((120, 122, 112), (62, 48, 38), depth), 0.2)
        round_shade = np.linspace(1.25, 0.65, right - left, dtype=np.float32)[None, :]
        canvas[:, left:right] = (bark[:, left:right] * round_shade)[..., None] * np.asarray(color, np.float32)
    return canvas


_GROUNDS: dict[str, Callable[[np.random.Generator, int, int], Floats]] = {
    "snow": _snow,
    "grass": _grass,
    "water": _water,
    "sand": _sand,
    "rock": _rock,
    "tree": _forest_floor,
}


def ground_texture(rng: np.random.Generator, background: str, height: int, width: int) -> Floats:
    """The bare ground of a background, without its clutter: (height, width, 3), not clipped."""
    return _GROUNDS[background](rng, height, width)


def _places(rng: np.random.Generator, scene: Scene, count: int) -> list[tuple[float, float, float]]:
    """Random places on the ground, far ones first: x, y and nearness in 0..1."""
    height, width = scene.image.shape[:2]
    nearness = np.sort(rng.uniform(0, 1, count) ** 0.8)
    return [
        (float(rng.uniform(0, width)), float(scene.horizon + near * (height - scene.horizon)), float(near))
        for near in nearness
    ]


def _stones(rng: np.random.Generator, scene: Scene, count: int, color: Color, size_px: float) -> None:
    for x, y, near in _places(rng, scene, count):
        size = size_px * (0.25 + near) * rng.uniform(0.5, 1.4)
        shade = jitter(rng, color, 0.2)
        shadow = mix(scene.ground, (30, 30, 40), 0.5)
        fill(scene.image, blob(rng, x + size * 0.3, y + size * 0.35, size * 1.1, size * 0.5), shadow)
        fill(scene.image, blob(rng, x, y, size, size * 0.65), mix(shade, (20, 20, 25), 0.3))
        fill(scene.image, blob(rng, x - size * 0.12, y - size * 0.15, size * 0.75, size * 0.42), shade)


def _blades(rng: np.random.Generator, x: float, y: float, spread: float, tall: float, count: int) -> Floats:
    """A tuft of blades rising from (x, y): (count, 3, 2)."""
    roots = x + rng.normal(0, spread, count)
    lean = rng.normal(0, 0.35, count) * tall
    rise = tall * rng.uniform(0.5, 1.15, count)
    foot = y + rng.uniform(0, 0.15, count) * tall
    xs = np.stack([roots, roots + 0.35 * lean, roots + lean], 1)
    ys = np.stack([foot, foot - 0.6 * rise, foot - rise], 1)
    return np.asarray(np.stack([xs, ys], 2), np.float32)


def _clutter_snow(rng: np.random.Generator, scene: Scene) -> None:
    height = scene.image.shape[0]
    if rng.random() < 0.45:
        _stones(rng, scene, int(rng.integers(1, 6)), (105, 105, 112), height * 0.035)
    for x, y, near in _places(rng, scene, int(rng.integers(0, 5))):
        strokes(scene.image, _blades(rng, x, y, 3, height * 0.05 * (0.3 + near), 6), jitter(rng, (120, 105, 85), 0.2))


def _clutter_grass(rng: np.random.Generator, scene: Scene) -> None:
    height = scene.image.shape[0]
    for x, y, near in _places(rng, scene, int(rng.integers(10, 22))):
        color = jitter(rng, mix(scene.ground, [(60, 95, 35), (190, 185, 110)][rng.integers(2)], 0.5), 0.2)
        strokes(scene.image, _blades(rng, x, y, 2 + 9 * near, height * (0.03 + 0.09 * near), 9), color)
    if rng.random() < 0.25:
        petal: Color = [(240, 235, 220), (235, 200, 60), (190, 120, 190)][rng.integers(3)]
        for x, y, near in _places(rng, scene, int(rng.integers(6, 24))):
            cv2.circle(scene.image, (int(x), int(y)), 1 + int(near > 0.6), petal, -1, cv2.LINE_AA)


def _clutter_water(rng: np.random.Generator, scene: Scene) -> None:
    height, width = scene.image.shape[:2]
    glint = mix(scene.ground, (250, 250, 250), rng.uniform(0.35, 0.8))
    lines = []
    for x, y, near in _places(rng, scene, int(rng.integers(8, 40))):
        half = width * (0.006 + 0.03 * near) * rng.uniform(0.5, 1.5)
        lines.append(np.array([[x - half, y], [x, y - half * 0.12], [x + half, y]], np.float32))
    strokes(scene.image, lines, glint)
    if rng.random() < 0.12:
        _stones(rng, scene, int(rng.integers(1, 4)), (90, 88, 85), height * 0.04)


def _clutter_sand(rng: np.random.Generator, scene: Scene) -> None:
    height = scene.image.shape[0]
    if rng.random() < 0.6:
        _stones(rng, scene, int(rng.integers(2, 12)), mix(scene.ground, (110, 95, 80), 0.6), height * 0.014)
    if rng.random() < 0.3:
        for x, y, near in _places(rng, scene, int(rng.integers(1, 4))):
            blades = _blades(rng, x, y, 4, height * 0.07 * (0.3 + near), 9)
            strokes(scene.image, blades, jitter(rng, (150, 145, 85), 0.2))


def _clutter_rock(rng: np.random.Generator, scene: Scene) -> None:
    height, width = scene.image.shape[:2]
    _stones(rng, scene, int(rng.integers(5, 14)), mix(scene.ground, (170, 165, 160), 0.3), height * 0.07)
    cracks = []
    for _ in range(int(rng.integers(2, 7))):
        start = np.array([rng.uniform(0, width), rng.uniform(scene.horizon, height)])
        wander = rng.normal(0, 1, (6, 2)) * (width * 0.03, height * 0.025)
        steps = wander + rng.normal(0, 1, 2) * (width * 0.03, height * 0.02)
        cracks.append((start + np.cumsum(steps, 0)).clip((-9, scene.horizon), (width + 9, height + 9)))
    strokes(scene.image, cracks, mix(scene.ground, (15, 15, 18), 0.65))
    if rng.random() < 0.35:
        for x, y, near in _places(rng, scene, int(rng.integers(1, 5))):
            blades = _blades(rng, x, y, 3, height * 0.06 * (0.3 + near), 8)
            strokes(scene.image, blades, jitter(rng, (105, 120, 60), 0.2))


def _clutter_tree(rng: np.random.Generator, scene: Scene) -> None:
    height, width = scene.image.shape[:2]
    for x, y, near in _places(rng, scene, int(rng.integers(4, 12))):
        color = jitter(rng, (70, 105, 45), 0.3)
        strokes(scene.image, _blades(rng, x, y, 4 + 8 * near, height * (0.04 + 0.06 * near), 8), color)
    for _ in range(int(rng.integers(1, 3))):
        wide = width * rng.uniform(0.03, 0.075)
        left = rng.uniform(-0.05, 1.0) * width
        foot = scene.horizon + rng.uniform(0.05, 0.5) * (height - scene.horizon)
        bark = jitter(rng, (74, 58, 46), 0.25)
        for share, dark in ((1.0, 0.45), (0.7, 0.15), (0.35, 0.0)):
            right = left + wide * share
            root = [[right + wide * 0.1, foot], [left - wide * 0.1, foot + wide * 0.1]]
            fill(scene.image, np.array([[left, -5], [right, -5], *root]), mix(bark, (12, 10, 8), dark))
        ridges = [
            np.array([[x, y], [x + rng.normal(0, 1), y + height * rng.uniform(0.05, 0.2)]])
            for x, y in zip(rng.uniform(left, left + wide, 10), rng.uniform(0, foot * 0.8, 10), strict=True)
        ]
        strokes(scene.image, ridges, mix(bark, (10, 8, 6), 0.5))


_CLUTTER: dict[str, Callable[[np.random.Generator, Scene], None]] = {
    "snow": _clutter_snow,
    "grass": _clutter_grass,
    "water": _clutter_water,
    "sand": _clutter_sand,
    "rock": _clutter_rock,
    "tree": _clutter_tree,
}


def paint_front(rng: np.random.Generator, scene: Scene, x: float, foot: float, size_px: float, wide_px: float) -> None:
    """What hides a part of an animal that stands at (x, foot): blades, drifts, waves, stones, twigs."""
    image, background = scene.image, scene.background
    left, right = x - wide_px * 0.6, x + wide_px * 0.6
    if background == "grass" or (background == "tree" and rng.random() < 0.5):
        tall = size_px * rng.uniform(0.08, 0.42)
        for _ in range(5):
            tone: Color = [(55, 90, 35), (125, 150, 70)][rng.integers(2)]
            color = jitter(rng, mix(scene.ground, tone, 0.5), 0.2)
            strokes(image, _blades(rng, rng.uniform(left, right), foot + 2, wide_px * 0.25, tall, 14), color)
    elif background == "snow" and rng.random() < 0.7:
        white = mix(scene.ground, (250, 250, 252), 0.4)
        _mound(rng, image, x, foot, wide_px, size_px * rng.uniform(0.03, 0.14), white, scene.ground)
    elif background == "sand" and rng.random() < 0.5:
        _mound(rng, image, x, foot, wide_px, size_px * rng.uniform(0.02, 0.07), scene.ground, scene.ground)
    elif background == "rock" and rng.random() < 0.7:
        for _ in range(int(rng.integers(1, 4))):
            size = size_px * rng.uniform(0.06, 0.2)
            stone, at = jitter(rng, scene.ground, 0.2), rng.uniform(left, right)
            fill(image, blob(rng, at, foot + size * 0.2, size, size * 0.6), mix(stone, (15, 15, 20), 0.35))
            fill(image, blob(rng, at - size * 0.1, foot, size * 0.8, size * 0.42), mix(stone, (230, 225, 220), 0.12))
    if background == "tree" and rng.random() < 0.4:
        twig = jitter(rng, (55, 45, 32), 0.2)
        start = np.array([rng.uniform(0, image.shape[1]), foot - size_px * rng.uniform(0.2, 1.2)])
        line = start + np.cumsum(rng.normal(0, 1, (5, 2)) * (8, 6) + rng.normal(0, 14, 2), 0)
        strokes(image, [line], twig, 2)
        for px, py in line:
            fill(image, blob(rng, px, py, 5, 4, 7), jitter(rng, (80, 110, 50), 0.25))


def _mound(
    rng: np.random.Generator,
    image: Bytes,
    x: float,
    foot: float,
    wide_px: float,
    tall_px: float,
    top: Color,
    base: Color,
) -> None:
    """A low heap of the ground's own stuff across the animal's feet."""
    xs = np.linspace(x - wide_px * 1.3, x + wide_px * 1.3, 17)
    bulge = np.clip(1 - ((xs - x) / (wide_px * 1.3)) ** 2, 0, 1)
    lift = tall_px * bulge**1.5 * rng.uniform(0.7, 1.2, 17)
    for share, sink in ((0.35, 0.0), (0.75, tall_px * 0.3)):
        upper = np.stack([xs, foot - lift + sink + 2], 1)
        lower = np.stack([xs[::-1], foot + 2 + sink + tall_px * 0.5 * bulge[::-1]], 1)
        fill(image, np.concatenate([upper, lower]), mix(base, top, share))
