"""Which files of a release hold which table: nothing else knows their names.

Hubs ask for Parquet files below some hundred megabytes. So `common` and `counter` lie in `data/` in parts, and every
other table in `<name>.parquet`, or in parts beside the splits where it has more than `ROWS_PER_FILE` rows.
"""

from __future__ import annotations

from collections.abc import Iterable

from counterset.errors import ReleaseError

ROWS_PER_FILE = 1_000_000
"""The most rows in one file of a table other than the splits: 40 to 250 MB of a table with one row per photo."""
ROWS_PER_SHARD, ROWS_PER_SHARD_WITH_IMAGES = 100_000, 2_000
"""The same of the splits, without and with photos."""


def file_names(name: str, num_rows: int, rows_per_file: int, *, is_split: bool = False) -> list[str]:
    """The paths of a table's files in their order, by which their names are sorted; of a split always in `data/`.

    Args:
        name: of the table.
        num_rows: of all its files.
        rows_per_file: the most in one.
        is_split: it is common or counter.
    """
    count = max(-(-num_rows // rows_per_file), 1)
    if count == 1 and not is_split:
        return [f"{name}.parquet"]
    return [f"data/{name}-{number:05d}-of-{count:05d}.parquet" for number in range(count)]


def files_of(name: str, paths: Iterable[str]) -> list[str]:
    """Those of a release's paths that hold a table, in the order of its rows."""
    return sorted(path for path in paths if path == f"{name}.parquet" or path.startswith(f"data/{name}-"))


def file_pattern(name: str, paths: Iterable[str]) -> str:
    """One pattern for the files of a table, as hubs take it.

    Raises:
        ReleaseError: there are none.
    """
    found = files_of(name, paths)
    if not found:
        raise ReleaseError(f"the release has no table {name!r}; fetch it again")
    return found[0] if found == [f"{name}.parquet"] else f"data/{name}-*.parquet"
