"""Each bound of what a photo may be, and who of equal photos stays, by hand."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import imagehash
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from counterset.config import CurateConfig
from counterset.schemas import CANDIDATES, IMAGES, PHOTOS
from counterset.stages.curate import inspect_photos
from counterset.stages.curate.members import Curation, choose_members
from counterset.stages.curate.units import observer_hash
from counterset.statistics.halves import half_of, unit_number
from counterset.tables import table_of


def png(width: int, height: int) -> bytes:
    gradient = np.add.outer(np.arange(height) * 3, np.arange(width) * 5) % 256
    out = io.BytesIO()
    Image.fromarray(gradient.astype(np.uint8)).convert("RGB").save(out, "PNG")
    return out.getvalue()


def offer(photo_id: str, **changes: Any) -> dict[str, Any]:
    base = {column.name: None for column in CANDIDATES.columns} | {
        "photo_id": photo_id,
        "class_id": f"class of {photo_id}",
        "source": "a source",
        "url": "https://example.org/photo.jpg",
        "observation_id": f"observation of {photo_id}",
        "observer_id": f"observer of {photo_id}",
    }
    return base | changes


LIMITS = CurateConfig().model_copy(update={"min_side_px": 40, "max_pixels": 4_800, "max_aspect_ratio": 3.0})


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((80, 60), None),  # 4,800 pixels
        ((60, 80), None),
        ((81, 60), "too_large"),
        ((60, 81), "too_large"),
        ((40, 40), None),
        ((39, 60), "too_small"),
        ((60, 39), "too_small"),
        ((40, 120), None),  # three times as high as wide
        ((120, 40), None),
    ],
)
def test_sides_and_pixels_up_to_the_limits(size: tuple[int, int], reason: str | None) -> None:
    content = png(*size)
    images = table_of(IMAGES, [{"photo_id": "p", "image": content}])
    found = inspect_photos(images, table_of(CANDIDATES, [offer("p")]), LIMITS, shard="00007")
    if reason is None:
        [row] = found.photos.to_pylist()
        bits = imagehash.phash(Image.open(io.BytesIO(content)).convert("RGB")).hash
        assert row == {
            "photo_id": "p",
            "sha256": hashlib.sha256(content).hexdigest(),
            "width_px": size[0],
            "height_px": size[1],
            "size_bytes": len(content),
            "phash": np.packbits(bits.reshape(-1)).tobytes(),
            "shard": "00007",
        }
        assert found.rejects.num_rows == 0
    else:
        assert found.photos.num_rows == 0
        assert found.rejects.to_pylist() == [
            {
                "photo_id": "p",
                "class_id": "class of p",
                "stage": "curate",
                "reason": reason,
                "detail": f"{size[0]} x {size[1]} pixels",
            }
        ]


@pytest.mark.parametrize("size", [(40, 121), (121, 40)])
def test_photos_longer_than_the_limit(size: tuple[int, int]) -> None:
    images = table_of(IMAGES, [{"photo_id": "p", "image": png(*size)}])
    config = LIMITS.model_copy(update={"max_pixels": 10_000})
    found = inspect_photos(images, table_of(CANDIDATES, [offer("p")]), config, shard="0")
    assert found.rejects["reason"].to_pylist() == ["aspect_ratio"]


def test_the_first_limit_that_is_passed_is_the_reason() -> None:
    """A narrow strip is too small and too long; a large one too large and too long."""
    images = table_of(IMAGES, [{"photo_id": "a", "image": png(30, 100)}, {"photo_id": "b", "image": png(41, 500)}])
    candidates = table_of(CANDIDATES, [offer("a"), offer("b")])
    found = inspect_photos(images, candidates, LIMITS, shard="0")
    assert dict(zip(found.rejects["photo_id"].to_pylist(), found.rejects["reason"].to_pylist(), strict=True)) == {
        "a": "too_small",
        "b": "too_large",
    }


def photo(photo_id: str, phash: int = 0, sha256: str = "", shard: str = "0") -> dict[str, Any]:
    """A row of photos; perceptual hashes of 64 bits, far from one another unless given."""
    far = int.from_bytes(hashlib.sha256(photo_id.encode()).digest()[:8])
    return {
        "photo_id": photo_id,
        "sha256": sha256 or f"sha of {photo_id}",
        "width_px": 100,
        "height_px": 100,
        "size_bytes": 1,
        "phash": (phash or far).to_bytes(8),
        "shard": shard,
    }


def curated(photos: list[dict[str, Any]], offers: dict[str, dict[str, Any]] | None = None, **options: Any) -> Curation:
    """Members and rejects of photos whose candidates are plain but for `offers`."""
    candidates = [offer(row["photo_id"], **(offers or {}).get(row["photo_id"], {})) for row in photos]
    config = CurateConfig().model_copy(update=options.pop("config", {}))
    return choose_members(
        table_of(PHOTOS, photos),
        table_of(CANDIDATES, candidates),
        config,
        salt=options.pop("salt", "s"),
        identities={row["class_id"]: f"name:{row['class_id']}" for row in candidates},
        **options,
    )


def members_of(found: Curation) -> set[str]:
    return set(found.members["photo_id"].to_pylist())


def rejects_of(found: Curation) -> dict[str, tuple[str, str]]:
    return {row["photo_id"]: (row["reason"], row["detail"]) for row in found.rejects.to_pylist()}


def by_lot(*photo_ids: str, salt: str = "s") -> list[str]:
    """In the order in which photos are kept: by their salted hashes."""
    return sorted(photo_ids, key=lambda name: hashlib.sha256(f"{salt}\0{name}".encode()).hexdigest())


def test_a_member_says_whose_it_is_and_which_half() -> None:
    taken = {"source": "open_data", "observer_id": "17", "place": "cell"}
    found = curated([photo("inaturalist-5", shard="00003")], {"inaturalist-5": taken}, salt="pepper")
    [row] = found.members.to_pylist()
    unit = ("name:class of inaturalist-5", "inaturalist\x0017")
    assert row == {
        "photo_id": "inaturalist-5",
        "class_id": "class of inaturalist-5",
        "observation_id": "observation of inaturalist-5",
        "observer": observer_hash("pepper", "open_data", "17"),
        "place": "cell",
        "unit": unit_number(unit[1]),
        "half": half_of(*unit).value,
        "shard": "00003",
    }
    assert found.rejects.num_rows == 0


def test_observers_are_hashed_with_salt_and_source() -> None:
    """Equal ids at two sources are two people, and no salt of one's own lines up with another's."""
    hashes = {observer_hash(*parts) for parts in (("s", "a", "1"), ("s", "b", "1"), ("t", "a", "1"), ("s", "a", "2"))}
    assert len(hashes) == 4
    assert observer_hash("s", "a", "1") == observer_hash("s", "a", "1")
    assert observer_hash("sa", "", "1") != observer_hash("s", "a", "1"), "parts do not run together"
    assert all(len(value) == 16 and int(value, 16) >= 0 for value in hashes)


@pytest.mark.parametrize("salt", ["s", "t", "u", "v"])
def test_of_equal_bytes_the_smallest_salted_hash_stays(salt: str) -> None:
    names = [f"p{number}" for number in range(6)]
    first, *others = by_lot(*names, salt=salt)
    for order in (names, names[::-1]):
        one_class = {name: {"class_id": "c"} for name in names}
        found = curated([photo(name, sha256="one") for name in order], one_class, salt=salt)
        assert members_of(found) == {first}
        assert rejects_of(found) == {name: ("exact_duplicate", f"kept {first}") for name in others}
        [reject] = [row for row in found.rejects.to_pylist() if row["photo_id"] == others[0]]
        assert (reject["class_id"], reject["stage"]) == ("c", "curate")


@pytest.mark.parametrize("number", [1, 2])
def test_few_photos_of_one_observation_stay(number: int) -> None:
    names = by_lot("a", "b", "c", "d")
    same = {name: {"observation_id": "7"} for name in names}
    found = curated([photo(name) for name in names], same, photos_per_observation=number)
    assert members_of(found) == set(names[:number])
    assert rejects_of(found) == {name: ("same_observation", "observation 7") for name in names[number:]}
    apart = {name: {"observation_id": "7", "source": f"source {name}"} for name in names}
    assert members_of(curated([photo(name) for name in names], apart)) == set(names), "ids are a source's own"
    one = curated([photo(name) for name in names], same)
    assert len(members_of(one)) == 1, "one unless told otherwise"


@pytest.mark.parametrize("bits", [0, 1, 4])
def test_near_duplicates_differ_in_so_many_bits_at_most(bits: int) -> None:
    base = 0x0123_4567_89AB_CDEF
    alike, apart = base ^ ((1 << bits) - 1), base ^ ((1 << (bits + 1)) - 1)
    config = {"near_duplicate_bits": bits}
    first, second = by_lot("a", "b")
    found = curated([photo("a", base), photo("b", alike)], config=config)
    assert members_of(found) == {first}
    assert rejects_of(found) == {second: ("near_duplicate", f"kept {first}")}
    assert len(members_of(curated([photo("a", base), photo("b", apart)], config=config))) == 2


def test_near_duplicates_join_in_chains_and_the_first_of_all_stays() -> None:
    """a is like b and b like c; a and c are not alike."""
    base = 0x0F0F_0F0F_0F0F_0F0F
    hashes = {"a": base, "b": base ^ 0b11, "c": base ^ 0b1111}
    config = {"near_duplicate_bits": 2}
    first, *others = by_lot("a", "b", "c")
    rows = [photo(name, value) for name, value in hashes.items()] + [photo("far")]
    found = curated(rows, config=config)
    assert members_of(found) == {first, "far"}
    assert rejects_of(found) == {name: ("near_duplicate", f"kept {first}") for name in others}
    assert len(members_of(curated(rows, config={"near_duplicate_bits": -1}))) == 4, "-1 looks for none"
    assert len(members_of(curated(rows, config={"near_duplicate_bits": 0}))) == 4


def test_photos_alike_in_features_are_one_whatever_their_length() -> None:
    vectors = np.array([[3, 4], [30, 41], [-4, 3]], np.float32)
    features = [(pa.chunked_array([["a", "b", "c"]]), vectors)]
    first, second = by_lot("a", "b")
    rows = [photo(name) for name in "abc"]
    found = curated(rows, config={"max_similarity": 0.99}, features=features)
    assert members_of(found) == {first, "c"}
    assert rejects_of(found) == {second: ("near_duplicate", f"kept {first}")}
    assert len(members_of(curated(rows, config={"max_similarity": 1.0}, features=features))) == 3
    assert len(members_of(curated(rows, config={"max_similarity": 0.99}))) == 3, "without features nothing is alike"
    assert vectors[0].tolist() == [3, 4], "given features are left"
    both = curated(
        [photo("a", 1 << 40), photo("b"), photo("c", 1 << 40)], config={"max_similarity": 0.99}, features=features
    )
    assert len(members_of(both)) == 1, "alike in bits or in features"


def test_nothing_offered_is_nothing_kept() -> None:
    found = curated([])
    assert (found.members.num_rows, found.rejects.num_rows) == (0, 0)
