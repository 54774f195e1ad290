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

from counterset.demo.world import animals, drawing, photo, scenes
from counterset.demo.world.drawing import Bytes
from counterset.demo.world.photo import draw_photo, observer_style

IMAGE_SIZE_PX = 64
_CHUNK = 400

logger = logging.getLogger(__name__)


def jpeg_photo(class_id: str, background: str, seed: int) -> bytes:
    """A fresh photo by a fresh observer, as a file."""
    style = observer_style(seed)
    buffer = io.BytesIO()
    draw_photo(class_id, background, seed, style).save(buffer, "JPEG", quality=style.quality)
    return buffer.getvalue()


def shrink(image: Image.Image) -> Bytes:
    """Shortest side to 64 pixels, centre crop, as open_clip's evaluation transform does: (64, 64, 3)."""
    side, short = IMAGE_SIZE_PX, min(image.size)
    width, height = (int(side * length / short) for length in image.size)
    small = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return np.asarray(small.crop((left, top, left + side, top + side)))


def _draw_chunk(rows: Sequence[tuple[str, str, int]]) -> Bytes:
    cv2.setNumThreads(1)
    photos = [shrink(Image.open(io.BytesIO(jpeg_photo(*row))).convert("RGB")) for row in rows]
    return np.stack(photos)


def training_photos(places: Sequence[tuple[str, str]], seed: int, cache: Path, num_processes: int = 2) -> Bytes:
    """One photo for each (class_id, background): (N, 64, 64, 3) bytes.

    Args:
        places: what to draw.
        seed: photos of different seeds have nothing in common.
        cache: folder where drawn sets are kept, by a digest of what was asked and of the drawing code.
        num_processes: drawn in parallel; the result does not depend on it.
    """
    rows = [(class_id, background, seed * 10_000_000 + n) for n, (class_id, background) in enumerate(places)]
    code = b"".join(Path(str(module.__file__)).read_bytes() for module in (animals, drawing, photo, scenes))
    digest = hashlib.sha256(repr(rows).encode() + code + Path(__file__).read_bytes()).hexdigest()[:20]
    path = cache / f"photos-{digest}.npy"
    if path.exists():
        return np.asarray(np.load(path, mmap_mode="r"))
    logger.info("drawing %d photos", len(rows))
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        photos = np.concatenate(list(pool.map(_draw_chunk, chunks)))
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, photos)
    part.rename(path)
    return photos
