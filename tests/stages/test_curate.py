from __future__ import annotations

import hashlib
import io
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from counterset.config import CurateConfig
from counterset.schemas import CANDIDATES, IMAGES
from counterset.similarity import search
from counterset.stages.curate import BOUNDS, fitting, inspect_photos
from counterset.stages.curate.members import choose_members
from counterset.tables import table_of

LION = {"lion": "taxon:41964"}


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


def test_sides_are_judged_after_inspection_as_within_it() -> None:
    """So another limit needs no new inspection, and no new features."""
    files = {"good": picture(1), "tiny": picture(2, 40, 30), "panorama": picture(3, 1200, 150)}
    images = table_of(IMAGES, {"photo_id": list(files), "image": list(files.values())})
    within = inspect_photos(images, offers(list(files)), CurateConfig(), shard="s")
    inspected = inspect_photos(images, offers(list(files)), BOUNDS, shard="s")
    assert inspected.photos.num_rows == 3 and not inspected.rejects.num_rows
    after = fitting(inspected.photos, offers(list(files)), CurateConfig())
    assert after.photos.equals(within.photos) and after.rejects.equals(within.rejects)
    assert fitting(inspected.photos, offers(list(files)), CurateConfig(min_side_px=30)).photos.num_rows == 2


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
    result = choose_members(photos, offers(ids, observations), config, salt="x", identities=LION)
    kept = set(result.members["photo_id"].to_pylist())
    assert len(kept & {"p3", "copy"}) == 1
    assert len(kept & {"p5", "again"}) == 1
    assert len(kept & {"p7", "same-observation"}) == 1
    assert len(kept) == 20
    assert set(reasons(result.rejects).values()) == {"exact_duplicate", "near_duplicate", "same_observation"}
    backwards = photos.take(pa.array(range(photos.num_rows - 1, -1, -1)))
    assert choose_members(backwards, offers(ids, observations), config, salt="x", identities=LION).members.equals(
        result.members
    )


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
    result = choose_members(photos, offers(ids), CurateConfig(near_duplicate_bits=4), salt="x", identities=LION)
    distance = (hashes[:, None, :] != hashes[None, :, :]).sum(axis=2)
    close = {(a, b) for a in range(300) for b in range(a) if distance[a, b] <= 4}
    assert 10 < len(close) < 30
    kept = {int(photo_id[1:]) for photo_id in result.members["photo_id"].to_pylist()}
    for a, b in close:
        assert (a in kept) != (b in kept)  # planted pairs are disjoint: one of each stays
    assert len(kept) == 300 - len(close)


def test_photos_alike_to_the_annotator_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that lie in different parts and blocks."""
    monkeypatch.setattr(search, "LARGE_BLOCK_ROWS", 64)
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
    features = [(pa.chunked_array([ids[start::3]]), vectors[start::3]) for start in range(3)]
    config = CurateConfig(near_duplicate_bits=-1, max_similarity=0.98)
    result = choose_members(photos, offers(ids), config, salt="x", identities=LION, features=features)
    kept = set(result.members["photo_id"].to_pylist())
    assert all((f"p{number:03d}" in kept) != (f"p{number + 100:03d}" in kept) for number in range(20))
    assert len(kept) == 180
    assert set(reasons(result.rejects).values()) == {"near_duplicate"}
    assert (
        choose_members(
            photos, offers(ids), CurateConfig(near_duplicate_bits=-1), salt="x", identities=LION
        ).rejects.num_rows
        == 0
    )


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_other_formats_are_read(kind: str) -> None:
    out = io.BytesIO()
    Image.open(io.BytesIO(picture(4))).save(out, kind)
    images = table_of(IMAGES, {"photo_id": ["a"], "image": [out.getvalue()]})
    assert inspect_photos(images, offers(["a"]), CurateConfig(), shard="s").photos.num_rows == 1


def by_hash(salt: str, count: int) -> list[str]:
    """Ids in the order in which `choose_members` comes to them."""
    ids = [f"p-{number}" for number in range(count)]
    return sorted(ids, key=lambda photo_id: hashlib.sha256(f"{salt}\x00{photo_id}".encode()).hexdigest())


def told(rows: dict[str, tuple[str, int]]) -> pa.Table:
    """Photos from id -> bytes' digest, number of set bits of the perceptual hash."""
    return pa.table(
        {
            "photo_id": list(rows),
            "sha256": [sha256 for sha256, _ in rows.values()],
            "phash": pa.array([(2**bits - 1).to_bytes(8, "big") for _, bits in rows.values()], pa.binary(8)),
            "width_px": [500] * len(rows),
            "height_px": [500] * len(rows),
            "shard": ["s"] * len(rows),
        }
    )


def test_a_photo_is_turned_away_only_for_one_that_is_kept() -> None:
    a, b, c, d = by_hash("x", 4)
    # b leaves for a's observation, so its exact copy c stays; d is c's near copy.
    photos = told({a: ("A", 0), b: ("B", 32), c: ("B", 32), d: ("D", 33)})
    observations = {a: "1", b: "1", c: "2", d: "3"}
    offered = offers([a, b, c, d], [observations[photo_id] for photo_id in (a, b, c, d)])
    found = choose_members(photos, offered, CurateConfig(), salt="x", identities=LION)
    assert set(found.members["photo_id"].to_pylist()) == {a, c}
    assert {row["photo_id"]: (row["reason"], row["detail"]) for row in found.rejects.to_pylist()} == {
        b: ("same_observation", "observation 1"),
        d: ("near_duplicate", f"kept {c}"),
    }


def test_a_near_copy_takes_no_place_of_its_observation() -> None:
    a, b, c = by_hash("x", 3)
    photos = told({a: ("A", 0), b: ("B", 1), c: ("C", 60)})  # b is a's near copy; c is of b's observation
    found = choose_members(photos, offers([a, b, c], ["1", "2", "2"]), CurateConfig(), salt="x", identities=LION)
    assert set(found.members["photo_id"].to_pylist()) == {a, c}


def test_equal_bytes_are_found_where_near_ones_are_not_looked_for() -> None:
    a, b = by_hash("x", 2)
    photos = told({a: ("A", 0), b: ("A", 0)})
    found = choose_members(photos, offers([a, b]), CurateConfig(near_duplicate_bits=-1), salt="x", identities=LION)
    assert reasons(found.rejects) == {b: "exact_duplicate"}


def test_equal_bytes_of_two_classes_are_of_none() -> None:
    a, b, c = by_hash("x", 3)
    offered = offers([a, b, c]).to_pylist()
    next(row for row in offered if row["photo_id"] == b)["class_id"] = "fox"
    photos = told({a: ("A", 0), b: ("A", 0), c: ("C", 1)})
    found = choose_members(photos, table_of(CANDIDATES, offered), CurateConfig(), salt="x", identities=LION)
    assert found.members["photo_id"].to_pylist() == [c]
    assert {row["detail"] for row in found.rejects.to_pylist()} == {
        "the same bytes are offered for fox and lion, so their class is unknown"
    }
