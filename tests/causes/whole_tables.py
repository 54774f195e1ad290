"""Covariates of whole tables, in parts of some photos each."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from counterset.causes.covariates import covariates_of, habits_of


def whole_covariates(
    photos: pa.Table,
    answers: pa.Table,
    selectors: Collection[str],
    places: pa.Table | None = None,
    animals: pa.Table | None = None,
    told: pa.Table | None = None,
    size: int = 3,
) -> pa.Table:
    """The covariates of photos whose places, animals and tellings come by photo_id, `size` photos at a time."""
    starts = range(0, len(photos), size)

    def beside(table: pa.Table | None, part: pa.Table) -> pa.Table | None:
        return None if table is None else table.take(pc.index_in(part["photo_id"], table["photo_id"].combine_chunks()))

    def parts() -> Iterator[tuple[pa.Table, pa.ChunkedArray, pa.Table]]:
        for start in starts:
            part = photos.slice(start, size)
            placed = beside(places, part)
            is_own = pc.is_in(answers["photo_id"].cast(pa.string()), part["photo_id"].combine_chunks())
            of_part = answers.filter(is_own)
            yield part, pa.nulls(len(part), pa.string()) if placed is None else placed["place"], of_part

    habits = habits_of(parts(), len(photos), selectors)
    tables = []
    for start in starts:
        part = photos.slice(start, size)
        known = habits.of(slice(start, start + size))
        tables.append(covariates_of(part, known, None, beside(animals, part), beside(told, part)))
    return pa.concat_tables(tables)
