"""Writing a release folder's Parquet files."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterset.licenses import may_share
from counterset.naming.schemas import Naming
from counterset.naming.words import TRUSTED
from counterset.release import table_files
from counterset.release.bundle import strip_metadata, suffix_of
from counterset.release.schemas import SPLITS, TABLES, split_schema
from counterset.schemas import TableSchema
from counterset.tables import ROW_GROUP_SIZE_WITH_BYTES, conform, parquet_options, row_group_size, sha256_of

BYTES_PER_PART = 250_000_000
"""Bytes of photos after which a row group ends."""


def write_parquet(
    parts: Iterable[pa.Table], schema: TableSchema, path: Path, version: str, labels: Sequence[str] = ()
) -> None:
    """Write one table of a release from its parts, in order; the same rows give the same bytes.

    `labels` are the names that the numbers in its column `class_label` stand for.
    """
    with open_parquet(path, schema, version, labels) as writer:
        for part in parts:
            # An empty row group, which an empty table would get, stops Hugging Face `datasets`.
            if part.num_rows:
                conformed = conform(part, schema).replace_schema_metadata(writer.schema.metadata)
                writer.write_table(conformed, row_group_size=row_group_size(writer.schema))


def open_parquet(path: Path, schema: TableSchema, version: str, labels: Sequence[str] = ()) -> pq.ParquetWriter:
    """A file for rows of a table, stamped as a release's; they are given the metadata of the writer's schema."""
    arrow = schema.arrow()
    metadata = dict(arrow.metadata or {}) | {b"counterset.version": version.encode()}
    if "class_label" in arrow.names:
        # Hugging Face `datasets` reads labels with their names and photos as pictures because of this.
        features = {field.name: _hub_feature(field, labels) for field in arrow}
        metadata[b"huggingface"] = json.dumps({"info": {"features": features}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    stamped = arrow.with_metadata(metadata)
    return pq.ParquetWriter(path, stamped, **parquet_options(stamped))


def write_tables(
    tables: Mapping[str, pa.Table | Iterable[pa.Table]],
    folder: Path,
    version: str,
    photo_bytes: Callable[[str], bytes | None] | None = None,
    *,
    class_names: Mapping[str, str] | None = None,
    verdicts: Sequence[str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Write `tables` into a release folder and return each file's table, rows, bytes and sha256.

    Args:
        tables: by name; of the two splits their rows may come in parts, in order.
        folder: of the release.
        version: of counterset.
        photo_bytes: given, photos whose licence allows it are bundled with the two splits.
        class_names: class_id -> name, in the order of labels.
        verdicts: which rows of the two splits `load` gives (`is_offered`), which lie in files of their own; None = all.
    """
    written: dict[str, str] = {}
    labels = label_names(class_names or {})
    for name, table in tables.items():
        if name in SPLITS:
            parts = [table] if isinstance(table, pa.Table) else table
            paths = _Shards(name, folder, version, photo_bytes, labels).write(parts, verdicts)
        else:
            assert isinstance(table, pa.Table), "only splits come in parts"
            size = table_files.ROWS_PER_FILE
            paths = table_files.file_names(name, table.num_rows, size)
            for number, path in enumerate(paths):
                write_parquet([table.slice(number * size, size)], TABLES[name], folder / path, version)
        written |= dict.fromkeys(paths, name)
    return {path: describe_file(folder, path, table) for path, table in written.items()}


def label_names(class_names: Mapping[str, str]) -> list[str]:
    """The names of labels, in order; ids where two classes have one name, for hubs want each name once."""
    names = list(class_names.values())
    return names if len(set(names)) == len(names) else list(class_names)


def is_offered(table: pa.Table, verdicts: Sequence[str]) -> pa.ChunkedArray:
    """(N,) whether `load` gives a row of a split unless asked otherwise: its verdict is one of these, and the names of
    its class's pair have not failed."""
    naming = pc.fill_null(table["naming"], Naming.UNAUDITED.value)
    return pc.and_(
        pc.is_in(table["verdict"], pa.array(verdicts, pa.string())), pc.is_in(naming, pa.array(TRUSTED, pa.string()))
    )


def describe_file(folder: Path, path: str, table: str | None = None) -> dict[str, Any]:
    """A file's entry in release.json."""
    entry: dict[str, Any] = {"sha256": sha256_of(folder / path), "size_bytes": (folder / path).stat().st_size}
    if table:
        entry |= {"table": table, "num_rows": pq.read_metadata(folder / path).num_rows}
    return entry


class _Shards:
    """Writes a split in files of a stated number of rows; of each kind of rows less than one file's are in memory.

    Rows that `load` gives lie in files that a pattern tells from those of the others: data/common-[0-9]*.parquet.

    Args:
        split: common or counter.
        folder: of the release.
        version: of counterset.
        photo_bytes: given, photos are bundled; they are read while their part is written.
        labels: names of the classes' numbers.
    """

    def __init__(
        self,
        split: str,
        folder: Path,
        version: str,
        photo_bytes: Callable[[str], bytes | None] | None,
        labels: Sequence[str],
    ) -> None:
        self._folder, self._version, self._photo_bytes, self._labels = folder, version, photo_bytes, labels
        self._size = table_files.ROWS_PER_SHARD if photo_bytes is None else table_files.ROWS_PER_SHARD_WITH_IMAGES
        self._schema = split_schema(split, with_images=photo_bytes is not None)
        self._waiting: dict[str, list[pa.Table]] = {split: [], f"{split}-others": []}
        self._written: dict[str, list[Path]] = {kind: [] for kind in self._waiting}

    def write(self, parts: Iterable[pa.Table], verdicts: Sequence[str] | None) -> list[str]:
        """Write all rows; the paths of the files.

        Of a kind without rows there is no file, for hubs refuse those; of a split without any there is one.
        """
        split, others = self._waiting
        for part in parts:
            if verdicts is None:
                self._add(split, part)
            else:
                offered = is_offered(part, verdicts)
                self._add(split, part.filter(offered))
                self._add(others, part.filter(pc.invert(offered)))
        num_rows = {
            kind: sum(map(len, waiting)) + self._size * len(self._written[kind])
            for kind, waiting in self._waiting.items()
        }
        paths = []
        for kind, waiting in self._waiting.items():
            if num_rows[kind] % self._size or (kind == split and not any(num_rows.values())):
                self._flush(kind, waiting)
            names = table_files.file_names(kind, num_rows[kind], self._size, is_split=True)
            for aside, path in zip(self._written[kind], names, strict=False):
                aside.rename(self._folder / path)
                paths.append(path)
        return paths

    def _add(self, kind: str, rows: pa.Table) -> None:
        self._waiting[kind].append(rows)
        while sum(map(len, self._waiting[kind])) >= self._size:
            table = pa.concat_tables(self._waiting[kind])
            self._flush(kind, [table.slice(0, self._size)])
            self._waiting[kind] = [table.slice(self._size)]

    def _flush(self, kind: str, waiting: list[pa.Table]) -> None:
        path = self._folder / "data" / f".{kind}-{len(self._written[kind])}.part"
        parts: Iterable[pa.Table] = [pa.concat_tables(waiting)] if waiting else []
        if (photo_bytes := self._photo_bytes) is not None:
            parts = itertools.chain.from_iterable(with_images(part, photo_bytes) for part in parts)
        write_parquet(parts, self._schema, path, self._version, self._labels)
        self._written[kind].append(path)


def with_images(table: pa.Table, photo_bytes: Callable[[str], bytes | None]) -> Iterator[pa.Table]:
    """The table with the photos that may be passed on, in parts of bounded size."""
    arrow = split_schema("common", with_images=True).arrow()
    start, num_bytes = 0, 0
    images: list[dict[str, Any] | None] = []
    for end, row in enumerate(table.select(["photo_id", "license", "attribution"]).to_pylist(), 1):
        content = photo_bytes(row["photo_id"]) if may_share(row["license"], row["attribution"]) else None
        clean = strip_metadata(content) if content else None
        images.append({"bytes": clean, "path": f"{row['photo_id']}.{suffix_of(clean)}"} if clean else None)
        num_bytes += len(clean or b"")
        if len(images) == ROW_GROUP_SIZE_WITH_BYTES or num_bytes > BYTES_PER_PART or end == table.num_rows:
            digests = [hashlib.sha256(image["bytes"]).hexdigest() if image else None for image in images]
            part = table.slice(start, len(images))
            for name, values in (("image", images), ("bundled_sha256", digests)):
                part = part.append_column(arrow.field(name), pa.array(values, arrow.field(name).type))
            yield part
            start, num_bytes, images = end, 0, []


def _hub_feature(field: pa.Field, labels: Sequence[str]) -> dict[str, Any]:
    if pa.types.is_struct(field.type):
        return {"_type": "Image"}
    if field.name == "class_label" and labels:
        return {"names": list(labels), "_type": "ClassLabel"}
    return {"dtype": str(field.type), "_type": "Value"}
