"""The files that make a set of embeddings: a folder or one file, on disk or at s3://.

Three layouts are read:

    *.parquet                          an id column and a list column of floats
    NAME.npy with NAME.parquet         vectors, and their ids in the same order
    img_emb/img_emb_N.npy with         what clip-retrieval's inference writes
    metadata/metadata_N.parquet

This module says what lies where; `embedding_sets` reads the vectors.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from counterset.errors import EmbeddingsError
from counterset.similarity import npy
from counterset.storage import ObjectPath, Place, files_below, name_below

ID_COLUMNS = ("photo_id", "id", "image_path", "key", "uid")
"""The columns in which ids are looked for, in this order, unless one is named."""


def files_of(path: Place) -> list[tuple[str, Place, Place]]:
    """(name, file of vectors, file of ids) of each shard, sorted by name.

    Raises:
        EmbeddingsError: there are none, of two kinds, or without ids.
    """
    try:
        is_file = path.is_file() and path.suffix in (".npy", ".parquet")
        below = [] if is_file else files_below(path)
    except OSError as error:
        raise EmbeddingsError(f"{path} cannot be read ({in_words(error)}); check the place and your rights") from error
    if not is_file and not below and not path.is_dir():
        raise EmbeddingsError(f"{path} is no folder, .npy or .parquet file; give the embeddings' folder")
    base = path.parent if is_file else path
    inference = path / "img_emb"
    if is_file:
        paths = [path]
    elif any(file.parent == inference for file in below):
        paths = [file for file in below if file.parent == inference and file.suffix == ".npy"]
    else:
        paths = [file for file in below if file.suffix == ".npy"]
        taken = {_beside(file) for file in paths}
        paths += [file for file in below if file.suffix == ".parquet" and file not in taken]
    if not paths:
        raise EmbeddingsError(f"{path} holds no .npy or .parquet files; give the embeddings' folder")
    if len({file.suffix for file in paths}) > 1:
        raise EmbeddingsError(f"{path} mixes vectors in .npy and in .parquet files; give one folder for each kind")
    there = set(below)
    return sorted((name_below(base, file), file, _id_file(file, path, there)) for file in paths)


def _beside(vectors: Place) -> Place:
    """The Parquet file of the same name."""
    return vectors.parent / f"{vectors.stem}.parquet"


def _id_file(vectors: Place, path: Place, there: set[Place]) -> Place:
    if vectors.suffix == ".parquet":
        return vectors
    places = [_beside(vectors)]
    number = re.search(r"_(\d+)\.npy$", vectors.name)
    if vectors.parent.name == "img_emb" and number:
        places.append(vectors.parent.parent / "metadata" / f"metadata_{number[1]}.parquet")
    for one in places:
        if one in there or (not there and one.is_file()):
            return one
    raise EmbeddingsError(f"{vectors} has no ids: neither {' nor '.join(str(one) for one in places)} is there")


@contextlib.contextmanager
def opened(path: Place) -> Iterator[pq.ParquetFile]:
    """A Parquet file that is read while the block runs."""
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(path.open()) if isinstance(path, ObjectPath) else path
        yield stack.enter_context(pq.ParquetFile(source, memory_map=isinstance(path, Path)))


def in_words(error: Exception) -> str:
    """An error in one line."""
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:150]


def columns_of(path: Place) -> list[str]:
    """The names of a Parquet file's columns.

    Raises:
        EmbeddingsError: it cannot be read.
    """
    return list(schema_of(path).names)


def schema_of(path: Place) -> pa.Schema:
    """A Parquet file's columns.

    Raises:
        EmbeddingsError: it cannot be read.
    """
    try:
        with opened(path) as file:
            return file.schema_arrow
    except (OSError, pa.ArrowException) as error:
        raise EmbeddingsError(f"{path} cannot be read ({in_words(error)}); write it again") from error


def vector_column(path: Place) -> str:
    """The column of a Parquet file that holds vectors.

    Raises:
        EmbeddingsError: none does, or several do.
    """
    lists = [
        field.name
        for field in schema_of(path)
        if (
            pa.types.is_fixed_size_list(field.type)
            or pa.types.is_list(field.type)
            or pa.types.is_large_list(field.type)
        )
        and pa.types.is_floating(field.type.value_type)
    ]
    if "embedding" in lists:
        return "embedding"
    if len(lists) != 1:
        raise EmbeddingsError(f"{path} has {len(lists)} list columns of floats; name the right one 'embedding'")
    return str(lists[0])


def shape_of(path: Place, column: str) -> tuple[int, int]:
    """(rows, dimensions) of one file of vectors; `column` is where they are, "" in a .npy file.

    Raises:
        EmbeddingsError: it cannot be read, or holds something else.
    """
    if path.suffix == ".npy":
        try:
            shape, dtype = npy.header(path)
        except (OSError, ValueError) as error:
            raise EmbeddingsError(f"{path} cannot be read ({in_words(error)}); write plain float arrays") from error
        if len(shape) != 2 or dtype.kind != "f":
            raise EmbeddingsError(f"{path} holds {dtype} of shape {shape}, not float vectors in rows")
        return shape[0], shape[1]
    schema = schema_of(path)
    if column not in schema.names:
        raise EmbeddingsError(f"{path} has no column {column!r}, as the other shards have; write all alike")
    kind = schema.field(column).type
    with opened(path) as file:
        if pa.types.is_fixed_size_list(kind):
            return file.metadata.num_rows, int(kind.list_size)
        first = next(file.iter_batches(batch_size=1, columns=[column]), None)
        return file.metadata.num_rows, len(first.column(0)[0]) if first is not None and len(first) else 0


def tags_of(path: Place) -> list[str]:
    """The model tags that a Parquet file states, in its metadata or its column `model`."""
    schema = schema_of(path)
    for key in (b"counterset.model", b"model"):
        if schema.metadata and key in schema.metadata:
            return [schema.metadata[key].decode(errors="replace")]
    if "model" not in schema.names:
        return []
    with opened(path) as file:
        values = file.read(columns=["model"])["model"].unique().to_pylist()
    return sorted(str(value) for value in values)
