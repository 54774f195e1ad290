"""Selecting all classes' photos from the Open Data tables: counterset against pandas in chunks.

    python benchmarks/open_data.py                       5 and 20 million photo rows
    python benchmarks/open_data.py --photos 1000000      a quick look

Makes synthetic tables of the documented columns in a temporary folder, runs each
contestant in a process of its own, checks that both select the very same photos, and
prints seconds and peak memory. The API is not asked: it costs the same either way.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from floors import peak_mb

SEED = 0
PHOTOS_PER_CLASS = 300
PHOTOS_PER_OBSERVER_DAY = 3
NUM_TAXA = 200_000
MATCHING_SHARE = 0.05
"""Of observations that belong to one of the classes."""

CHUNK_ROWS = 500_000


def make_tables(folder: Path, num_photos: int) -> None:
    """Write the four tables with two photos an observation; rows of one observation lie together, as exported."""
    import duckdb

    from counterset.classes import load_classes

    folder.mkdir(parents=True)
    targets = [taxon_id for spec in load_classes("counteranimal") for taxon_id in spec.taxon_ids]
    names = {t.taxon_id: t for spec in load_classes("counteranimal") for t in spec.listed_taxa() if t.taxon_id}
    num_observations = num_photos // 2
    connection = duckdb.connect()
    connection.execute("SET preserve_insertion_order = true; SET memory_limit = '4GB'")
    connection.execute("CREATE TABLE targets (position INTEGER, taxon_id INTEGER, name VARCHAR, rank VARCHAR)")
    connection.executemany(
        "INSERT INTO targets VALUES (?, ?, ?, ?)",
        [(number, taxon_id, names[taxon_id].name, names[taxon_id].rank) for number, taxon_id in enumerate(targets)],
    )
    # Each target has 20 descendants with ids from 5,000,000; the other taxa have ids from 10,000,000.
    connection.execute(f"""
        CREATE TABLE taxa AS
        SELECT taxon_id, '48460/1' AS ancestry, 20 AS rank_level, rank, name, 'true' AS active FROM targets
        UNION ALL SELECT 5000000 + position * 20 + child, '48460/1/' || taxon_id, 10, 'species', 'D' || child, 'true'
        FROM targets, range(20) AS r(child)
        UNION ALL SELECT 10000000 + i, '48460/1/' || (i % 997 + 1000000), 10, 'species', 'O''Neil "' || i, 'true'
        FROM range({NUM_TAXA}) AS r(i)""")
    rows = f"range({num_observations}) AS r(i)"
    uuid = "md5(i::VARCHAR)"
    observer = "(power(hash(i // 3) % 1000000 / 1000000.0, 3) * 500000)::BIGINT"
    taxon = (
        f"CASE WHEN hash(i, 1) % 1000 < {MATCHING_SHARE * 1000} THEN 5000000 + hash(i, 2) % {len(targets) * 20} "
        f"ELSE 10000000 + hash(i, 3) % {NUM_TAXA} END"
    )
    grade = "CASE WHEN hash(i, 4) % 10 < 6 THEN 'research' WHEN hash(i, 4) % 10 < 9 THEN 'needs_id' ELSE 'casual' END"
    day = "DATE '2012-01-01' + (hash(i // 3, 5) % 4500)::INTEGER"
    licenses = ["CC-BY-NC"] * 5 + ["CC-BY", "CC0", "CC-BY-NC-ND"]
    license_code = f"{licenses}[(hash(i, k) % 8 + 1)::INTEGER]"
    tables = {
        "taxa": "SELECT * FROM taxa",
        "observations": f"SELECT {uuid} AS observation_uuid, {observer} AS observer_id, 12.3456789 AS latitude, "
        f"98.7654321 AS longitude, 25 AS positional_accuracy, {taxon} AS taxon_id, {grade} AS quality_grade, "
        f"{day} AS observed_on, 1.25 AS anomaly_score FROM {rows}",
        "photos": f"SELECT md5((i * 2 + k)::VARCHAR || 'p') AS photo_uuid, 1000 + i * 2 + k AS photo_id, {uuid} AS "
        f"observation_uuid, {observer} AS observer_id, 'jpg' AS extension, {license_code} AS license, 2048 AS width, "
        f"1536 AS height, k AS position FROM {rows}, range(2) AS p(k)",
        "observers": "SELECT i AS observer_id, 'user' || i AS login, '' AS name FROM range(500001) AS r(i)",
    }
    for name, query in tables.items():
        connection.execute(
            f"COPY ({query}) TO '{folder}/{name}.csv.gz' (FORMAT csv, HEADER, DELIMITER '\t', QUOTE '', ESCAPE '', "
            "COMPRESSION gzip)"
        )


def run_counterset(folder: Path, scratch: Path) -> dict[str, list[int]]:
    """Photo ids by class, through the source."""
    from counterset.classes import load_classes
    from counterset.sources.inaturalist.open_data import OpenDataSource
    from counterset.sources.inaturalist.settings import OpenDataConfig

    config = OpenDataConfig(
        path=str(folder),
        api_url="",
        photos_per_class=PHOTOS_PER_CLASS,
        photos_per_observer_day=PHOTOS_PER_OBSERVER_DAY,
    )
    source = OpenDataSource(config, scratch, SEED)
    specs = tuple(spec for spec in load_classes("counteranimal") if spec.taxon_ids)
    source.check(specs)
    return {spec.class_id: _ids(source.crawl(spec).candidates["photo_id"].to_pylist()) for spec in specs}


def _ids(photo_ids: list[str]) -> list[int]:
    return sorted(int(photo_id.removeprefix("inaturalist-")) for photo_id in photo_ids)


def run_pandas(folder: Path, scratch: Path) -> dict[str, list[int]]:
    """The same selection as one would write it with pandas in chunks."""
    import csv

    import pandas as pd

    from counterset.classes import load_classes
    from counterset.config import OPEN_LICENSES

    def read(name: str, columns: list[str]) -> Any:
        return pd.read_csv(
            folder / f"{name}.csv.gz", sep="\t", quoting=csv.QUOTE_NONE, usecols=columns, chunksize=CHUNK_ROWS
        )

    targets = {taxon_id: spec.class_id for spec in load_classes("counteranimal") for taxon_id in spec.taxon_ids}
    class_of: dict[int, str] = {}
    for chunk in read("taxa", ["taxon_id", "ancestry"]):
        for taxon_id, ancestry in zip(chunk["taxon_id"], chunk["ancestry"], strict=True):
            for part in (*str(ancestry).split("/"), taxon_id):
                if int(part) in targets:
                    class_of[taxon_id] = targets[int(part)]
    observations = []
    for chunk in read("observations", ["observation_uuid", "observer_id", "taxon_id", "quality_grade", "observed_on"]):
        kept = chunk[chunk["taxon_id"].isin(class_of) & (chunk["quality_grade"] == "research")]
        observations.append(kept)
    wanted = pd.concat(observations).set_index("observation_uuid")
    photos = []
    accepted = {code.upper() for code in OPEN_LICENSES}
    for chunk in read("photos", ["photo_id", "observation_uuid", "license", "position"]):
        photos.append(chunk[chunk["observation_uuid"].isin(wanted.index) & chunk["license"].isin(accepted)])
    table = pd.concat(photos).sort_values(["observation_uuid", "position"]).drop_duplicates("observation_uuid")
    table = table.join(wanted, on="observation_uuid")
    table["class_id"] = table["taxon_id"].map(class_of)
    table["lot"] = [hashlib.sha256(f"{SEED}:{uuid}".encode()).hexdigest() for uuid in table["observation_uuid"]]
    table = table.sort_values("lot")
    table = table[table.groupby(["class_id", "observer_id", "observed_on"]).cumcount() < PHOTOS_PER_OBSERVER_DAY]
    chosen = table.groupby("class_id").head(PHOTOS_PER_CLASS)
    return {str(class_id): sorted(map(int, ids)) for class_id, ids in chosen.groupby("class_id")["photo_id"]}


CONTESTANTS = {"counterset": run_counterset, "pandas": run_pandas}


def run_one(contestant: str, folder: Path) -> None:
    """In a process of its own: run, and print seconds, peak memory and a digest of what was selected."""
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        selected = CONTESTANTS[contestant](folder, Path(scratch))
        seconds = time.perf_counter() - start
    print(
        json.dumps(
            {
                "seconds": seconds,
                "peak_mb": peak_mb(),
                "num_photos": sum(len(ids) for ids in selected.values()),
                "digest": hashlib.sha256(json.dumps(selected, sort_keys=True).encode()).hexdigest(),
            }
        )
    )


def main() -> None:
    """Run all sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, nargs="+", default=[5_000_000, 20_000_000])
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--one", nargs=2, metavar=("CONTESTANT", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        run_one(args.one[0], Path(args.one[1]))
        return
    print(f"{'photo rows':>12} {'contestant':>12} {'seconds':>9} {'peak MB':>9} {'selected':>9}")
    with tempfile.TemporaryDirectory() as temporary:
        for num_photos in args.photos:
            folder = Path(temporary) / str(num_photos)
            make_tables(folder, num_photos)
            digests = set()
            for contestant in args.contestants:
                command = [sys.executable, __file__, "--one", contestant, str(folder)]
                result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                digests.add(result["digest"])
                print(
                    f"{num_photos:>12,} {contestant:>12} {result['seconds']:>9.1f} {result['peak_mb']:>9.0f} "
                    f"{result['num_photos']:>9,}",
                    flush=True,
                )
            print(f"{'':>12} {'same photos' if len(digests) == 1 else 'DIFFERENT PHOTOS':>12}", flush=True)


if __name__ == "__main__":
    main()
