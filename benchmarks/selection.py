"""Selection at scale: seconds and peak memory of its counting, and of its permutations.

    python benchmarks/selection.py --photos 10000000 --models 10 --times 10 --folder /tmp/scale

writes 1000 classes of 50 backgrounds with one prediction per photo and model (once; the folder
is kept until you delete it) as a build writes them, a file per model, counts them as the select
stage does, in a process of its own, lets one query of DuckDB join and count the same on one thread,
and then tests 1000 classes of 600 photos with 20,000 permutations each. `--one-file` has all models
in one file of DuckDB's, as others' tables may come. `--floors NAME` ends with an error where it
takes more than is stated in `floors.toml`.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the tests' worlds are

import duckdb
import numpy as np
import pyarrow.dataset as ds
from floors import add_floors, hold, peak_mb

from counterset.config import SelectConfig
from counterset.parquet_sql import parquet_sql, rows_of, spilling
from counterset.schemas import BACKGROUNDS, MEMBERS, PREDICTIONS, TableSchema
from counterset.stages.select import pair_rows
from counterset.statistics.counts import count
from counterset.statistics.halves import DISCOVER_SHARE
from counterset.tables import write_parts
from tests.proofs.counted import counted
from tests.proofs.worlds import Crowd, Geometric, draw_world, planted

NUM_CLASSES, NUM_GROUPS = 1_000, 50


def write_tables(folder: Path, num_photos: int, num_models: int, one_file: bool) -> list[Path]:
    """Members, backgrounds and predictions of `num_photos` photos, in the bytes that a build writes; the files of
    predictions."""
    photo_id = "printf('inaturalist-%09d', i)"
    class_id = f"printf('class_%04d', i % {NUM_CLASSES})"
    members = f"""
        SELECT {photo_id} AS photo_id, {class_id} AS class_id, {photo_id} AS observation_id,
               printf('%016x', hash(i // 2)) AS observer, NULL::VARCHAR AS place, observer AS unit,
               CASE WHEN hash(i // 2) % 4 > 0 THEN 'discover' ELSE 'confirm' END AS half, 's' AS shard
        FROM range({num_photos}) AS t(i)"""
    backgrounds = f"""
        SELECT {photo_id} AS photo_id, {class_id} AS class_id, [0.5::FLOAT] AS profile, 'b' AS background,
               (hash(i + 1) % 1000 / 1000.0)::FLOAT AS margin,
               printf('background_%02d', hash(i + 2) % {NUM_GROUPS}) AS "group", true AS is_confident,
               NULL::FLOAT AS elsewhere
        FROM range({num_photos}) AS t(i)"""
    predictions = f"""
        SELECT {photo_id} AS photo_id, printf('model_%03d', m) AS model, 'names' AS label_space, 'p' AS predicted,
               hash(i * {num_models} + m) % 10 < 7 AS is_correct, 1::INTEGER AS rank_of_truth,
               (hash(i * {num_models} + m) / 2.0 ** 64)::FLOAT AS margin
        FROM range({num_photos}) AS t(i), (FROM range({num_models}) AS u(m) WHERE {{models}}) ORDER BY i, m"""
    written(folder / "members.parquet", members, MEMBERS)
    written(folder / "backgrounds.parquet", backgrounds, BACKGROUNDS)
    if not one_file:
        return [
            written(folder / f"predictions-{model:03d}.parquet", predictions.format(models=f"m = {model}"), PREDICTIONS)
            for model in range(num_models)
        ]
    path = folder / "predictions.parquet"
    if not path.exists():
        with duckdb.connect() as connection:
            sql = predictions.format(models="true")
            connection.execute(f"COPY ({sql}) TO '{path}.part' (FORMAT parquet, COMPRESSION zstd)")
        Path(f"{path}.part").rename(path)
    return [path]


def written(path: Path, sql: str, schema: TableSchema) -> Path:
    """A file of a stage's table with the rows of a query, unless it is there."""
    if not path.exists():
        with spilling() as connection:
            write_parts(rows_of(connection, sql), schema, path)
    return path


def measure_counting(folder: Path, answers: list[Path], selectors: int) -> tuple[float, float, float, int, int]:
    """Seconds, processor seconds, peak GB above the imports, rows of group_accuracy, rows by observer."""
    imports = peak_mb()
    members, backgrounds = (ds.dataset(folder / f"{name}.parquet") for name in ("members", "backgrounds"))
    predictions = ds.dataset(list(map(str, answers)))
    start, worked = time.perf_counter(), time.process_time()
    counts = count(
        members,
        backgrounds,
        predictions,
        selectors=tuple(f"model_{number:03d}" for number in range(selectors)),
        label_space="names",
        class_ids=tuple(f"class_{number:04d}" for number in range(NUM_CLASSES)),
    )
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    peak = (peak_mb() - imports) / 1e3
    return (
        seconds,
        worked,
        peak,
        counts.group_accuracy.num_rows,
        sum(len(found.results.group) for found in counts.classes),
    )


def measure_query(folder: Path, answers: list[Path]) -> tuple[float, int]:
    """Processor seconds and rows of group accuracies by one query that joins the tables on their texts."""
    sql = f"""
        SELECT class_id, "group", model, half, count(*) AS num_photos, avg(is_correct::INTEGER) AS accuracy
        FROM {parquet_sql(answers)} JOIN (
            SELECT photo_id, b.class_id, "group", half FROM {parquet_sql([folder / "backgrounds.parquet"])} AS b
            JOIN {parquet_sql([folder / "members.parquet"])} USING (photo_id)
        ) USING (photo_id)
        WHERE label_space = 'names'
        GROUP BY GROUPING SETS ((class_id, "group", model, half), (class_id, "group", model))"""
    worked = time.process_time()
    with duckdb.connect(config={"threads": 1, "preserve_insertion_order": False}) as connection:
        connection.execute("SET enable_progress_bar = false")
        rows = connection.sql(sql).to_arrow_table().num_rows
    return time.process_time() - worked, rows


def measure_permutations() -> tuple[float, float, int]:
    """Seconds and processor seconds of 1000 classes' choice, test and estimate; classes confirmed."""
    rng = np.random.default_rng(0)
    accuracies = planted(rng, NUM_CLASSES, 6, base=(0.7, 0.7), drop=0.4, num_planted=300)
    classes = counted(draw_world(rng, accuracies, 100, Crowd(sizes=Geometric(), crossing=0.2)), 1, DISCOVER_SHARE)
    start, worked = time.perf_counter(), time.process_time()
    rows = pair_rows(classes, SelectConfig(), seed=0)
    return time.perf_counter() - start, time.process_time() - worked, sum(row["verdict"] == "confirmed" for row in rows)


def main() -> None:
    """Write, count, test, and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=10_000_000)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--selectors", type=int, default=1)
    parser.add_argument("--times", type=int, default=1, help="read the predictions so many times over")
    parser.add_argument("--one-file", action="store_true", help="all models' predictions in one file, photo by photo")
    parser.add_argument("--folder", type=Path, required=True)
    add_floors(parser)
    arguments = parser.parse_args()
    start = time.perf_counter()
    answers = write_tables(arguments.folder, arguments.photos, arguments.models, arguments.one_file)
    written = time.perf_counter() - start
    size = sum(path.stat().st_size for path in arguments.folder.glob("*.parquet")) / 1e9
    sys.stdout.write(f"tables: {size:.2f} GB, written in {written:.0f} s\n")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        seconds, worked, peak, groups, units = pool.submit(
            measure_counting, arguments.folder, answers * arguments.times, arguments.selectors
        ).result()
    predictions = arguments.photos * arguments.models * arguments.times
    sys.stdout.write(
        f"counting {predictions:,} predictions ({arguments.selectors} selectors): "
        f"{seconds:.1f} s ({worked:.1f} s of processor), peak {peak:.2f} GB above the imports, "
        f"{groups:,} group accuracies, {units:,} rows by observer\n"
    )
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        asked, rows = pool.submit(measure_query, arguments.folder, answers * arguments.times).result()
    sys.stdout.write(f"one query on texts: {asked:.1f} s of processor, {asked / worked:.2f} of it, {rows:,} rows\n")
    figures = {"of_query": worked / asked, "peak_mb": peak * 1e3, "groups": groups, "units": units}
    figures["groups_of_query"] = rows
    seconds, worked, confirmed = measure_permutations()
    sys.stdout.write(
        f"1000 classes of 600 photos, 20,000 permutations and 1,000 splits each: {seconds:.1f} s "
        f"({worked:.1f} s of processor), {confirmed} confirmed\n"
    )
    hold(arguments.floors, figures | {"permutations_s": worked, "confirmed": confirmed})


if __name__ == "__main__":
    main()
