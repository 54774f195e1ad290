"""Photos of a release from elsewhere that are too large, of another format or damaged."""

from __future__ import annotations

import hashlib
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

import counterset
from counterset.evaluation.photos import pair_photos
from counterset.load import Release, load


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


def test_photos_of_uneven_pairs_are_no_part_of_figures(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    release = small.load()
    whole = pair_photos(release)
    pairs = release.pairs
    uneven = sorted(set(whole.class_id.tolist()))[0]
    flags = pa.array([True if class_id == uneven else None for class_id in pairs["class_id"].to_pylist()], pa.bool_())
    place = pairs.column_names.index("is_uneven")
    monkeypatch.setattr(Release, "pairs", pairs.set_column(place, "is_uneven", flags))
    kept = pair_photos(release)
    assert set(kept.class_id.tolist()) == set(whole.class_id.tolist()) - {uneven}
    sides = dict(zip(whole.photo_id.tolist(), whole.side.tolist(), strict=True))
    assert {photo_id: sides[photo_id] for photo_id in kept.photo_id.tolist()} == dict(
        zip(kept.photo_id.tolist(), kept.side.tolist(), strict=True)
    )
    assert len(kept.photo_id) == (whole.class_id != uneven).sum()
    monkeypatch.setattr(Release, "pairs", pairs.drop_columns(["is_uneven"]))
    assert len(pair_photos(release).photo_id) == len(whole.photo_id), "an earlier release does not say"


def test_a_photo_that_was_encoded_anew_counts_under_its_own_bytes(small: Any, tmp_path: Path) -> None:
    photo_id, url = (small.load().common[name][0].as_py() for name in ("photo_id", "url"))
    mirror = Path(shutil.copytree(small.mirror.removesuffix("/{path}"), tmp_path / "photos"))
    picture = Image.open(mirror / url)
    picture.save(mirror / url, "JPEG", quality=50)
    anew = hashlib.sha256((mirror / url).read_bytes()).hexdigest()
    release = load(small.path, mirrors=[f"{mirror}/{{path}}"], cache=tmp_path / "cache", accept_changed=True)
    seen: list[int] = []
    for _ in range(2):  # what was kept of its bytes is not kept of the release's
        found = counterset.evaluate(
            release,
            ["demo:weak"],
            predict=lambda images, labels: seen.append(len(images)) or [labels[0]] * len(images),
            name="first",
            version="1",
            label_space="classes",
            output=tmp_path / "out",
        )
        assert found.record["changed_photos"] == {photo_id: anew} and not found.record["missing_photos"]
    total = release.common.num_rows + release.counter.num_rows
    assert sum(seen) == total and found.num_computed == {"demo:weak": 0, "first": 0}
    strict = load(small.path, mirrors=[f"{mirror}/{{path}}"], cache=tmp_path / "cache")
    left_out = counterset.evaluate(strict, ["demo:weak"], label_space="classes", output=tmp_path / "out")
    assert list(left_out.record["missing_photos"]) == [photo_id] and not left_out.record["changed_photos"]
    exported = release.export("imagefolder", tmp_path / "folder")
    assert exported.changed == (photo_id,) and exported.num_photos == total
    assert strict.export("imagefolder", tmp_path / "strict").num_photos == total - 1
