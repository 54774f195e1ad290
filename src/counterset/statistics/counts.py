"""What selection counts: group accuracies of every model, and each class's outcomes by unit.

DuckDB reads tables or Parquet datasets without holding the predictions in memory; what the
statistics see is one row per group and unit.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem

from counterset.errors import WorkspaceError
from counterset.parquet_sql import parquet_sql
from counterset.schemas import GROUP_ACCURACY, PAIRS, SENSITIVITY
from counterset.statistics.observers import CONFIRM, DISCOVER, Dispersion, Floats, Results
from counterset.statistics.selector_margin import double_ranks
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
        results: one row per group and unit.
        num_sure: (C,) photos whose margin is in the upper half of their group's.
        correct_sure: (C,) summed outcomes of these.
        graded: the same rows, whose outcome is the rank of the selectors' margins within the class
            (`selector_margin`); it chooses and tests, right-or-wrong answers measure.
    """

    class_id: str
    groups: tuple[str, ...]
    results: Results
    num_sure: Floats
    correct_sure: Floats
    graded: Results

    def weights(self, dispersion: Dispersion) -> Floats:
        """(C,) what each row's photos are worth, by the correlation of its background."""
        rho = dispersion.correlations(self.groups)[self.results.group]
        return dispersion.weights(self.results.num_photos, rho)


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
    """Count every model's right photos by group, and the selectors' by group and unit.

    Args:
        members: photo_id, class_id, observer, unit, half are read.
        backgrounds: photo_id, group, margin are read; photos without a group are left out.
        predictions: photo_id, model, label_space, is_correct, margin are read.
        selectors: models whose mean outcome counts; photos that one of them lacks do not.
        label_space: the label space to use.
        class_ids: the classes; the answer has them in alphabetical order.

    Raises:
        WorkspaceError: no photo was predicted by every selector in the label space.
    """
    with tempfile.TemporaryDirectory() as scratch, duckdb.connect(config={"temp_directory": scratch}) as connection:
        connection.execute("SET preserve_insertion_order = false; SET enable_progress_bar = false")
        sources = {
            name: register(connection, name, rows)
            for name, rows in (("members", members), ("backgrounds", backgrounds), ("predictions", predictions))
        }
        key = _key(connection, sources["members"])
        _load_photos(connection, sources, key, class_ids)
        predicted = f"(SELECT {key} AS key, model, label_space, is_correct, margin FROM {sources['predictions']})"
        group_accuracy = _group_accuracy(connection, predicted, label_space)
        photos = _photos(connection, predicted, selectors, label_space)
        groups = [name for (name,) in connection.execute('SELECT "group" FROM group_code ORDER BY 1').fetchall()]
    return Counts(group_accuracy, _by_class(photos, sorted(class_ids), groups, len(selectors)))


def register(connection: duckdb.DuckDBPyConnection, name: str, rows: Rows) -> str:
    """The SQL that reads `rows`; local Parquet files are read by DuckDB itself, which is faster."""
    if (
        isinstance(rows, ds.FileSystemDataset)
        and isinstance(rows.format, ds.ParquetFileFormat)
        and isinstance(rows.filesystem, LocalFileSystem)
    ):
        return parquet_sql(rows.files)
    connection.register(name, rows)
    return name


def _key(connection: duckdb.DuckDBPyConnection, members: str) -> str:
    """What photos are joined by: a 64-bit hash of photo_id, a quarter of the id's time and memory, where it tells
    all members apart."""
    ((different, total),) = connection.sql(f"SELECT count(DISTINCT hash(photo_id)), count(*) FROM {members}").fetchall()
    return "hash(photo_id)" if different == total else "photo_id"


def _load_photos(
    connection: duckdb.DuckDBPyConnection, sources: dict[str, str], key: str, class_ids: tuple[str, ...]
) -> None:
    """Tables `photo`, the grouped photos, and `stratum`, the halves of groups of classes, in order of their names.

    Observers and units become numbers by MD5, which is the same everywhere, so their order is too.
    """
    connection.register("class_name", pa.table({"class_id": pa.array(sorted(class_ids), pa.string())}))
    connection.execute(
        f"""
        CREATE TEMP TABLE class_code AS
        SELECT class_id, row_number() OVER (ORDER BY class_id) - 1 AS class_code FROM class_name;

        CREATE TEMP TABLE group_code AS
        SELECT "group", row_number() OVER (ORDER BY "group") - 1 AS group_code
        FROM (SELECT DISTINCT "group" FROM {sources["backgrounds"]} WHERE "group" IS NOT NULL);

        CREATE TEMP TABLE grouped AS
        SELECT {key} AS key, group_code::SMALLINT AS group_code, margin
        FROM {sources["backgrounds"]} JOIN group_code USING ("group");

        CREATE TEMP TABLE photo AS
        SELECT key, margin AS background_margin, md5_number_lower(unit) AS unit, md5_number_lower(observer) AS observer,
               (((class_code * (SELECT count(*) FROM group_code)) + group_code) * 2)::INTEGER
                   + (half = 'confirm')::INTEGER AS stratum
        FROM (SELECT {key} AS key, class_id, half, unit, observer FROM {sources["members"]})
        JOIN class_code USING (class_id)
        JOIN grouped USING (key);

        DROP TABLE grouped;

        CREATE TEMP TABLE stratum AS
        SELECT stratum, class_id, "group", CASE stratum % 2 WHEN 1 THEN 'confirm' ELSE 'discover' END AS half,
               num_photos, num_observers, num_units, median_margin
        FROM (SELECT stratum, count(*) AS num_photos, count(DISTINCT observer) AS num_observers,
                     count(DISTINCT unit) AS num_units, median(background_margin) AS median_margin
              FROM photo GROUP BY stratum)
        JOIN class_code ON class_code = stratum // 2 // (SELECT count(*) FROM group_code)
        JOIN group_code ON group_code = stratum // 2 % (SELECT count(*) FROM group_code);
        """
    )


def _group_accuracy(connection: duckdb.DuckDBPyConnection, predictions: str, label_space: str) -> pa.Table:
    """The group_accuracy table: every model, and the halves discover, confirm and all."""
    connection.execute(
        f"""
        CREATE TEMP TABLE counted AS
        SELECT stratum, model, count(*) AS num_photos, count(*) FILTER (is_correct) AS num_correct
        FROM {predictions} JOIN photo USING (key)
        WHERE label_space = ? GROUP BY ALL
        """,
        [label_space],
    )
    # A model that has predicted every photo has the stratum's observers and units; only others are counted one by one.
    connection.execute(
        f"""
        CREATE TEMP TABLE partly AS
        SELECT stratum, model, count(DISTINCT observer) AS num_observers, count(DISTINCT unit) AS num_units
        FROM {predictions} JOIN photo USING (key)
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
                   coalesce(partly.num_observers, stratum.num_observers) AS num_observers,
                   coalesce(partly.num_units, stratum.num_units) AS num_units
            FROM counted JOIN stratum USING (stratum) LEFT JOIN partly USING (stratum, model)
        ), summed AS (
            FROM halves UNION ALL BY NAME SELECT * REPLACE ('all' AS half) FROM halves
        )
        SELECT class_id, "group", model, half, sum(num_photos)::BIGINT AS num_photos,
               sum(num_observers)::BIGINT AS num_observers, sum(num_units)::BIGINT AS num_units,
               sum(num_correct)::BIGINT AS num_correct,
               sum(num_correct) / sum(num_photos) AS accuracy
        FROM summed GROUP BY class_id, "group", model, half
        """
    ).to_arrow_table()
    return conform(table, GROUP_ACCURACY)


def _photos(
    connection: duckdb.DuckDBPyConnection, predictions: str, selectors: tuple[str, ...], label_space: str
) -> Columns:
    """Columns stratum, unit, k, is_sure and margin_0, margin_1, ...: one row a grouped photo that every selector
    has predicted.

    k is the number of selectors that were right; is_sure photos are of the upper half of background margins of their
    stratum; margin_0 is the first selector's.
    """
    number = len(selectors)
    codes = pa.array(range(number), pa.int8())
    connection.register("selector", pa.table({"model": pa.array(selectors, pa.string()), "code": codes}))
    right = f"FROM {predictions} JOIN selector USING (model) JOIN photo USING (key) WHERE label_space = ?"
    margins = ", ".join(f"max(margin) FILTER (code = {code}) AS margin_{code}" for code in range(number))
    per_photo = (
        f"SELECT stratum, unit, background_margin, is_correct::INTEGER AS k, margin AS margin_0 {right}"
        if number == 1
        else "SELECT any_value(stratum) AS stratum, any_value(unit) AS unit, "
        "any_value(background_margin) AS background_margin, "
        f"(count(*) FILTER (is_correct))::INTEGER AS k, {margins} {right} GROUP BY key HAVING count(*) = {number}"
    )
    photos: Columns = connection.execute(
        f"""
        SELECT stratum, unit, k, background_margin >= median_margin AS is_sure, COLUMNS('^margin_[0-9]+$')
        FROM ({per_photo}) JOIN stratum USING (stratum)
        """,
        [label_space],
    ).fetchnumpy()
    (num_photos,) = connection.execute("SELECT count(*) FROM photo").fetchone() or (0,)
    lacking = num_photos - len(photos["k"])
    if lacking > 0 and not len(photos["k"]):
        raise WorkspaceError(
            f"the selectors {', '.join(selectors)} have not all predicted a photo in the label space {label_space!r}; "
            "evaluate them first"
        )
    if lacking > 0:
        logger.warning("%d of %d grouped photos lack a selector's prediction and do not count", lacking, num_photos)
    return photos


def _by_class(photos: Columns, class_ids: list[str], groups: list[str], num_selectors: int) -> list[ClassUnits]:
    """The outcomes of each class by group, half and unit, its own groups only.

    DuckDB's threads hand out photos in any order, so whole numbers are summed, which is exact, and
    divided by the number of selectors afterwards.
    """
    margins = [photos[f"margin_{code}"] for code in range(num_selectors)]
    order = np.lexsort((*margins, photos["unit"], photos["stratum"]))
    photos = {name: column[order] for name, column in photos.items()}
    starts = np.searchsorted(photos["stratum"], 2 * len(groups) * np.arange(len(class_ids) + 1))
    classes = []
    for class_id, start, end in zip(class_ids, starts[:-1], starts[1:], strict=True):
        stratum, unit, k, is_sure = (photos[name][start:end] for name in ("stratum", "unit", "k", "is_sure"))
        ranks = double_ranks(np.column_stack([photos[f"margin_{code}"][start:end] for code in range(num_selectors)]))
        # A new row wherever the stratum or the unit changes: (N,) photos -> (C,) first photos
        is_first = np.ones(len(stratum), np.bool_)
        is_first[1:] = (stratum[1:] != stratum[:-1]) | (unit[1:] != unit[:-1])
        row = np.cumsum(is_first) - 1
        columns = [np.ones_like(k), k, k * k, is_sure, np.where(is_sure, k, 0), ranks, ranks * ranks]
        n, right, squares, num_sure, sure_right, rank, rank_squares = (
            _summed(column, row, int(is_first.sum())) for column in columns
        )
        codes, group = np.unique(stratum[is_first] // 2 % max(len(groups), 1), return_inverse=True)
        half = np.where(stratum[is_first] % 2 == 1, CONFIRM, DISCOVER)
        numbers = np.unique(unit[is_first], return_inverse=True)[1]
        results = Results(len(codes), group, half, numbers, n, right / num_selectors, squares / num_selectors**2)
        largest = 2.0 * len(ranks) * num_selectors
        graded = replace(results, sum_correct=rank / largest, sum_squares=rank_squares / largest**2)
        names = tuple(groups[code] for code in codes)
        classes.append(ClassUnits(class_id, names, results, num_sure, sure_right / num_selectors, graded))
    return classes


def _summed(values: Any, row: Any, num_rows: int) -> Floats:
    """(N,) whole numbers -> (C,): their sums by row, exact below 2**53."""
    return np.asarray(np.bincount(row, values, num_rows), np.float64)


def sensitivity(pairs: pa.Table, group_accuracy: dict[str, pa.Table]) -> pa.Table:
    """Each pair's drop on confirm under every model and set of prompts (sensitivity schema).

    Args:
        pairs: the chosen pairs.
        group_accuracy: by the name of the prompts.
    """
    with duckdb.connect() as connection:
        connection.register("pairs", pairs)
        parts = []
        for number, (templates, table) in enumerate(group_accuracy.items()):
            connection.register(f"accuracy_{number}", table)
            name = templates.replace("'", "''")
            parts.append(f"SELECT *, '{name}' AS templates FROM accuracy_{number} WHERE half = 'confirm'")
        table = connection.sql(
            f"""
            WITH confirm AS ({" UNION ALL ".join(parts)})
            SELECT pairs.class_id, a.model, a.templates, a.num_photos AS num_common, b.num_photos AS num_counter,
                   a.accuracy AS accuracy_common, b.accuracy AS accuracy_counter, a.accuracy - b.accuracy AS "drop"
            FROM pairs
            JOIN confirm AS a ON a.class_id = pairs.class_id AND a."group" = common
            JOIN confirm AS b ON b.class_id = pairs.class_id AND b."group" = counter
                             AND b.model = a.model AND b.templates = a.templates
            """
        ).to_arrow_table()
    return conform(table, SENSITIVITY)


def with_spread(pairs: pa.Table, sensitivity: pa.Table, stability: pa.Table) -> pa.Table:
    """`pairs` with the lowest and highest drop over models and prompts, and the stability of the groups."""
    with duckdb.connect() as connection:
        for name, rows in (("pairs", pairs), ("sensitivity", sensitivity), ("stability", stability)):
            connection.register(name, rows)
        table = connection.sql(
            """
            WITH spread AS (
                SELECT class_id, min("drop") AS lowest, max("drop") AS highest FROM sensitivity GROUP BY class_id
            )
            SELECT pairs.* REPLACE (lowest AS drop_lowest_model, highest AS drop_highest_model,
                                    seeds AS stability_seeds, halves AS stability_halves)
            FROM pairs LEFT JOIN spread USING (class_id) LEFT JOIN stability USING (class_id)
            """
        ).to_arrow_table()
    return conform(table, PAIRS)
