"""Photos bundled with a release: the same pixels, without EXIF, comments or any other metadata."""

from __future__ import annotations

import struct

_SOI, _SOS, _EOI = 0xD8, 0xDA, 0xD9
_KEEP_APP = {0xEE}
"""Adobe's marker says how colours are coded; without it some photos change colour."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEEP = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD"}


def strip_metadata(content: bytes) -> bytes | None:
    """A JPEG or PNG file without its metadata, pixel data untouched; None for anything else.

    The orientation tag goes too: models of the usual preprocessing never look at it, so
    the bundled photo is what was evaluated.
    """
    if content.startswith(b"\xff\xd8"):
        return _strip_jpeg(content)
    if content.startswith(_PNG):
        return _strip_png(content)
    return None


def _strip_jpeg(content: bytes) -> bytes | None:
    # ITU-T T.81, annex B: 0xFF, a marker, and for most markers a two-byte length that counts itself.
    kept, at = [content[:2]], 2
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == _SOS:
            # Inside entropy-coded data 0xFF is always followed by 0x00, but a later segment of a
            # progressive file may hold any bytes; so segments are walked, not searched.
            scans = _scans(content, at)
            return b"".join(kept) + scans if scans else None
        if marker in (_SOI, _EOI) or 0xD0 <= marker <= 0xD7:
            return None
        size = int.from_bytes(content[at + 2 : at + 4], "big")
        is_metadata = (0xE0 <= marker <= 0xEF and marker not in _KEEP_APP) or marker == 0xFE
        if not is_metadata:
            kept.append(content[at : at + 2 + size])
        at += 2 + size
    return None


def _scans(content: bytes, at: int) -> bytes | None:
    """From the first scan to the end of this image; what follows the end is dropped."""
    kept: list[bytes] = []
    while at + 2 <= len(content):
        marker = content[at + 1]
        if content[at] != 0xFF:
            return None
        if marker == _EOI:
            return b"".join(kept) + content[at : at + 2]
        size = int.from_bytes(content[at + 2 : at + 4], "big")
        end = at + 2 + size
        if marker == _SOS:
            end = _next_marker(content, end)
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(content[at:end])
        at = end
    return None


def _next_marker(content: bytes, at: int) -> int:
    """Where the entropy-coded data that starts at `at` ends."""
    while True:
        at = content.find(b"\xff", at)
        if at < 0 or at + 1 >= len(content):
            return len(content)
        following = content[at + 1]
        if following == 0xFF:
            at += 1
        elif following == 0x00 or 0xD0 <= following <= 0xD7:
            at += 2
        else:
            return at


def _strip_png(content: bytes) -> bytes | None:
    kept, at = [_PNG], len(_PNG)
    while at + 12 <= len(content):
        size = struct.unpack(">I", content[at : at + 4])[0]
        kind, end = content[at + 4 : at + 8], at + 12 + size
        if end > len(content):
            return None
        if kind in _PNG_KEEP:
            kept.append(content[at:end])
        if kind == b"IEND":
            return b"".join(kept)
        at = end
    return None
