"""The files of the demo's photo host, rendered when asked for: photos, and what is served instead of them."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache

from PIL import Image

from counterset.demo.world.causes import FAR
from counterset.demo.world.photo import draw
from counterset.demo.world.spec import PhotoSpec, Subject, hard_spec, observer_style, photo_size, usual_spec

BOMB_SIDE_PX = 30_000


@dataclass(frozen=True)
class FileSpec:
    """What one file shows, and how it is damaged ("" = not at all)."""

    class_id: str
    background: str
    seed: int
    observer_id: int
    frame: int = 0
    subject: Subject = "animal"
    damage: str = ""
    is_hard: bool = False
    is_far: bool = False


def photo_of(spec: FileSpec) -> PhotoSpec:
    """The photo in the file."""
    kind = hard_spec if spec.is_hard else usual_spec
    photo = kind(spec.class_id, spec.background, spec.seed, observer_style(spec.observer_id))
    return replace(photo, frame=spec.frame, subject=spec.subject, scale=photo.scale * (FAR if spec.is_far else 1.0))


def file_size(spec: FileSpec) -> tuple[int, int]:
    """Width and height in pixels that the photo host states."""
    width, height = photo_size(spec.seed)
    if spec.damage == "tiny":
        return width // 8, height // 8
    if spec.damage == "panorama":
        return 1000, 208
    if spec.damage == "near_duplicate":
        return width - 3, height - 2
    return (2048, 2048) if spec.damage == "bomb" else (width, height)


def render(spec: FileSpec) -> bytes:
    """The file's bytes; the same for the same `spec`."""
    if spec.damage == "bomb":
        return _bomb()
    if spec.damage == "html":
        return b"<!DOCTYPE html><html><head><title>Sorry</title></head><body><p>Try again later.</p></body></html>\n"
    image = Image.fromarray(draw(photo_of(spec)).pixels)
    quality = observer_style(spec.observer_id).quality
    if spec.damage in ("tiny", "panorama"):
        image = image.resize(file_size(spec), Image.Resampling.BILINEAR)
    elif spec.damage == "near_duplicate":
        image = image.crop((1, 1, image.width - 2, image.height - 1))
        quality -= 8
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    content = buffer.getvalue()
    return content[: len(content) * 2 // 5] if spec.damage == "truncated" else content


@lru_cache(maxsize=1)
def _bomb() -> bytes:
    """A valid PNG of about 110 kB that decodes to 900 million pixels."""
    packer = zlib.compressobj(9)
    row = bytes(1 + BOMB_SIDE_PX // 8)
    content = b"".join(packer.compress(row * 100) for _ in range(BOMB_SIDE_PX // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", BOMB_SIDE_PX, BOMB_SIDE_PX, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    )
