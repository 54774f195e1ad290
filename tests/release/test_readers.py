"""Other programs read a release with no code of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from counterset.load import Release, load
from counterset.release.publish.files import label_names
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.writer import publish
from counterset.release.schemas import TABLES

from .build_inputs import build_config, build_inputs, with_tables


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))


def test_datasets_gives_what_load_gives_with_class_labels(
    release_folder: Path, release: Release, tmp_path: Path
) -> None:
    import datasets

    found = datasets.load_dataset(str(release_folder), cache_dir=str(tmp_path / "hf"))
    every = datasets.load_dataset(str(release_folder), "all_verdicts", cache_dir=str(tmp_path / "hf"))
    assert set(found) == set(every) == {"common", "counter"}
    for split in ("common", "counter"):
        rows, others = getattr(release, split), set(release.table(split)["verdict"].to_pylist())
        assert found[split]["photo_id"][:] == rows["photo_id"].to_pylist()
        assert set(found[split]["verdict"]) == {"confirmed"} < set(every[split]["verdict"]) == others
        assert every[split]["photo_id"][:] == release.table(split)["photo_id"].to_pylist()
        label = every[split].features["class_label"]
        assert label.names == list(release.class_names.values())
        assert [label.int2str(row["class_label"]) for row in every[split]] == every[split]["class_name"][:]
    names = set(datasets.get_dataset_config_names(str(release_folder)))
    assert names == {"default", "all_verdicts"} | {name for name in TABLES if release.table(name).num_rows}
    for name in sorted(names - {"default", "all_verdicts"}):
        table = datasets.load_dataset(str(release_folder), name, cache_dir=str(tmp_path / "hf"))
        assert table["train"].num_rows == release.table(name).num_rows


def test_where_nothing_is_confirmed_there_is_no_default(inputs: ReleaseInputs, tmp_path: Path) -> None:
    """Whoever gives no configuration is asked for one, rather than given rows that are not confirmed."""
    import datasets

    column = inputs.pairs.column_names.index("verdict")
    verdicts = [verdict.replace("confirmed", "unconfirmed") for verdict in inputs.pairs["verdict"].to_pylist()]
    verdicts = [verdict.replace("ununconfirmed", "unconfirmed") for verdict in verdicts]
    pairs = inputs.pairs.set_column(column, inputs.pairs.field(column), [verdicts])
    config = build_config(thumbnails_per_group=0).model_copy(update={"releases": str(tmp_path)})
    folder = publish(with_tables(inputs, pairs=pairs, config=config)).path
    with pytest.raises(ValueError, match="Config name is missing"):
        datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "hf"))
    every = datasets.load_dataset(str(folder), "all_verdicts", cache_dir=str(tmp_path / "hf"))
    assert every["common"].num_rows == load(folder).table("common").num_rows > 0 == load(folder).common.num_rows


def test_classes_of_one_name_are_told_apart() -> None:
    assert label_names({"a": "seal", "b": "bear"}) == ["seal", "bear"]
    assert label_names({"a": "seal", "b": "seal"}) == ["a", "b"]


def test_a_release_without_pairs_is_read_too(inputs: ReleaseInputs, tmp_path: Path) -> None:
    import duckdb
    import polars

    pairs = inputs.pairs.to_pylist()
    for row in pairs:
        row |= {"verdict": "too_small", "common": None, "counter": None, "drop": None}
    config = build_config().model_copy(update={"releases": str(tmp_path)})
    changed = type(inputs.pairs).from_pylist(pairs, schema=inputs.pairs.schema)
    folder = publish(with_tables(inputs, pairs=changed, config=config)).path
    assert load(folder).common.num_rows == 0
    assert duckdb.sql(f"SELECT count(*) FROM '{folder}/data/*.parquet'").fetchall() == [(0,)]
    assert polars.read_parquet(folder / "data" / "common-*.parquet").height == 0
    assert "No class has a pair" in (folder / "report.html").read_text()


def test_pandas_and_polars(release_folder: Path, release: Release) -> None:
    import pandas
    import polars

    frame = pandas.read_parquet(release_folder / "pairs.parquet")
    assert frame["class_id"].tolist() == release.pairs["class_id"].to_pylist()
    scanned = polars.scan_parquet(release_folder / "data" / "counter-*.parquet").select(polars.len()).collect()
    assert scanned.item() == release.table("counter").num_rows


SQL = """SELECT c.class_id, count(*) FROM '{folder}/data/common-*.parquet' c JOIN '{folder}/pairs.parquet' p
USING (class_id) WHERE p.verdict = 'confirmed' GROUP BY ALL ORDER BY ALL"""


def test_duckdb(release_folder: Path, release: Release) -> None:
    import duckdb

    rows = duckdb.sql(SQL.format(folder=release_folder)).fetchall()
    classes = release.common["class_id"].to_pylist()
    assert rows == sorted((name, classes.count(name)) for name in set(classes))


def test_duckdb_command_line(release_folder: Path, release: Release) -> None:
    command = shutil.which("duckdb", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if not command:
        pytest.skip("no duckdb command line beside Python or on the PATH (package duckdb-cli)")
    out = subprocess.run(
        [command, "-csv", "-noheader", "-c", SQL.format(folder=release_folder)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert sum(int(line.split(",")[1]) for line in out.splitlines()) == release.common.num_rows


def test_row_groups_are_small_sorted_and_stamped(release_folder: Path) -> None:
    import pyarrow.parquet as pq

    for path in release_folder.rglob("*.parquet"):
        metadata = pq.read_metadata(path)
        assert all(metadata.row_group(i).num_rows <= 5_000 for i in range(metadata.num_row_groups))
        stamped = metadata.metadata
        assert stamped[b"counterset.schema_version"] == b"1"
        assert stamped[b"counterset.version"]
        for i in range(metadata.num_row_groups):
            assert metadata.row_group(i).column(0).compression == "ZSTD"


def test_bundled_photos_are_pictures_to_datasets(tmp_path: Path) -> None:
    import datasets

    inputs: ReleaseInputs = build_inputs(3, 60)
    some = dict(zip(inputs.candidates["photo_id"].to_pylist(), inputs.candidates["license"].to_pylist(), strict=True))
    reserved = {photo_id for number, photo_id in enumerate(sorted(some)) if number % 5 == 0}
    rows = inputs.candidates.to_pylist()
    for row in rows:
        row["license"] = None if row["photo_id"] in reserved else row["license"]
    candidates = type(inputs.candidates).from_pylist(rows, schema=inputs.candidates.schema)
    config = build_config(with_images=True).model_copy(update={"releases": str(tmp_path)})
    folder = publish(with_tables(inputs, candidates=candidates, config=config)).path
    found = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "hf"))
    release = load(folder, verdicts=("confirmed", "unconfirmed"))
    for split in ("common", "counter"):
        for row in found[split]:
            assert (row["image"] is None) == (row["photo_id"] in reserved)
            if row["image"] is not None:
                assert row["image"].size in ((240, 180), (180, 240), (220, 220))
                assert len(row["image"].getexif()) == 0
    bundled = next(photo for photo in release.common["photo_id"].to_pylist() if photo not in reserved)
    assert release.photo(bundled).startswith(b"\xff\xd8")
    assert b"secret" not in release.photo(bundled)
    assert release.to_hf()["common"].features["image"] == datasets.Image()
