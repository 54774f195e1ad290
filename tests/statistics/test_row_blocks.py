"""Rows of tables and files, some at a time, and what is known of them before they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from counterset.errors import WorkspaceError
from counterset.statistics.photo_numbers import codes_of
from counterset.statistics.row_blocks import blocks


def test_rows_of_a_file_come_in_order_with_dictionaries(tmp_path: Path) -> None:
    table = pa.table({"a": [f"text {number % 5}" for number in range(1000)], "b": range(1000)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=300)
    found = [batch for block in blocks(ds.dataset(tmp_path / "t.parquet")) for batch in block.read(["a", "b"])]
    assert all(pa.types.is_dictionary(batch.column("a").type) for batch in found)
    assert [row for batch in found for row in batch.column("b").to_pylist()] == list(range(1000))
    assert [row for batch in found for row in batch.column("a").to_pylist()] == table["a"].to_pylist()
    codes, texts = codes_of(found[0].column("a"))
    assert texts.take(pa.array(codes)).to_pylist() == found[0].column("a").to_pylist()


def test_texts_that_come_once_are_not_read_as_dictionaries(tmp_path: Path) -> None:
    table = pa.table({"id": [f"photo {number:09d}" for number in range(1000)], "model": ["m"] * 1000})
    pq.write_table(table, tmp_path / "t.parquet")
    [found] = [batch for block in blocks(ds.dataset(tmp_path / "t.parquet")) for batch in block.read(["id", "model"])]
    assert [pa.types.is_dictionary(column.type) for column in found.columns] == [False, True]
    assert found.column("id").to_pylist() == table["id"].to_pylist()


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": ["x", "y"] * 5}), path, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    dataset = ds.dataset(path)
    content[25] ^= 255
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"t\.parquet cannot be read"):
        [list(block.read(["a"])) for block in blocks(dataset)]


@pytest.mark.parametrize(
    ("column", "only"),
    [
        (["m"] * 10, "m"),
        (["m"] * 5 + ["n"] * 5, None),  # each row group has one text
        (["m"] * 9 + [None], None),
        ([None] * 10, None),
        ([b"m"] * 10, None),
        ([1] * 10, None),
    ],
)
def test_a_text_that_all_rows_have_is_known(column: list[Any], only: str | None, tmp_path: Path) -> None:
    table = pa.table({"a": column, "b": range(10)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=5)
    for block in blocks(ds.dataset(tmp_path / "t.parquet")):
        assert block.only.get("a") == only
        for columns in (["a"], ["b", "a"]):
            assert pa.Table.from_batches(block.read(columns)).to_pylist() == table.select(columns).to_pylist()
