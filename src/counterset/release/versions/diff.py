"""What changed between two releases, and which version number that asks for.

The rule is Croissant's (specification 1.1, "Dataset versioning"): rows edited, removed
or moved between groups = major; only added = minor; the same rows repackaged = patch.
`release.versions.meaning` says which columns count as what; every column is compared.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterset.parquet_sql import parquet_sql, sorted_rows, spilling
from counterset.photo_rows import Rows, whole_photos
from counterset.release.bounded import ABSENT, BoundedFile, naming
from counterset.release.schemas import TABLES
from counterset.release.versions.meaning import COMPARED, Meaning, meaning
from counterset.release.versions.settings import changed_settings
from counterset.tables import write_bytes

NO_REASON = "not_in_build"

ADDITIONS = ("added", "classes_added", "predictions_added", "results_added", "columns_added")
"""Counts that alone make a minor version."""
FOLLOWING = ("drops_changed", "results_changed")
"""Counts that are part of an addition, where there is one."""
MINOR = ("scores_changed", "rejects_changed")
PATCH = ("settings_changed",)

_PHOTO_TABLES = ("all_photos", "captions", "attribution")
"""Their rows are one per photo, so that their columns are a photo's."""
_MOVES = ("group", "split")


@dataclass(frozen=True)
class Stored:
    """A table in a release's files, which DuckDB reads where they lie.

    Attributes:
        sql: its rows.
        columns: those that its files have.
    """

    sql: str
    columns: tuple[str, ...]


class HasFiles(Protocol):
    """A release, as far as a difference needs it."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...
    @property
    def path(self) -> Path: ...


@dataclass(frozen=True)
class ReleaseDiff:
    """The rows that differ between an older and a newer release.

    Attributes:
        photos: rows of one photo each, which lie in files: those of `added`, `removed`, `edited`
            and `moved`, which give them as tables.
        pairs: class_id with old and new common, counter, verdict, drop; classes that changed.
        predictions: model, num_added, num_removed, num_changed, num_rescored over photos of both releases.
        columns: table, column, meaning, num_rows: the number of rows of both releases in which the column differs;
            num_rows is null for a column that only one of them has.
        rows: table, num_added, num_removed, num_changed of the other tables, over photos and classes of both.
        settings: setting, old, new: what release.json says of how the release was made, as JSON.
    """

    old: str
    new: str
    photos: Mapping[str, Rows]
    pairs: pa.Table
    predictions: pa.Table
    columns: pa.Table
    rows: pa.Table
    settings: pa.Table

    @property
    def added(self) -> pa.Table:
        """photo_id, class_id, group, split."""
        return self.photos["added"].table()

    @property
    def removed(self) -> pa.Table:
        """The same with `reason`, a reject reason or `not_in_build`."""
        return self.photos["removed"].table()

    @property
    def edited(self) -> pa.Table:
        """photo_id, class_id, changed (names of the columns, of its captions and credit too)."""
        return self.photos["edited"].table()

    @property
    def moved(self) -> pa.Table:
        """photo_id, class_id, old_group, new_group, old_split, new_split."""
        return self.photos["moved"].table()

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """How many rows of each kind."""
        pairs, predictions = self.pairs.to_pylist(), self.predictions.to_pylist()
        columns = self.columns.to_pylist()
        rows = {row["table"]: row for row in self.rows.to_pylist()}
        results = [row for name, row in rows.items() if name != "rejects"]
        changes = [row["change"].split(", ") for row in pairs]
        return {
            **{name: rows.count() for name, rows in self.photos.items()},
            "classes_added": sum("class added" in change for change in changes),
            "classes_removed": sum("class removed" in change for change in changes),
            "pairs_changed": sum("pair" in change for change in changes),
            "drops_changed": sum("drop" in change for change in changes),
            "verdicts_flipped": sum("verdict" in change for change in changes),
            "predictions_added": sum(row["num_added"] for row in predictions),
            "predictions_removed": sum(row["num_removed"] for row in predictions),
            "predictions_changed": sum(row["num_changed"] for row in predictions),
            "results_added": sum(row["num_added"] for row in results),
            "results_changed": sum(row["num_removed"] + row["num_changed"] for row in results)
            + sum("figures" in change for change in changes),
            "scores_changed": sum(row["num_rows"] or 0 for row in columns if row["meaning"] == Meaning.SCORE),
            "rejects_changed": sum(rows["rejects"][name] for name in ("num_added", "num_removed", "num_changed")),
            "columns_added": sum(row["num_rows"] is None and row["is_new"] for row in columns),
            "columns_removed": sum(row["num_rows"] is None and not row["is_new"] for row in columns),
            "settings_changed": self.settings.num_rows,
        }

    @property
    def level(self) -> str:
        """major, minor or patch. Drops that move because photos were added are part of the addition."""
        kinds = {name for name, count in self.counts.items() if count}
        additions = kinds & set(ADDITIONS)
        kinds -= {*PATCH}
        if kinds - additions - {*MINOR} - ({*FOLLOWING} if additions else set()):
            return "major"
        return "minor" if kinds else "patch"

    @property
    def largest_drop_change(self) -> tuple[float, str]:
        """The largest absolute change of a drop, in [0, 2], and its class; (0, "") when no class has both."""
        rows = [row for row in self.pairs.to_pylist() if row["drop_change"] is not None]
        return max(((abs(row["drop_change"]), row["class_id"]) for row in rows), default=(0.0, ""))

    def write(self, folder: str | Path) -> None:
        """Write the rows as `added.parquet`, `removed.parquet`, ... into `folder`, each whole or not at all."""
        small: dict[str, pa.Table | Rows] = {
            name: getattr(self, name) for name in ("pairs", "predictions", "columns", "rows", "settings")
        }
        for name, rows in (small | dict(self.photos)).items():
            content = pa.BufferOutputStream()
            with pq.ParquetWriter(content, rows.schema, compression="zstd") as writer:
                for part in [rows] if isinstance(rows, pa.Table) else rows.read(None):
                    writer.write_table(part)
            write_bytes(content.getvalue().to_pybytes(), Path(folder) / f"{name}.parquet")


def diff_releases(old: HasFiles, new: HasFiles) -> ReleaseDiff:
    """The difference from release `old` to release `new`."""
    return diff_tables(
        stored_tables(old),
        stored_tables(new),
        f"{old.name} {old.version}",
        f"{new.name} {new.version}",
        (old.metadata, new.metadata),
    )


def stored_tables(release: HasFiles) -> dict[str, pa.Table | Stored]:
    """A release's tables that are compared, as they lie in its files; one that it is too old for has no rows."""
    paths: dict[str, list[str]] = {}
    for path, entry in release.metadata["files"].items():
        paths.setdefault(entry.get("table"), []).append(path)
    return {
        name: _stored(release.path, name, sorted(paths[name]))
        if name in paths
        else pa.Table.from_batches([], TABLES[name].arrow())
        for name in COMPARED
    }


def _stored(folder: Path, name: str, paths: list[str]) -> Stored:
    """A table in its files, checked as far as they state what they hold."""
    columns = [column.name for column in TABLES[name].columns]
    for path in paths:
        with naming(folder / path), BoundedFile(folder / path, TABLES[name]) as file:
            columns = [column for column in columns if column in file.held]
    names = ", ".join(f'"{column}"' for column in columns)
    return Stored(f"SELECT {names} FROM {parquet_sql(folder / path for path in paths)}", tuple(columns))


def diff_tables(
    old: Mapping[str, pa.Table | Stored],
    new: Mapping[str, pa.Table | Stored],
    old_name: str,
    new_name: str,
    metadata: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
) -> ReleaseDiff:
    """The difference between two releases' tables (`COMPARED`) and the contents of their release.json."""
    folder = _Folder()
    with spilling() as connection:
        columns: list[dict[str, Any]] = []
        for name in COMPARED:
            before, after = _given(connection, f"old_{name}", old[name]), _given(connection, f"new_{name}", new[name])
            columns += [
                {"table": name, "column": column, "num_rows": None, "is_new": column in after}
                for column in sorted(before ^ after)
            ]
            _compare(connection, name, sorted((before & after) - {*TABLES[name].key}))
        for name, key in (("all_photos", "photo_id"), ("pairs", "class_id")):
            both = f"SELECT {key} FROM old_{name} SEMI JOIN new_{name} USING ({key})"
            connection.execute(f"CREATE TEMP TABLE both_{name} AS {both}")
        photos = {name: _put_down(connection, sql, folder, name) for name, sql in _of_photos().items()}
        tables = {name: connection.sql(sql).to_arrow_table() for name, sql in _queries().items()}
        columns += connection.sql(_COLUMNS).to_arrow_table().to_pylist()
    types = {"table": pa.string(), "column": pa.string(), "num_rows": pa.int64(), "is_new": pa.bool_()}
    for row in columns:
        row["meaning"] = meaning(row["table"], row["column"]).value
    columns.sort(key=lambda row: (COMPARED.index(row["table"]), row["column"]))
    tables["columns"] = pa.Table.from_pylist(columns, pa.schema(types | {"meaning": pa.string()}))
    return ReleaseDiff(old_name, new_name, photos, **tables, settings=changed_settings(*metadata))


class _Folder:
    """A folder for files, which stays as long as one of those whose files lie there, and this process."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="counterset-"))
        weakref.finalize(self, self._remove, self.path, os.getpid())

    @staticmethod
    def _remove(path: Path, process: int) -> None:
        if os.getpid() == process:  # and no fork of it, which ends earlier
            shutil.rmtree(path, ignore_errors=True)


def _put_down(connection: duckdb.DuckDBPyConnection, query: str, folder: _Folder, name: str) -> Rows:
    """The rows of a query in the order of photo_id, in a file."""
    types = connection.sql(query).limit(0).to_arrow_table().schema
    number = types.get_field_index("changed")
    schema = types if number < 0 else types.set(number, pa.field("changed", pa.list_(pa.string())))
    parts = sorted_rows(connection, query, ["photo_id"])
    rows = Rows.written(parts if number < 0 else map(_with_names, whole_photos(parts)), schema, folder.path / name)

    def read(columns: Sequence[str] | None, keeps: _Folder = folder) -> Iterator[pa.Table]:
        return rows.read(columns)

    return Rows(schema, read)


def _with_names(part: pa.Table) -> pa.Table:
    """One row per photo, with the names of all its columns that changed, each once and in order; few lists differ."""
    ids = part["photo_id"]
    is_first = np.ones(len(part), np.bool_)
    is_first[1:] = pc.not_equal(ids.slice(1), ids.slice(0, len(part) - 1))
    starts = np.flatnonzero(is_first).astype(np.int32)
    of_photo = pa.ListArray.from_arrays(np.append(starts, np.int32(len(part))), part["changed"].combine_chunks())
    texts = pc.binary_join(of_photo, ",").dictionary_encode()
    lists = pa.array([sorted({*text.split(",")}) for text in texts.dictionary.to_pylist()], pa.list_(pa.string()))
    return part.take(starts).set_column(2, "changed", lists.take(texts.indices))


def _given(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table | Stored) -> set[str]:
    """Give DuckDB a table under a name; the columns that it has itself."""
    if isinstance(table, Stored):
        connection.execute(f"CREATE VIEW {name} AS {table.sql}")
        return {*table.columns}
    connection.register(name, table)
    return {field.name for field in table.schema if ABSENT not in (field.metadata or {})}


def _compare(connection: duckdb.DuckDBPyConnection, name: str, columns: list[str]) -> None:
    """Make `changed_<name>`, one row per row of both that differs, with its key and the names of those columns in one
    text, for lists are not put on disk while they are sorted; and `only_old_<name>` and `only_new_<name>`.
    """
    key = ", ".join(f'"{column}"' for column in TABLES[name].key)
    changed = ", ".join(f'CASE WHEN o."{c}" IS DISTINCT FROM n."{c}" THEN \'{c}\' END' for c in columns)
    connection.execute(f"""
        CREATE TEMP TABLE changed_{name} AS SELECT * FROM (
            SELECT {key}, concat_ws(',', {changed or "''"}) AS changed
            FROM old_{name} o JOIN new_{name} n USING ({key}))
        WHERE changed != ''""")
    own = f'{key}, class_id, "group", split' if name == "all_photos" else key
    for side, other in (("old", "new"), ("new", "old")):
        connection.execute(
            f"CREATE TEMP TABLE only_{side}_{name} AS "
            f"SELECT {own} FROM {side}_{name} ANTI JOIN {other}_{name} USING ({key})"
        )


_COLUMNS = " UNION ALL ".join(
    f'SELECT \'{name}\' AS "table", "column", count(*)::BIGINT AS num_rows, NULL::BOOLEAN AS is_new '
    f"FROM (SELECT unnest(string_split(changed, ',')) AS \"column\" FROM changed_{name}) GROUP BY ALL"
    for name in COMPARED
)


def _without(columns: list[str]) -> str:
    """SQL: the changed columns but these, which are counted elsewhere."""
    return f"list_filter(string_split(changed, ','), lambda x: x NOT IN ({', '.join(map(repr, columns)) or 'NULL'}))"


def _scores(table: str) -> list[str]:
    names = [column.name for column in TABLES[table].columns]
    return [name for name in names if meaning(table, name) == Meaning.SCORE]


def _of_photos() -> dict[str, str]:
    """SQL: rows about one photo, in any order. None joins more than two large tables: DuckDB holds the more at a time
    the more are joined."""
    edits = " UNION ALL ".join(
        f"SELECT photo_id, array_to_string({_without([*_scores(name), *_MOVES])}, ',') AS changed FROM changed_{name}"
        for name in _PHOTO_TABLES
    )
    return {
        "added": "FROM only_new_all_photos",
        "removed": f"""
            SELECT o.*, coalesce(r.reason, '{NO_REASON}') AS reason FROM only_old_all_photos o LEFT JOIN (
                SELECT photo_id, min(reason) AS reason FROM new_rejects SEMI JOIN only_old_all_photos USING (photo_id)
                GROUP BY photo_id) r USING (photo_id)""",
        "edited": f"""
            SELECT photo_id, class_id, changed FROM ({edits}) JOIN new_all_photos USING (photo_id)
            WHERE changed != ''""",
        "moved": """
            SELECT photo_id, n.class_id, o."group" AS old_group, n."group" AS new_group,
                   o.split AS old_split, n.split AS new_split
            FROM old_all_photos o JOIN new_all_photos n USING (photo_id)
            WHERE o."group" IS DISTINCT FROM n."group" OR o.split IS DISTINCT FROM n.split""",
    }


def _queries() -> dict[str, str]:
    figures = _without(["common", "counter", "verdict", "drop"])
    answers = {
        "num_added": _only_in("new", "predictions"),
        "num_removed": _only_in("old", "predictions"),
        "num_changed": f"FROM changed_predictions WHERE len({_without(_scores('predictions'))}) > 0",
        "num_rescored": f"FROM changed_predictions WHERE len({_without(_scores('predictions'))}) = 0",
    }
    counted = " UNION ALL BY NAME ".join(
        f"(SELECT model, count(*) AS {count} {rows} GROUP BY model)" for count, rows in answers.items()
    )
    sums = ", ".join(f"coalesce(sum({count}), 0)::BIGINT AS {count}" for count in answers)
    return {
        "pairs": f"""
            SELECT * FROM (
                SELECT coalesce(o.class_id, n.class_id) AS class_id,
                       CASE WHEN o.class_id IS NULL THEN 'class added'
                            WHEN n.class_id IS NULL THEN 'class removed'
                            ELSE concat_ws(', ',
                                CASE WHEN o.common IS DISTINCT FROM n.common
                                       OR o.counter IS DISTINCT FROM n.counter THEN 'pair' END,
                                CASE WHEN o.verdict IS DISTINCT FROM n.verdict THEN 'verdict' END,
                                CASE WHEN o."drop" IS DISTINCT FROM n."drop" THEN 'drop' END,
                                CASE WHEN len({figures}) > 0 THEN 'figures' END) END AS change,
                       o.common AS old_common, n.common AS new_common,
                       o.counter AS old_counter, n.counter AS new_counter,
                       o.verdict AS old_verdict, n.verdict AS new_verdict,
                       o."drop" AS old_drop, n."drop" AS new_drop, n."drop" - o."drop" AS drop_change
                FROM old_pairs o FULL JOIN new_pairs n ON o.class_id = n.class_id
                LEFT JOIN changed_pairs c ON c.class_id = n.class_id)
            WHERE change != '' ORDER BY class_id""",
        "predictions": f"SELECT model, {sums} FROM ({counted}) GROUP BY model ORDER BY model",
        "rows": " UNION ALL ".join(map(_rows, [name for name in COMPARED if name not in _COUNTED])),
    }


_COUNTED = ("all_photos", "pairs", "predictions")
"""Tables whose rows have counts of their own."""


def _rows(name: str) -> str:
    """SQL: how many rows of one table were added, removed and changed, for photos and classes of both releases."""
    changed = "0" if name in _PHOTO_TABLES else f"(SELECT count(*) FROM changed_{name})"
    added, removed = (f"(SELECT count(*) {_only_in(side, name)})" for side in ("new", "old"))
    return f"SELECT '{name}' AS \"table\", {added} AS num_added, {removed} AS num_removed, {changed} AS num_changed"


def _only_in(side: str, name: str) -> str:
    """SQL: the rows of a table that one side alone has, of photos and classes of both; of all in `rejects`."""
    whole, by = ("all_photos", "photo_id") if name in (*_PHOTO_TABLES, "predictions") else ("pairs", "class_id")
    return f"FROM only_{side}_{name} " + ("" if name == "rejects" else f"SEMI JOIN both_{whole} USING ({by})")
