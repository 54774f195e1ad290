"""Tables in and out: conform to a declared schema, write atomically, read with checks.

A file is written beside its final name and renamed, so one that is there is whole. The same rows give the same bytes.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterset.errors import SchemaError, WorkspaceError
from counterset.schemas import TableSchema
from counterset.stamps import check_stamp
from counterset.storage import CHUNK_BYTES, ObjectPath, place

ROW_GROUP_SIZE = 5_000
"""Rows in a row group: small enough for a browser's dataset viewer to page through."""
ROW_GROUP_SIZE_WITH_BYTES = 100
"""The same where a row holds a photo."""


@dataclass(frozen=True)
class TableRef:
    """What tasks pass to each other instead of a table."""

    path: str
    sha256: str
    num_rows: int
    schema_version: int


def table_of(schema: TableSchema, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> pa.Table:
    """A table from columns or rows, conformed to `schema`."""
    arrow = schema.arrow()
    if isinstance(rows, Mapping):
        columns = [pa.array(rows[field.name], field.type) for field in arrow]
        return conform(pa.Table.from_arrays(columns, schema=arrow), schema)
    return conform(pa.Table.from_pylist([dict(row) for row in rows], schema=arrow), schema)


def conform(table: pa.Table, schema: TableSchema) -> pa.Table:
    """`table` with exactly the schema's columns and metadata, sorted by its key.

    Raises:
        SchemaError: a column is missing, of a type that does not cast, null where
            it may not be, or the key is not unique.
    """
    arrow = schema.arrow()
    columns = []
    for field in arrow:
        if field.name not in table.column_names:
            raise SchemaError(schema.name, field.name, "is missing")
        column = table.column(field.name)
        if not column.type.equals(field.type):
            try:
                column = column.cast(field.type)
            except pa.ArrowInvalid as error:
                raise SchemaError(schema.name, field.name, f"has type {column.type}, not {field.type}") from error
        if not field.nullable and column.null_count:
            raise SchemaError(schema.name, field.name, f"has {column.null_count} nulls")
        columns.append(column)
    conformed = pa.Table.from_arrays(columns, schema=arrow)
    if is_ascending(conformed, schema.key):  # as most tables are: rows are not copied, for they may be gigabytes
        return conformed.combine_chunks()
    order = pc.sort_indices(conformed, sort_keys=[(name, "ascending") for name in schema.key])
    conformed = conformed.take(order).combine_chunks()
    keys = conformed.select(list(schema.key))
    if keys.group_by(list(schema.key)).aggregate([]).num_rows != conformed.num_rows:
        raise SchemaError(schema.name, ",".join(schema.key), "the key is not unique")
    return conformed


def is_ascending(table: pa.Table, key: Sequence[str]) -> bool:
    """Whether each row's key is greater than that of the row before: no two rows have the same, and all are sorted.

    Costs one look at each row, where sorting and counting cost many.
    """
    # (N - 1,) rows that no column so far tells from the row before
    is_open = np.ones(max(len(table) - 1, 0), np.bool_)
    for name in key:
        before, after = table[name].slice(0, len(is_open)), table[name].slice(1)
        is_greater, is_equal = (
            pc.fill_null(compare(after, before), False).to_numpy() for compare in (pc.greater, pc.equal)
        )
        if not (is_greater | is_equal)[is_open].all():
            return False
        is_open &= is_equal
        if not is_open.any():
            return True
    return not is_open.any()


def write_table(table: pa.Table, schema: TableSchema, path: str | Path | ObjectPath) -> TableRef:
    """Write `table` at `path`, whole or not at all, and return its reference.

    Raises:
        SchemaError: as `conform`.
        WorkspaceError: the disk is full, or the folder or bucket cannot be written.
    """
    return _write([conform(table, schema)], schema, path)


def write_parts(parts: Iterable[pa.Table], schema: TableSchema, path: str | Path | ObjectPath) -> TableRef:
    """Write a table whose rows come in parts, in the order of its key, a row group at a time: as `write_table` would.

    Raises:
        SchemaError: as `conform`; or a part's keys do not come after those of the part before.
        WorkspaceError: the disk is full, or the folder or bucket cannot be written.
    """
    return _write(_in_order(parts, schema), schema, path)


def _write(parts: Iterable[pa.Table], schema: TableSchema, path: str | Path | ObjectPath) -> TableRef:
    num_rows, arrow = 0, schema.arrow()

    def write(file: Any) -> None:
        nonlocal num_rows
        with pq.ParquetWriter(file, arrow, **parquet_options(arrow)) as writer:
            for group in in_groups(parts, row_group_size(arrow)):
                writer.write_table(group)
                num_rows += len(group)
            if not num_rows:
                writer.write_table(arrow.empty_table())

    where = place(path)
    if isinstance(where, ObjectPath):
        buffer = io.BytesIO()
        write(buffer)
        write_bytes(buffer.getvalue(), where)
        return TableRef(str(path), hashlib.sha256(buffer.getvalue()).hexdigest(), num_rows, schema.version)
    return TableRef(str(path), _write_file(where, write), num_rows, schema.version)


def _in_order(parts: Iterable[pa.Table], schema: TableSchema) -> Iterator[pa.Table]:
    last = None
    for part in parts:
        if len(conformed := conform_after(last, part, schema)):
            yield (last := conformed)


def conform_after(last: pa.Table | None, part: pa.Table, schema: TableSchema) -> pa.Table:
    """A part conformed, whose keys come after those of the part before it, `last`. Raises SchemaError as `conform`."""
    conformed = conform(part, schema)
    edge = [] if last is None else [last.slice(len(last) - 1), conformed.slice(0, 1)]
    if edge and not is_ascending(pa.concat_tables(edge), schema.key):
        raise SchemaError(schema.name, ",".join(schema.key), "the key is not unique, or its rows are not in order")
    return conformed


def in_groups(parts: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """The rows of some tables as tables of `size` rows; the last may have fewer."""
    pending, missing = list[pa.Table](), size
    for part in parts:
        while len(part) >= missing:
            yield pa.concat_tables([*pending, part.slice(0, missing)])
            part, pending, missing = part.slice(missing), [], size
        if len(part):
            pending.append(part)
            missing -= len(part)
    if pending:
        yield pa.concat_tables(pending)


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """How every Parquet file is written; the same rows give the same bytes. Columns of photos' bytes have no dictionary
    and one page per photo, for a page may not pass 2 GiB.
    """
    options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True, "version": "2.6"}
    if not any(_holds_bytes(field.type) for field in schema):
        return options
    return options | {
        "use_dictionary": [field.name for field in schema if not _holds_bytes(field.type)],
        "write_batch_size": 1,
    }


def row_group_size(schema: pa.Schema) -> int:
    """Rows in a row group of a table's files."""
    return ROW_GROUP_SIZE_WITH_BYTES if any(_holds_bytes(field.type) for field in schema) else ROW_GROUP_SIZE


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def read_table(path: str | Path | ObjectPath, schema: TableSchema, columns: list[str] | None = None) -> pa.Table:
    """Read a table and check that it is the declared one; nullable columns added since are null.

    Raises:
        SchemaError: the file holds another table, a newer version, or other columns.
        WorkspaceError: the file is missing or damaged.
    """
    try:
        where = place(path)
        if isinstance(where, ObjectPath):
            with where.open() as file:
                table = _read_parquet(file, columns)
        else:
            table = _read_parquet(where, columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error
    check_stamp(table.schema, schema, str(path))
    return _with_columns(table, schema, columns, path)


def read_parts(
    path: str | Path | ObjectPath, schema: TableSchema, columns: list[str] | None = None, num_rows: int = 20_000
) -> Iterator[pa.Table]:
    """The same as `read_table`, in parts of at most `num_rows` rows, so that no more is in memory.

    Raises:
        SchemaError: the file holds another table, a newer version, or other columns.
        WorkspaceError: the file is missing or damaged.
    """
    where = place(path)
    try:
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(where.open()) if isinstance(where, ObjectPath) else where
            opened = stack.enter_context(pq.ParquetFile(source, page_checksum_verification=True))
            found = opened.schema_arrow
            check_stamp(found, schema, str(path))
            wanted = None if columns is None else [name for name in columns if name in found.names]
            for batch in opened.iter_batches(num_rows, columns=wanted):
                yield _with_columns(pa.Table.from_batches([batch]), schema, columns, path)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error


def _with_columns(
    table: pa.Table, schema: TableSchema, columns: list[str] | None, path: str | Path | ObjectPath
) -> pa.Table:
    """A file's rows with nulls in the nullable columns that were added since it was written."""
    for position, field in enumerate(schema.arrow()):
        if (columns is None or field.name in columns) and field.name not in table.column_names:
            if not field.nullable:
                raise SchemaError(schema.name, field.name, f"is missing in {path}")
            table = table.add_column(min(position, table.num_columns), field, pa.nulls(len(table), field.type))
    return table


def _read_parquet(file: Path | BinaryIO, columns: list[str] | None) -> pa.Table:
    """One file's rows; a build reads thousands of small files, for each of which a dataset would be opened."""
    with pq.ParquetFile(file, page_checksum_verification=True) as opened:
        table = opened.read(columns=columns)
    return table if columns is None else table.select([name for name in columns if name in table.column_names])


class RowGroups:
    """A file of one table, read a row group at a time: of gigabytes of photos, those near the one wanted.

    Args:
        path: of the file.
        schema: what it must hold.

    Attributes:
        sizes_bytes: of each row group, unpacked.

    Raises:
        SchemaError: the file holds another table or a newer version.
        WorkspaceError: the file is missing or damaged.
    """

    def __init__(self, path: str | Path | ObjectPath, schema: TableSchema) -> None:
        self._path = place(path)
        metadata = read_metadata(path)
        check_stamp(metadata.schema.to_arrow_schema(), schema, str(path))
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self._last = [group.column(0).statistics.max if group.num_rows else "" for group in groups]
        self.sizes_bytes = [group.total_byte_size for group in groups]

    def group_with(self, value: str) -> int:
        """The row group that holds a value of the first column, by which the file is sorted; any, if none does."""
        return min(bisect.bisect_left(self._last, value), max(len(self._last) - 1, 0))

    def read(self, number: int, columns: list[str] | None = None) -> pa.Table:
        """The rows of one row group, of all columns or some."""
        try:
            if isinstance(self._path, ObjectPath):
                with self._path.open() as file:
                    return pq.ParquetFile(file, page_checksum_verification=True).read_row_group(number, columns)
            with pq.ParquetFile(self._path, page_checksum_verification=True) as opened:
                return opened.read_row_group(number, columns)
        except (OSError, pa.ArrowInvalid) as error:
            raise _unreadable(self._path, error) from error


def read_metadata(path: str | Path | ObjectPath) -> pq.FileMetaData:
    """A Parquet file's own metadata: rows, columns, what was stamped into it.

    Raises:
        WorkspaceError: the file is missing or damaged.
    """
    try:
        where = place(path)
        if isinstance(where, ObjectPath):
            with where.open() as file:
                return pq.read_metadata(file)
        return pq.read_metadata(where)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str | Path | ObjectPath, error: Exception) -> WorkspaceError:
    return WorkspaceError(f"{path} cannot be read ({str(error)[:200]}); delete it and run again")


def write_bytes(content: bytes, path: str | Path | ObjectPath) -> None:
    """Write a file whole or not at all: beside its final name, then renamed; an S3 object in one piece.

    Raises:
        WorkspaceError: the disk is full, or the folder or bucket cannot be written.
    """
    where = place(path)
    if isinstance(where, ObjectPath):
        try:
            where.write_bytes(content)
        except OSError as error:
            reason = " ".join(str(error).split())[:200]
            raise WorkspaceError(f"cannot write {where}: {reason}; check the bucket and your credentials") from error
        return
    _write_file(where, lambda file: file.write(content))


def _write_file(where: Path, write: Callable[[BinaryIO], object]) -> str:
    """What `write` writes, at `where`, whole or not at all; its SHA-256."""
    aside = where.with_name(f".{where.name}.{os.getpid()}.part")
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        aside.replace(where)
        return sha256
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:200]
        raise WorkspaceError(f"cannot write {where}: {reason}; free space or choose another folder") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def sha256_of(path: str | Path | ObjectPath) -> str:
    """The SHA-256 of a file, hex."""
    where = place(path)
    if isinstance(where, ObjectPath):
        digest = hashlib.sha256()
        with where.filesystem.open_input_stream(where.key) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()
    with where.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def feature_matrix(table: pa.Table, name: str = "embedding") -> npt.NDArray[np.float32]:
    """The (N, D) features of an embeddings table, in row order; `name` is their column."""
    column = table[name].combine_chunks()
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, column.type.list_size)


def ranks(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """(N,) numbers of texts in their order, -1 for null, and the different texts so ordered; they may pass 2 GiB, and
    are no dictionaries yet."""
    encoded = column.dictionary_encode().chunks  # of one dictionary
    texts = encoded[0].dictionary if encoded else pa.array([], column.type)
    order, rank = pc.sort_indices(texts), np.full(len(texts) + 1, -1, np.int64)  # the last is that of null
    rank[order.to_numpy()] = np.arange(len(order))
    numbers = pa.chunked_array([chunk.indices for chunk in encoded], pa.int32())
    return rank[pc.fill_null(numbers, -1).to_numpy()], texts.take(order)
