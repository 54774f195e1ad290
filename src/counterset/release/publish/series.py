"""A release's place in its series: which look it is, when units were first seen, and how confirmed pairs did since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.parquet_sql import rows_of, spilling
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
    with spilling() as connection:
        Rows.of(series.seen, ["photo_id"]).give(connection, "seen", SEEN.names)
        members.give(connection, "members", ["photo_id", "class_id", "unit"])
        sql = f"""
            SELECT photo_id, since AS unit_since FROM members JOIN (
                SELECT class_id, unit, min(unit_since) AS since FROM members JOIN seen USING (photo_id)
                WHERE unit_since BETWEEN 1 AND {series.look} GROUP BY class_id, unit) USING (class_id, unit)
            ORDER BY photo_id"""
        return Rows.written(rows_of(connection, sql), SEEN, folder / "seen.parquet")


def replication(
    all_photos: pa.Table, pairs: pa.Table, predictions: pa.Table, looks: pa.Table, selectors: list[str]
) -> pa.Table:
    """The drop of each confirmed pair on units that came after the look which confirmed it (replication schema).

    Args:
        all_photos: photo_id, class_id, split, unit, unit_since are read.
        pairs: class_id, look, confirmed_look, unit_correlation are read.
        predictions: photo_id, model, is_correct are read, in the build's own label space.
        looks: of the series, this one included.
        selectors: whose mean outcome counts.
    """
    followed = pairs.filter(pc.less(pairs["confirmed_look"], pairs["look"])).to_pylist()
    if not followed:
        return table_of(REPLICATION, [])
    day = dict(zip(looks["look"].to_pylist(), looks["day"].to_pylist(), strict=True))
    chosen = predictions.filter(pc.is_in(predictions["model"], pa.array(selectors, pa.string())))
    outcomes = chosen.append_column("right", chosen["is_correct"].cast(pa.float64()))
    outcomes = outcomes.group_by("photo_id").aggregate([("right", "mean"), ("right", "count")])
    outcomes = outcomes.filter(pc.equal(outcomes["right_count"], len(selectors)))
    sides = all_photos.filter(pc.is_valid(all_photos["split"]))
    sides = sides.select(["photo_id", "class_id", "split", "unit", "unit_since"]).join(
        outcomes, "photo_id", join_type="inner"
    )
    sides = sides.sort_by([("class_id", "ascending"), ("photo_id", "ascending")])
    class_of, class_ids = ranks(sides["class_id"])
    ends = np.searchsorted(class_of, np.arange(len(class_ids) + 1))
    part_of = {
        class_id: sides.slice(ends[number], ends[number + 1] - ends[number])
        for number, class_id in enumerate(class_ids.to_pylist())
    }
    rows = []
    for pair in followed:
        own = part_of.get(pair["class_id"], sides.slice(0, 0))
        found = replication_rows(
            own["right_mean"].to_numpy(),
            pc.equal(own["split"], "counter").to_numpy(),
            np.unique(np.array(own["unit"].to_pylist(), dtype=str), return_inverse=True)[1].astype(np.int64),
            own["unit_since"].to_numpy().astype(np.int64),
            confirmed=pair["confirmed_look"],
            look=pair["look"],
            correlation=pair["unit_correlation"] or 0.0,
        )
        rows += [{"class_id": pair["class_id"], "day": day[row["look"]]} | row for row in found]
    return table_of(REPLICATION, rows)
