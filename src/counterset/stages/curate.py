"""Curate: which downloaded photos are kept, which unit each belongs to, and which half each unit.

Three steps. `inspect_photos` looks at each photo alone, shard by shard, and says what it is;
`fitting` keeps those whose sides fit the config. `choose_members` looks across photos: duplicates,
one photo per observation, units and halves. None ever asks whether a model is right about a photo.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from counterset.config import CurateConfig
from counterset.errors import PictureError
from counterset.pictures import MAX_ASPECT_RATIO, MAX_PIXELS, Picture
from counterset.schemas import MEMBERS, PHOTOS, REJECTS, Half, RejectReason
from counterset.similarity.near_hashes import connected
from counterset.similarity.search import pairs_above
from counterset.statistics.halves import half_of, unit_number
from counterset.statistics.observers import CONFIRM, DISCOVER, Ints
from counterset.statistics.units import NONE, Published, join
from counterset.tables import conform, ranks, table_of

STAGE = "curate"
BOUNDS = CurateConfig(min_side_px=1, max_pixels=MAX_PIXELS, max_aspect_ratio=MAX_ASPECT_RATIO)
"""Which photos are looked at and embedded, whatever a config keeps of them: another limit embeds none anew."""

OFFERED = ("photo_id", "class_id", "source", "observation_id", "observer_id", "place")
"""The columns of candidates that decide who stays."""
INSPECTED = ("photo_id", "sha256", "width_px", "height_px", "phash", "shard")
"""The same of photos."""


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
    reasons = [
        _misfit(width, height, config)
        for batch in photos.select(["width_px", "height_px"]).to_batches()
        for width, height in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    ]
    fits = pa.array([reason is None for reason in reasons], pa.bool_())
    misfits = photos.filter(pc.invert(fits))
    places = pc.index_in(misfits["photo_id"], candidates["photo_id"].combine_chunks())
    class_ids = candidates["class_id"].take(places).to_pylist()
    rejects = [
        _reject(row["photo_id"], class_id, reason, f"{row['width_px']} x {row['height_px']} pixels")
        for row, class_id, reason in zip(misfits.to_pylist(), class_ids, filter(None, reasons), strict=True)
    ]
    return Inspection(photos.filter(fits), table_of(REJECTS, rejects))


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
        photos: all photos that fit (photos schema; the columns INSPECTED are read).
        candidates: their candidates (candidates schema; the columns OFFERED are read).
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
    rows = _by_lot(_offered(photos, candidates), salt)
    classes_of_bytes, rows = _of_several_classes(rows)
    kept = _first_of_each(rows, config, photos_per_observation, features)
    members, bridges = _with_units(rows.filter(kept.is_member), identities, published, salt)
    rejects = pa.concat_tables([classes_of_bytes, _turned_away(rows, kept), bridges])
    return Curation(conform(members, MEMBERS), conform(rejects, REJECTS))


def _offered(photos: pa.Table, candidates: pa.Table) -> pa.Table:
    """The photos with what their candidates say of them."""
    rows = photos.select(["photo_id", "sha256", "phash", "shard"])
    places = pc.index_in(rows["photo_id"], candidates["photo_id"].combine_chunks())
    for name in OFFERED[1:]:
        rows = rows.append_column(name, candidates[name].take(places))
    return rows


def _by_lot(rows: pa.Table, salt: str) -> pa.Table:
    """The rows in the order of their salted hashes."""
    start = f"{salt}\x00".encode()
    lots = b"".join(
        hashlib.sha256(start + photo_id.encode()).digest()
        for batch in rows.select(["photo_id"]).to_batches()
        for photo_id in batch["photo_id"].to_pylist()
    )
    # 32 bytes -> (N, 4), of which the first is most significant
    words = np.frombuffer(lots, ">u8").reshape(-1, 4).astype(np.uint64)
    return rows.take(np.lexsort(words.T[::-1])).combine_chunks()


def _of_several_classes(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Rejects of bytes that are offered under several classes; and the other rows."""
    content, (class_of, names) = ranks(rows["sha256"])[0], ranks(rows["class_id"])
    pairs = np.unique(content * len(names) + class_of)
    is_several = np.bincount(pairs // max(len(names), 1))[content] > 1 if len(rows) else np.zeros(0, np.bool_)
    turned_away = rows.filter(is_several)
    own: dict[int, list[str]] = {}
    for pair in pairs[np.isin(pairs // max(len(names), 1), content[is_several])].tolist():
        own.setdefault(pair // len(names), []).append(names[pair % len(names)].as_py())
    told = {
        code: f"the same bytes are offered for {' and '.join(own[code])}, so their class is unknown" for code in own
    }
    details = [told[code] for code in content[is_several].tolist()]
    return _rejects(turned_away, RejectReason.EXACT_DUPLICATE, details), rows.filter(~is_several)


class _Kept(NamedTuple):
    """What becomes of N rows.

    Attributes:
        is_member: (N,) whether the row stays.
        kept_for: (N,) the row that stays in its place, as a duplicate; NONE where none does.
    """

    is_member: npt.NDArray[np.bool_]
    kept_for: Ints


def _first_of_each(
    rows: pa.Table,
    config: CurateConfig,
    photos_per_observation: int,
    features: Mapping[str, npt.NDArray[np.float32]] | None,
) -> _Kept:
    """The first rows of each set of duplicates and of each observation stay."""
    same_as = _duplicates(rows, config, features)
    (source, sources), (observation, _) = ranks(rows["source"]), ranks(rows["observation_id"])
    observation = observation * max(len(sources), 1) + source
    _, observation, num_offered = np.unique(observation, return_inverse=True, return_counts=True)
    # Most photos are like no other, and their observation has no more photos than may stay.
    is_member = (np.bincount(same_as, minlength=len(same_as))[same_as] == 1) & (
        num_offered[observation] <= photos_per_observation
    )
    kept_for = np.full(len(same_as), NONE, np.int64)
    kept: dict[int, int] = {}
    taken: Counter[int] = Counter()
    others = np.flatnonzero(~is_member)
    for row, first, own in zip(others.tolist(), same_as[others].tolist(), observation[others].tolist(), strict=True):
        if first in kept:
            kept_for[row] = kept[first]
        elif taken[own] < photos_per_observation:
            taken[own] += 1
            kept[first] = row
            is_member[row] = True
    return _Kept(is_member, kept_for)


def _turned_away(rows: pa.Table, kept: _Kept) -> pa.Table:
    """The rejects of the rows that do not stay."""
    is_copy = kept.kept_for != NONE
    copies, first = rows.filter(is_copy), rows.take(kept.kept_for[is_copy])
    is_equal = pc.equal(copies["sha256"], first["sha256"])
    reasons = pc.if_else(is_equal, RejectReason.EXACT_DUPLICATE.value, RejectReason.NEAR_DUPLICATE.value)
    others = rows.filter(~kept.is_member & ~is_copy)
    details = pc.binary_join_element_wise("observation", others["observation_id"], " ")
    return pa.concat_tables(
        [
            _rejects(copies, reasons, pc.binary_join_element_wise("kept", first["photo_id"], " ")),
            _rejects(others, RejectReason.SAME_OBSERVATION, details),
        ]
    )


def _with_units(
    rows: pa.Table, identities: Mapping[str, str], published: pa.Table | None, salt: str
) -> tuple[pa.Table, pa.Table]:
    """The rows with observer, unit and half, and the rejects of those that bridge halves.

    To the coin a unit is its first observer, by the id that the source gave him. The source is what photo ids begin
    with, for the service's API and its tables tell of the same people.
    """
    prefixes = pc.replace_substring_regex(rows["photo_id"], "(?s)-.*$", "")
    name, names = ranks(pc.binary_join_element_wise(prefixes, rows["observer_id"], "\x00"))
    place, _ = ranks(rows["place"])
    last = _Last.of(rows, published)
    class_of, class_ids = ranks(rows["class_id"])
    unit, half, bridges = np.full(len(rows), "", object), np.full(len(rows), "", object), np.zeros(len(rows), np.bool_)
    for number, class_id in enumerate(class_ids.to_pylist()):
        own = np.flatnonzero(class_of == number)
        identity = identities[class_id]
        before = np.unique(last.unit[own][last.unit[own] != NONE])
        halves_before = np.where(last.half[before] == Half.DISCOVER.value, DISCOVER, CONFIRM)
        published_units = Published(_renumbered(last.unit[own]), halves_before)
        units = join(_renumbered(name[own]), _renumbered(place[own]), published_units)
        lowest = np.full(int(units.unit.max(initial=NONE)) + 1, len(names))
        np.minimum.at(lowest, units.unit, name[own])
        numbers, halves = [], []
        for first, continued in zip(names.take(lowest).to_pylist(), units.continues.tolist(), strict=True):
            goes_on = continued != NONE
            numbers.append((goes_on and last.number[before[continued]]) or unit_number(first))
            halves.append(last.half[before[continued]] if goes_on else half_of(identity, first).value)
        unit[own], bridges[own] = np.array(numbers, object)[units.unit], units.bridges
        half[own] = np.array(halves, object)[units.unit]
    rows = rows.append_column("observer", _observers(rows, salt))
    rows = rows.append_column("unit", pa.array(unit, pa.string())).append_column("half", pa.array(half, pa.string()))
    turned_away = rows.filter(bridges)
    details = ["it would join units of both halves"] * len(turned_away)
    return rows.filter(~bridges), _rejects(turned_away, RejectReason.BRIDGES_HALVES, details)


class _Last(NamedTuple):
    """The units of the last release.

    Attributes:
        unit: (N,) the unit that each row was in, numbered in the order of their names; NONE = it was in none.
        number: (U,) what the release calls the unit; "" where the release is older than units.
        half: (U,) its half.
    """

    unit: Ints
    number: list[str]
    half: npt.NDArray[np.object_]

    @classmethod
    def of(cls, rows: pa.Table, published: pa.Table | None) -> _Last:
        """Of the rows that the release has under the same class; imported photos are in no half."""
        nothing = cls(np.full(len(rows), NONE, np.int64), [], np.zeros(0, object))
        if published is None:
            return nothing
        halves = pa.array([Half.DISCOVER.value, Half.CONFIRM.value])
        published = published.filter(pc.is_in(published["half"], halves)).combine_chunks()
        if not len(published):
            return nothing
        number = pc.fill_null(published["unit"], "")
        keys = pc.if_else(pc.equal(number, ""), published["observer"], number)
        columns = [ranks(keys), ranks(number), ranks(published["half"])]
        combined = np.zeros(len(published), np.int64)
        for own, known in columns:
            combined = combined * len(known) + own
        _, first, unit = np.unique(combined, return_index=True, return_inverse=True)
        place = pc.index_in(rows["photo_id"], published["photo_id"].combine_chunks())
        is_known = pc.fill_null(pc.equal(published["class_id"].take(place), rows["class_id"]), False).to_numpy()
        place = pc.fill_null(place, 0).to_numpy()
        return cls(
            np.where(is_known, unit[place], NONE),
            number.take(first).to_pylist(),
            np.array(published["half"].take(first).to_pylist(), object),
        )


def _observers(rows: pa.Table, salt: str) -> pa.Array:
    """(N,) what stands for each row's observer."""
    (source, sources), (observer, observers) = ranks(rows["source"]), ranks(rows["observer_id"])
    people, own = np.unique(source * max(len(observers), 1) + observer, return_inverse=True)
    told = zip(
        sources.take(people // max(len(observers), 1)).to_pylist(),
        observers.take(people % max(len(observers), 1)).to_pylist(),
        strict=True,
    )
    return pa.array([observer_hash(salt, *person) for person in told], pa.string()).take(own)


def _renumbered(ranks: Ints) -> Ints:
    """Numbers from 0 without gaps in the same order; NONE stays."""
    known = np.unique(ranks[ranks != NONE])
    return np.where(ranks == NONE, NONE, np.searchsorted(known, ranks))


def _duplicates(rows: pa.Table, config: CurateConfig, features: Mapping[str, npt.NDArray[np.float32]] | None) -> Ints:
    """For each row the first row of its connected set of equal and near-equal photos (its own index if none)."""
    if not len(rows):
        return np.zeros(0, np.int64)
    alike = [ranks(rows["sha256"])[0]]
    if config.near_duplicate_bits >= 0:
        hashes = np.frombuffer(b"".join(rows["phash"].to_pylist()), ">u8").astype(np.uint64)
        alike.append(connected(hashes, config.near_duplicate_bits))
    pairs = []
    for sets in alike:
        _, first, own = np.unique(sets, return_index=True, return_inverse=True)
        copies = np.flatnonzero(first[own] != np.arange(len(sets)))
        pairs.append(np.stack([first[own[copies]], copies]))
    if config.max_similarity < 1 and features is not None:
        vectors = np.stack([features[photo_id] for photo_id in rows["photo_id"].to_pylist()])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        pairs += [np.stack(found[:2]) for found in pairs_above(vectors, vectors, config.max_similarity)]
    sources, found = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(found), np.int8), (sources, found)), shape=(len(rows), len(rows)))
    _, components = connected_components(graph, directed=False)
    _, firsts = np.unique(components, return_index=True)
    return np.asarray(firsts[components], np.int64)


def _rejects(rows: pa.Table, reason: RejectReason | pa.ChunkedArray, details: list[str] | pa.ChunkedArray) -> pa.Table:
    """The rejects of some rows, for one reason or one each."""
    return pa.table(
        {
            "photo_id": rows["photo_id"],
            "class_id": rows["class_id"],
            "stage": pa.repeat(STAGE, len(rows)),
            "reason": pa.repeat(reason.value, len(rows)) if isinstance(reason, RejectReason) else reason,
            "detail": pa.array(details, pa.string()) if isinstance(details, list) else details,
        }
    )


def _reject(photo_id: str, class_id: str, reason: str, detail: str) -> dict[str, str]:
    return {"photo_id": photo_id, "class_id": class_id, "stage": STAGE, "reason": reason, "detail": detail}
