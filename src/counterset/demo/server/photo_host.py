"""The photo host: one file per size of each photo, scaled down from the original and never up."""

from __future__ import annotations

import io

from PIL import Image

from counterset.demo.server.catalog import Catalog, Photo

LONGEST_SIDE_PX = {"thumb": 100, "small": 240, "medium": 500, "large": 1024, "original": 2048}
SQUARE_PX = 75
MAX_DECODED_PIXELS = 50_000_000
"""A file that claims more is passed on as it is: the server must survive its own bombs."""

MEDIA_TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "gif": "image/gif"}


class PhotoHost:
    """Gives status, media type and bytes of `/photos/{photo_id}/{size}.{extension}`."""

    def __init__(self, catalog: Catalog) -> None:
        self._original_bytes = catalog.original_bytes
        self._photos: dict[int, Photo] = {photo.photo_id: photo for row in catalog.observations for photo in row.photos}

    def answer(self, photo_id: str, name: str) -> tuple[int, str, bytes]:
        """The file, or S3's XML with 403 or 404; `name` is case-sensitive, as on S3."""
        size, _, extension = name.partition(".")
        photo = self._photos.get(int(photo_id)) if photo_id.isdigit() else None
        if photo is not None and photo.gone_status:
            return photo.gone_status, "application/xml", s3_error(photo.gone_status)
        is_known_size = size == "square" or size in LONGEST_SIDE_PX
        if photo is None or photo.placeholder or extension != photo.extension or not is_known_size:
            return 403, "application/xml", s3_error(403)
        media_type = MEDIA_TYPES.get(extension.lower(), "binary/octet-stream")
        return 200, media_type, scaled(self._original_bytes(photo.photo_id), size)


def scaled(content: bytes, size: str) -> bytes:
    """`content` in one of the sizes; its very bytes where it fits already or cannot be decoded."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            if width * height > MAX_DECODED_PIXELS:
                return content
            if size == "square":
                side = min(width, height)
                left, top = (width - side) // 2, (height - side) // 2
                small = image.crop((left, top, left + side, top + side)).resize((SQUARE_PX, SQUARE_PX))
            elif max(width, height) <= LONGEST_SIDE_PX[size]:
                return content
            else:
                factor = LONGEST_SIDE_PX[size] / max(width, height)
                target = max(round(width * factor), 1), max(round(height * factor), 1)
                small = image.resize(target, Image.Resampling.BILINEAR, reducing_gap=2.0)
            kind = image.format or "JPEG"
            buffer = io.BytesIO()
            if kind == "JPEG":
                small.convert("RGB").save(buffer, "JPEG", quality=85)
            else:
                small.save(buffer, kind)
            return buffer.getvalue()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return content


def s3_error(status: int) -> bytes:
    """S3's XML body of a missing object (403 where the bucket may not be listed, else 404)."""
    code, message = ("AccessDenied", "Access Denied") if status == 403 else ("NoSuchKey", "The key does not exist.")
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    ).encode()
