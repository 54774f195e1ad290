"""Photos of a release from elsewhere that are too large, of another format or damaged."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import counterset
from counterset.load import Release


def huge_png() -> bytes:
    """169 million pixels in some kilobytes."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 13_000, 13_000, 1, 0, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes((13_000 // 8 + 1) * 13_000), 9)
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data, b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_photos_that_no_build_would_keep_are_left_out_and_named(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = small.load()
    photo_ids = release.common["photo_id"].to_pylist()
    whole = release.photo(photo_ids[2])
    bad = {
        photo_ids[0]: huge_png(),
        photo_ids[1]: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 300 300\nshowpage\n",
        photo_ids[2]: whole[: len(whole) // 2],
    }
    photo = Release.photo
    monkeypatch.setattr(Release, "photo", lambda self, photo_id: bad.get(photo_id) or photo(self, photo_id))

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a picture was opened in another way")

    monkeypatch.setattr(Image, "open", opened)
    found = counterset.evaluate(
        release,
        ["demo:weak", "demo:plain"],
        predict=lambda images, labels: [labels[0]] * len(images),
        name="first",
        label_space="classes",
        output=tmp_path,
    )
    assert found.record["missing_photos"] == {
        photo_ids[0]: "13000 x 13000 pixels",
        photo_ids[1]: "not a JPEG, PNG, WebP or GIF file",
        photo_ids[2]: "the file is cut short: it has no end marker",
    }
    total = release.common.num_rows + release.counter.num_rows
    assert found.predictions.num_rows == 3 * (total - len(bad))
