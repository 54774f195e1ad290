"""Releases from others: what one states of itself is checked before anything is read, fetched or written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.errors import ReleaseError
from counterset.load import load
from counterset.release.bounded import check_footer, read_bounded
from counterset.release.checksums import is_inside
from counterset.release.publish.writer import publish
from counterset.release.schemas import TABLES, split_schema
from counterset.schemas import REJECTS

from .build_inputs import build_config, build_inputs, with_tables
from .forging import reseal, restate


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stated")
    config = build_config().model_copy(update={"releases": str(folder)})
    return Path(publish(with_tables(build_inputs(2, 40), config=config)))


@pytest.fixture
def copied(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "copied"))


NAMES = [
    "../../escaped/evil",
    "/absolute",
    "a/b",
    "..",
    ".",
    "",
    "a\\b",
    "C:evil",
    "A",
    "a\n",
    "a\0b",
    "-a",
    "a" * 201,
    7,
]
VERSIONS = ["../1.0.0", "1.0", "1.0.0/../../x", "01.0.0", "1.0.0\n", "1.0.0 ", "١.٠.٠", "9999999999.0.0", None, 1.0]


@pytest.mark.parametrize("key, value", [("name", name) for name in NAMES] + [("version", one) for one in VERSIONS])
def test_names_and_versions_are_what_a_build_may_write(copied: Path, key: str, value: Any) -> None:
    restate(copied, **{key: value})
    with pytest.raises(ReleaseError, match=f"for '{key}'.*do not use this release"):
        load(copied)


@pytest.mark.parametrize("key", ["name", "version", "classes", "models", "config", "counts", "default_verdicts"])
def test_a_missing_statement_is_refused(copied: Path, key: str) -> None:
    metadata = json.loads((copied / "release.json").read_text())
    del metadata[key]
    (copied / "release.json").write_text(json.dumps(metadata))
    restate(copied)
    with pytest.raises(ReleaseError, match="do not use this release, or fetch it again"):
        load(copied)


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": [{"class_id": "../x", "name": "x", "imagenet_index": None}]},
        {"classes": [{"class_id": "x"}]},
        {"classes": "ice_bear"},
        {"models": [{"name": "x", "role": 3, "weights_sha256": ""}]},
        {"config": {"models": {"selectors": "x"}, "evaluate": {"label_space": "classes", "templates": "paper"}}},
        {"counts": {"common": "6", "counter": 4}},
        {"counts": None},
        {"default_verdicts": ["sure"]},
        {"default_verdicts": "confirmed"},
        {"files": {"x": {"sha256": "0"}}},
        {"schema_version": "1"},
    ],
)
def test_statements_of_another_form_are_refused(copied: Path, changes: dict[str, Any]) -> None:
    restate(copied, **changes)
    with pytest.raises(ReleaseError):
        load(copied)


def test_release_json_is_bounded_in_size_and_depth(copied: Path) -> None:
    whole = (copied / "release.json").read_text()
    for content in (f'{{"x": {"[" * 100_000}', whole[: len(whole) // 2], "", "\udcff", "null", "[]", "1e999"):
        (copied / "release.json").write_text(content, errors="surrogateescape")
        with pytest.raises(ReleaseError, match="is altered"):
            load(copied)
        digest = hashlib.sha256((copied / "release.json").read_bytes()).hexdigest()
        (copied / "SHA256SUMS").write_text(f"{digest}  release.json\n")
        with pytest.raises(ReleaseError, match=r"cannot be read|holds no release"):
            load(copied)
    (copied / "release.json").write_text(whole[:-2] + " " * 10_000_000 + "}")
    with pytest.raises(ReleaseError, match=r"larger than \d+ bytes"):
        load(copied)


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/x",
        "a/../b",
        "./a",
        "a//b",
        "a/",
        "",
        "a\\b",
        "C:x",
        "a\tb",
        "a\x7fb",
        ".hidden",
        "a/.b",
        "é",
        "a b",
        "a\n",
    ],
)
def test_paths_of_a_release_are_plain(path: str) -> None:
    assert not is_inside(path)


def test_paths_of_releases_are_inside(published: Path) -> None:
    files = [path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert all(is_inside(path) for path in files)


def test_links_and_pipes_are_refused(copied: Path, tmp_path: Path) -> None:
    """A pipe is waited for by whoever opens it, and a link may lead anywhere."""
    report = copied / "report.html"
    shutil.move(report, tmp_path / "report.html")
    report.symlink_to(tmp_path / "report.html")
    with pytest.raises(ReleaseError, match="is a link out of the release"):
        load(copied)
    report.unlink()
    report.symlink_to(report)
    with pytest.raises(ReleaseError, match=r"lacks report\.html"):
        load(copied)
    for name in ("report.html", "SHA256SUMS", "release.json"):
        (copied / name).unlink()
        os.mkfifo(copied / name)
        with pytest.raises(ReleaseError):
            load(copied)


def test_a_linked_release_loads(published: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(published)
    assert load(tmp_path / "latest").version == "1.0.0"


def test_sizes_are_as_stated_without_a_digest(copied: Path) -> None:
    with (copied / "report.html").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ReleaseError, match=r"is altered: report\.html has \d+ bytes and release\.json says"):
        load(copied, verify=False)


@pytest.mark.parametrize("change", [{"num_rows": 0}, {"num_rows": 10**18}])
def test_rows_are_as_stated(copied: Path, change: dict[str, int]) -> None:
    metadata = json.loads((copied / "release.json").read_text())
    metadata["files"]["rejects.parquet"] |= change
    restate(copied, **metadata)
    with pytest.raises(ReleaseError, match=r"rejects\.parquet has \d+ rows and release\.json says"):
        load(copied)


def test_release_json_and_sums_agree(copied: Path) -> None:
    sums = (copied / "SHA256SUMS").read_text()
    for changed in (sums + f"{'0' * 64}  more.txt\n", sums.split("\n", 1)[1]):
        (copied / "SHA256SUMS").write_text(changed)
        with pytest.raises(ReleaseError, match=r"state different things of"):
            load(copied)


def bomb(path: Path, num_rows: int) -> None:
    """Rejects by the million in a few bytes: each column is one value, repeated."""
    schema, rows = REJECTS.arrow(), 1_000_000
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, num_rows, rows):
            index = pa.array(np.zeros(min(rows, num_rows - start), np.int32))
            columns = [pa.DictionaryArray.from_arrays(index, pa.array(["x" * 40], pa.string())) for _ in schema]
            writer.write_table(pa.table(columns, names=schema.names).cast(schema), row_group_size=rows)


def limited(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python code with 4 GB of addresses."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4_000_000_000, 4_000_000_000))

    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, preexec_fn=limit)


def test_many_rows_in_few_bytes_are_refused(copied: Path) -> None:
    """As stated, or contradicting it."""
    bomb(copied / "rejects.parquet", 30_000_000)
    assert (copied / "rejects.parquet").stat().st_size < 1_000_000
    reseal(copied, rows=False)
    with pytest.raises(ReleaseError, match=r"has 30000000 rows and release\.json says"):
        load(copied)
    reseal(copied)
    code = (
        "import sys, counterset\nfrom counterset.errors import ReleaseError\n"
        "try: counterset.load(sys.argv[1]).rejects\nexcept ReleaseError as error: print(error)"
    )
    run = limited(code, str(copied))
    assert "in memory, more than" in run.stdout, run.stdout + run.stderr


def test_a_long_text_repeated_is_refused(copied: Path) -> None:
    """80 rows of one text of 2 MB: 160 MB in memory, some kB in the file."""
    schema = REJECTS.arrow()
    path = copied / "rejects.parquet"
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for _ in range(4):
            long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20, np.int32)), pa.array(["x" * 2_000_000]))
            short = pa.array([f"{row}" for row in range(20)])
            columns = [long if name == "detail" else short for name in schema.names]
            writer.write_table(pa.table(columns, names=schema.names).cast(schema))
    assert path.stat().st_size < 100_000
    check_footer(path, 80)
    with pytest.raises(ReleaseError, match="in memory, more than"):
        read_bounded(path, REJECTS)


def test_other_types_are_refused(copied: Path) -> None:
    schema = REJECTS.arrow()
    deep: pa.DataType = pa.string()
    for _ in range(40):
        deep = pa.list_(deep)
    for kind in (pa.int64(), pa.large_string(), deep, pa.dictionary(pa.int32(), pa.string())):
        changed = schema.set(schema.get_field_index("detail"), pa.field("detail", kind, True))
        pq.write_table(changed.empty_table(), copied / "rejects.parquet")
        with pytest.raises(ReleaseError, match="column 'detail'"):
            read_bounded(copied / "rejects.parquet", REJECTS)


def test_other_columns_are_passed_over_and_later_ones_are_null(copied: Path) -> None:
    table = pq.read_table(copied / "captions.parquet")
    schema = TABLES["captions"]
    more = table.append_column("more", pa.array(["x"] * table.num_rows)).drop_columns(["language"])
    pq.write_table(more, copied / "captions.parquet")
    read = read_bounded(copied / "captions.parquet", schema)
    assert read.column_names == table.column_names
    assert read.drop_columns(["language"]).equals(table.drop_columns(["language"]))
    assert read["language"].null_count == table.num_rows
    pq.write_table(table.drop_columns(["class_id"]), copied / "captions.parquet")
    with pytest.raises(ReleaseError, match="column 'class_id': is missing"):
        read_bounded(copied / "captions.parquet", schema)


@pytest.mark.parametrize("name", [*TABLES])
def test_tables_come_as_they_were_written(published: Path, name: str) -> None:
    path = published / f"{name}.parquet"
    read, whole = read_bounded(path, TABLES[name]), pq.read_table(path)
    assert read.equals(whole)
    assert read.schema.metadata == whole.schema.metadata


def test_a_damaged_parquet_file_is_one_sentence(copied: Path) -> None:
    path = copied / "data" / "common-00000-of-00001.parquet"
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for trial in range(60):
        content = bytearray(whole)
        if trial % 3 == 0:
            del content[int(generator.integers(len(content))) :]
        else:
            for position in generator.integers(len(content) - 600 if trial % 3 == 1 else 0, len(content), 20):
                content[position] = int(generator.integers(256))
        path.write_bytes(content)
        with contextlib.suppress(ReleaseError):
            check_footer(path, None)
            read_bounded(path, split_schema("common", True), optional={"image"})


def test_a_class_whose_pair_stands_there_twice(copied: Path) -> None:
    from counterset.evaluation.paper import compare

    pairs = pq.read_table(copied / "pairs.parquet")
    pq.write_table(pa.concat_tables([pairs, pairs]), copied / "pairs.parquet")
    reseal(copied)
    with pytest.raises(ReleaseError, match="states the pair of a class twice"):
        compare(load(copied))
