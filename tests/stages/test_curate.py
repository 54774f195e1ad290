from __future__ import annotations

import io
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from counterset.config import CurateConfig
from counterset.schemas import CANDIDATES, IMAGES, Half
from counterset.stages.curate import choose_members, half_of, inspect_photos, observer_hash
from counterset.tables import table_of


def picture(seed: int, width: int = 240, height: int = 180, quality: int = 90) -> bytes:
    """A JPEG of smooth random blobs."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    out = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(out, "JPEG", quality=quality)
    return out.getvalue()


def offers(ids: list[str], observations: list[str] | None = None, observers: list[str] | None = None) -> pa.Table:
    rows = [
        {column.name: None for column in CANDIDATES.columns}
        | {"photo_id": photo_id, "class_id": "lion", "source": "inaturalist", "url": "https://x/y.jpg"}
        | {"observation_id": (observations or ids)[index], "observer_id": (observers or ids)[index]}
        | {"observed_on": date(2026, 1, 1)}
        for index, photo_id in enumerate(ids)
    ]
    return table_of(CANDIDATES, rows)


def reasons(rejects: pa.Table) -> dict[str, str]:
    return dict(zip(rejects["photo_id"].to_pylist(), rejects["reason"].to_pylist(), strict=True))


def bomb() -> bytes:
    """A PNG header that claims 30,000 x 30,000 pixels."""
    out = io.BytesIO()
    Image.new("1", (8, 8)).save(out, "PNG")
    content = bytearray(out.getvalue())
    content[16:24] = (30_000).to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    return bytes(content)


def test_bad_photos_are_rejects_with_their_reason() -> None:
    good = picture(1)
    files = {
        "good": good,
        "truncated": good[: len(good) // 2],
        "html": b"<html><body>404</body></html>",
        "empty": b"",
        "bomb": bomb(),
        "tiny": picture(2, 40, 30),
        "panorama": picture(3, 1200, 150),
    }
    images = table_of(IMAGES, {"photo_id": list(files), "image": list(files.values())})
    result = inspect_photos(images, offers(list(files)), CurateConfig(), shard="s")
    assert result.photos["photo_id"].to_pylist() == ["good"]
    assert reasons(result.rejects) == {
        "truncated": "undecodable",
        "html": "undecodable",
        "empty": "undecodable",
        "bomb": "too_large",
        "tiny": "too_small",
        "panorama": "aspect_ratio",
    }


def test_duplicates_leave_one_whatever_the_order() -> None:
    files = {f"p{number}": picture(number) for number in range(20)}
    files["copy"] = files["p3"]
    files["again"] = picture(5, quality=60)
    files["same-observation"] = picture(100)
    ids = list(files)
    observations = [*ids[:-1], "p7"]
    photos = inspect_photos(
        table_of(IMAGES, {"photo_id": ids, "image": list(files.values())}),
        offers(ids, observations),
        CurateConfig(),
        shard="s",
    ).photos
    config = CurateConfig(near_duplicate_bits=4)
    result = choose_members(photos, offers(ids, observations), config, salt="x")
    kept = set(result.members["photo_id"].to_pylist())
    assert len(kept & {"p3", "copy"}) == 1
    assert len(kept & {"p5", "again"}) == 1
    assert len(kept & {"p7", "same-observation"}) == 1
    assert len(kept) == 20
    assert set(reasons(result.rejects).values()) == {"exact_duplicate", "near_duplicate", "same_observation"}
    backwards = photos.take(pa.array(range(photos.num_rows - 1, -1, -1)))
    assert choose_members(backwards, offers(ids, observations), config, salt="x").members.equals(result.members)


def test_near_duplicates_equal_a_naive_search() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2, (300, 64))
    for row in range(0, 300, 10):  # plant pairs 0 to 8 bits apart
        hashes[row + 1] = hashes[row]
        hashes[row + 1, rng.choice(64, row % 9, replace=False)] ^= 1
    ids = [f"p{number:03d}" for number in range(300)]
    photos = pa.table(
        {
            "photo_id": ids,
            "sha256": ids,
            "phash": pa.array([np.packbits(row).tobytes() for row in hashes], pa.binary(8)),
            "shard": ["s"] * 300,
        }
    )
    result = choose_members(photos, offers(ids), CurateConfig(near_duplicate_bits=4), salt="x")
    distance = (hashes[:, None, :] != hashes[None, :, :]).sum(axis=2)
    close = {(a, b) for a in range(300) for b in range(a) if distance[a, b] <= 4}
    assert 10 < len(close) < 30
    kept = {int(photo_id[1:]) for photo_id in result.members["photo_id"].to_pylist()}
    for a, b in close:
        assert (a in kept) != (b in kept)  # planted pairs are disjoint: one of each stays
    assert len(kept) == 300 - len(close)


def test_photos_alike_to_the_annotator_are_one() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((200, 32)).astype(np.float32)
    vectors[100:120] = 2 * vectors[:20] + 0.05 * rng.standard_normal((20, 32))  # of any length
    ids = [f"p{number:03d}" for number in range(200)]
    photos = pa.table(
        {
            "photo_id": ids,
            "sha256": ids,
            "phash": pa.array([rng.bytes(8) for _ in ids], pa.binary(8)),
            "shard": ["s"] * 200,
        }
    )
    features = dict(zip(ids, vectors, strict=True))
    config = CurateConfig(near_duplicate_bits=-1, max_similarity=0.98)
    result = choose_members(photos, offers(ids), config, salt="x", features=features)
    kept = set(result.members["photo_id"].to_pylist())
    assert all((f"p{number:03d}" in kept) != (f"p{number + 100:03d}" in kept) for number in range(20))
    assert len(kept) == 180
    assert set(reasons(result.rejects).values()) == {"near_duplicate"}
    assert choose_members(photos, offers(ids), CurateConfig(near_duplicate_bits=-1), salt="x").rejects.num_rows == 0


def test_halves_follow_the_observer_alone() -> None:
    ids = [f"p{number}" for number in range(400)]
    observers = [str(number // 4) for number in range(400)]
    photos = pa.table(
        {
            "photo_id": ids,
            "sha256": ids,
            "phash": pa.array([bytes([0] * 8)] * 400, pa.binary(8)),
            "shard": ["s"] * 400,
        }
    )
    result = choose_members(
        photos, offers(ids, observers=observers), CurateConfig(near_duplicate_bits=-1), salt="x"
    ).members
    halves: dict[str, set[str]] = {}
    for observer, half in zip(result["observer"].to_pylist(), result["half"].to_pylist(), strict=True):
        halves.setdefault(observer, set()).add(half)
    assert len(halves) == 100 and all(len(found) == 1 for found in halves.values())
    discover = sum(found == {Half.DISCOVER} for found in halves.values())
    assert 35 <= discover <= 65
    assert half_of(observer_hash("x", "inaturalist", "7")) == half_of(observer_hash("x", "inaturalist", "7"))
    assert observer_hash("x", "inaturalist", "7") != observer_hash("y", "inaturalist", "7")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_other_formats_are_read(kind: str) -> None:
    out = io.BytesIO()
    Image.open(io.BytesIO(picture(4))).save(out, kind)
    images = table_of(IMAGES, {"photo_id": ["a"], "image": [out.getvalue()]})
    assert inspect_photos(images, offers(["a"]), CurateConfig(), shard="s").photos.num_rows == 1
