"""Photos with one thing changed: the animal alone, the place without it, the animal before another photo's place.

What is behind the animal is exchanged, and the animal keeps its own pixels, as lit where it was photographed. What
another place would do to the animal itself, by its light or by what stands before it, is a path of its own, which no
composite takes (`docs/causes.md` measures both).

Pure: pixels and a cover in, pixels out. How the animal is removed: its cover, widened by a thirtieth of the shorter
side, is filled from its rim inwards (Telea 2004, by OpenCV) on a copy whose shorter side has 96 pixels, and detail of
the photo is laid over it: what lies beside the hole where there is as much of it, else what is reflected at its rim.
What is left of the animal outside, its shadow or its reflection, stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

REVISION = f"2 of OpenCV {cv2.__version__}"
"""Kept vectors are of composites of one revision: raise its number with every change of what a composite looks like."""
SIDE_PX = 384
"""Of the shorter side of composites, as most models take no more; smaller photos keep their size."""
LEAST_COVER, MOST_COVER = 0.002, 0.6
"""Share of the frame that an animal may have: of a smaller one nothing is seen, a larger one leaves no place."""
SMALLER = 0.5
"""How much smaller the animal is made."""
QUALITY = 95
"""Of composites' JPEG files, the unchanged photo's too."""
GREY = (124, 116, 104)
"""What an animal alone stands before: the mean colour of ImageNet's photos."""

_FILL_SIDE_PX, _FILL_RADIUS_PX = 96, 3
_RIM = 1 / 30
_SOFT_PX = 0.8
_REFLECTIONS = 4

Pixels = npt.NDArray[np.uint8]
Cover = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


class Subject(NamedTuple):
    """One photo taken apart.

    Attributes:
        pixels: (H, W, 3) RGB, the photo.
        cover: (H, W) how much of each pixel is the animal's, in [0, 1], with a soft edge.
        place: (H, W, 3) RGB, the photo with the animal removed.
    """

    pixels: Pixels
    cover: Cover
    place: Pixels


def size_of(width_px: int, height_px: int) -> tuple[int, int]:
    """Width and height of a photo's composites."""
    ratio = min(1.0, SIDE_PX / min(width_px, height_px))
    return max(1, round(width_px * ratio)), max(1, round(height_px * ratio))


def why_not(cover: Cover) -> str:
    """Why an animal cannot be cut out; "" = it can."""
    share = float(cover.mean())
    if LEAST_COVER <= share <= MOST_COVER:
        return ""
    return f"its animal covers less than {LEAST_COVER:.1%} or more than {MOST_COVER:.0%} of the frame ({share:.1%})"


def take_apart(photo: Pixels, cover: Cover) -> Subject:
    """A photo and its place, both of the cover's size.

    Args:
        photo: (h, w, 3) RGB of any size.
        cover: (H, W) as `size_of` says.
    """
    height, width = cover.shape
    pixels = np.asarray(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    soft = np.asarray(cv2.GaussianBlur(cover, (0, 0), _SOFT_PX), np.float32)
    return Subject(pixels, soft, _without_animal(pixels, cover))


def _without_animal(pixels: Pixels, cover: Cover) -> Pixels:
    """The photo with its animal filled over."""
    height, width = cover.shape
    reach = max(1, round(min(height, width) * _RIM))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    hole = np.asarray(cv2.dilate((cover > 0.1).astype(np.uint8), disc), np.uint8)
    ratio = min(1.0, _FILL_SIDE_PX / min(height, width))
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    small_hole = (cv2.resize(hole, size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
    filled = cv2.resize(cv2.inpaint(small, small_hole, _FILL_RADIUS_PX, cv2.INPAINT_TELEA), (width, height))
    smooth = np.asarray(cv2.GaussianBlur(filled, (0, 0), max(1.0, 0.5 / ratio)), np.float32)
    # Detail is all that is finer than the rim is wide; the mean of what is known, by a blur of the small copy.
    known = (small_hole == 0).astype(np.float32)
    weight = np.maximum(cv2.GaussianBlur(known, (0, 0), _FILL_SIDE_PX * _RIM), 1e-3)
    coarse = cv2.GaussianBlur(small * known[..., None], (0, 0), _FILL_SIDE_PX * _RIM) / weight[..., None]
    detail = pixels - np.asarray(cv2.resize(coarse, (width, height)), np.float32)
    if not hole.all():
        smooth[hole > 0] += detail.reshape(-1, 3)[_from_where(hole)]
    edge = np.asarray(cv2.GaussianBlur(hole.astype(np.float32), (0, 0), max(1.0, reach / 3)), np.float32)
    return _lay(_bytes(smooth), np.maximum(edge, hole), pixels)


def _from_where(hole: Pixels) -> Numbers:
    """For each pixel of a hole that leaves some free, in reading order, the number of the one whose detail it is given.

    As far to the left or right as the hole is wide, where all of that is in the frame; else as far beyond the nearest
    rim as it is within, reflected again as long as that is in the hole or outside the frame.
    """
    height, width = hole.shape
    rows, columns = np.nonzero(hole)
    number: Numbers = rows * width + columns
    if not len(rows):
        return number
    left, right = int(columns.min()), int(columns.max()) + 1
    shift = right - left
    if max(left, width - right) >= shift:
        return number + (-shift if left >= shift else shift)
    _, label = cv2.distanceTransformWithLabels(hole, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    free = np.flatnonzero(hole == 0)
    nearest = np.zeros(int(label.max()) + 1, np.int64)
    nearest[label.ravel()[free]] = free
    source: Numbers = nearest[label[rows, columns]]
    left_over = np.arange(len(rows))
    for _ in range(_REFLECTIONS):
        rim = np.divmod(nearest[label[rows[left_over], columns[left_over]]], width)
        rows[left_over] = _inside(2 * rim[0] - rows[left_over], height)
        columns[left_over] = _inside(2 * rim[1] - columns[left_over], width)
        is_free = hole[rows[left_over], columns[left_over]] == 0
        found = left_over[is_free]
        source[found] = rows[found] * width + columns[found]
        left_over = left_over[~is_free]
    return source


def _inside(at: Numbers, size: int) -> Numbers:
    """Positions reflected at the frame's edges."""
    return np.asarray(np.clip(size - 1 - np.abs(size - 1 - np.abs(at)), 0, size - 1), np.int64)


def unchanged(subject: Subject, _: Subject) -> Pixels:
    """The photo, at the size of the others."""
    return subject.pixels


def animal_alone(subject: Subject, _: Subject) -> Pixels:
    """The animal before grey."""
    return _lay(subject.pixels, subject.cover, np.full_like(subject.pixels, GREY))


def background_alone(subject: Subject, _: Subject) -> Pixels:
    """The photo without its animal."""
    return subject.place


def pasted(subject: Subject, donor: Subject) -> Pixels:
    """The animal where it was, before the donor's place."""
    return _lay(subject.pixels, subject.cover, fitted(donor.place, subject.cover.shape))


def smaller(subject: Subject, donor: Subject) -> Pixels:
    """The same, the animal `SMALLER` times its size; its feet stay where they were."""
    left, _, right, bottom = _extent(subject.cover)
    middle = (left + right) / 2
    return _moved(subject, donor, SMALLER, (1 - SMALLER) * middle, (1 - SMALLER) * bottom)


def moved(subject: Subject, donor: Subject) -> Pixels:
    """The same, the animal at the farther side of the frame."""
    left, _, right, _ = _extent(subject.cover)
    free = subject.cover.shape[1] - right
    return _moved(subject, donor, 1.0, free if free > left else -left, 0.0)


Render = Callable[[Subject, Subject], Pixels]


def _moved(subject: Subject, donor: Subject, scale: float, across: float, down: float) -> Pixels:
    height, width = subject.cover.shape
    matrix = np.array([[scale, 0, across], [0, scale, down]], np.float32)
    cover = np.asarray(cv2.warpAffine(subject.cover, matrix, (width, height), flags=cv2.INTER_LINEAR), np.float32)
    pixels = cv2.warpAffine(
        subject.pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return _lay(np.asarray(pixels, np.uint8), cover, fitted(donor.place, subject.cover.shape))


def _extent(cover: Cover) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is covered."""
    rows, columns = (np.flatnonzero((cover > 0.1).any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def fitted(place: Pixels, shape: tuple[int, ...]) -> Pixels:
    """A place scaled to cover a frame of another shape, its middle kept."""
    height, width = shape
    ratio = max(height / place.shape[0], width / place.shape[1])
    rows, columns = min(round(height / ratio), place.shape[0]), min(round(width / ratio), place.shape[1])
    top, left = (place.shape[0] - rows) // 2, (place.shape[1] - columns) // 2
    cut = place[top : top + rows, left : left + columns]
    if cut.shape[:2] == (height, width):
        return cut
    method = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(cut, (width, height), interpolation=method), np.uint8)


def _lay(pixels: Pixels, cover: Cover, place: Pixels) -> Pixels:
    """Pixels where the cover is, the place elsewhere; whatever has no cover is not computed."""
    laid = place.copy()
    rows, columns = (np.flatnonzero(cover.max(axis=axis) > 0) for axis in (1, 0))
    if len(rows):
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        above, below = pixels[part].astype(np.float32), laid[part].astype(np.float32)
        laid[part] = _bytes(below + (above - below) * cover[part][..., None])
    return laid


def _bytes(image: npt.NDArray[np.float32]) -> Pixels:
    return np.asarray(cv2.convertScaleAbs(np.maximum(image, 0)), np.uint8)


def encoded(pixels: Pixels) -> bytes:
    """A composite as JPEG, as photos are, for models that take photos' files."""
    blue_first = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def packed(cover: Cover) -> bytes:
    """A cover as a small file, so that those of all photos fit into memory."""
    return bytes(cv2.imencode(".png", _bytes(cover * 255))[1])


def unpacked(content: bytes) -> Cover:
    """What was packed."""
    read = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    return np.asarray(read, np.float32) / np.float32(255)
