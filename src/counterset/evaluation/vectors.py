"""Vectors by digest, kept for good: what is asked for once is never computed again.

Missing vectors are computed in the order of their digests, a shard at a time, and a shard is a
file at its final name. So a killed run repeats less than one shard, cuts the rest as it would
have been cut, and ends with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from counterset.errors import SchemaError, WorkspaceError
from counterset.evaluation.schemas import vectors
from counterset.stamps import check_stamp
from counterset.tables import table_of, write_table
from counterset.workspace import digest

Floats32 = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""


def no_progress(done: int, total: int) -> None:
    """Say nothing."""


class VectorStore:
    """The vectors in one folder, by 64-digit digest.

    Args:
        folder: of one model; all files in it have vectors of one length.
        shard_size: vectors computed and written at once.
    """

    def __init__(self, folder: Path, shard_size: int) -> None:
        self.folder = folder
        self.shard_size = shard_size

    def fill(
        self, keys: Iterable[str], compute: Callable[[Sequence[str]], Floats32], progress: Progress = no_progress
    ) -> int:
        """Compute what is missing and return how many that were.

        Args:
            keys: digests that shall be there.
            compute: digests -> (N, D), called with one shard's at a time.
            progress: told after every shard.
        """
        wanted = set(keys)
        missing = sorted(self.missing(wanted))
        progress(len(wanted) - len(missing), len(wanted))
        for start in range(0, len(missing), self.shard_size):
            chunk = missing[start : start + self.shard_size]
            computed = np.asarray(compute(chunk), np.float32)
            # (N, D) -> N lists of D
            column = pa.FixedSizeListArray.from_arrays(pa.array(computed.reshape(-1), pa.float32()), computed.shape[1])
            schema = vectors(computed.shape[1])
            write_table(
                table_of(schema, {"key": chunk, "vector": column}), schema, self.folder / f"{digest(chunk)}.parquet"
            )
            progress(len(wanted) - len(missing) + start + len(chunk), len(wanted))
        return len(missing)

    def read(self, keys: Sequence[str]) -> Floats32:
        """(N, D) vectors of keys that were filled, in order; a key may come twice."""
        unique, inverse = np.unique(np.array(keys, dtype=object), return_inverse=True)
        place = {key: row for row, key in enumerate(unique)}
        result: Floats32 | None = None
        is_found = np.zeros(len(unique), np.bool_)
        for path in self._paths():
            table = _read(path)
            dim = table.schema.field("vector").type.list_size
            if result is None:
                result = np.empty((len(unique), dim), np.float32)
            rows = [(row, place[key]) for row, key in enumerate(table["key"].to_pylist()) if key in place]
            if rows:
                column = table["vector"].combine_chunks()
                values = np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, dim)
                source, target = np.array(rows).T
                result[target] = values[source]
                is_found[target] = True
        if result is None or not is_found.all():
            raise WorkspaceError(f"{self.folder} has lost some of its {len(unique)} vectors; delete it and run again")
        return result[inverse]

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    def missing(self, keys: Iterable[str]) -> set[str]:
        """Those of `keys` that `fill` would compute."""
        return set(keys) - {key for path in self._paths() for key in _read(path, ["key"])["key"].to_pylist()}


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        table = pq.read_table(path, columns=columns, page_checksum_verification=True)
        kind = pq.read_schema(path).field("vector").type
        check_stamp(table.schema, vectors(kind.list_size), str(path))
    except (OSError, pa.ArrowException, SchemaError, KeyError, AttributeError) as error:
        raise WorkspaceError(
            f"{path} is damaged ({' '.join(str(error).split())[:200]}); delete it and run again"
        ) from error
    return table
