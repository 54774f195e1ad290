"""Scripted faults: what a real service does wrong, at stated requests, so that a test can ask for it."""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from counterset.demo.server.catalog import Catalog


class FaultKind(StrEnum):
    """What goes wrong with one API answer."""

    THROTTLED = "throttled"
    """429 from the cache in front: a body that is not JSON, and no Retry-After."""
    THROTTLED_SECONDS = "throttled_seconds"
    """429 with Retry-After in seconds."""
    MAINTENANCE = "maintenance"
    """503 with Retry-After as an HTTP date, its hour without a leading zero."""
    SERVER_ERROR = "server_error"
    """500 with the service's JSON."""
    TRUNCATED = "truncated"
    """Status 200 and the first half of the JSON."""
    BROKEN = "broken"
    """The connection closes in the middle of the body."""
    SHORT_PAGE = "short_page"
    """Status 200 and fewer rows than asked for, though more follow."""
    VANISH = "vanish"
    """After this answer its first row is deleted, so later pages have one row less before them."""
    OLD_HOST = "old_host"
    """From this answer on, photo URLs have the one host of before 2021 and its time-stamp suffix."""


@dataclass(frozen=True)
class Fault:
    """One scripted fault: at API request number `first` (from 1), and at each `every` after it (0 = once)."""

    kind: FaultKind
    first: int
    every: int = 0
    retry_after_s: int = 1

    def hits(self, number: int) -> bool:
        """Whether API request `number` is hit."""
        if not self.every:
            return number == self.first
        return number >= self.first and (number - self.first) % self.every == 0


class PhotoFault(StrEnum):
    """What is wrong with one photo's file."""

    TRUNCATED = "truncated"
    HTML = "html"
    HUGE = "huge"
    """A decodable photo followed by 30 MB."""
    BOMB = "bomb"
    """A small PNG that claims 20,000 x 20,000 pixels."""


def with_photo_faults(catalog: Catalog, faults: Mapping[int, PhotoFault]) -> Catalog:
    """The catalogue, with the files of some photo ids spoilt."""
    chosen = dict(faults)
    inner = catalog.original_bytes

    def original_bytes(photo_id: int) -> bytes:
        fault = chosen.get(photo_id)
        return inner(photo_id) if fault is None else spoilt(inner(photo_id), fault)

    return dataclasses.replace(catalog, original_bytes=original_bytes)


def spoilt(content: bytes, fault: PhotoFault) -> bytes:
    """A photo's bytes with a fault."""
    match fault:
        case PhotoFault.TRUNCATED:
            return content[: max(len(content) // 2, 1)]
        case PhotoFault.HTML:
            return b"<!doctype html><html><body><h1>Just a moment...</h1></body></html>\n"
        case PhotoFault.HUGE:
            return content + bytes(30_000_000)
        case PhotoFault.BOMB:
            return bomb_png(20_000)


def bomb_png(side_px: int) -> bytes:
    """A valid black PNG of `side_px` squared pixels, one bit each, in a few kilobytes."""
    rows = zlib.compressobj(9)
    row = bytes(1 + (side_px + 7) // 8)
    content = io.BytesIO()
    for _ in range(side_px):
        content.write(rows.compress(row))
    content.write(rows.flush())
    header = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", content.getvalue()) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
