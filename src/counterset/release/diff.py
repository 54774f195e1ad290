"""What changed between two releases, and which version number that asks for.

The rule is Croissant's (specification 1.1, "Dataset versioning"): rows edited, removed
or moved between groups = major; only added = minor; the same rows repackaged = patch.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from counterset.release.layout import version_key

NEEDED = ("all_photos", "pairs", "predictions", "rejects")
"""Tables that a difference is read from."""

_EDITABLE = (
    "class_id",
    "class_name",
    "imagenet_index",
    "half",
    "observer",
    "source",
    "url",
    "sha256",
    "width_px",
    "height_px",
    "license",
    "attribution",
)
"""Columns of all_photos whose change is an edit. Scores may move without one; groups count as moves."""

NO_REASON = "not_in_build"


class HasTables(Protocol):
    """A release, as far as a difference needs it."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    def table(self, name: str) -> pa.Table: ...


@dataclass(frozen=True)
class ReleaseDiff:
    """The rows that differ between an older and a newer release.

    Attributes:
        added: photo_id, class_id, group, split.
        removed: the same with `reason`, a reject reason or `not_in_build`.
        edited: photo_id, class_id, changed (names of the columns).
        moved: photo_id, class_id, old_group, new_group, old_split, new_split.
        pairs: class_id with old and new common, counter, verdict, drop; classes that changed.
        predictions: model, num_added, num_removed, num_changed over photos of both releases.
    """

    old: str
    new: str
    added: pa.Table
    removed: pa.Table
    edited: pa.Table
    moved: pa.Table
    pairs: pa.Table
    predictions: pa.Table

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """How many rows of each kind."""
        pairs, predictions = self.pairs.to_pylist(), self.predictions.to_pylist()
        return {
            "added": self.added.num_rows,
            "removed": self.removed.num_rows,
            "edited": self.edited.num_rows,
            "moved": self.moved.num_rows,
            "classes_added": sum(row["change"] == "class added" for row in pairs),
            "classes_removed": sum(row["change"] == "class removed" for row in pairs),
            "pairs_changed": sum("pair" in row["change"] for row in pairs),
            "drops_changed": sum("drop" in row["change"] for row in pairs),
            "verdicts_flipped": sum("verdict" in row["change"] for row in pairs),
            "predictions_added": sum(row["num_added"] for row in predictions),
            "predictions_removed": sum(row["num_removed"] for row in predictions),
            "predictions_changed": sum(row["num_changed"] for row in predictions),
        }

    @property
    def level(self) -> str:
        """major, minor or patch. Drops that move because photos came are part of the addition."""
        counts = self.counts
        additions = {name: counts[name] for name in ("added", "classes_added", "predictions_added")}
        followed = {"drops_changed"} if any(additions.values()) else set()
        if any(counts[name] for name in counts if name not in additions and name not in followed):
            return "major"
        return "minor" if any(counts.values()) else "patch"

    @property
    def largest_drop_change(self) -> tuple[float, str]:
        """The largest absolute change of a drop, in [0, 2], and its class; (0, "") when no class has both."""
        rows = [row for row in self.pairs.to_pylist() if row["drop_change"] is not None]
        return max(((abs(row["drop_change"]), row["class_id"]) for row in rows), default=(0.0, ""))

    def write(self, folder: str | Path) -> None:
        """Write the rows as `added.parquet`, `removed.parquet`, ... into `folder`."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in ("added", "removed", "edited", "moved", "pairs", "predictions"):
            pq.write_table(getattr(self, name), target / f"{name}.parquet", compression="zstd")


def next_version(old: str | None, level: str) -> str:
    """The version after `old` for a change of `level`; the first is 1.0.0."""
    key = version_key(old) if old else None
    if key is None:
        return "1.0.0"
    major, minor, patch = key
    return {
        "major": f"{major + 1}.0.0",
        "minor": f"{major}.{minor + 1}.0",
        "patch": f"{major}.{minor}.{patch + 1}",
    }[level]


def diff_releases(old: HasTables, new: HasTables) -> ReleaseDiff:
    """The difference from release `old` to release `new`."""
    return diff_tables(
        {name: old.table(name) for name in NEEDED},
        {name: new.table(name) for name in NEEDED},
        f"{old.name} {old.version}",
        f"{new.name} {new.version}",
    )


def diff_tables(old: Mapping[str, pa.Table], new: Mapping[str, pa.Table], old_name: str, new_name: str) -> ReleaseDiff:
    """The difference between two releases' tables (`NEEDED`)."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        for name in NEEDED:
            connection.register(f"old_{name}", old[name])
            connection.register(f"new_{name}", new[name])
        edited = [
            name
            for name in _EDITABLE
            if name in old["all_photos"].column_names and name in new["all_photos"].column_names
        ]
        tables = {name: connection.sql(sql).to_arrow_table() for name, sql in _queries(edited).items()}
    return ReleaseDiff(old_name, new_name, **tables)


def _queries(edited: list[str]) -> dict[str, str]:
    changed = ", ".join(f"CASE WHEN o.{name} IS DISTINCT FROM n.{name} THEN '{name}' END" for name in edited)
    return {
        "added": """
            SELECT photo_id, class_id, "group", split FROM new_all_photos n
            ANTI JOIN old_all_photos USING (photo_id) ORDER BY photo_id""",
        "removed": f"""
            SELECT photo_id, o.class_id, "group", split, coalesce(r.reason, '{NO_REASON}') AS reason
            FROM old_all_photos o ANTI JOIN new_all_photos USING (photo_id)
            LEFT JOIN (SELECT photo_id, min(reason) AS reason FROM new_rejects GROUP BY photo_id) r USING (photo_id)
            ORDER BY photo_id""",
        "edited": f"""
            SELECT * FROM (
                SELECT photo_id, n.class_id, list_filter([{changed}], lambda x: x IS NOT NULL) AS changed
                FROM old_all_photos o JOIN new_all_photos n USING (photo_id))
            WHERE len(changed) > 0 ORDER BY photo_id""",
        "moved": """
            SELECT photo_id, n.class_id, o."group" AS old_group, n."group" AS new_group,
                   o.split AS old_split, n.split AS new_split
            FROM old_all_photos o JOIN new_all_photos n USING (photo_id)
            WHERE o."group" IS DISTINCT FROM n."group" OR o.split IS DISTINCT FROM n.split
            ORDER BY photo_id""",
        "pairs": """
            SELECT * FROM (
                SELECT coalesce(o.class_id, n.class_id) AS class_id,
                       CASE WHEN o.class_id IS NULL THEN 'class added'
                            WHEN n.class_id IS NULL THEN 'class removed'
                            ELSE concat_ws(', ',
                                CASE WHEN o.common IS DISTINCT FROM n.common
                                       OR o.counter IS DISTINCT FROM n.counter THEN 'pair' END,
                                CASE WHEN o.verdict IS DISTINCT FROM n.verdict THEN 'verdict' END,
                                CASE WHEN o."drop" IS DISTINCT FROM n."drop" THEN 'drop' END) END AS change,
                       o.common AS old_common, n.common AS new_common,
                       o.counter AS old_counter, n.counter AS new_counter,
                       o.verdict AS old_verdict, n.verdict AS new_verdict,
                       o."drop" AS old_drop, n."drop" AS new_drop, n."drop" - o."drop" AS drop_change
                FROM old_pairs o FULL JOIN new_pairs n ON o.class_id = n.class_id)
            WHERE change != '' ORDER BY class_id""",
        "predictions": """
            SELECT coalesce(o.model, n.model) AS model,
                   count(*) FILTER (o.photo_id IS NULL) AS num_added,
                   count(*) FILTER (n.photo_id IS NULL) AS num_removed,
                   count(*) FILTER (o.photo_id = n.photo_id AND o.predicted != n.predicted) AS num_changed
            FROM (SELECT * FROM old_predictions SEMI JOIN new_all_photos USING (photo_id)) o
            FULL JOIN (SELECT * FROM new_predictions SEMI JOIN old_all_photos USING (photo_id)) n
              ON o.photo_id = n.photo_id AND o.model = n.model AND o.label_space = n.label_space
            GROUP BY ALL HAVING num_added + num_removed + num_changed > 0 ORDER BY model""",
    }
