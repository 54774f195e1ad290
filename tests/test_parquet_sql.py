"""Files are read by their names, whatever DuckDB makes of such names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from counterset.errors import WorkspaceError
from counterset.parquet_sql import (
    add,
    fill,
    in_parts,
    parquet_sql,
    rows_of,
    runs,
    sorted_rows,
    spilling,
)


@pytest.mark.parametrize("name", ["o[1]", "o?", "o*", "id=5", "it's", "{a,b}", "[[]", "**", "a b", "é"])
def test_names_are_no_patterns(tmp_path: Path, name: str) -> None:
    for other in ("o1", "ox", "a", "b"):
        (tmp_path / other).mkdir()
        pq.write_table(pa.table({"id": ["wrong"]}), tmp_path / other / "x.parquet")
    (tmp_path / name).mkdir()
    path = tmp_path / name / "x.parquet"
    pq.write_table(pa.table({"id": ["right"]}), path)
    assert duckdb.execute(f"SELECT id FROM {parquet_sql([path, str(path)])}").fetchall() == [("right",)] * 2


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_rows_come_in_parts_and_by_value(size: int) -> None:
    values = [3, 1, 2, 3, 1, 3, 3]
    with spilling() as connection:
        fill(
            connection, "given", [pa.table({"value": [value], "place": [place]}) for place, value in enumerate(values)]
        )
        found = {}
        for value, rows in runs(rows_of(connection, "FROM given ORDER BY value, place", size), "value"):
            assert value not in found
            found[value] = rows["place"].to_pylist()
            fill(connection, f"beside_{value}", [rows])  # while the rows are read
        assert list(rows_of(connection, "FROM beside_3", size))
    assert found == {1: [1, 4], 2: [2], 3: [0, 3, 5, 6]}


def test_small_parts_go_in_together_by_their_columns_names() -> None:
    strict = pa.schema([pa.field("a", pa.string(), nullable=False), pa.field("b", pa.int32(), nullable=False)])
    parts = [
        pa.table({"a": pa.array([], pa.string()), "b": pa.array([], pa.int32())}),
        pa.table({"a": ["x"], "b": pa.array([1], pa.int32())}, schema=strict),
        pa.table({"b": pa.array([2, 3], pa.int32()), "a": ["y", None]}),
        *(pa.table({"b": pa.array([row], pa.int32()), "a": ["z"]}) for row in range(4, 9)),
    ]
    with spilling() as connection:
        fill(connection, "given", parts)
        assert connection.sql("FROM given ORDER BY b").fetchall() == [
            ("x", 1), ("y", 2), (None, 3), *(("z", row) for row in range(4, 9))
        ]  # fmt: skip


def test_each_block_has_a_duckdb_to_itself() -> None:
    """Also where one is used again, after blocks that failed or put rows on disk."""
    for memory_limit in ("300MB", "300MB", "20MB", "20MB", "300MB"):
        with pytest.raises(ValueError, match="ends"), spilling(memory_limit) as connection:
            connection.execute("CREATE TABLE given AS FROM range(10)")
            raise ValueError("ends the block")
        with spilling(memory_limit) as connection, spilling(memory_limit) as other:
            for one, size in ((connection, 500_000), (other, 3)):
                one.execute(f"CREATE TABLE given AS SELECT range AS number, md5(range::VARCHAR) FROM range({size})")
            assert sum(map(len, rows_of(connection, "FROM given"))) == 500_000
            assert sum(map(len, rows_of(other, "FROM given"))) == 3


def test_what_is_joined_is_sorted_in_less_memory_than_both_take_at_a_time() -> None:
    """In one query so many rows end with an error at this limit; so did members of six million photos."""

    def texts(name: str, width: int) -> Iterator[pa.Table]:
        for start in range(0, 300_000, 50_000):
            numbers = pc.utf8_lpad(pa.array(range(start, start + 50_000)).cast(pa.string()), 10, "0")
            long = pc.utf8_lpad(numbers, width, name)
            yield pa.table({"photo_id": pc.binary_join_element_wise("url_list", numbers, "-"), name: long})

    num_rows, last = 0, ""
    with spilling("40MB") as connection:
        for name, width in (("a", 60), ("b", 64)):
            fill(connection, name, texts(name, width))
        for part in sorted_rows(connection, "SELECT * FROM a JOIN b USING (photo_id)", ["photo_id"]):
            fill(connection, "kept", [part]) if not num_rows else add(connection, "kept", part)
            ids = part["photo_id"].to_pylist()
            assert ids[0] >= last
            assert [text.lstrip("ab") for text in part["a"].to_pylist()] == [own[-10:] for own in ids]
            num_rows, last = num_rows + len(part), ids[-1]
        assert [name for (name,) in connection.sql("SHOW TABLES").fetchall()] == ["a", "b", "kept"]
    assert num_rows == 300_000


@pytest.mark.parametrize("reads", [False, True])
def test_want_of_memory_is_no_want_of_space(reads: bool) -> None:
    query = "SELECT range AS number, [md5(range::VARCHAR), md5((range + 1)::VARCHAR)] AS texts FROM range(2_000_000)"
    with (
        pytest.raises(WorkspaceError, match=r"cannot be sorted in 30MB of memory \(.*\); .*report it"),
        spilling("30MB") as connection,
    ):
        if reads:  # pyarrow tells it then
            assert sum(map(len, in_parts(connection.sql(f"{query} ORDER BY texts[1]")))) == 2_000_000
        connection.execute(f"CREATE TABLE given AS {query} ORDER BY texts[1]")
