"""Photos as they leave this machine: the same pixels, without EXIF, comments or any other metadata."""

from __future__ import annotations

import io

from counterset.errors import PictureError
from counterset.pictures import Picture

_SUFFIXES = ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF8", "gif"))


def strip_metadata(content: bytes) -> bytes | None:
    """A photo's file without its metadata, pixel data untouched; None if it is not a whole file.

    What stays is its first picture, its colour profile, and of EXIF the orientation alone, which every
    reader here turns upright and others should.
    """
    try:
        return Picture.read(content).file.clean
    except PictureError:
        return None


def suffix_of(content: bytes) -> str | None:
    """The suffix of a file's name: jpg, png, webp or gif; None if it is none of these."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return next((suffix for magic, suffix in _SUFFIXES if content.startswith(magic)), None)


def for_plain_readers(content: bytes, *, may_adapt: bool) -> bytes:
    """A photo's file in which readers see what is evaluated, though they know neither orientations nor 16 bits.

    Only such photos are encoded again, as PNG, which keeps every pixel; and only where the licence allows
    it (`may_adapt`): otherwise the file stays as it is.

    Raises:
        PictureError: as `counterset.pictures.rgb`.
    """
    picture = Picture.read(content)
    if picture.is_plain or not may_adapt:
        return content
    buffer = io.BytesIO()
    picture.rgb().save(buffer, "PNG")
    return buffer.getvalue()
