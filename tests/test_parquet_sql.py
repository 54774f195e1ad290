"""Files are read by their names, whatever DuckDB makes of such names."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.parquet_sql import parquet_sql


@pytest.mark.parametrize("name", ["o[1]", "o?", "o*", "id=5", "it's", "{a,b}", "[[]", "**", "a b", "é"])
def test_names_are_no_patterns(tmp_path: Path, name: str) -> None:
    for other in ("o1", "ox", "a", "b"):
        (tmp_path / other).mkdir()
        pq.write_table(pa.table({"id": ["wrong"]}), tmp_path / other / "x.parquet")
    (tmp_path / name).mkdir()
    path = tmp_path / name / "x.parquet"
    pq.write_table(pa.table({"id": ["right"]}), path)
    assert duckdb.execute(f"SELECT id FROM {parquet_sql([path, str(path)])}").fetchall() == [("right",)] * 2
