"""A release's place in its series: which look it is, when units were first seen, and how confirmed pairs did since."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.parquet_sql import parquet_sql, runs, sorted_rows, spilling
from counterset.photo_rows import Rows
from counterset.statistics.schemas import LOOKS, REPLICATION
from counterset.statistics.series import replication_rows
from counterset.tables import ranks, table_of

SEEN = pa.schema([("photo_id", pa.string()), ("unit_since", pa.int32())])


@dataclass(frozen=True)
class SeriesInputs:
    """What a release knows of those before it in its series.

    Attributes:
        look: number of this look, from 1.
        looks: the looks before it (looks schema).
        day: the day of this look where it was taken before; "" = that of the source's answers.
        seen: the photos of the last release, in their order, with the look that first saw their unit (SEEN).
        made_from: digest of what decided the look's members but for the release before; "" = unknown.
        base: version and sha256 of the SHA256SUMS of the release that the look stands on; None = it is the first.
        newest: sha256 of the SHA256SUMS of the newest release when the build began; "" = there was none;
            None = nothing is said, and any may come before.
    """

    look: int = 1
    looks: pa.Table = field(default_factory=lambda: table_of(LOOKS, []))
    day: str = ""
    seen: pa.Table | Rows = field(default_factory=SEEN.empty_table)
    made_from: str = ""
    base: Mapping[str, str] | None = None
    newest: str | None = None

    def at(self, look: int, looks: pa.Table, day: str, seen: pa.Table | Rows) -> SeriesInputs:
        """The same at a look."""
        return replace(self, look=look, looks=looks, day=day, seen=seen)

    @property
    def stated(self) -> dict[str, object]:
        """What release.json says of it, by which the next build knows where it stands."""
        return {"look": self.look, "made_from": self.made_from, "base": dict(self.base) if self.base else None}


def seen_before(members: Rows, series: SeriesInputs, folder: Path) -> Rows:
    """The earliest look that saw the unit of each photo (SEEN) whose unit an earlier look saw.

    Args:
        members: photo_id, class_id and unit are read.
        series: with the photos of the last release.
        folder: for a file, which must stay.
    """
    seen = Rows.of(series.seen, ["photo_id"])
    if next(seen.read(["photo_id"]), None) is None:
        return Rows.of(SEEN.empty_table(), ["photo_id"])
    with spilling() as connection:
        seen.give(connection, "seen", SEEN.names)
        members.give(connection, "members", ["photo_id", "class_id", "unit"])
        sql = f"""
            SELECT photo_id, since AS unit_since FROM members JOIN (
                SELECT class_id, unit, min(unit_since) AS since FROM members JOIN seen USING (photo_id)
                WHERE unit_since BETWEEN 1 AND {series.look} GROUP BY class_id, unit) USING (class_id, unit)"""
        return Rows.written(sorted_rows(connection, sql, ["photo_id"]), SEEN, folder / "seen.arrow")


_FOLLOWED = """
    CREATE TABLE followed AS SELECT class_id, photo_id, split, unit, unit_since, is_right
    FROM {all_photos} JOIN (
        SELECT photo_id, avg(is_correct::DOUBLE) AS is_right FROM {predictions} WHERE list_contains($selectors, model)
        GROUP BY photo_id HAVING count(*) = len($selectors)) USING (photo_id)
    WHERE split IS NOT NULL AND list_contains($classes, class_id)"""


def replication(
    all_photos: Rows, pairs: pa.Table, predictions: Rows, looks: pa.Table, selectors: list[str]
) -> pa.Table:
    """The drop of each confirmed pair on units that came after the look which confirmed it (replication schema).

    Args:
        all_photos: photo_id, class_id, split, unit, unit_since are read.
        pairs: class_id, look, confirmed_look, unit_correlation are read.
        predictions: photo_id, model, is_correct are read, in the build's own label space.
        looks: of the series, this one included.
        selectors: whose mean outcome counts.
    """
    followed = {
        row["class_id"]: row for row in pairs.filter(pc.less(pairs["confirmed_look"], pairs["look"])).to_pylist()
    }
    if not followed:
        return table_of(REPLICATION, [])
    day = dict(zip(looks["look"].to_pylist(), looks["day"].to_pylist(), strict=True))
    rows, untold = [], dict(followed)
    with spilling() as connection:
        sql = _FOLLOWED.format(all_photos=parquet_sql(all_photos.paths), predictions=parquet_sql(predictions.paths))
        connection.execute(sql, {"selectors": selectors, "classes": list(followed)})
        none = connection.sql("FROM followed LIMIT 0").to_arrow_table()
        by_class = runs(sorted_rows(connection, "FROM followed", ["class_id", "photo_id"]), "class_id")
        for class_id, own in itertools.chain(by_class, ((class_id, none) for class_id in followed)):
            if (pair := untold.pop(class_id, None)) is None:
                continue
            found = replication_rows(
                own["is_right"].to_numpy(),
                pc.equal(own["split"], "counter").to_numpy(),
                ranks(own["unit"])[0],
                own["unit_since"].to_numpy().astype(np.int64),
                confirmed=pair["confirmed_look"],
                look=pair["look"],
                correlation=pair["unit_correlation"] or 0.0,
            )
            rows += [{"class_id": class_id, "day": day[row["look"]]} | row for row in found]
    return table_of(REPLICATION, rows)
