"""Parquet files in DuckDB's SQL.

DuckDB takes the names of files for patterns, so that `o[1]/x.parquet` reads `o1/x.parquet` where that
is there, and takes columns from names of folders such as `id=5`. Whoever names a file means that file.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path


def parquet_sql(files: Iterable[Path | str]) -> str:
    """The SQL that reads some Parquet files of this machine, at least one, whatever their names."""
    names = ", ".join("'" + glob.escape(str(file)).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{names}], hive_partitioning = false)"
