"""Members: which of the photos that fit are kept, which unit each belongs to, and which half each unit.

This looks across photos: duplicates, one photo per observation, units and halves. Texts lie in DuckDB's tables, on disk
where there are many; in memory each photo is a row of numbers. None of it asks whether a model is right about a photo.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from counterset.config import CurateConfig
from counterset.parquet_sql import Small, add, by_row, fill, rows_of, sorted_rows, spilling
from counterset.schemas import MEMBERS, REJECTS, Half, RejectReason
from counterset.similarity.near_hashes import connected, first_of_sets
from counterset.similarity.search import pairs_within
from counterset.stages.curate import STAGE
from counterset.stages.curate.units import People, Units, units_of
from counterset.statistics.observers import DISCOVER
from counterset.statistics.units import NONE
from counterset.tables import conform

OFFERED = ("photo_id", "class_id", "source", "observation_id", "observer_id", "place")
"""The columns of candidates that decide who stays."""
INSPECTED = ("photo_id", "sha256", "width_px", "height_px", "phash", "shard")
"""The same of photos."""


Features: TypeAlias = Iterable[tuple[pa.ChunkedArray, npt.NDArray[np.float32]]]
"""Parts of B photo ids and their (B, D) vectors, each photo once and in any order."""


class Curation(NamedTuple):
    """The kept photos (members schema), and those turned away here (rejects schema)."""

    members: pa.Table
    rejects: pa.Table


class Chosen(NamedTuple):
    """The same in parts, each in order of photo_id. They are read from DuckDB's tables, one after the other."""

    members: Iterator[pa.Table]
    rejects: Iterator[pa.Table]


def choose_members(photos: pa.Table, candidates: pa.Table, config: CurateConfig, **settings: Any) -> Curation:
    """`choose` from tables in memory.

    Args:
        photos: all photos that fit (photos schema; the columns INSPECTED are read).
        candidates: their candidates (candidates schema; the columns OFFERED are read).
        config: as for `choose`.
        **settings: as for `choose`.
    """
    with spilling() as connection:
        chosen = choose(connection, offered(connection, [candidates], [photos]), config, **settings)
        return Curation(
            pa.concat_tables([MEMBERS.arrow().empty_table(), *(conform(part, MEMBERS) for part in chosen.members)]),
            pa.concat_tables([REJECTS.arrow().empty_table(), *(conform(part, REJECTS) for part in chosen.rejects)]),
        )


def offered(
    connection: duckdb.DuckDBPyConnection, candidates: Iterable[pa.Table], photos: Iterable[pa.Table]
) -> Iterator[pa.Table]:
    """The photos with what their candidates say of them, in the order of photo_id, in parts. There must be one part of
    either, empty or not."""
    fill(connection, "candidates", (part.select(list(OFFERED)) for part in candidates))
    fill(
        connection,
        "photos",
        (part.select([name for name in INSPECTED if name in part.column_names]) for part in photos),
    )
    return sorted_rows(connection, "SELECT * FROM photos JOIN candidates USING (photo_id)", ["photo_id"])


def choose(
    connection: duckdb.DuckDBPyConnection,
    parts: Iterable[pa.Table],
    config: CurateConfig,
    *,
    salt: str,
    identities: Mapping[str, str],
    published: Iterable[pa.Table] | None = None,
    photos_per_observation: int = 1,
    features: Features | None = None,
) -> Chosen:
    """One member row for each photo kept, one reject for each duplicate and for each bridge between halves.

    Of photos with equal bytes, near-equal perceptual hashes or features, or one observation,
    the one whose salted hash is smallest stays: a rule that knows nothing of the content,
    and does not change when photos are added elsewhere. A photo is turned away only for one
    that is kept. Equal bytes under several classes are of none, and all are turned away.

    Args:
        connection: holds the texts, and a table `rejects` to which `parts` may add.
        parts: of `offered`.
        config: `near_duplicate_bits` and `max_similarity`.
        salt: from the select config; it orders photos and hides observers, and decides no half.
        identities: class_id -> what the class is to the coin that draws halves (`halves.identity`).
        published: the last release's photos in parts (photo_id, class_id, observer, unit, half are read), whose units
            and halves stay; None = there is no last release.
        photos_per_observation: so many photos of one observation may stay.
        features: of the photos, for `max_similarity` below 1. They are the annotator's: no
            accuracy is ever measured of it, while a selector's features would let what it
            confuses decide which photos it is measured on.
    """
    fill(connection, "rejects", [REJECTS.arrow().empty_table()])
    rows, class_ids = _numbered(connection, parts, salt)
    pa.default_memory_pool().release_unused()  # of parts that are gone, as much as what comes now
    fill(connection, "turned_away", [_turned_away([], None, [], [])])
    _turn_away_several_classes(connection, rows, class_ids)
    _keep_first_of_each(connection, rows, config, photos_per_observation, features)
    pa.default_memory_pool().release_unused()
    people = People.of(connection, salt)
    units = units_of(connection, rows.row, rows.pop("class_of"), people, class_ids, identities, published)
    add(
        connection,
        "turned_away",
        _turned_away(rows.row[units.bridges], None, [RejectReason.BRIDGES_HALVES.value], [_BRIDGES]),
    )
    return Chosen(_members(connection, rows, people, units), rows_of(connection, _REJECTS))


_BRIDGES = "it would join units of both halves"
_REJECTS = f"""
    SELECT photo_id, class_id, stage, reason, detail FROM rejects
    UNION ALL
    SELECT own.photo_id, own.class_id, '{STAGE}', reason,
           CASE WHEN detail <> '' THEN detail WHEN kept_for IS NULL THEN 'observation ' || own.observation_id
                ELSE 'kept ' || kept.photo_id END
    FROM turned_away JOIN offered own USING (row) LEFT JOIN offered kept ON kept.row = kept_for
    ORDER BY ALL
"""


class _Rows:
    """What numbers tell of N photos, in the order of their salted hashes; fewer as photos are turned away.

    Attributes:
        row: (N,) of the photo in the table `offered`, which is in the order of photo_id.
        class_of: (N,) number of its class, in the order of class ids.
        content: (N,) equal for photos of equal bytes.
        phash: (N,) perceptual hash.
    """

    def __init__(self, row: Small, class_of: Small, content: Small, phash: Any) -> None:
        self.row, self.class_of, self.content, self.phash = row, class_of, content, phash

    def keep(self, which: npt.NDArray[Any]) -> None:
        """Keep some rows, column by column, for a copy of all may not fit."""
        for name, column in self.__dict__.items():
            setattr(self, name, column[which])

    def pop(self, name: str) -> Any:
        """A column, which is not kept here, so that whoever works on it can let go of it."""
        return self.__dict__.pop(name)


def _numbered(connection: duckdb.DuckDBPyConnection, parts: Iterable[pa.Table], salt: str) -> tuple[_Rows, list[str]]:
    """Fill the table `offered`, with the number of each row; what numbers tell of the rows, and the classes."""
    texts = ["photo_id", "class_id", "source", "observation_id", "observer_id", "place", "sha256", "shard"]
    lots, classes, hashes = ([np.zeros(0, kind)] for kind in (np.uint64, np.int32, np.uint64))
    known: dict[str, int] = {}
    start, size = f"{salt}\x00".encode(), 0

    def numbered() -> Iterator[pa.Table]:
        nonlocal size
        types = [field.type for field in MEMBERS.arrow()]
        yield pa.table({"row": pa.array([], pa.int32())} | {name: pa.array([], types[0]) for name in texts})
        for part in parts:
            own = [hashlib.sha256(start + photo_id.encode()).digest()[:8] for photo_id in part["photo_id"].to_pylist()]
            lots.append(np.frombuffer(b"".join(own), ">u8").astype(np.uint64))
            encoded = part["class_id"].combine_chunks().dictionary_encode()
            codes = [known.setdefault(class_id, len(known)) for class_id in encoded.dictionary.to_pylist()]
            classes.append(np.array(codes, np.int32)[encoded.indices.to_numpy()])
            hashes.append(np.frombuffer(b"".join(part["phash"].to_pylist()), ">u8").astype(np.uint64))
            yield part.select(texts).add_column(0, "row", pa.array(np.arange(size, size + len(part), dtype=np.int32)))
            size += len(part)

    fill(connection, "offered", numbered())
    connection.execute("DROP TABLE IF EXISTS candidates; DROP TABLE IF EXISTS photos")  # of `offered`, which are read
    order = np.argsort(_joined(lots), kind="stable").astype(np.int32)
    class_ids = sorted(known)
    rank = np.array([class_ids.index(class_id) for class_id in known], np.int32)
    class_of = rank[_joined(classes)[order]]
    phash = _joined(hashes)[order]
    return _Rows(order, class_of, _firsts(connection, "sha256")[order], phash), class_ids


def _joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The parts of a column as one, and they are let go of."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole


def _comes_more_often(numbers: Small, times: int) -> npt.NDArray[np.bool_]:
    """(N,) whether each of N numbers comes more than so many times."""
    is_often = np.bincount(numbers, minlength=1) > times
    return is_often[numbers]


def _firsts(connection: duckdb.DuckDBPyConnection, columns: str) -> Small:
    """(offered,) of each row of `offered` the first row that has the same in some columns."""
    size = connection.sql("SELECT count(*) FROM offered").fetchall()[0][0]
    query = f"""SELECT row, first FROM offered
        JOIN (SELECT {columns}, min(row) AS first FROM offered GROUP BY ALL HAVING count(*) > 1) USING ({columns})"""
    return by_row(connection, query, np.arange(size, dtype=np.int32))


def _turned_away(
    rows: Small | list[int], kept_for: Small | None, reasons: Any, details: list[str], is_one_each: bool = False
) -> pa.Table:
    """Rows of the table `turned_away`: the row, the row that stays in its place, why, and in which words ("" = those of
    the reason); one reason and text for all, or one each.
    """
    size = len(rows)
    told = [pa.array(texts if is_one_each else [*texts, ""][:1] * size, pa.string()) for texts in (reasons, details)]
    columns = {
        "row": pa.array(rows, pa.int32()),
        "kept_for": pa.array(kept_for, pa.int32()) if kept_for is not None else pa.nulls(size, pa.int32()),
    }
    return pa.table(columns | {"reason": told[0], "detail": told[1]})


def _turn_away_several_classes(connection: duckdb.DuckDBPyConnection, rows: _Rows, class_ids: list[str]) -> None:
    """Turn away bytes that are offered under several classes."""
    copies = np.flatnonzero(_comes_more_often(rows.content, 1))
    classes: dict[int, set[int]] = {}
    for code, number in zip(rows.content[copies].tolist(), rows.class_of[copies].tolist(), strict=True):
        classes.setdefault(code, set()).add(number)
    several = np.array([code for code, own in classes.items() if len(own) > 1], np.int32)
    away = copies[np.isin(rows.content[copies], several)]
    told = {
        code: f"the same bytes are offered for {' and '.join(class_ids[number] for number in sorted(classes[code]))}, "
        "so their class is unknown"
        for code in several.tolist()
    }
    details = [told[code] for code in rows.content[away].tolist()]
    reasons = [RejectReason.EXACT_DUPLICATE.value] * len(away)
    add(connection, "turned_away", _turned_away(rows.row[away], None, reasons, details, is_one_each=True))
    if len(away):
        rows.keep(np.delete(np.arange(len(rows.row), dtype=np.int32), away))


def _keep_first_of_each(
    connection: duckdb.DuckDBPyConnection,
    rows: _Rows,
    config: CurateConfig,
    photos_per_observation: int,
    features: Features | None,
) -> None:
    """Keep the first of each set of duplicates and of each observation, and turn the others away."""
    same_as = _duplicates(connection, rows, config, features)
    observation = _firsts(connection, "source, observation_id")[rows.row]
    # Most photos are like no other, and their observation has no more photos than may stay.
    is_member = ~(_comes_more_often(same_as, 1) | _comes_more_often(observation, photos_per_observation))
    others = np.flatnonzero(~is_member)
    kept_for = np.full(len(others), NONE, np.int64)
    kept: dict[int, int] = {}
    taken: Counter[int] = Counter()
    told = zip(others.tolist(), same_as[others].tolist(), observation[others].tolist(), strict=True)
    for number, (row, first, own) in enumerate(told):
        if first in kept:
            kept_for[number] = kept[first]
        elif taken[own] < photos_per_observation:
            taken[own] += 1
            kept[first] = row
            is_member[row] = True
    is_copy = kept_for != NONE
    copies, first_of = others[is_copy], kept_for[is_copy]
    reasons = np.where(
        rows.content[copies] == rows.content[first_of],
        RejectReason.EXACT_DUPLICATE.value,
        RejectReason.NEAR_DUPLICATE.value,
    )
    away = _turned_away(rows.row[copies], rows.row[first_of], reasons.tolist(), [""] * len(copies), is_one_each=True)
    add(connection, "turned_away", away)
    away = rows.row[others[~is_copy & ~is_member[others]]]
    add(connection, "turned_away", _turned_away(away, None, [RejectReason.SAME_OBSERVATION.value], []))
    del rows.content
    rows.keep(is_member)


def _duplicates(
    connection: duckdb.DuckDBPyConnection,
    rows: _Rows,
    config: CurateConfig,
    features: Features | None,
) -> Small:
    """For each row the first row of its connected set of equal and near-equal photos (its own index if none)."""
    size = len(rows.row)
    known = [rows.content]
    if config.near_duplicate_bits >= 0:
        known.append(connected(rows.pop("phash"), config.near_duplicate_bits))
    pairs = []
    for sets in known:
        first = _first_of_set(sets)
        copies = np.flatnonzero(first != np.arange(size, dtype=np.int32))
        pairs.append(np.stack([first[copies], copies]))
    known.clear()
    if config.max_similarity < 1 and features is not None and size:
        pairs += _alike(connection, rows.row, features, config.max_similarity)
    return first_of_sets(size, *np.concatenate(pairs, axis=1))


def _alike(
    connection: duckdb.DuckDBPyConnection, rows: Small, features: Features, max_similarity: float
) -> Iterator[Small]:
    """(2, P) places of rows whose features are more similar than that; there are features of other photos too."""
    size = 0
    fill(
        connection, "embedded", [pa.table({"photo_id": pa.array([], pa.string()), "number": pa.array([], pa.int32())})]
    )

    def numbered() -> Iterator[npt.NDArray[np.float32]]:
        nonlocal size
        for photo_ids, vectors in features:
            number = np.arange(size, size + len(vectors), dtype=np.int32)
            add(connection, "embedded", pa.table({"photo_id": photo_ids, "number": pa.array(number)}))
            size += len(vectors)
            yield vectors

    place: Small | None = None
    for found in pairs_within(numbered(), max_similarity):
        if place is None:  # all vectors are in the file, and numbered
            query = "SELECT number, row FROM embedded JOIN offered USING (photo_id)"
            row = by_row(connection, query, np.full(size, NONE, np.int32))
            place_of = np.full(max(rows.max(), row.max()) + 2, NONE, np.int32)  # the last is that of NONE
            place_of[rows] = np.arange(len(rows), dtype=np.int32)
            place = place_of[row]
        pairs = np.stack([place[found.first], place[found.second]])
        yield pairs[:, (pairs != NONE).all(axis=0)]


def _first_of_set(sets: Small) -> Small:
    """(N,) the first row that is in the set of each row."""
    first = np.zeros(int(sets.max(initial=NONE)) + 1, np.int32)
    first[sets[::-1]] = np.arange(len(sets) - 1, -1, -1, dtype=np.int32)
    return np.asarray(first[sets], np.int32)


def _members(connection: duckdb.DuckDBPyConnection, rows: _Rows, people: People, units: Units) -> Iterator[pa.Table]:
    """The members (members schema) in parts."""
    unit = np.full(len(people.name), NONE, np.int32)  # by row of the table
    unit[rows.row[~units.bridges]] = units.unit[~units.bridges]
    query = "SELECT row, photo_id, class_id, observation_id, place, shard FROM offered ORDER BY row"
    for part in rows_of(connection, query):
        row = part["row"].to_numpy()
        kept = np.flatnonzero(unit[row] != NONE)
        row, part = row[kept], part.drop_columns(["row"]).take(kept)
        observers = [f"{observer:016x}" for observer in people.observers[people.person[row]].tolist()]
        own = unit[row]
        halves = np.where(units.halves[own] == DISCOVER, Half.DISCOVER.value, Half.CONFIRM.value)
        part = part.append_column("observer", pa.array(observers, pa.string()))
        part = part.append_column("unit", pa.array(units.numbers[own], pa.binary()).cast(pa.string()))
        yield part.append_column("half", pa.array(halves, pa.string()))
