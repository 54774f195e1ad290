"""Curate: which downloaded photos are kept, which unit each belongs to, and which half each unit.

Three steps. `inspect_photos` looks at each photo alone, shard by shard, and says what it is;
`fitting` keeps those whose sides fit the config. `choose_members` looks across photos: duplicates,
one photo per observation, units and halves. None ever asks whether a model is right about a photo.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from counterset.config import CurateConfig
from counterset.errors import PictureError
from counterset.pictures import MAX_ASPECT_RATIO, MAX_PIXELS, Picture
from counterset.schemas import MEMBERS, PHOTOS, REJECTS, Half, RejectReason
from counterset.similarity.search import pairs_above
from counterset.statistics.halves import half_of, unit_number
from counterset.statistics.observers import CONFIRM, DISCOVER, Ints
from counterset.statistics.units import NONE, Published, join
from counterset.tables import table_of

BOUNDS = CurateConfig(min_side_px=1, max_pixels=MAX_PIXELS, max_aspect_ratio=MAX_ASPECT_RATIO)
"""Which photos are looked at and embedded, whatever a config keeps of them: another limit embeds none anew."""


class Inspection(NamedTuple):
    """Photos that decode and fit (photos schema), and the others (rejects schema)."""

    photos: pa.Table
    rejects: pa.Table


class Curation(NamedTuple):
    """The kept photos (members schema), and those turned away here (rejects schema)."""

    members: pa.Table
    rejects: pa.Table


def inspect_photos(images: pa.Table, candidates: pa.Table, config: CurateConfig, *, shard: str) -> Inspection:
    """One photo row for each image that decodes whole and fits the config, one reject for each other.

    Args:
        images: the shard's bytes (images schema).
        candidates: gives the class of each photo (photo_id, class_id are read).
        config: caps on sides, pixels and aspect ratio.
        shard: name put into the rows.
    """
    class_ids = dict(zip(candidates["photo_id"].to_pylist(), candidates["class_id"].to_pylist(), strict=True))
    photos, rejects = [], []
    for batch in images.to_batches(max_chunksize=256):
        for photo_id, content in zip(batch["photo_id"].to_pylist(), batch["image"].to_pylist(), strict=True):
            try:
                photos.append({"photo_id": photo_id, "shard": shard} | _inspect(content, config))
            except PictureError as refused:
                rejects.append(_reject(photo_id, class_ids[photo_id], refused.reason, str(refused)))
    return Inspection(table_of(PHOTOS, photos), table_of(REJECTS, rejects))


def _inspect(content: bytes, config: CurateConfig) -> dict[str, object]:
    picture = Picture.read(content)
    width, height = picture.width_px, picture.height_px
    if (reason := _misfit(width, height, config)) is not None:
        raise PictureError(reason, f"{width} x {height} pixels")
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "width_px": width,
        "height_px": height,
        "size_bytes": len(content),
        "phash": picture.phash(),
    }


def fitting(photos: pa.Table, candidates: pa.Table, config: CurateConfig) -> Inspection:
    """The inspected photos whose sides fit the config, and one reject for each other.

    Args:
        photos: inspected photos (photos schema), within BOUNDS.
        candidates: gives the class of each photo (photo_id, class_id are read).
        config: caps on sides, pixels and aspect ratio.
    """
    class_ids = dict(zip(candidates["photo_id"].to_pylist(), candidates["class_id"].to_pylist(), strict=True))
    columns = (photos[name].to_pylist() for name in ("photo_id", "width_px", "height_px"))
    fits, rejects = [], []
    for photo_id, width, height in zip(*columns, strict=True):
        reason = _misfit(width, height, config)
        fits.append(reason is None)
        if reason is not None:
            rejects.append(_reject(photo_id, class_ids[photo_id], reason, f"{width} x {height} pixels"))
    return Inspection(photos.filter(pa.array(fits, pa.bool_())), table_of(REJECTS, rejects))


def _misfit(width: int, height: int, config: CurateConfig) -> RejectReason | None:
    """Why a photo of these sides is turned away."""
    if width * height > config.max_pixels:
        return RejectReason.TOO_LARGE
    if min(width, height) < config.min_side_px:
        return RejectReason.TOO_SMALL
    return RejectReason.ASPECT_RATIO if max(width, height) > config.max_aspect_ratio * min(width, height) else None


def observer_hash(salt: str, source: str, observer_id: str) -> str:
    """16 hex digits that stand for an observer in analysis columns."""
    return hashlib.sha256(f"{salt}\x00{source}\x00{observer_id}".encode()).hexdigest()[:16]


def choose_members(
    photos: pa.Table,
    candidates: pa.Table,
    config: CurateConfig,
    *,
    salt: str,
    identities: Mapping[str, str],
    published: pa.Table | None = None,
    photos_per_observation: int = 1,
    features: Mapping[str, npt.NDArray[np.float32]] | None = None,
) -> Curation:
    """One member row for each photo kept, one reject for each duplicate and for each bridge between halves.

    Of photos with equal bytes, near-equal perceptual hashes or features, or one observation,
    the one whose salted hash is smallest stays: a rule that knows nothing of the content,
    and does not change when photos are added elsewhere. A photo is turned away only for one
    that is kept. Equal bytes under several classes are of none, and all are turned away.

    Args:
        photos: all photos that fit (photos schema).
        candidates: their candidates (candidates schema).
        config: `near_duplicate_bits` and `max_similarity`.
        salt: from the select config; it orders photos and hides observers, and decides no half.
        identities: class_id -> what the class is to the coin that draws halves (`halves.identity`).
        published: the last release's photos (photo_id, class_id, observer, unit, half are read), whose units and
            halves stay; None = there is no last release.
        photos_per_observation: so many photos of one observation may stay.
        features: photo_id -> (D,), for `max_similarity` below 1. They are the annotator's: no
            accuracy is ever measured of it, while a selector's features would let what it
            confuses decide which photos it is measured on.
    """
    offered = {row["photo_id"]: row for row in candidates.to_pylist()}
    rows = photos.to_pylist()
    rows.sort(key=lambda row: hashlib.sha256(f"{salt}\x00{row['photo_id']}".encode()).hexdigest())
    rejects: list[dict[str, str]] = []
    members: list[dict[str, Any]] = []
    classes: dict[str, set[str]] = {}
    for row in rows:
        classes.setdefault(row["sha256"], set()).add(offered[row["photo_id"]]["class_id"])
    for row in rows:
        if len(own := classes[row["sha256"]]) > 1:
            detail = f"the same bytes are offered for {' and '.join(sorted(own))}, so their class is unknown"
            class_id = offered[row["photo_id"]]["class_id"]
            rejects.append(_reject(row["photo_id"], class_id, RejectReason.EXACT_DUPLICATE, detail))
    rows = [row for row in rows if len(classes[row["sha256"]]) == 1]
    same_as = _duplicates(rows, config, features)
    kept: dict[int, dict[str, object]] = {}
    taken: Counter[tuple[str, str]] = Counter()
    for index, row in enumerate(rows):
        offer = offered[row["photo_id"]]
        observation = (offer["source"], offer["observation_id"])
        first = kept.get(same_as[index])
        if first is not None:
            is_equal = first["sha256"] == row["sha256"]
            reason = RejectReason.EXACT_DUPLICATE if is_equal else RejectReason.NEAR_DUPLICATE
            rejects.append(_reject(row["photo_id"], offer["class_id"], reason, f"kept {first['photo_id']}"))
            continue
        if taken[observation] >= photos_per_observation:
            detail = f"observation {offer['observation_id']}"
            rejects.append(_reject(row["photo_id"], offer["class_id"], RejectReason.SAME_OBSERVATION, detail))
            continue
        taken[observation] += 1
        kept[same_as[index]] = row
        members.append(
            {
                "photo_id": row["photo_id"],
                "class_id": offer["class_id"],
                "observation_id": offer["observation_id"],
                "observer": observer_hash(salt, offer["source"], offer["observer_id"]),
                "place": offer["place"],
                "shard": row["shard"],
                "name": f"{row['photo_id'].partition('-')[0]}\x00{offer['observer_id']}",
            }
        )
    last = _published_units(published)
    of_class: dict[str, list[dict[str, Any]]] = {}
    for member in members:
        of_class.setdefault(member["class_id"], []).append(member)
    for class_id, together in of_class.items():
        for member in _give_units(together, identities[class_id], last):
            detail = "it would join units of both halves"
            rejects.append(_reject(member["photo_id"], class_id, RejectReason.BRIDGES_HALVES, detail))
    return Curation(table_of(MEMBERS, [row for row in members if "unit" in row]), table_of(REJECTS, rejects))


class _PublishedUnit(NamedTuple):
    """A unit of the last release: its number, "" where the release is older than units; and its half."""

    key: str
    number: str
    half: str


def _published_units(published: pa.Table | None) -> dict[tuple[str, str], _PublishedUnit]:
    """(class_id, photo_id) -> the unit of each photo of the last release that was in a half."""
    if published is None:
        return {}
    units = {}
    for row in published.select(["class_id", "photo_id", "observer", "unit", "half"]).to_pylist():
        if row["half"] in (Half.DISCOVER, Half.CONFIRM):  # imported photos are in none
            number = row["unit"] or ""
            units[row["class_id"], row["photo_id"]] = _PublishedUnit(number or row["observer"], number, row["half"])
    return units


def _give_units(
    members: list[dict[str, Any]], identity: str, last: Mapping[tuple[str, str], _PublishedUnit]
) -> list[dict[str, Any]]:
    """Put `unit` and `half` into one class's members, and give those that may not stay, as they bridge halves.

    To the coin a unit is its first observer, by the id that the source gave him. The source is what photo ids begin
    with, for the service's API and its tables tell of the same people.
    """
    known = [last.get((member["class_id"], member["photo_id"])) for member in members]
    published = sorted({unit for unit in known if unit is not None})
    number_of = {unit: number for number, unit in enumerate(published)}
    units = join(
        _codes([member["name"] for member in members]),
        _codes([member["place"] for member in members]),
        Published(
            np.array([NONE if unit is None else number_of[unit] for unit in known]),
            np.array([DISCOVER if unit.half == Half.DISCOVER else CONFIRM for unit in published], np.int64),
        ),
    )
    names = [min(group) for group in _grouped([member["name"] for member in members], units.unit)]
    for member, unit, is_bridge in zip(members, units.unit, units.bridges, strict=True):
        before = published[units.continues[unit]] if units.continues[unit] != NONE else None
        if not is_bridge:
            member["unit"] = (before and before.number) or unit_number(names[unit])
            member["half"] = before.half if before else half_of(identity, names[unit])
    return [member for member, is_bridge in zip(members, units.bridges, strict=True) if is_bridge]


def _codes(names: Sequence[str | None]) -> Ints:
    """Numbers of texts, in their order; NONE for no text."""
    order = {name: number for number, name in enumerate(sorted({name for name in names if name is not None}))}
    return np.array([NONE if name is None else order[name] for name in names], np.int64)


def _grouped(names: Sequence[str], unit: Ints) -> list[list[str]]:
    groups: list[list[str]] = [[] for _ in range(int(unit.max(initial=NONE)) + 1)]
    for name, number in zip(names, unit, strict=True):
        groups[number].append(name)
    return groups


def _duplicates(
    rows: list[dict[str, object]], config: CurateConfig, features: Mapping[str, npt.NDArray[np.float32]] | None
) -> list[int]:
    """For each row the first row of its connected set of equal and near-equal photos (its own index if none)."""
    if not rows:
        return []
    first_of: dict[object, int] = {}
    pairs = [np.array([(first_of.setdefault(row["sha256"], index), index) for index, row in enumerate(rows)], np.int64)]
    if config.near_duplicate_bits >= 0:
        pairs.append(_near_hashes(rows, config.near_duplicate_bits))
    if config.max_similarity < 1 and features is not None:
        vectors = np.stack([features[str(row["photo_id"])] for row in rows])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        pairs += [np.stack(found[:2], axis=1) for found in pairs_above(vectors, vectors, config.max_similarity)]
    sources, found = np.concatenate(pairs).T
    graph = coo_array((np.ones(len(found), np.int8), (sources, found)), shape=(len(rows), len(rows)))
    _, components = connected_components(graph, directed=False)
    _, firsts = np.unique(components, return_index=True)
    return [int(firsts[component]) for component in components]


def _near_hashes(rows: list[dict[str, object]], max_bits: int) -> npt.NDArray[np.int64]:
    """(P, 2) rows whose perceptual hashes differ in at most `max_bits` bits."""
    # (N, 8) bytes = (N, 64) bits
    hashes = np.frombuffer(b"".join(row["phash"] for row in rows), np.uint8).reshape(-1, 8)  # type: ignore[misc]
    index = faiss.IndexBinaryFlat(64)
    index.add(hashes)
    starts, _, found = index.range_search(hashes, max_bits + 1)  # strictly below the radius
    sources = np.repeat(np.arange(len(rows)), np.diff(np.asarray(starts, np.int64)).astype(np.intp))
    return np.stack([sources, np.asarray(found, np.int64)], axis=1)


def _reject(photo_id: str, class_id: str, reason: str, detail: str) -> dict[str, str]:
    return {"photo_id": photo_id, "class_id": class_id, "stage": "curate", "reason": reason, "detail": detail}
