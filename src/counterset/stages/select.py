"""Select: choose each class's pair of groups on the discover half, test it, measure it on confirm.

Group accuracies come from DuckDB, which reads tables or Parquet datasets without holding
the predictions in memory; what the statistics see is one row an observer and group.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from dataclasses import dataclass
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem
from statsmodels.stats.multitest import multipletests

from counterset.config import SelectConfig
from counterset.errors import WorkspaceError
from counterset.schemas import GROUP_ACCURACY, PAIRS, Half, Verdict
from counterset.statistics.intervals import newcombe
from counterset.statistics.observers import Cells, Dispersion, Floats, Ints, estimate_dispersion, observer_weights
from counterset.statistics.permutation import permutation_p_value
from counterset.tables import conform, table_of

logger = logging.getLogger(__name__)

Rows = pa.Table | ds.Dataset
"""A table in memory, or a dataset on disk that is read as it streams by."""


class SelectResult(NamedTuple):
    """Tables of the group_accuracy and pairs schemas."""

    group_accuracy: pa.Table
    pairs: pa.Table


def select_pairs(
    members: Rows,
    backgrounds: Rows,
    predictions: Rows,
    config: SelectConfig,
    *,
    selectors: tuple[str, ...],
    label_space: str,
    class_ids: tuple[str, ...],
    seed: int,
) -> SelectResult:
    """One row a class, group, model and half; and one row a class: its pair and verdict.

    Args:
        members: photo_id, class_id, observer, half are read.
        backgrounds: photo_id, group are read; photos without a group are left out.
        predictions: photo_id, model, label_space, is_correct are read, for every model.
        config: limits and mode.
        selectors: the models whose mean accuracy chooses; every one must have predicted each photo that counts.
        label_space: the predictions' label space to use.
        class_ids: every class gets exactly one row of pairs, whatever was found.
        seed: of the permutations; a class's result does not depend on the other classes' data order.

    Raises:
        WorkspaceError: a selector has no predictions in the label space.
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
    classes = _by_class(units, class_ids)
    dispersion = estimate_dispersion(_pooled(classes))
    decide = _paper_pair if config.mode == "paper" else _split_pair
    rows = [decide(found, config, dispersion, seed) for found in classes]
    if config.mode == "split":
        _judge(rows, config)
    return SelectResult(group_accuracy, table_of(PAIRS, rows))


# ---------------------------------------------------------------- what DuckDB counts


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
    """Table `photo` (photo_id, unit, stratum) of grouped photos, `unit` and `stratum` behind its numbers."""
    connection.register("wanted", pa.table({"class_id": pa.array(class_ids, pa.string())}))
    connection.execute(
        f"""
        CREATE TEMP TABLE grouped AS
        SELECT photo_id, class_id, "group", half, observer
        FROM {sources["members"]} JOIN (SELECT photo_id, "group" FROM {sources["backgrounds"]}) USING (photo_id)
        WHERE "group" IS NOT NULL AND class_id IN (SELECT class_id FROM wanted);

        CREATE TEMP TABLE stratum AS
        SELECT (row_number() OVER (ORDER BY class_id, "group", half) - 1)::INTEGER AS stratum,
               class_id, "group", half, num_photos, num_observers
        FROM (SELECT class_id, "group", half, count(*) AS num_photos, count(DISTINCT observer) AS num_observers
              FROM grouped GROUP BY ALL);

        CREATE TEMP TABLE unit AS
        SELECT (row_number() OVER () - 1)::INTEGER AS unit, stratum, class_id, "group", half, observer
        FROM (SELECT DISTINCT class_id, "group", half, observer FROM grouped)
        JOIN stratum USING (class_id, "group", half);

        CREATE TEMP TABLE photo AS
        SELECT photo_id, unit, stratum FROM grouped JOIN unit USING (class_id, "group", half, observer);

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
) -> dict[str, np.ndarray[Any, Any]]:
    """Columns class_id, group, half, observer, n, k, kk: one row a class, group and observer.

    n photos that every selector has predicted, k the sum over them of how many selectors were
    right, kk the sum of that number squared.
    """
    connection.register("selector", pa.table({"model": pa.array(selectors, pa.string())}))
    right = f"FROM {predictions} JOIN photo USING (photo_id) WHERE label_space = ? AND model IN (FROM selector)"
    per_photo = (
        f"SELECT unit, is_correct::BIGINT AS k {right}"
        if len(selectors) == 1
        else f"SELECT any_value(unit) AS unit, count(*) FILTER (is_correct) AS k {right} "
        f"GROUP BY photo_id HAVING count(*) = {len(selectors)}"
    )
    units: dict[str, np.ndarray[Any, Any]] = connection.execute(
        f"""
        WITH right_selectors AS ({per_photo}),
             counted AS (SELECT unit, count(*) AS n, sum(k)::BIGINT AS k, sum(k * k)::BIGINT AS kk
                         FROM right_selectors GROUP BY unit)
        SELECT class_id, "group", half, observer, n, k / {len(selectors)} AS k, kk / {len(selectors) ** 2} AS kk
        FROM counted JOIN unit USING (unit) ORDER BY class_id, "group", half, observer
        """,
        [label_space],
    ).fetchnumpy()
    if not len(units["n"]):
        missing = connection.execute(
            f"SELECT model FROM selector WHERE model NOT IN (SELECT model FROM {predictions} WHERE label_space = ?)",
            [label_space],
        ).fetchone()
        grouped = connection.execute("SELECT count(*) FROM photo").fetchone()
        if missing and grouped and grouped[0]:
            raise WorkspaceError(
                f"the selector {missing[0]!r} has no predictions in the label space {label_space!r}; evaluate it first"
            )
    return units


# ---------------------------------------------------------------- one class


@dataclass(frozen=True)
class ClassUnits:
    """One class's results, one row a group and observer, sorted by group.

    Attributes:
        class_id: the class.
        groups: names; `group` indexes them.
        group: (C,) index of the group.
        half: (C,) 0 = discover, 1 = confirm.
        observer: (C,) index of the observer within the class.
        n: (C,) photos.
        k: (C,) sum of outcomes (right = 1; mean over selectors).
        kk: (C,) sum of squared outcomes.
    """

    class_id: str
    groups: tuple[str, ...]
    group: Ints
    half: Ints
    observer: Ints
    n: Floats
    k: Floats
    kk: Floats


def _by_class(units: dict[str, np.ndarray[Any, Any]], class_ids: tuple[str, ...]) -> list[ClassUnits]:
    """The units of each class of `class_ids`, in that order."""
    classes = []
    column = np.asarray(units["class_id"], dtype=object).astype(str)
    for class_id in class_ids:
        rows = slice(np.searchsorted(column, class_id), np.searchsorted(column, class_id, side="right"))
        groups, group = np.unique(np.asarray(units["group"][rows]).astype(str), return_inverse=True)
        _, observer = np.unique(np.asarray(units["observer"][rows]).astype(str), return_inverse=True)
        half = np.asarray(units["half"][rows]).astype(str) == Half.CONFIRM.value
        n, k, kk = (np.asarray(units[name][rows], dtype=np.float64) for name in ("n", "k", "kk"))
        classes.append(ClassUnits(class_id, tuple(map(str, groups)), group, half.astype(np.int64), observer, n, k, kk))
    return classes


def _pooled(classes: list[ClassUnits]) -> Cells:
    """All classes' results in one, a stratum being a class and group."""
    offsets = np.cumsum([0, *(len(found.groups) for found in classes)])
    return Cells(
        np.concatenate([found.group + offset for found, offset in zip(classes, offsets, strict=False)]),
        np.concatenate([found.observer for found in classes]),
        np.concatenate([found.n for found in classes]),
        np.concatenate([found.k for found in classes]),
        np.concatenate([found.kk for found in classes]),
    )


def _split_pair(found: ClassUnits, config: SelectConfig, dispersion: Dispersion, seed: int) -> dict[str, Any]:
    """A row of pairs, without q_value and verdict unless too small."""
    num_groups = len(found.groups)
    stratum = found.half * num_groups + found.group
    photos = np.bincount(stratum, weights=found.n, minlength=2 * num_groups).reshape(2, -1)
    observers = np.bincount(stratum, minlength=2 * num_groups).reshape(2, -1)
    enough = (photos.min(axis=0) >= config.min_photos) & (observers.min(axis=0) >= config.min_observers)
    if enough.sum() < 2:
        return _too_small(
            found.class_id,
            f"{int(enough.sum())} of {num_groups} groups have {config.min_photos} photos and "
            f"{config.min_observers} observers on each half; two are needed",
        )
    kept = enough[found.group]
    weights = observer_weights(found.n, dispersion.observer_correlation)
    weight, right = (
        np.bincount(stratum, weights=values, minlength=2 * num_groups).reshape(2, -1)
        for values in (weights, weights * found.k / found.n)
    )
    accuracy = np.divide(right, weight, out=np.full_like(right, np.nan), where=weight > 0)
    eligible = np.flatnonzero(enough)
    common = int(eligible[accuracy[0, eligible].argmax()])
    counter = int(eligible[accuracy[0, eligible].argmin()])
    row = _row(found, common, counter, photos.sum(axis=0), observers.sum(axis=0))
    low, high = newcombe(
        accuracy[1, common],
        weight[1, common] / dispersion.scale,
        accuracy[1, counter],
        weight[1, counter] / dispersion.scale,
        _overlap(found, weights, weight[1], common, counter) * dispersion.observer_correlation,
    )
    row |= {
        "drop_discover": accuracy[0, common] - accuracy[0, counter],
        "drop": accuracy[1, common] - accuracy[1, counter],
        "drop_low": low,
        "drop_high": high,
        "accuracy_common": accuracy[1, common],
        "accuracy_counter": accuracy[1, counter],
        "p_value": permutation_p_value(
            np.unique(found.group[kept], return_inverse=True)[1],
            found.half[kept],
            weights[kept],
            (found.k / found.n)[kept],
            num_permutations=config.num_permutations,
            rng=_generator(seed, found.class_id),
        ),
    }
    return row


def _overlap(found: ClassUnits, weights: Floats, weight: Floats, common: int, counter: int) -> float:
    """Sum over confirm observers in both groups of their weights' product, over the root of the groups' product."""
    on_confirm = found.half == 1
    size = int(found.observer.max()) + 1
    in_group = [
        np.bincount(found.observer[rows], weights=weights[rows], minlength=size)
        for rows in (on_confirm & (found.group == group) for group in (common, counter))
    ]
    return float(in_group[0] @ in_group[1] / np.sqrt(weight[common] * weight[counter]))


def _paper_pair(found: ClassUnits, config: SelectConfig, dispersion: Dispersion, seed: int) -> dict[str, Any]:
    """A row of pairs as published: highest and lowest accuracy over all photos, more than `min_drop` apart."""
    num_groups = len(found.groups)
    photos = np.bincount(found.group, weights=found.n, minlength=num_groups)
    observers = np.array([len(np.unique(found.observer[found.group == group])) for group in range(num_groups)])
    eligible = np.flatnonzero(photos >= config.min_photos)
    if len(eligible) < 2:
        return _too_small(
            found.class_id,
            f"{len(eligible)} of {num_groups} groups have {config.min_photos} photos; two are needed",
        )
    accuracy = np.bincount(found.group, weights=found.k, minlength=num_groups) / photos
    common = int(eligible[accuracy[eligible].argmax()])
    counter = int(eligible[accuracy[eligible].argmin()])
    drop = accuracy[common] - accuracy[counter]
    is_kept = bool(drop > config.min_drop)
    return _row(found, common, counter, photos, observers) | {
        "verdict": (Verdict.CONFIRMED if is_kept else Verdict.UNCONFIRMED).value,
        "drop": drop,
        "accuracy_common": accuracy[common],
        "accuracy_counter": accuracy[counter],
        "reason": None if is_kept else f"the drop is at most {config.min_drop:g}",
    }


def _row(found: ClassUnits, common: int, counter: int, photos: Floats, observers: Ints) -> dict[str, Any]:
    """The columns of pairs that only count."""
    grouped = photos.sum()
    return {
        "class_id": found.class_id,
        "common": found.groups[common],
        "counter": found.groups[counter],
        "num_common": int(photos[common]),
        "num_counter": int(photos[counter]),
        "num_observers_common": int(observers[common]),
        "num_observers_counter": int(observers[counter]),
        "frequency_common": photos[common] / grouped,
        "frequency_counter": photos[counter] / grouped,
        "is_common_rarer": bool(photos[common] < photos[counter]),
        "is_fragile": False,
    }


def _too_small(class_id: str, reason: str) -> dict[str, Any]:
    counts = ("num_common", "num_counter", "num_observers_common", "num_observers_counter")
    return {
        "class_id": class_id,
        "verdict": Verdict.TOO_SMALL.value,
        **dict.fromkeys(counts, 0),
        "is_common_rarer": False,
        "is_fragile": False,
        "reason": reason,
    }


def _judge(rows: list[dict[str, Any]], config: SelectConfig) -> None:
    """Fill in q_value, verdict and reason of the classes that were tested."""
    tested = [row for row in rows if "p_value" in row]
    if not tested:
        return
    q_values = multipletests([row["p_value"] for row in tested], method="fdr_bh")[1]
    for row, q_value in zip(tested, q_values, strict=True):
        row["q_value"] = float(q_value)
        if q_value > config.max_q_value:
            row["reason"] = f"q = {q_value:.3f} is above {config.max_q_value:g}"
        elif row["drop_low"] <= 0:
            row["reason"] = f"the interval of the drop reaches {row['drop_low']:.3f}"
        row["verdict"] = (Verdict.UNCONFIRMED if "reason" in row else Verdict.CONFIRMED).value


def _generator(seed: int, class_id: str) -> np.random.Generator:
    """A class's own generator: its draws do not change when other classes come or go."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(class_id.encode()).digest()[:8])])
