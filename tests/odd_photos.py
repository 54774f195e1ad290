"""Photos in every format, mode and orientation that is read, and what Pillow itself makes of them."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, ImageOps

ORIENTATIONS = range(1, 9)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    tags[ExifTags.Base.ImageDescription] = "secret"
    return tags.tobytes()


def scene() -> Image.Image:
    """A picture that is unlike itself however it is turned."""
    blocks = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(np.kron(blocks, np.ones((20, 20, 1), np.uint8)))


def grey_16() -> npt.NDArray[np.uint16]:
    return np.kron(np.random.default_rng(1).integers(0, 65_536, (9, 12)), np.ones((20, 20))).astype(np.uint16)


def photos() -> dict[str, bytes]:
    image = scene()
    turned = image.rotate(90, expand=True)
    translucent = image.convert("RGBA")
    translucent.putalpha(Image.linear_gradient("L").resize(image.size))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = {
        "jpeg": encoded(image, "JPEG", icc_profile=profile),
        "progressive": encoded(image, "JPEG", progressive=True),
        "grey jpeg": encoded(image.convert("L"), "JPEG"),
        "cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "mpo": encoded(image, "MPO", save_all=True, append_images=[turned]),
        "jpeg and more": encoded(image, "JPEG", comment=b"secret", xmp=b"<x>secret</x>") + b"secret" * 20,
        "png": encoded(image, "PNG", icc_profile=profile),
        "palette": encoded(image.convert("P"), "PNG", transparency=0),
        "translucent palette": encoded(image.convert("P"), "PNG", transparency=bytes(range(200))),
        "rgba": encoded(translucent, "PNG"),
        "la": encoded(image.convert("LA"), "PNG"),
        "two colours": encoded(image.convert("1"), "PNG"),
        "apng": encoded(image, "PNG", save_all=True, append_images=[image.rotate(180)]),
        "gif": encoded(image.quantize(64), "GIF", comment=b"secret"),
        "moving gif": encoded(image, "GIF", save_all=True, append_images=[image.rotate(180)]),
        "webp": encoded(image, "WEBP", icc_profile=profile, xmp=b"secret"),
        "lossless webp": encoded(translucent, "WEBP", lossless=True, exact=True),
        "moving webp": encoded(image, "WEBP", save_all=True, append_images=[image.rotate(180)]),
    }
    for kind in ("JPEG", "PNG", "WEBP"):
        found |= {f"{kind} {tag}": encoded(image, kind, exif=exif(tag)) for tag in ORIENTATIONS}
    return found


PHOTOS = photos()
GREY_16 = encoded(Image.fromarray(grey_16()), "PNG")


def as_pillow(content: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's doubts about transparent palettes
        return ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")


def assert_same(one: Image.Image, other: Image.Image) -> None:
    assert one.mode == other.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
