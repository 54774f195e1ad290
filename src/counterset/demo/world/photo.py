"""One photo of the generated world, drawn from its spec, and where in it the animal is seen."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counterset.demo.world.animals import ANIMALS, SIZES
from counterset.demo.world.drawing import Bytes, Floats, Mat, fill, noise, to_bytes
from counterset.demo.world.placing import blend, eggs, footprints, shadow, wade
from counterset.demo.world.scenes import Scene, ground_texture, paint_front, paint_scene
from counterset.demo.world.spec import Camera, PhotoSpec, usual_spec

_LIGHT: dict[str, tuple[float, float, float, float]] = {
    # gain, warmth, saturation, noise: factors, but for warmth, which is added
    "day": (1.0, 0.0, 1.0, 1.0),
    "dusk": (0.72, 0.16, 0.9, 1.3),
    "night": (0.55, -0.14, 0.65, 1.5),
}
"""What the light does to a picture; every one of `LIGHTS`."""
_SHARP_PX = 0.25
"""A camera's blur below is none."""


@dataclass(frozen=True)
class Picture:
    """A drawn photo.

    Attributes:
        pixels: (height, width, 3) bytes.
        mask: (height, width), true where the animal is what is seen: neither what stands before it, nor its shadow,
            nor its reflection.
    """

    pixels: Bytes
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Cutout:
    """An animal cut out of its photo exactly, where an intervention has a mask.

    Attributes:
        colours: (height, width, 3) its share of each pixel, in 0..255.
        cover: (height, width) that share, in 0..1.
    """

    colours: Floats
    cover: Floats

    def before(self, place: Bytes) -> Bytes:
        """The animal where it was, before a (height, width, 3) place."""
        return to_bytes(self.colours + (1 - self.cover[..., None]) * place)


@dataclass(frozen=True)
class _Seen:
    """What is seen of an animal in a place.

    Attributes:
        corner: row and column of the upper left pixel in the frame.
        colours: (rows, columns, 3), as the place lights them.
        cover: (rows, columns) how much of each pixel is the animal's, in 0..1; 0 where something stands before it.
    """

    corner: tuple[int, int]
    colours: Floats
    cover: Floats

    @property
    def window(self) -> tuple[slice, slice]:
        """Where in the frame it is."""
        (top, left), (rows, columns) = self.corner, self.cover.shape
        return slice(top, top + rows), slice(left, left + columns)


def draw(spec: PhotoSpec) -> Picture:
    """The photo that `spec` describes; the same spec gives the same pixels."""
    scene, mask = _place(spec), np.zeros(spec.size_px[::-1], np.uint8)
    if spec.subject == "track":
        footprints(np.random.default_rng([23, spec.animal_id]), scene)
    elif spec.subject == "egg":
        eggs(np.random.default_rng([23, spec.animal_id]), scene)
    elif spec.subject == "animal":
        animal = _animal(spec, scene)
        if animal is not None:
            mask[animal.window] = animal.cover > 0.5
    return _taken(spec, scene.image, mask)


def cut_out(spec: PhotoSpec) -> Cutout:
    """The animal of a photo as its place lights it and its camera sees it, without a pixel of that place.

    Its shadow and its reflection are the place's and are not in it; what stands before it hides it. A shot of the place
    with the animal and the same shot without it differ in the animal alone, so it is what is left once the place is
    taken out: exactly, but for the camera's soft shoulder near white and the rounding to bytes. Of a burst it is the
    first frame.
    """
    place = _place(spec)
    empty = place.image.copy()
    animal = _animal(spec, place)
    cover = np.zeros(empty.shape[:2], np.float32)
    filled = empty.copy()
    if animal is not None:
        cover[animal.window] = animal.cover
        under = filled[animal.window]
        filled[animal.window] = to_bytes(under + (animal.colours - under) * animal.cover[..., None])
    if spec.camera.blur_px > _SHARP_PX:
        cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), spec.camera.blur_px), np.float32)
    shake = [25, spec.shot_id, 0]
    with_it, without = (
        _shoot(np.random.default_rng(shake), image, spec.camera, spec.light, 1.0) for image in (filled, empty)
    )
    colours = with_it.astype(np.float32) - (1 - cover[..., None]) * without
    return Cutout(np.asarray(colours, np.float32), cover)


def _place(spec: PhotoSpec) -> Scene:
    """The empty place of a photo."""
    width, height = spec.size_px
    return paint_scene(np.random.default_rng([21, spec.scene_id]), spec.background, height, width)


def _taken(spec: PhotoSpec, image: Bytes, mask: Bytes) -> Picture:
    """The picture that the camera makes of what is there, and of where the animal is."""
    width, height = spec.size_px
    shake, gain = np.random.default_rng([25, spec.shot_id, spec.frame]), 1.0
    if spec.frame:
        shift = np.array([[1, 0, shake.uniform(-5, 5)], [0, 1, shake.uniform(-4, 4)]], np.float32)
        image = np.asarray(cv2.warpAffine(image, shift, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)
        mask = np.asarray(cv2.warpAffine(mask, shift, (width, height), flags=cv2.INTER_NEAREST), np.uint8)
        gain = float(np.exp(shake.normal(0, 0.02)))
    return Picture(_shoot(shake, image, spec.camera, spec.light, gain), mask > 0)


def draw_photo(class_id: str, background: str, seed: int) -> Image.Image:
    """A usual photo by the observer of this seed, as an image."""
    return Image.fromarray(draw(usual_spec(class_id, background, seed)).pixels)


def _animal(spec: PhotoSpec, scene: Scene) -> _Seen | None:
    """Paint the animal into the scene; None where none of it is in the frame.

    Pose, coat and shading come from the animal's stream; what stands before it comes from the scene's.
    """
    height, width = scene.image.shape[:2]
    rng = np.random.default_rng([23, spec.animal_id])
    body = ANIMALS[spec.class_id](rng)
    scale = spec.scale * SIZES.get(spec.class_id, 0.85) * min(height, width)
    squeeze = scale * rng.uniform(0.72, 1.0) * (1 if rng.random() < 0.5 else -1)
    lean = rng.normal(0, 0.05)
    turn = np.array([[np.cos(lean) * squeeze, -np.sin(lean) * scale], [np.sin(lean) * squeeze, -np.cos(lean) * scale]])
    across, down = spec.position
    foot = max(height * down, min(scale * 1.1, height * 0.92))
    ends = np.concatenate([outline for outline, _ in body.parts]) @ turn.T[:, 0]
    leftmost, rightmost = 4 - float(ends.min()), width - 4 - float(ends.max())
    x = leftmost + across * (rightmost - leftmost) if leftmost < rightmost else (leftmost + rightmost) / 2

    def place(outline: Mat) -> Mat:
        placed: Mat = outline @ turn.T + (x, foot)
        return placed

    parts = [(place(outline), color) for outline, color in body.parts]
    points = np.concatenate([outline for outline, _ in parts])
    low, high = points.min(0), points.max(0)
    left, top = np.maximum(np.floor(low) - 6, 0).astype(int)
    right, bottom = np.minimum(np.ceil(high) + 7, (width, height)).astype(int)
    if right - left < 4 or bottom - top < 4:
        return None
    offset = np.array([left, top], float)
    cover: Bytes = np.zeros((bottom - top, right - left), np.uint8)
    layer = np.full((*cover.shape, 3), body.coat, np.uint8)
    for outline, color in parts:
        fill(cover, outline - offset, 255)
        fill(layer, outline - offset, color)
    for outline, color in body.marks:
        fill(layer, place(outline) - offset, color)
    if spec.coat:
        worn = ground_texture(np.random.default_rng([26, spec.animal_id]), spec.coat, *cover.shape)
        layer = to_bytes(0.15 * layer.astype(np.float32) + 0.85 * worn)
    wide, contact = float(high[0] - low[0]), np.random.default_rng([24, spec.animal_id])
    if scene.background == "water":
        wade(contact, scene, layer, cover, (left, top), foot, scale)
    else:
        shadow(contact, scene, x, foot, wide, scale)
    light = np.random.default_rng([27, spec.animal_id])
    seen, colours = blend(light, scene, layer, cover, (left, top), scale, body.fur)
    window = scene.image[top:bottom, left:right]
    before = window.copy()
    paint_front(np.random.default_rng([22, spec.scene_id]), scene, x, foot, scale, wide / 2)
    is_free = (window == before).all(axis=2)
    return _Seen((int(top), int(left)), colours, np.where(is_free, seen, np.float32(0)))


def _shoot(rng: np.random.Generator, image: Bytes, camera: Camera, light: str, gain: float) -> Bytes:
    """Light, colour, focus and noise of one shot."""
    height, width = image.shape[:2]
    light_gain, light_warmth, light_saturation, light_noise = _LIGHT[light]
    gain *= camera.gain * light_gain
    warmth, saturation = camera.warmth + light_warmth, camera.saturation * light_saturation
    gains = np.array([1 + warmth, 1 + 0.1 * warmth, 1 - 1.2 * warmth]) * gain * camera.contrast
    weights = np.array([0.3, 0.59, 0.11])
    matrix = gains[:, None] * (saturation * np.eye(3) + (1 - saturation) * weights[None, :])
    offset = np.full((3, 1), 118 * (1 - camera.contrast) * gain)
    shot: Floats = np.asarray(cv2.transform(image.astype(np.float32), np.hstack([matrix, offset])), np.float32)
    if camera.blur_px > _SHARP_PX:
        shot = np.asarray(cv2.GaussianBlur(shot, (0, 0), camera.blur_px), np.float32)
    grain = noise(rng, "white", height, width) * np.float32(camera.noise * light_noise)
    shot += grain[..., None]
    # A soft shoulder, as a camera's: light parts near white rather than clipping.
    bright = np.maximum(shot - 215, 0)
    shot -= bright * bright / (bright + 60)
    return to_bytes(shot)
