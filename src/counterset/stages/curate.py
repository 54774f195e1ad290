"""Curate: which downloaded photos are kept, and which half each observer belongs to.

Three steps. `inspect_photos` looks at each photo alone, shard by shard, and says what it is;
`fitting` keeps those whose sides fit the config. `choose_members` looks across photos: duplicates,
one photo an observation, the halves. None ever asks whether a model is right about a photo.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

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


def half_of(observer: str) -> Half:
    """The half of an observer, from the last bit of its salted hash: known before any pixel is read."""
    return Half.CONFIRM if int(observer[-1], 16) & 1 else Half.DISCOVER


def choose_members(
    photos: pa.Table,
    candidates: pa.Table,
    config: CurateConfig,
    *,
    salt: str,
    photos_per_observation: int = 1,
    features: Mapping[str, npt.NDArray[np.float32]] | None = None,
) -> Curation:
    """One member row for each photo kept, one reject for each duplicate.

    Of photos with equal bytes, near-equal perceptual hashes or features, or one observation,
    the one whose salted hash is smallest stays: a rule that knows nothing of the content,
    and does not change when photos are added elsewhere. A photo is turned away only for one
    that is kept. Equal bytes under several classes are of none, and all are turned away.

    Args:
        photos: all photos that fit (photos schema).
        candidates: their candidates (candidates schema).
        config: `near_duplicate_bits` and `max_similarity`.
        salt: from the select config; also decides the halves.
        photos_per_observation: so many photos of one observation may stay.
        features: photo_id -> (D,), for `max_similarity` below 1. They are the annotator's: no
            accuracy is ever measured of it, while a selector's features would let what it
            confuses decide which photos it is measured on.
    """
    offered = {row["photo_id"]: row for row in candidates.to_pylist()}
    rows = photos.to_pylist()
    rows.sort(key=lambda row: hashlib.sha256(f"{salt}\x00{row['photo_id']}".encode()).hexdigest())
    rejects, members = [], []
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
        observer = observer_hash(salt, offer["source"], offer["observer_id"])
        members.append(
            {
                "photo_id": row["photo_id"],
                "class_id": offer["class_id"],
                "observation_id": offer["observation_id"],
                "observer": observer,
                "half": half_of(observer),
                "shard": row["shard"],
            }
        )
    return Curation(table_of(MEMBERS, members), table_of(REJECTS, rejects))


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
