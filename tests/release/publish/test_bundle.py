"""Bundled photos: the same pixels, and of metadata the orientation and the colour profile."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from counterset.load import Release
from counterset.release.bounded import read_files
from counterset.release.bundle import strip_metadata
from counterset.release.photo_store import BundledPhotos
from counterset.release.publish import files
from counterset.release.publish.inputs import ReleaseInputs

from ..build_inputs import draw_photo

SECRET = b"secret description"


def jpeg(**options: object) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(draw_photo("x")))
    image.convert(str(options.pop("mode", "RGB"))).save(
        buffer, "JPEG", exif=exif, comment=b"secret comment", xmp=b"<x>secret xmp</x>", **options
    )
    return buffer.getvalue()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"mode": "L"}, {"mode": "CMYK"}, {"restart_marker_rows": 1}]
)
def test_jpeg_keeps_its_pixels_and_nothing_else(options: dict[str, object]) -> None:
    content = jpeg(**dict(options))
    assert SECRET in content
    stripped = strip_metadata(content)
    assert stripped is not None
    assert b"secret" not in stripped
    assert b"GPS" not in stripped
    assert dict(Image.open(io.BytesIO(stripped)).getexif()) == {ExifTags.Base.Orientation: 6}
    np.testing.assert_array_equal(pixels(stripped), pixels(content))


def test_a_second_picture_after_the_end_is_dropped() -> None:
    stripped = strip_metadata(jpeg() + jpeg())
    assert stripped is not None
    assert stripped == strip_metadata(jpeg())
    assert stripped.count(b"\xff\xd9") >= 1
    assert strip_metadata(jpeg() + b"trailing secret") == stripped


def test_png() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "secret")
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(draw_photo("y")))
    exif = Image.Exif()
    exif[0x010E] = "secret"
    image.save(buffer, "PNG", pnginfo=info, exif=exif)
    stripped = strip_metadata(buffer.getvalue())
    assert stripped is not None
    assert b"secret" not in stripped
    np.testing.assert_array_equal(pixels(stripped), pixels(buffer.getvalue()))


def test_anything_else_or_damaged_is_not_bundled() -> None:
    for content in (
        b"",
        b"<html>",
        b"RIFF1234WEBP",
        b"\xff\xd8\xff\xe0",
        jpeg()[:300],
        jpeg()[:-2],
        b"\x89PNG\r\n\x1a\n\x00",
    ):
        assert strip_metadata(content) is None
    for cut in range(2, 400, 7):
        strip_metadata(jpeg()[:cut])


def test_a_file_of_photos_may_pass_two_gibibytes(
    inputs: ReleaseInputs, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scaled down: parts are cut by their bytes, and read one at a time."""
    monkeypatch.setattr(files, "BYTES_PER_PART", 20_000)
    rows = release.table("common").sort_by([("class_id", "ascending"), ("photo_id", "ascending")])
    written = files.write_tables({"common": rows}, tmp_path, "0", inputs.photo_bytes)
    (path,) = written
    with pq.ParquetFile(tmp_path / path) as file:
        groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
    assert len(groups) > 5
    for group in groups:
        sizes = [len(image["bytes"]) for image in group["image"].to_pylist() if image]
        assert sum(sizes[:-1]) <= 20_000
    table = read_files(tmp_path, "common", [path])
    assert table["photo_id"].to_pylist() == rows["photo_id"].to_pylist()
    assert table["image"].num_chunks >= len(groups)
    assert BundledPhotos([table]).get(rows["photo_id"][7].as_py()) == table["image"][7].as_py()["bytes"]
