"""What selection counts: group accuracies of every model, and each class's outcomes by observer.

DuckDB reads tables or Parquet datasets without holding the predictions in memory; what the
statistics see is one row a group and observer.
"""

from __future__ import annotations

import logging
import tempfile
from typing import Any, NamedTuple, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem

from counterset.errors import WorkspaceError
from counterset.schemas import GROUP_ACCURACY, PAIRS, Half
from counterset.statistics.observers import CONFIRM, DISCOVER, Floats, Results
from counterset.tables import conform

logger = logging.getLogger(__name__)

Rows: TypeAlias = pa.Table | ds.Dataset
"""A table in memory, or a dataset on disk that is read as it streams by."""

Columns: TypeAlias = dict[str, Any]
"""Columns by name, each a numpy array of equal length."""


class ClassUnits(NamedTuple):
    """One class's outcomes, with the names of its groups and the counts of sure photos.

    Attributes:
        class_id: the class.
        groups: (G,) names of the groups.
        results: one row a group and observer.
        num_sure: (C,) photos whose margin is in the upper half of their group's.
        correct_sure: (C,) summed outcomes of these.
    """

    class_id: str
    groups: tuple[str, ...]
    results: Results
    num_sure: Floats
    correct_sure: Floats


def _by_class(units: Columns, class_ids: tuple[str, ...]) -> list[ClassUnits]:
    """The units of each class of `class_ids`, in that order."""
    names = {name: np.asarray(units[name]).astype(str) for name in ("class_id", "group", "half", "observer")}
    classes = []
    for class_id in class_ids:
        rows = slice(
            np.searchsorted(names["class_id"], class_id), np.searchsorted(names["class_id"], class_id, side="right")
        )
        groups, group = np.unique(names["group"][rows], return_inverse=True)
        observer = np.unique(names["observer"][rows], return_inverse=True)[1]
        half = np.where(names["half"][rows] == Half.CONFIRM.value, CONFIRM, DISCOVER)
        n, k, kk, n_sure, k_sure = (np.asarray(units[name][rows]) for name in ("n", "k", "kk", "n_sure", "k_sure"))
        results = Results(len(groups), group, half, observer, n, k, kk)
        classes.append(ClassUnits(class_id, tuple(map(str, groups)), results, n_sure, k_sure))
    return classes


class Counts(NamedTuple):
    """The group_accuracy table, and the outcomes of each class under the selectors."""

    group_accuracy: pa.Table
    classes: list[ClassUnits]


def count(
    members: Rows,
    backgrounds: Rows,
    predictions: Rows,
    *,
    selectors: tuple[str, ...],
    label_space: str,
    class_ids: tuple[str, ...],
) -> Counts:
    """Count every model's right photos by group, and the selectors' by group and observer.

    Args:
        members: photo_id, class_id, observer, half are read.
        backgrounds: photo_id, group, margin are read; photos without a group are left out.
        predictions: photo_id, model, label_space, is_correct are read.
        selectors: models whose mean outcome counts; photos that one of them lacks do not.
        label_space: the label space to use.
        class_ids: the classes, in the order of the answer.

    Raises:
        WorkspaceError: no photo was predicted by every selector in the label space.
    """
    with tempfile.TemporaryDirectory() as scratch, duckdb.connect(config={"temp_directory": scratch}) as connection:
        connection.execute("SET preserve_insertion_order = false")
        sources = {
            name: _register(connection, name, rows)
            for name, rows in (("members", members), ("backgrounds", backgrounds), ("predictions", predictions))
        }
        _load_photos(connection, sources, class_ids)
        group_accuracy = _group_accuracy(connection, sources["predictions"], label_space)
        units = _units(connection, sources["predictions"], selectors, label_space)
    return Counts(group_accuracy, _by_class(units, class_ids))


def _register(connection: duckdb.DuckDBPyConnection, name: str, rows: Rows) -> str:
    """The SQL that reads `rows`; local Parquet files are read by DuckDB itself, which is faster."""
    if (
        isinstance(rows, ds.FileSystemDataset)
        and isinstance(rows.format, ds.ParquetFileFormat)
        and isinstance(rows.filesystem, LocalFileSystem)
    ):
        files = ", ".join("'" + file.replace("'", "''") + "'" for file in rows.files)
        return f"read_parquet([{files}])"
    connection.register(name, rows)
    return name


def _load_photos(connection: duckdb.DuckDBPyConnection, sources: dict[str, str], class_ids: tuple[str, ...]) -> None:
    """Table `photo` of grouped photos; `unit` (class, group, observer) and `stratum` (class, group, half) behind it."""
    connection.register("wanted", pa.table({"class_id": pa.array(class_ids, pa.string())}))
    connection.execute(
        f"""
        CREATE TEMP TABLE grouped AS
        SELECT photo_id, class_id, "group", half, observer, margin
        FROM {sources["members"]} JOIN (SELECT photo_id, "group", margin FROM {sources["backgrounds"]}) USING (photo_id)
        WHERE "group" IS NOT NULL AND class_id IN (SELECT class_id FROM wanted);

        CREATE TEMP TABLE stratum AS
        SELECT (row_number() OVER (ORDER BY class_id, "group", half) - 1)::INTEGER AS stratum,
               class_id, "group", half, num_photos, num_observers, median_margin
        FROM (SELECT class_id, "group", half, count(*) AS num_photos, count(DISTINCT observer) AS num_observers,
                     median(margin) AS median_margin
              FROM grouped GROUP BY ALL);

        CREATE TEMP TABLE unit AS
        SELECT (row_number() OVER () - 1)::INTEGER AS unit, stratum, class_id, "group", half, observer, median_margin
        FROM (SELECT DISTINCT class_id, "group", half, observer FROM grouped)
        JOIN stratum USING (class_id, "group", half);

        CREATE TEMP TABLE photo AS
        SELECT photo_id, unit, stratum, margin >= median_margin AS is_sure
        FROM grouped JOIN unit USING (class_id, "group", half, observer);

        DROP TABLE grouped;
        """
    )


def _group_accuracy(connection: duckdb.DuckDBPyConnection, predictions: str, label_space: str) -> pa.Table:
    """The group_accuracy table: every model, and the halves discover, confirm and all."""
    connection.execute(
        f"""
        CREATE TEMP TABLE counted AS
        SELECT stratum, model, count(*) AS num_photos, count(*) FILTER (is_correct) AS num_correct
        FROM {predictions} JOIN photo USING (photo_id)
        WHERE label_space = ? GROUP BY ALL
        """,
        [label_space],
    )
    # A model that has predicted every photo has the stratum's observers; only others are counted one by one.
    connection.execute(
        f"""
        CREATE TEMP TABLE partly AS
        SELECT stratum, model, count(DISTINCT unit) AS num_observers
        FROM {predictions} JOIN photo USING (photo_id)
        WHERE label_space = ? AND model IN (
            SELECT model FROM counted JOIN stratum USING (stratum) WHERE counted.num_photos < stratum.num_photos)
        GROUP BY ALL
        """,
        [label_space],
    )
    table = connection.sql(
        """
        WITH halves AS (
            SELECT class_id, "group", model, half, counted.num_photos, num_correct,
                   coalesce(partly.num_observers, stratum.num_observers) AS num_observers
            FROM counted JOIN stratum USING (stratum) LEFT JOIN partly USING (stratum, model)
        ), summed AS (
            FROM halves UNION ALL BY NAME SELECT * REPLACE ('all' AS half) FROM halves
        )
        SELECT class_id, "group", model, half, sum(num_photos)::BIGINT AS num_photos,
               sum(num_observers)::BIGINT AS num_observers, sum(num_correct)::BIGINT AS num_correct,
               sum(num_correct) / sum(num_photos) AS accuracy
        FROM summed GROUP BY class_id, "group", model, half
        """
    ).to_arrow_table()
    return conform(table, GROUP_ACCURACY)


def _units(
    connection: duckdb.DuckDBPyConnection, predictions: str, selectors: tuple[str, ...], label_space: str
) -> Columns:
    """Columns class_id, group, half, observer, n, k, kk, n_sure, k_sure: one row a class, group and observer.

    n photos that every selector has predicted; k the sum over them of the share of selectors
    that were right, kk of its square; n_sure and k_sure count photos of the upper half of margins.
    """
    connection.register("selector", pa.table({"model": pa.array(selectors, pa.string())}))
    right = f"FROM {predictions} JOIN photo USING (photo_id) WHERE label_space = ? AND model IN (FROM selector)"
    per_photo = (
        f"SELECT unit, is_sure, is_correct::BIGINT AS k {right}"
        if len(selectors) == 1
        else f"SELECT any_value(unit) AS unit, any_value(is_sure) AS is_sure, "
        f"count(*) FILTER (is_correct) AS k {right} GROUP BY photo_id HAVING count(*) = {len(selectors)}"
    )
    units: Columns = connection.execute(
        f"""
        WITH right_selectors AS ({per_photo}),
             counted AS (SELECT unit, count(*) AS n, sum(k) AS k, sum(k * k) AS kk,
                                count(*) FILTER (is_sure) AS n_sure, coalesce(sum(k) FILTER (is_sure), 0) AS k_sure
                         FROM right_selectors GROUP BY unit)
        SELECT class_id, "group", half, observer, n::DOUBLE AS n, k / {len(selectors)} AS k,
               kk / {len(selectors) ** 2} AS kk, n_sure::DOUBLE AS n_sure, k_sure / {len(selectors)} AS k_sure
        FROM counted JOIN unit USING (unit) ORDER BY class_id, "group", half, observer
        """,
        [label_space],
    ).fetchnumpy()
    (num_photos,) = connection.execute("SELECT count(*) FROM photo").fetchone() or (0,)
    lacking = num_photos - int(units["n"].sum())
    if lacking and not len(units["n"]):
        raise WorkspaceError(
            f"the selectors {', '.join(selectors)} have not all predicted a photo in the label space {label_space!r}; "
            "evaluate them first"
        )
    if lacking:
        logger.warning("%d of %d grouped photos lack a selector's prediction and do not count", lacking, num_photos)
    return units


def with_model_spread(pairs: pa.Table, group_accuracy: pa.Table) -> pa.Table:
    """`pairs` with the lowest and highest drop on confirm over all models."""
    with duckdb.connect() as connection:
        connection.register("pairs", pairs)
        connection.register("group_accuracy", group_accuracy)
        table = connection.sql(
            """
            WITH confirm AS (SELECT class_id, "group", model, accuracy FROM group_accuracy WHERE half = 'confirm'),
            spread AS (
                SELECT pairs.class_id, min(a.accuracy - b.accuracy) AS lowest, max(a.accuracy - b.accuracy) AS highest
                FROM pairs
                JOIN confirm AS a ON a.class_id = pairs.class_id AND a."group" = common
                JOIN confirm AS b ON b.class_id = pairs.class_id AND b."group" = counter AND b.model = a.model
                GROUP BY pairs.class_id
            )
            SELECT pairs.* REPLACE (lowest AS drop_lowest_model, highest AS drop_highest_model)
            FROM pairs LEFT JOIN spread USING (class_id)
            """
        ).to_arrow_table()
    return conform(table, PAIRS)
