"""Reading a Parquet file that anyone may have made, in no more memory than its size allows.

A few bytes of Parquet may stand for billions of rows, or for one long text repeated in every row.
So the rows and sizes that the file itself states are looked at first, texts are read as dictionaries
with indices, and both are written out only where the whole stays below a bound. WantedRows are chosen by these indices.
Nothing here asks pyarrow.compute, whose import takes a fifth of the time to a release's first row.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterset.errors import ReleaseError, SchemaError
from counterset.release.schemas import ADDED, BUNDLED_COLUMNS, SPLITS, TABLES, split_schema
from counterset.schemas import TableSchema
from counterset.stamps import check_stamp

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_EXPANSION = 200
"""Bytes in memory that a byte of a file may become; tables as they are published become 5 to 30."""
FREE_BYTES = 64_000_000
"""Bytes that any file may become."""
MAX_FOOTER_BYTES = 64_000_000

ABSENT = b"counterset.absent"
"""In a field's metadata: the file was written before the table had this column."""


class WantedRows(NamedTuple):
    """Which rows of a table of photos are wanted.

    Attributes:
        classes: ids of all classes that it may have photos of.
        texts: column -> what the wanted rows say there, None = nothing; a column that the file lacks says nothing.
    """

    classes: Collection[str]
    texts: Mapping[str, Collection[str | None]] = MappingProxyType({})


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


def read_files(folder: Path, name: str, paths: list[str], *, rows: WantedRows | None = None) -> pa.Table:
    """A release's table from its files, checked to be the declared one; a table that was added since is empty.

    Raises:
        ReleaseError: a file is damaged, holds another table or photos of no class, or has a newer schema version.
    """
    return pa.concat_tables(read_parts(folder, name, paths, rows=rows))


def read_parts(
    folder: Path, name: str, paths: list[str], columns: Collection[str] | None = None, *, rows: WantedRows | None = None
) -> Iterator[pa.Table]:
    """The same in order, a row group at a time and at least one part; `columns` and `rows` = only those.

    Raises:
        ReleaseError: as `read_files`.
    """
    if not paths and name not in ADDED:
        raise ReleaseError(f"the release {folder} has no table {name!r}; fetch the release again")
    schema = declared(name)
    if not paths:
        yield pa.Table.from_batches([], schema.arrow() if columns is None else _only(schema.arrow(), columns))
    for path in paths:
        yield from _parts(folder / path, schema, BUNDLED_COLUMNS, columns, rows)


def read_bounded(path: Path, schema: TableSchema, *, optional: Collection[str] = ()) -> pa.Table:
    """A release's table from one file, checked to be the declared one.

    Columns that the schema does not have are passed over; nullable ones that the file does not
    have, for they were added since, are null, and `optional` ones are left out.

    Raises:
        ReleaseError: the file is damaged, holds another table or types, has a newer schema
            version, or would become too large.
    """
    return pa.concat_tables(_parts(path, schema, optional))


def declared(name: str) -> TableSchema:
    """The schema of a release's table; a split's with its photos."""
    return split_schema(name, with_images=True) if name in SPLITS else TABLES[name]


def _only(schema: pa.Schema, columns: Collection[str]) -> pa.Schema:
    return pa.schema([field for field in schema if field.name in columns], schema.metadata)


def _parts(
    path: Path,
    schema: TableSchema,
    optional: Collection[str],
    columns: Collection[str] | None = None,
    rows: WantedRows | None = None,
) -> Iterator[pa.Table]:
    """As `read_bounded`, by row groups; without any, one part without rows."""
    with naming(path), BoundedFile(path, schema, optional, columns, rows) as file:
        yield file.empty()
        for group in range(file.num_groups):
            yield file.read(group)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Whatever is wrong with a file is a ReleaseError that names it."""
    try:
        yield
    except (OSError, pa.ArrowException, SchemaError, ValueError) as error:
        raise ReleaseError(f"{path} cannot be used ({_words(error)}); fetch the release again") from error


class BoundedFile:
    """One file of a release's table, read by row groups in no more memory than its size allows.

    Args:
        path: of the file.
        schema: what it must hold.
        optional: columns of the schema that are left out where the file lacks them.
        columns: only these of the schema; None = all.
        rows: only these; None = all.

    Raises:
        SchemaError: it holds another table or other types, lacks a column, or has a newer schema version.
        ReleaseError: it would become too large.
    """

    def __init__(
        self,
        path: Path,
        schema: TableSchema,
        optional: Collection[str] = (),
        columns: Collection[str] | None = None,
        rows: WantedRows | None = None,
    ) -> None:
        declared = schema.arrow() if columns is None else _only(schema.arrow(), columns)
        self._path, self._limit = path, _limit(path)
        self._sizes: dict[int, int] = {}  # of the row groups that were read, once each
        with pq.ParquetFile(path) as file:
            self.metadata: pq.FileMetaData = file.metadata
            found, leaves = file.schema_arrow, [file.schema.column(index) for index in range(len(file.schema))]
        check_stamp(found, schema, path.name)
        self.held = present(found, schema, declared.names)
        """The wanted columns that the file has."""
        self._kept = pa.schema([declared.field(name) for name in self.held])
        self._rows = rows
        asked = {"class_id", *rows.texts} if rows else set()
        self._read = [*self.held, *sorted(asked & set(found.names) - set(self.held))]
        _check(self.metadata.num_rows * sum(_width(field.type) for field in self._kept), self._limit, path)
        self._added = [
            (position, field.with_metadata({**(field.metadata or {}), ABSENT: b""}))
            for position, field in enumerate(declared)
            if field.name not in (*self.held, *optional)
        ]
        self._stamp = found.metadata
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        # Not pq.read_table: it imports pandas through pyarrow.dataset, most of a first row's time.
        self._file = pq.ParquetFile(
            path, metadata=self.metadata, page_checksum_verification=True, read_dictionary=texts
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def num_groups(self) -> int:
        return int(self.metadata.num_row_groups)

    def empty(self) -> pa.Table:
        """The table without rows."""
        return self._whole(pa.Table.from_batches([], self._kept))  # not empty_table: it imports pandas

    def read(self, group: int) -> pa.Table:
        """The rows of one row group."""
        table = self._file.read_row_group(group, columns=self._read)
        self._sizes[group] = sum(_decoded_bytes(chunk) for column in table.columns for chunk in column.chunks)
        _check(sum(self._sizes.values()), self._limit, self._path)
        whole = self._whole(_written_out(table.select(self.held), self._kept))
        return whole if self._rows is None else _only_rows(whole, self._wanted(table, self._rows))

    def _wanted(self, table: pa.Table, rows: WantedRows) -> npt.NDArray[np.bool_]:
        """(N,) which rows of a row group, as it was read, are wanted."""
        found = {text for chunk in table["class_id"].chunks for text in chunk.dictionary.to_pylist()}
        if unknown := found - set(rows.classes):
            raise ReleaseError(
                f"{self._path} has photos of the class {min(unknown)!r}, which its release.json does not name; "
                "do not use this release"
            )
        is_wanted = np.ones(len(table), np.bool_)
        for name, texts in rows.texts.items():
            is_wanted &= _is_one_of(table[name], texts) if name in table.column_names else None in texts
        return is_wanted

    def _whole(self, table: pa.Table) -> pa.Table:
        for position, column in self._added:
            table = table.add_column(min(position, table.num_columns), column, pa.nulls(table.num_rows, column.type))
        return table.replace_schema_metadata(self._stamp)


def present(found: pa.Schema, schema: TableSchema, names: Collection[str]) -> list[str]:
    """Those of `names` that a file has, in the schema's order.

    Raises:
        SchemaError: one is of another type, or is missing and may not be null.
    """
    held = []
    for column in schema.columns:
        if column.name not in names:
            continue
        if column.name in found.names:
            kind = found.field(column.name).type
            if kind != column.type:
                raise SchemaError(schema.name, column.name, f"is {str(kind)[:80]}, not {column.type}")
            held.append(column.name)
        elif not column.nullable:
            raise SchemaError(schema.name, column.name, "is missing")
    return held


def _width(kind: pa.DataType) -> int:
    """The least bytes that a value takes in memory."""
    return 4 if pa.types.is_nested(kind) or not pa.types.is_primitive(kind) else max(kind.bit_width // 8, 1)


def _written_out(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with its dictionaries written out."""
    loose = pa.schema([field.with_nullable(True) for field in schema])
    parts = pa.RecordBatchReader.from_batches(table.schema, table.to_batches())  # casts without pyarrow.compute
    return pa.Table.from_arrays(parts.cast(loose).read_all().columns, schema=schema)


def _only_rows(table: pa.Table, is_wanted: npt.NDArray[np.bool_]) -> pa.Table:
    """The (N,) wanted rows, which lie together where rows are sorted by class."""
    if is_wanted.all():
        return table
    # (R, 2) beginning and end of each run of wanted rows
    ends = np.flatnonzero(np.diff(is_wanted.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    return pa.concat_tables([table.slice(0, 0), *(table.slice(start, end - start) for start, end in ends.tolist())])


def _is_one_of(column: pa.ChunkedArray, texts: Collection[str | None]) -> npt.NDArray[np.bool_]:
    """(N,) which of a column's texts, read as dictionaries, are among `texts`."""
    found = [np.zeros(0, np.bool_)]
    for chunk in column.chunks:
        is_known = np.array([text in texts for text in (*chunk.dictionary.to_pylist(), None)])
        found.append(is_known[_codes(chunk.indices)])
    return np.concatenate(found)


def _codes(indices: pa.Int32Array) -> npt.NDArray[np.int32]:
    """(N,) places in a dictionary, -1 = null."""
    rows = slice(indices.offset, indices.offset + len(indices))
    validity, values = indices.buffers()
    codes = np.frombuffer(values, np.int32)[rows] if len(indices) else np.zeros(0, np.int32)
    if indices.null_count:
        is_valid = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")[rows]
        codes = np.where(is_valid, codes, np.int32(-1))
    return codes


def _decoded_bytes(array: pa.Array) -> int:
    """Bytes that an array takes with its dictionaries written out."""
    if pa.types.is_dictionary(array.type):
        words = array.dictionary
        starts = np.frombuffer(words.buffers()[1], np.int32)[words.offset :][: len(words) + 1] if len(words) else [0]
        lengths = np.append(np.diff(starts).astype(np.int64), 0)  # the last is that of null
        return int(lengths[_codes(array.indices)].sum()) + 4 * len(array)
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
