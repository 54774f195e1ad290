"""Small pictures for the report, and photos without metadata for bundling."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable

from PIL import Image

from counterset.errors import PictureError
from counterset.pictures import Picture

SIDE_PX = 200
_QUALITY = 78


def pick(photo_ids: Iterable[str], count: int) -> list[str]:
    """`count` of the ids by hash: the same ones every time, and blind to any outcome."""
    return sorted(photo_ids, key=lambda photo_id: hashlib.sha256(photo_id.encode()).digest())[:count]


def thumbnail_uri(content: bytes) -> str | None:
    """A `data:` address of the photo scaled into 200 x 200 pixels, without EXIF; None if it does not decode."""
    try:
        small = Picture.read(content).rgb(SIDE_PX * 2)
    except PictureError:
        return None
    small.thumbnail((SIDE_PX, SIDE_PX))
    # Pasting into a new image leaves everything but the pixels behind.
    clean = Image.new("RGB", small.size)
    clean.paste(small)
    buffer = io.BytesIO()
    clean.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
