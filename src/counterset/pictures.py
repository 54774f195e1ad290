"""What a photo's file shows: the one way in which photos are read, wherever they are read.

JPEG, PNG, WebP and GIF, of each the first picture. The result is always RGB with 8 bits a
channel, turned upright by EXIF's orientation. The numbers are those stored in the file, as every
model's own preprocessing takes them: colour profiles are not applied, transparency is dropped
(the colours beneath it stay), CMYK is converted without a profile, and of 16 bits the upper 8 count.

Size, shape and the number of passes are checked before anything is decoded, so the work a photo
can cause is bounded. Nothing global of Pillow's is used or changed: not its list of formats, not
its limits, not its warnings.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from counterset.errors import PictureError
from counterset.picture_files import PictureFile, take_apart
from counterset.schemas import RejectReason

DECODER_VERSION = 2
"""Part of every key of what is made from pixels: raise it with every change of what a file shows. 1 = release 0.1.0."""

PHASH_SIDE_PX = 256
"""Perceptual hashes are of JPEGs that were decoded no smaller than this."""
MAX_PIXELS = 50_000_000
MAX_ASPECT_RATIO = 20
"""Longer side to shorter: models scale the shorter side, and the longer one follows."""

_DECODERS: dict[str, type[ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation -> what makes the picture upright."""
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    EOFError,
    struct.error,
)
"""What Pillow raises for files that are damaged in one way or another."""


@dataclass(frozen=True)
class Picture:
    """A photo whose file is whole and small enough; its pixels are decoded when asked for.

    Attributes:
        file: its file, taken apart.
    """

    file: PictureFile

    @classmethod
    def read(cls, content: bytes) -> Picture:
        """Look at a photo's file without decoding it.

        Raises:
            PictureError: damaged, another format, too many pixels or passes, or too long and thin.
        """
        picture = cls(take_apart(content))
        _check_size(picture.width_px, picture.height_px)
        return picture

    @property
    def width_px(self) -> int:
        """Of the upright picture."""
        return self.file.height_px if self.file.orientation >= 5 else self.file.width_px

    @property
    def height_px(self) -> int:
        """Of the upright picture."""
        return self.file.width_px if self.file.orientation >= 5 else self.file.height_px

    @property
    def is_plain(self) -> bool:
        """Whether readers that know neither orientations nor 16 bits see the same picture."""
        return self.file.orientation == 1 and not self.file.is_16_bit_grey

    def rgb(self, min_side_px: int | None = None) -> Image.Image:
        """The upright picture in RGB.

        Args:
            min_side_px: a JPEG is decoded at a half, a quarter or an eighth of its size where its shorter
                side keeps at least so many pixels; None = whole.

        Raises:
            PictureError: the pixels are damaged or missing.
        """
        try:
            image: Image.Image = _DECODERS[self.file.kind](io.BytesIO(self.file.pixels))
            _check_size(*image.size)
            if min_side_px is not None:
                image.draft("RGB", (min_side_px, min_side_px))
            image.load()
            if image.mode.startswith("I"):
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image.info.clear()
            image = image.convert("RGB")
        except _DAMAGED as error:
            detail = " ".join(str(error).split(" <")[0].split())[:200] or type(error).__name__
            raise PictureError(RejectReason.UNDECODABLE, detail) from error
        turn = _TURNS.get(self.file.orientation)
        return image if turn is None else image.transpose(turn)

    def phash(self) -> bytes:
        """64-bit perceptual hash (DCT) of the upright picture, 8 bytes.

        Raises:
            PictureError: as `rgb`.
        """
        import imagehash  # and with it scipy, which most readers of pictures do without

        # Scaled decoding still reads the file to its end.
        bits = imagehash.phash(self.rgb(PHASH_SIDE_PX)).hash
        return np.packbits(bits.reshape(-1)).tobytes()


def small_jpeg(content: bytes, side_px: int, quality: int) -> bytes:
    """A photo scaled into `side_px` x `side_px` pixels, as a JPEG that holds nothing but pixels.

    Raises:
        PictureError: as `Picture.read` and `Picture.rgb`.
    """
    small = Picture.read(content).rgb(side_px * 2)
    small.thumbnail((side_px, side_px))
    # Pasting into a new image leaves everything but the pixels behind.
    clean = Image.new("RGB", small.size)
    clean.paste(small)
    buffer = io.BytesIO()
    clean.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def rgb(content: bytes) -> Image.Image:
    """A photo's upright picture in RGB.

    Raises:
        PictureError: as `Picture.read` and `Picture.rgb`.
    """
    return Picture.read(content).rgb()


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise PictureError(RejectReason.TOO_LARGE, f"{width} x {height} pixels")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise PictureError(RejectReason.ASPECT_RATIO, f"{width} x {height} pixels")
