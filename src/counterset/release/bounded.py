"""Reading a Parquet file that anyone may have made, in no more memory than its size allows.

A few bytes of Parquet may stand for billions of rows, or for one long text repeated in every row.
So the rows and sizes that the file itself states are looked at first, texts are read as dictionaries
with indices, and both are written out only where the whole stays below a bound.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from counterset.errors import ReleaseError, SchemaError
from counterset.release.schemas import ADDED, BUNDLED_COLUMNS, SPLITS, TABLES, split_schema
from counterset.schemas import TableSchema
from counterset.tables import check_stamp

MAX_EXPANSION = 200
"""Bytes in memory that a byte of a file may become; tables as they are published become 5 to 30."""
FREE_BYTES = 64_000_000
"""Bytes that any file may become."""
MAX_FOOTER_BYTES = 64_000_000

ABSENT = b"counterset.absent"
"""In a field's metadata: the file was written before the table had this column."""


def check_footer(path: Path, num_rows: int | None) -> None:
    """See that a Parquet file has the stated rows and stays below the bound, as far as it states it.

    Args:
        path: the file.
        num_rows: as release.json says; None = it says nothing.

    Raises:
        ReleaseError: it does not, or it is no Parquet file.
    """
    try:
        with path.open("rb") as file:
            file.seek(-8, 2)
            footer_bytes = int.from_bytes(file.read(4), "little")
        if MAX_FOOTER_BYTES < footer_bytes < path.stat().st_size:
            raise ReleaseError(f"{path} has a footer of {footer_bytes} bytes; do not use this release")
        parquet = pq.read_metadata(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ReleaseError(f"{path} cannot be used ({_words(error)}); fetch the release again") from error
    if num_rows is not None and parquet.num_rows != num_rows:
        raise ReleaseError(
            f"{path} has {parquet.num_rows} rows and release.json says {num_rows}; do not use this release, "
            "or fetch it again"
        )
    groups = [parquet.row_group(index) for index in range(parquet.num_row_groups)]
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    if sum(group.num_rows for group in groups) != parquet.num_rows:
        raise ReleaseError(f"{path} has row groups of another number of rows than it says; do not use this release")
    limit = _limit(path)
    _check(sum(column.total_uncompressed_size for column in columns), limit, path)
    _check(max((4 * column.num_values for column in columns), default=0), limit, path)


def read_files(folder: Path, name: str, paths: list[str]) -> pa.Table:
    """A release's table from its files, checked to be the declared one; a table that was added since is empty.

    Raises:
        ReleaseError: a file is damaged, holds another table, or has a newer schema version.
    """
    if not paths and name in ADDED:
        return pa.Table.from_batches([], TABLES[name].arrow())
    if name in SPLITS:
        schema = split_schema(name, with_images=True)
        tables = [read_bounded(folder / path, schema, optional=BUNDLED_COLUMNS) for path in paths]
    else:
        tables = [read_bounded(folder / path, TABLES[name]) for path in paths]
    if not tables:
        raise ReleaseError(f"the release {folder} has no table {name!r}; fetch the release again")
    return pa.concat_tables(tables)


def read_bounded(path: Path, schema: TableSchema, *, optional: Collection[str] = ()) -> pa.Table:
    """A release's table from one file, checked to be the declared one.

    Columns that the schema does not have are passed over; nullable ones that the file does not
    have, for they were added since, are null, and `optional` ones are left out.

    Raises:
        ReleaseError: the file is damaged, holds another table or types, has a newer schema
            version, or would become too large.
    """
    try:
        return _read(path, schema, optional)
    except (OSError, pa.ArrowException, SchemaError, ValueError) as error:
        raise ReleaseError(f"{path} cannot be used ({_words(error)}); fetch the release again") from error


def _read(path: Path, schema: TableSchema, optional: Collection[str]) -> pa.Table:
    declared = schema.arrow()
    with pq.ParquetFile(path) as file:
        check_stamp(file.schema_arrow, schema, path.name)
        wanted = []
        for column in schema.columns:
            if column.name in file.schema_arrow.names:
                kind = file.schema_arrow.field(column.name).type
                if kind != column.type:
                    raise SchemaError(schema.name, column.name, f"is {str(kind)[:80]}, not {column.type}")
                wanted.append(column.name)
            elif not column.nullable:
                raise SchemaError(schema.name, column.name, "is missing")
        leaves = [file.schema.column(index) for index in range(len(file.schema))]
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        rows = file.metadata.num_rows
    limit, kept = _limit(path), pa.schema([declared.field(name) for name in wanted])
    _check(rows * sum(_width(field.type) for field in kept), limit, path)
    total, tables = 0, [pa.Table.from_batches([], kept)]  # not empty_table: it imports pandas
    # Not pq.read_table: it imports pandas through pyarrow.dataset, most of a first row's time.
    with pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=texts) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=wanted)
            total += sum(_decoded_bytes(chunk) for column in table.columns for chunk in column.chunks)
            _check(total, limit, path)
            tables.append(table.cast(kept))
        metadata = file.schema_arrow.metadata
    whole = pa.concat_tables(tables)
    for position, field in enumerate(declared):
        if field.name not in (*wanted, *optional):
            added = field.with_metadata({**(field.metadata or {}), ABSENT: b""})
            whole = whole.add_column(min(position, whole.num_columns), added, pa.nulls(whole.num_rows, field.type))
    return whole.replace_schema_metadata(metadata)


def _width(kind: pa.DataType) -> int:
    """The least bytes that a value takes in memory."""
    return 4 if pa.types.is_nested(kind) or not pa.types.is_primitive(kind) else max(kind.bit_width // 8, 1)


def _decoded_bytes(array: pa.Array) -> int:
    """Bytes that an array takes with its dictionaries written out."""
    if pa.types.is_dictionary(array.type):
        import pyarrow.compute as pc

        lengths = pc.binary_length(array.dictionary).cast(pa.int64()).take(array.indices)
        return int(pc.sum(lengths).as_py() or 0) + 4 * len(array)
    if pa.types.is_struct(array.type):
        return sum(_decoded_bytes(field) for field in array.flatten())
    if pa.types.is_list(array.type):
        return 4 * len(array) + _decoded_bytes(array.flatten())
    return int(array.nbytes)


def _limit(path: Path) -> int:
    return FREE_BYTES + MAX_EXPANSION * path.stat().st_size


def _check(size_bytes: int, limit: int, path: Path) -> None:
    if size_bytes > limit:
        raise ReleaseError(
            f"{path} would become {size_bytes} bytes in memory, more than {MAX_EXPANSION} times its size; "
            "do not use this release"
        )


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
