"""Small pictures for the report, and photos without metadata for bundling."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from counterset.errors import PictureError
from counterset.pictures import small_jpeg

SIDE_PX = 200
_QUALITY = 78


def pick(photo_ids: Iterable[str], count: int) -> list[str]:
    """`count` of the ids by hash: the same ones every time, and blind to any outcome."""
    return sorted(photo_ids, key=lambda photo_id: hashlib.sha256(photo_id.encode()).digest())[:count]


def thumbnail_uri(content: bytes) -> str | None:
    """A `data:` address of the photo scaled into 200 x 200 pixels, without EXIF; None if it does not decode."""
    try:
        small = small_jpeg(content, SIDE_PX, _QUALITY)
    except PictureError:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(small).decode()
