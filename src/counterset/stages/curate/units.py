"""Units of members: who took which photo, and which people and places are one unit with one half.

Texts lie in DuckDB's tables; here each photo is a row of the table `offered` (`members`).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.parquet_sql import Small, by_row, fill, rows_of
from counterset.schemas import Half
from counterset.statistics.halves import half_of, unit_number
from counterset.statistics.observers import CONFIRM, DISCOVER, Ints
from counterset.statistics.units import NONE, Published, join

_PERSON = "split_part(photo_id, '-', 1) || chr(0) || observer_id"
"""What the coin calls an observer: the id that the source gave him, behind what the source's photo ids begin with, for
a service's API and its tables tell of the same people."""


class People(NamedTuple):
    """Who took the photos.

    Attributes:
        name: (offered,) what the coin calls each row's observer, as its number in the order of names.
        names: (names,) the names.
        person: (offered,) number of each row's observer under the source of its candidate.
        observers: (people,) what stands for each of these in analysis columns, a number of 64 bits.
    """

    name: Small
    names: pa.Array
    person: Small
    observers: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection, salt: str) -> People:
        """Of all rows of `offered`."""
        names, observers = [pa.array([], pa.string())], [np.zeros(0, np.uint64)]
        num_names, num_people, last = 0, 0, None

        def numbered() -> Iterator[pa.Table]:
            nonlocal num_names, num_people, last
            query = f"SELECT DISTINCT {_PERSON} AS called, source, observer_id FROM offered ORDER BY called, source"
            yield pa.table(
                {
                    "called": names[0],
                    "source": names[0],
                    "name": names[0].cast(pa.int32()),
                    "person": names[0].cast(pa.int32()),
                }
            )
            for part in rows_of(connection, query):
                called = part["called"].combine_chunks()
                is_new = np.ones(len(part), np.bool_)
                is_new[1:] = pc.not_equal(called[1:], called[:-1]).to_numpy(zero_copy_only=False)
                is_new[0] = called[0].as_py() != last
                last = called[-1].as_py()
                names.append(called.filter(pa.array(is_new)))
                people = zip(part["source"].to_pylist(), part["observer_id"].to_pylist(), strict=True)
                observers.append(np.array([int(observer_hash(salt, *person), 16) for person in people], np.uint64))
                number = num_names - 1 + np.cumsum(is_new, dtype=np.int32)
                person = np.arange(num_people, num_people + len(part), dtype=np.int32)
                num_names, num_people = int(number[-1]) + 1, num_people + len(part)
                yield (
                    part.select(["called", "source"])
                    .append_column("name", pa.array(number))
                    .append_column("person", pa.array(person))
                )

        fill(connection, "people", numbered())
        size = connection.sql("SELECT count(*) FROM offered").fetchall()[0][0]
        name, person = np.zeros(size, np.int32), np.zeros(size, np.int32)
        query = f"SELECT row, name, person FROM offered o JOIN people p ON p.called = {_PERSON} AND p.source = o.source"
        for part in rows_of(connection, query):
            row = part["row"].to_numpy()
            name[row], person[row] = part["name"].to_numpy(), part["person"].to_numpy()
        return cls(name, pa.concat_arrays(names), person, np.concatenate(observers))


def observer_hash(salt: str, source: str, observer_id: str) -> str:
    """16 hex digits that stand for an observer in analysis columns."""
    return hashlib.sha256(f"{salt}\x00{source}\x00{observer_id}".encode()).hexdigest()[:16]


class Units(NamedTuple):
    """The units of N rows.

    Attributes:
        unit: (N,) number of each row's unit.
        bridges: (N,) whether the row would join units of both halves.
        numbers: (units,) by what a release knows each unit, as bytes.
        halves: (units,) the half of each, DISCOVER or CONFIRM.
    """

    unit: Small
    bridges: npt.NDArray[np.bool_]
    numbers: npt.NDArray[np.bytes_]
    halves: npt.NDArray[np.int8]


def units_of(
    connection: duckdb.DuckDBPyConnection,
    rows: Small,
    class_of: Small,
    people: People,
    class_ids: list[str],
    identities: Mapping[str, str],
    published: Iterable[pa.Table] | None,
) -> Units:
    """The units and halves of the rows. To the coin a unit is its first observer.

    Args:
        connection: holds `offered`.
        rows: (N,) of `offered`: those that stay but for bridges.
        class_of: (N,) number of each row's class.
        people: who took the photos.
        class_ids: the classes, by number.
        identities: class_id -> what the class is to the coin.
        published: the last release's photos, in parts.
    """
    size = len(people.name)
    places = "SELECT DISTINCT place FROM offered WHERE place IS NOT NULL ORDER BY place"
    ends = itertools.count()
    empty = pa.table({"place": pa.array([], pa.string()), "number": pa.array([], pa.int32())})
    numbered = (
        part.append_column("number", pa.array([next(ends) for _ in range(len(part))], pa.int32()))
        for part in rows_of(connection, places)
    )
    fill(connection, "places", itertools.chain([empty], numbered))
    query = "SELECT row, number FROM offered JOIN places USING (place)"
    place = by_row(connection, query, np.full(size, NONE, np.int32))
    last = _Last.of(connection, size, published)
    unit, bridges = np.zeros(len(rows), np.int32), np.zeros(len(rows), np.bool_)
    # There are as many units as rows at the most; what is not filled takes no memory
    width = max(map(len, (unit_number("").encode(), *(number.encode() for number in last.number))))
    all_numbers, all_halves, num_units = np.empty(len(rows), f"S{width}"), np.empty(len(rows), np.int8), 0
    order = np.argsort(class_of, kind="stable").astype(np.int32)
    edges = np.append(0, np.cumsum(np.bincount(class_of, minlength=len(class_ids))))
    del class_of
    for number, class_id in enumerate(class_ids):
        own = order[edges[number] : edges[number + 1]]
        if not len(own):
            continue
        name, unit_before = people.name[rows[own]], last.unit[rows[own]]
        before = np.unique(unit_before[unit_before != NONE])
        halves_before = np.where(last.half[before] == Half.DISCOVER.value, DISCOVER, CONFIRM)
        published_units = Published(_renumbered(unit_before), halves_before)
        units = join(_renumbered(name), _renumbered(place[rows[own]]), published_units)
        lowest = np.full(int(units.unit.max(initial=NONE)) + 1, len(people.names))
        np.minimum.at(lowest, units.unit, name)
        unit[own], bridges[own] = units.unit + num_units, units.bridges
        for first, continued in zip(people.names.take(lowest).to_pylist(), units.continues.tolist(), strict=True):
            goes_on = continued != NONE
            known = (goes_on and last.number[before[continued]]) or unit_number(first)
            half = Half(last.half[before[continued]]) if goes_on else half_of(identities[class_id], first)
            all_numbers[num_units] = known.encode()
            all_halves[num_units] = DISCOVER if half is Half.DISCOVER else CONFIRM
            num_units += 1
    return Units(unit, bridges, all_numbers[:num_units], all_halves[:num_units])


class _Last(NamedTuple):
    """The units of the last release.

    Attributes:
        unit: (offered,) the unit that each row was in, numbered in the order of their names; NONE = it was in none.
        number: (U,) what the release calls the unit; "" where the release is older than units.
        half: (U,) its half.
    """

    unit: Small
    number: list[str]
    half: npt.NDArray[np.object_]

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection, size: int, published: Iterable[pa.Table] | None) -> _Last:
        """Of the rows that the release has under the same class; imported photos are in no half."""
        if published is None:
            return cls(np.broadcast_to(np.int32(NONE), size), [], np.zeros(0, object))
        fill(connection, "published", published)
        connection.execute(f"""CREATE TABLE units AS
            SELECT (row_number() OVER (ORDER BY observer, number, half) - 1)::INTEGER AS unit, * FROM (
                SELECT DISTINCT coalesce(nullif(unit, ''), observer) AS observer, coalesce(unit, '') AS number, half
                FROM published WHERE half IN ('{Half.DISCOVER.value}', '{Half.CONFIRM.value}'))""")
        query = """SELECT row, units.unit FROM offered JOIN published USING (photo_id, class_id) JOIN units
            ON units.observer = coalesce(nullif(published.unit, ''), published.observer)
                AND units.number = coalesce(published.unit, '') AND units.half = published.half"""
        unit = by_row(connection, query, np.full(size, NONE, np.int32))
        known = connection.sql("SELECT number, half FROM units ORDER BY unit").to_arrow_table()
        return cls(unit, known["number"].to_pylist(), np.array(known["half"].to_pylist(), object))


def _renumbered(ranks: Small) -> Ints:
    """Numbers from 0 without gaps in the same order; NONE stays."""
    known = np.unique(ranks[ranks != NONE])
    return np.where(ranks == NONE, NONE, np.searchsorted(known, ranks))
