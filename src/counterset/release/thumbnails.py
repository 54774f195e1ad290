"""Small pictures for the report, and photos without metadata for bundling."""

from __future__ import annotations

import base64
import hashlib
import io
import warnings
from collections.abc import Iterable

from PIL import Image

SIDE_PX = 200
_QUALITY = 78
_MAX_PIXELS = 100_000_000


def pick(photo_ids: Iterable[str], count: int) -> list[str]:
    """`count` of the ids by hash: the same ones every time, and blind to any outcome."""
    return sorted(photo_ids, key=lambda photo_id: hashlib.sha256(photo_id.encode()).digest())[:count]


def thumbnail_uri(content: bytes) -> str | None:
    """A `data:` address of the photo scaled into 200 x 200 pixels, without EXIF; None if it does not decode."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "WEBP", "GIF")) as image:
                if image.width * image.height > _MAX_PIXELS:
                    return None
                image.draft("RGB", (SIDE_PX * 2, SIDE_PX * 2))
                small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    small.thumbnail((SIDE_PX, SIDE_PX))
    # Pasting into a new image leaves everything but the pixels behind.
    clean = Image.new("RGB", small.size)
    clean.paste(small)
    buffer = io.BytesIO()
    clean.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
