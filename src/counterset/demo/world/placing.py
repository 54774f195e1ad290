"""Putting an animal into a scene: its shading, its shadow or its reflection; and what an absent animal leaves."""

from __future__ import annotations

import cv2
import numpy as np

from counterset.demo.world.drawing import Bytes, Floats, blob, ellipse, fill, jitter, mix, noise, strokes, to_bytes
from counterset.demo.world.scenes import Scene


def blend(
    rng: np.random.Generator, scene: Scene, layer: Bytes, mask: Bytes, corner: tuple[int, int], scale: float, fur: float
) -> tuple[Floats, Floats]:
    """Lay the animal on the scene: rounded by shading, furry at the edge, lit by the ground's colour.

    Returns:
        How much of each pixel it covers, in 0..1, as large as `mask`; and its colours, one more axis of 3.
    """
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
    return np.asarray(cover, np.float32), np.asarray(lit, np.float32)


def shadow(rng: np.random.Generator, scene: Scene, x: float, foot: float, wide: float, scale: float) -> None:
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


def wade(
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


def footprints(rng: np.random.Generator, scene: Scene) -> None:
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


def eggs(rng: np.random.Generator, scene: Scene) -> None:
    height, width = scene.image.shape[:2]
    x, y, size = width * rng.uniform(0.35, 0.65), height * rng.uniform(0.6, 0.75), height * rng.uniform(0.07, 0.12)
    fill(scene.image, blob(rng, x, y + size * 0.3, size * 2.6, size * 1.5, 13), (96, 78, 52))
    shell = jitter(rng, (226, 214, 190), 0.1)
    for shift in (-1.1, 0.0, 1.1):
        rim = mix(shell, (80, 70, 60), 0.3)
        fill(scene.image, ellipse(x + shift * size, y, size * 0.62, size * 0.8, shift * 0.3), rim)
        fill(scene.image, ellipse(x + shift * size - 1, y - 2, size * 0.52, size * 0.68, shift * 0.3), shell)
