from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.errors import SchemaError, WorkspaceError
from counterset.schemas import REJECTS, TABLES, Column, TableSchema
from counterset.tables import conform, read_table, table_of, write_bytes, write_table

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


def test_a_full_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot write"):
        write_bytes(b"x", tmp_path / "file" / "below")


def test_every_column_is_documented() -> None:
    for table in TABLES.values():
        assert set(table.key) <= {column.name for column in table.columns}
        for column in table.columns:
            assert column.doc, f"{table.name}.{column.name} has no meaning"
