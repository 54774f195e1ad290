from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.errors import SchemaError, WorkspaceError
from counterset.schemas import IMAGES, REJECTS, Column, TableSchema
from counterset.tables import (
    ROW_GROUP_SIZE,
    RowGroups,
    conform,
    is_ascending,
    ranks,
    read_parts,
    read_table,
    table_of,
    write_bytes,
    write_parts,
    write_table,
)

ROW = {"photo_id": "inaturalist-1", "class_id": "lion", "stage": "curate", "reason": "too_small", "detail": "3 x 3"}


def test_round_trip_is_sorted_and_stamped(tmp_path: Path) -> None:
    rows = [ROW | {"photo_id": f"inaturalist-{number}"} for number in (3, 1, 2)]
    ref = write_table(table_of(REJECTS, rows), REJECTS, tmp_path / "rejects.parquet")
    table = read_table(ref.path, REJECTS)
    assert table["photo_id"].to_pylist() == ["inaturalist-1", "inaturalist-2", "inaturalist-3"]
    assert table.schema.metadata[b"counterset.table"] == b"rejects"
    assert ref.num_rows == 3


def test_same_rows_give_same_bytes(tmp_path: Path) -> None:
    rows = [ROW | {"photo_id": f"inaturalist-{number}"} for number in range(50)]
    first = write_table(table_of(REJECTS, rows), REJECTS, tmp_path / "a.parquet")
    second = write_table(table_of(REJECTS, rows[::-1]), REJECTS, tmp_path / "b.parquet")
    assert first.sha256 == second.sha256


@pytest.mark.parametrize("size", [1, 4_999, 5_000, 12_000])
@pytest.mark.parametrize("num_rows", [0, ROW_GROUP_SIZE, 12_345])
def test_parts_give_the_bytes_of_the_whole(tmp_path: Path, size: int, num_rows: int) -> None:
    whole = {name: pa.repeat(value, num_rows) for name, value in ROW.items()}
    whole["photo_id"] = pa.array([f"p{number:06d}" for number in range(num_rows)], pa.string())
    whole["detail"] = pa.array([f"{number % 7} x 3" for number in range(num_rows)], pa.string())
    table = table_of(REJECTS, whole)
    step = size if size > 1 else 777
    parts = [table.slice(start, step) for start in range(0, num_rows, step)]
    ref = write_parts([table.slice(0, 0), *parts], REJECTS, tmp_path / "parts.parquet")
    expected = write_table(table, REJECTS, tmp_path / "whole.parquet")
    assert (ref.sha256, ref.num_rows) == (expected.sha256, num_rows)
    read = list(read_parts(ref.path, REJECTS, ["photo_id", "detail"], 1_000))
    assert all(len(part) <= 1_000 for part in read)
    assert pa.concat_tables([table.select(["photo_id", "detail"]).slice(0, 0), *read]).equals(
        read_table(ref.path, REJECTS, ["photo_id", "detail"])
    )


@pytest.mark.parametrize("second", ["p1", "p2"])
def test_parts_that_are_not_in_order_leave_no_file(tmp_path: Path, second: str) -> None:
    parts = [table_of(REJECTS, [ROW | {"photo_id": photo_id}]) for photo_id in ("p2", second)]
    with pytest.raises(SchemaError, match="in order"):
        write_parts(parts, REJECTS, tmp_path / "parts.parquet")
    assert not list(tmp_path.iterdir())


def test_parts_are_read_with_the_same_checks(tmp_path: Path) -> None:
    path = tmp_path / "rejects.parquet"
    write_table(table_of(REJECTS, [ROW]), REJECTS, path)
    with pytest.raises(SchemaError, match="holds the table"):
        next(read_parts(path, IMAGES))
    more = TableSchema("rejects", "a row", ("photo_id",), (*REJECTS.columns, Column("since", pa.int32(), "new", True)))
    assert [row["since"] for part in read_parts(path, more) for row in part.to_pylist()] == [None]
    assert [row["since"] for part in read_parts(path, more, ["since"]) for row in part.to_pylist()] == [None]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(WorkspaceError, match="delete it and run again"):
        next(read_parts(path, REJECTS))


@pytest.mark.parametrize(
    ("table", "column"),
    [
        (pa.table({"photo_id": ["a"]}), "class_id"),
        (pa.table({name: ["x", "x"] for name in ROW}), "photo_id,stage"),
        (pa.table({name: [None] if name == "reason" else ["x"] for name in ROW}), "reason"),
    ],
)
def test_foreign_tables_are_named(table: pa.Table, column: str) -> None:
    with pytest.raises(SchemaError) as error:
        conform(table, REJECTS)
    assert (error.value.table, error.value.column) == ("rejects", column)


def test_values_that_do_not_cast_are_refused() -> None:
    schema = TableSchema("numbers", "a row", ("n",), (Column("n", pa.int32(), "a number"),))
    with pytest.raises(SchemaError, match="has type string"):
        conform(pa.table({"n": ["seven"]}), schema)


def test_damaged_and_newer_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rejects.parquet"
    write_table(table_of(REJECTS, [ROW] * 1), REJECTS, path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(WorkspaceError, match="delete it and run again"):
        read_table(path, REJECTS)
    flipped = bytearray(content)
    flipped[60] ^= 0xFF  # inside the first page
    path.write_bytes(bytes(flipped))
    with pytest.raises(WorkspaceError, match="delete it and run again"):
        read_table(path, REJECTS)
    table = pq.read_table(pa.BufferReader(content))
    newer = table.replace_schema_metadata({"counterset.table": "rejects", "counterset.schema_version": "999"})
    pq.write_table(newer, path)
    with pytest.raises(SchemaError, match="upgrade counterset"):
        read_table(path, REJECTS)


def test_a_table_holds_more_than_two_gibibytes_of_photos(tmp_path: Path) -> None:
    size, count = 230_000_000, 10
    zeros = np.zeros(size * count + 1, np.uint8)  # pages that are never written to cost no memory
    zeros[[size * row for row in range(count)]] = range(count)
    offsets = pa.py_buffer(np.arange(0, size * count + 1, size, dtype=np.int64))
    column = pa.LargeBinaryArray.from_buffers(pa.large_binary(), count, [None, offsets, pa.py_buffer(zeros)])
    path = tmp_path / "images.parquet"
    write_table(pa.table({"photo_id": [f"p{row}" for row in range(count)], "image": column}), IMAGES, path)
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        batches = file.iter_batches(1)
        found = [(batch["image"][0].as_buffer()[0], len(batch["image"][0].as_buffer())) for batch in batches]
    assert found == [(row, size) for row in range(count)]


def test_texts_of_more_than_two_gibibytes_are_ranked() -> None:
    long = "x" * 64_000_000
    chunk = pa.array([long + "b", None, long + "a"])  # each chunk is the same memory
    numbers, texts = ranks(pa.chunked_array([chunk] * 18))
    assert numbers.tolist() == [1, -1, 0] * 18
    assert [text.as_py()[-1] for text in texts] == ["a", "b"]
    assert ranks(pa.chunked_array([], pa.string()))[0].tolist() == []


def test_files_of_the_first_edition_are_read_and_written_anew(tmp_path: Path) -> None:
    narrow = pa.schema([pa.field("photo_id", pa.string()), pa.field("image", pa.binary())], IMAGES.arrow().metadata)
    old = pa.table({"photo_id": ["a", "b"], "image": [b"x", b"y"]}, schema=narrow)
    pq.write_table(old, tmp_path / "old.parquet")
    table = read_table(tmp_path / "old.parquet", IMAGES)
    assert table["image"].to_pylist() == [b"x", b"y"]
    assert RowGroups(tmp_path / "old.parquet", IMAGES).read(0).equals(table)
    write_table(table, IMAGES, tmp_path / "new.parquet")
    assert read_table(tmp_path / "new.parquet", IMAGES).schema.field("image").type == pa.large_binary()


def test_photos_are_read_by_row_groups(tmp_path: Path) -> None:
    rows = {"photo_id": [f"p{number:03d}" for number in range(250)], "image": [b"%d" % n for n in range(250)]}
    write_table(table_of(IMAGES, rows), IMAGES, tmp_path / "images.parquet")
    file = RowGroups(tmp_path / "images.parquet", IMAGES)
    assert len(file.sizes_bytes) == 3
    for row in (0, 99, 100, 249):
        photo_id = rows["photo_id"][row]
        assert photo_id in file.read(file.group_with(photo_id))["photo_id"].to_pylist()
    for missing in ("", "p0995", "z"):
        assert missing not in file.read(file.group_with(missing))["photo_id"].to_pylist()
    with pytest.raises(SchemaError, match="holds the table"):
        RowGroups(tmp_path / "images.parquet", REJECTS)


def test_a_full_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot write"):
        write_bytes(b"x", tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], True),
        ([("a", 1)], True),
        ([("a", 1), ("a", 2), ("b", 0)], True),
        ([("a", 2), ("a", 1), ("b", 0)], False),
        ([("a", 1), ("a", 1)], False),
        ([("b", 0), ("a", 1)], False),
        ([("a", 1), (None, 2)], False),
        ([("a", None), ("b", None)], True),
        ([("a", None), ("a", 1)], False),
        ([("Z", 1), ("a", 1), ("\u00e9", 1), ("\uff21", 1), ("\U0001f43b", 1)], True),
    ],
)
def test_rows_are_ascending_by_all_columns_of_a_key(rows: list[tuple[str | None, int | None]], expected: bool) -> None:
    columns = {"name": pa.array([row[0] for row in rows], pa.string()), "number": [row[1] for row in rows]}
    table = pa.table({"name": columns["name"], "number": pa.array(columns["number"], pa.int64())})
    assert is_ascending(table, ["name", "number"]) is expected
    halves = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert is_ascending(halves, ["name", "number"]) is expected
