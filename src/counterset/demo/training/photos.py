"""Photos as the demo's models see them: drawn, JPEG-coded, scaled to 64 pixels; cached by content."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from counterset.demo.world import animals, drawing, photo, placing, scenes, spec
from counterset.demo.world.drawing import Bytes
from counterset.demo.world.photo import draw
from counterset.demo.world.spec import PhotoSpec, observer_style, usual_spec

IMAGE_SIZE_PX = 64
_CHUNK = 400

logger = logging.getLogger(__name__)


def jpeg_photo(photo: PhotoSpec) -> bytes:
    """The photo as a file, by an observer of its own: the one whose number is its `shot_id`."""
    buffer = io.BytesIO()
    Image.fromarray(draw(photo).pixels).save(buffer, "JPEG", quality=observer_style(photo.shot_id).quality)
    return buffer.getvalue()


def shrink(image: Image.Image) -> Bytes:
    """Shortest side to 64 pixels, centre crop, as open_clip's evaluation transform does: (64, 64, 3)."""
    side, short = IMAGE_SIZE_PX, min(image.size)
    width, height = (int(side * length / short) for length in image.size)
    small = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return np.asarray(small.crop((left, top, left + side, top + side)))


def _draw_chunk(specs: Sequence[PhotoSpec]) -> Bytes:
    cv2.setNumThreads(1)
    return np.stack([shrink(Image.open(io.BytesIO(jpeg_photo(photo))).convert("RGB")) for photo in specs])


def usual_specs(places: Sequence[tuple[str, str]], seed: int) -> list[PhotoSpec]:
    """One usual photo for each (class_id, background), each by a fresh observer.

    Args:
        places: what to draw.
        seed: photos of different seeds have nothing in common.
    """
    return [usual_spec(class_id, background, seed * 10_000_000 + n) for n, (class_id, background) in enumerate(places)]


def drawn(specs: Sequence[PhotoSpec], cache: Path, num_processes: int = 2) -> Bytes:
    """The photos as a model sees them, in the order of `specs`: (N, 64, 64, 3) bytes.

    Args:
        specs: what to draw.
        cache: folder where drawn sets are kept, by a digest of what was asked and of the drawing code.
        num_processes: drawn in parallel; the result does not depend on it.
    """
    modules = (animals, drawing, photo, placing, scenes, spec)
    code = b"".join(Path(str(module.__file__)).read_bytes() for module in modules)
    digest = hashlib.sha256(repr(specs).encode() + code + Path(__file__).read_bytes()).hexdigest()[:20]
    path = cache / f"photos-{digest}.npy"
    if path.exists():
        return np.asarray(np.load(path, mmap_mode="r"))
    logger.info("drawing %d photos", len(specs))
    chunks = [specs[start : start + _CHUNK] for start in range(0, len(specs), _CHUNK)]
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        photos = np.concatenate(list(pool.map(_draw_chunk, chunks)))
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, photos)
    part.rename(path)
    return photos


def training_photos(places: Sequence[tuple[str, str]], seed: int, cache: Path, num_processes: int = 2) -> Bytes:
    """The photos of `usual_specs`, as `drawn`."""
    return drawn(usual_specs(places, seed), cache, num_processes)
