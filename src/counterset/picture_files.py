"""The files of photos, taken apart: what decides the pixels, what viewers need, and nothing else.

Four formats are read, JPEG, PNG, WebP and GIF, and of each the first picture. Parts that decide
nothing of it (EXIF but for the orientation, XMP, comments, thumbnails, later frames, second
pictures behind the end) are left out before any decoder sees the file, so they cost no work and
cannot hide anything.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from counterset.errors import PictureError
from counterset.schemas import RejectReason

MAX_SCANS = 32
"""Passes over a JPEG's pixels, each as much work as the last; encoders make 10 or so."""
MAX_PARTS = 100_000
"""Segments, chunks or blocks of a file."""
MAX_PROFILE_BYTES = 1 << 20
"""A colour profile, unpacked; larger ones are left out."""

_ORIENTATION = 0x0112
_EXIF = b"Exif\0\0"
_JFIF = b"\xff\xe0\x00\x10JFIF\0\x01\x01\x00\x00\x01\x00\x01\x00\x00"
"""JFIF's header without density and thumbnail: it says that colours are YCbCr."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_PNG_VIEWERS = (b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"cICP", b"iCCP")
_VP8X_ICC, _VP8X_EXIF, _VP8X_XMP = 0x20, 0x08, 0x04
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class _Part(NamedTuple):
    """A piece of a file; pieces that only viewers need (colour profiles, transparency) change no number."""

    content: bytes
    is_for_viewers: bool = False


@dataclass(frozen=True)
class PictureFile:
    """A file that is whole, as far as can be told without decoding it.

    Attributes:
        kind: JPEG, PNG, WEBP or GIF.
        width_px: as stored.
        height_px: as stored.
        orientation: EXIF's, 1 to 8; 1 = upright.
        is_16_bit_grey: values above 255 in one channel, which plain readers cut off.
    """

    kind: str
    width_px: int
    height_px: int
    parts: tuple[_Part, ...]
    orientation: int = 1
    is_16_bit_grey: bool = False

    @property
    def pixels(self) -> bytes:
        """The file with only what decides the pixels, lying as they are stored."""
        return _joined(self.kind, [part.content for part in self.parts if not part.is_for_viewers])

    @property
    def clean(self) -> bytes:
        """The file without metadata: the same pixels, and of EXIF only an orientation that is not upright."""
        parts = [part.content for part in self.parts]
        if self.orientation != 1:
            parts = _with_orientation(self.kind, parts, self.orientation)
        return _joined(self.kind, parts)


def take_apart(content: bytes) -> PictureFile:
    """The parts of a photo's file.

    Raises:
        PictureError: no file of the four formats, a damaged or truncated one, or one that costs too much work.
    """
    try:
        for magic, read in _READERS:
            if content.startswith(magic):
                return read(content)
    except (struct.error, IndexError):
        _refuse("the file is cut short")
    _refuse("not a JPEG, PNG, WebP or GIF file")


def _refuse(detail: str, reason: RejectReason = RejectReason.UNDECODABLE) -> NoReturn:
    raise PictureError(reason, detail)


def _joined(kind: str, parts: list[bytes]) -> bytes:
    body = b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body if kind == "WEBP" else body


def _jpeg(content: bytes) -> PictureFile:
    # ITU-T T.81, annex B: 0xFF, a marker, and for most markers a two-byte length that counts itself.
    parts, size, orientation, num_scans = [_Part(content[:2])], (0, 0), 1, 0
    for marker, segment, payload in _segments(content):
        if marker == 0xDA:
            num_scans += 1
            if num_scans > MAX_SCANS:
                _refuse(f"more than {MAX_SCANS} scans", RejectReason.TOO_LARGE)
            if not size[0]:
                _refuse("a scan before the frame header")
            parts.append(_Part(segment))
        elif marker == 0xD9:
            if not num_scans:
                _refuse("no scan")
            if sum(len(part.content) for part in parts if part.is_for_viewers) > MAX_PROFILE_BYTES:
                parts = [part for part in parts if not part.is_for_viewers]
            return PictureFile("JPEG", *size, (*parts, _Part(segment)), orientation)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if size[0]:
                _refuse("two frame headers")
            height, width = struct.unpack_from(">HH", payload, 1)
            size = _size(width, height)
            parts.append(_Part(segment))
        elif marker == 0xE0:
            parts += [_Part(_JFIF)] if payload.startswith(b"JFIF\0") else []
        elif marker == 0xE1 and payload.startswith(_EXIF):
            orientation = _orientation(payload[len(_EXIF) :]) if orientation == 1 else orientation
        elif marker == 0xE2 and payload.startswith(b"ICC_PROFILE\0"):
            parts.append(_Part(segment, is_for_viewers=True))
        elif marker == 0xEE or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            parts.append(_Part(segment))  # Adobe's segment says how colours are coded
    _refuse("the file is cut short: it has no end marker")


def _segments(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Marker, all bytes and payload of each segment; a scan's bytes go on to the next segment."""
    at = 2
    for _ in range(MAX_PARTS):
        found = _NEXT_MARKER.search(content, at)  # over fill bytes, and over junk as decoders do
        if found is None:
            return
        at, marker = found.start(), content[found.start() + 1]
        if marker == 0xD9:
            yield marker, content[at : at + 2], b""
            return
        if marker < 0xC0 or marker == 0xD8:
            _refuse(f"an unexpected marker {marker:02X}")
        size = int(struct.unpack_from(">H", content, at + 2)[0])
        header_end = end = at + 2 + size
        if size < 2 or end > len(content):
            _refuse("the file is cut short")
        if marker == 0xDA:  # in entropy-coded data 0xFF is followed by 0x00 or a restart marker
            found = _NEXT_MARKER.search(content, end)
            if found is None:
                return
            end = found.start()
        yield marker, content[at:end], content[at + 4 : header_end]
        at = end
    _refuse("too many segments", RejectReason.TOO_LARGE)


def _png(content: bytes) -> PictureFile:
    parts, orientation, size, grey_16 = [_Part(_PNG)], 1, (0, 0), False
    at = len(_PNG)
    for number in range(MAX_PARTS):
        (length,) = struct.unpack_from(">I", content, at)
        kind, end = content[at + 4 : at + 8], at + 12 + length
        if end > len(content):
            _refuse("the file is cut short")
        chunk, payload = content[at:end], content[at + 8 : end - 4]
        if (kind == b"IHDR") != (number == 0):
            _refuse("a header that is not the first chunk")
        if kind == b"IHDR":
            width, height, bits, colour = struct.unpack_from(">IIBB", payload)
            size, grey_16 = _size(width, height), (bits, colour) == (16, 0)
        if kind in _PNG_PIXELS:
            parts.append(_Part(chunk))
        elif kind in _PNG_VIEWERS and (kind != b"iCCP" or _is_small_profile(payload)):
            parts.append(_Part(chunk, is_for_viewers=True))
        elif kind == b"eXIf":
            orientation = _orientation(payload)
        if kind == b"IEND":
            return PictureFile("PNG", *size, tuple(parts), orientation, grey_16)
        at = end
    _refuse("too many chunks", RejectReason.TOO_LARGE)


def _is_small_profile(payload: bytes) -> bool:
    _, found, packed = payload.partition(b"\0")
    try:
        unpacked = zlib.decompressobj()
        unpacked.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return False
    return bool(found) and unpacked.eof


def _webp(content: bytes) -> PictureFile:
    (length,) = struct.unpack_from("<I", content, 4)
    if content[8:12] != b"WEBP":
        _refuse("not a JPEG, PNG, WebP or GIF file")
    if length + 8 > len(content):
        _refuse("the file is cut short")
    parts, orientation, size, num_frames = list[_Part](), 1, (0, 0), 0
    at, stop = 12, length + 8
    for _ in range(MAX_PARTS):
        if at + 8 > stop:
            if not num_frames:
                _refuse("no picture in the file")
            return PictureFile("WEBP", *size, tuple(parts), orientation)
        kind, (length,) = content[at : at + 4], struct.unpack_from("<I", content, at + 4)
        payload = content[at + 8 : at + 8 + length]
        if at + 8 + length > stop:
            _refuse("the file is cut short")
        chunk = content[at : at + 8] + payload + b"\0" * (length % 2)
        at += 8 + length + length % 2
        if kind == b"VP8X":
            if parts:
                _refuse("a header that is not the first chunk")
            width, height = (int.from_bytes(payload[start : start + 3], "little") + 1 for start in (4, 7))
            size = _size(width, height)
            parts.append(_Part(chunk[:8] + bytes([payload[0] & ~(_VP8X_ICC | _VP8X_EXIF | _VP8X_XMP)]) + chunk[9:]))
        elif kind in (b"VP8 ", b"VP8L", b"ANMF"):
            num_frames += 1
            if num_frames == 1:
                size = size if size[0] else _webp_size(kind, payload)
                parts.append(_Part(chunk))
        elif kind in (b"ALPH", b"ANIM") and not num_frames:
            parts.append(_Part(chunk))
        elif not parts or parts[0].content[:4] != b"VP8X":
            continue  # only the extended format has more
        elif kind == b"ICCP" and len(parts) == 1 and len(chunk) <= MAX_PROFILE_BYTES:
            parts[0] = _flagged(parts[0], _VP8X_ICC)
            parts.append(_Part(chunk))  # no decoder reads it, but the header counts it
        elif kind == b"EXIF":
            orientation = _orientation(payload.removeprefix(_EXIF))
    _refuse("too many chunks", RejectReason.TOO_LARGE)


def _flagged(header: _Part, flag: int) -> _Part:
    """A WebP file's extended header with one flag more."""
    content = header.content
    return _Part(content[:8] + bytes([content[8] | flag]) + content[9:])


def _webp_size(kind: bytes, payload: bytes) -> tuple[int, int]:
    """Width and height of a file without an extended header."""
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", payload, 6)
        return _size(width & 0x3FFF, height & 0x3FFF)
    (bits,) = struct.unpack_from("<I", payload, 1)
    return _size((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1)


def _gif(content: bytes) -> PictureFile:
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    parts = [_Part(content[:at])]
    for _ in range(MAX_PARTS):
        if content[at] == 0x21:
            end = _blocks_end(content, at + 2)
            if content[at + 1] == 0xF9:
                parts.append(_Part(content[at:end]))
        elif content[at] == 0x2C:
            x, y, frame_width, frame_height, flags = struct.unpack_from("<HHHHB", content, at + 1)
            end = _blocks_end(content, at + 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
            size = _size(max(width, x + frame_width), max(height, y + frame_height))
            return PictureFile("GIF", *size, (*parts, _Part(content[at:end]), _Part(b";")))
        else:
            _refuse("no picture in the file")
        at = end
    _refuse("too many blocks", RejectReason.TOO_LARGE)


def _blocks_end(content: bytes, at: int) -> int:
    """Where a run of blocks, each behind its length, ends."""
    for _ in range(MAX_PARTS * 10):
        length = content[at]
        at += length + 1
        if not length:
            return at
    _refuse("too many blocks", RejectReason.TOO_LARGE)


def _size(width: int, height: int) -> tuple[int, int]:
    if not width or not height:
        _refuse(f"{width} x {height} pixels")
    return width, height


def _orientation(tiff: bytes) -> int:
    """EXIF's orientation, from the first directory; 1 where there is none or it is damaged.

    Only the tag of EXIF counts, as in browsers, and not XMP's copy of it.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", tiff, entry)
            if tag == _ORIENTATION and number == 1 and kind in (3, 4):
                (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, entry + 8)
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _with_orientation(kind: str, parts: list[bytes], orientation: int) -> list[bytes]:
    """A file's parts with an EXIF block that holds the orientation alone."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, _ORIENTATION, 3, 1, orientation, 0, 0)
    if kind == "JPEG":
        payload = _EXIF + tiff
        place = 2 if parts[1] == _JFIF else 1  # JFIF's own segment comes first
        return [*parts[:place], b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload, *parts[place:]]
    if kind == "PNG":
        chunk = b"eXIf" + tiff
        return [*parts[:2], struct.pack(">I", len(tiff)) + chunk + struct.pack(">I", zlib.crc32(chunk)), *parts[2:]]
    header = _flagged(_Part(parts[0]), _VP8X_EXIF).content
    return [header, *parts[1:], b"EXIF" + struct.pack("<I", len(tiff)) + tiff]


_READERS: tuple[tuple[bytes, Callable[[bytes], PictureFile]], ...] = (
    (b"\xff\xd8\xff", _jpeg),
    (_PNG, _png),
    (b"RIFF", _webp),
    (b"GIF87a", _gif),
    (b"GIF89a", _gif),
)
