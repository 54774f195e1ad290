"""Sets of embeddings in files: their model, and reading them tile by tile, without ever holding a whole set in memory.

`layouts` says which files make a set. The order of a set is that of its shards' names, then of rows; ties of similarity
go to the first.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from counterset.errors import EmbeddingsError
from counterset.similarity import npy
from counterset.similarity.layouts import (
    ID_COLUMNS,
    columns_of,
    files_of,
    in_words,
    opened,
    shape_of,
    tags_of,
    vector_column,
)
from counterset.storage import Place, place
from counterset.tables import sha256_of
from counterset.workspace import digest

Vectors = npt.NDArray[np.float32]

MAX_LENGTH_ERROR = 2e-3
"""How far a vector's length may be from 1: in half-precision files it is up to 1e-3 off."""
TILE_ROWS = 4_096
"""Rows read at a time."""
_FIRST_ROWS = 16


@dataclass(frozen=True)
class Shard:
    """One file of vectors.

    Attributes:
        name: its path within the set.
        vectors: the Parquet or .npy file.
        ids: the Parquet file that holds the ids; the same file for Parquet vectors.
        num_rows: vectors.
        columns: of ids and of vectors.
    """

    name: str
    vectors: Place
    ids: Place
    num_rows: int
    columns: tuple[str, str]

    @functools.cached_property
    def sha256(self) -> tuple[str, str]:
        """Of the vectors' file and of the ids', read once.

        Raises:
            EmbeddingsError: one cannot be read.
        """
        try:
            vectors = sha256_of(self.vectors)
            return vectors, vectors if self.ids == self.vectors else sha256_of(self.ids)
        except OSError as error:
            raise EmbeddingsError(f"{self.vectors} cannot be read ({in_words(error)}); write it again") from error

    def know(self, sha256: tuple[str, str]) -> None:
        """Take over digests that were taken before, or elsewhere."""
        self.__dict__["sha256"] = sha256

    @property
    def identity(self) -> str:
        """What finished work is filed under: name and content. Sizes and times may be another shard's, too."""
        return digest(self.name, self.sha256, self.columns)


@dataclass(frozen=True)
class EmbeddingSet:
    """Vectors of one model in shards.

    Attributes:
        path: the folder or file.
        model: the model's tag, equal for all that is compared.
        embedding_dim: D.
        shards: in order.
        vector_column: the list column (Parquet), else "".
        id_column: the column of ids.
        is_normalised_here: vectors of any length are accepted and scaled to length 1.
    """

    path: Place
    model: str
    embedding_dim: int
    shards: tuple[Shard, ...]
    vector_column: str
    id_column: str
    is_normalised_here: bool

    @property
    def num_rows(self) -> int:
        """Vectors in all shards."""
        return sum(shard.num_rows for shard in self.shards)

    def tiles(self, shard: Shard, rows: int = TILE_ROWS) -> Iterator[Vectors]:
        """The shard's vectors, scaled to length 1, (up to `rows`, D) at a time; the next is read meanwhile.

        Raises:
            EmbeddingsError: a vector has another length, is not finite, or the file is damaged.
        """
        return _ahead(self._checked(shard, rows))

    def ids(self, shard: Shard) -> pa.Array:
        """The shard's ids as strings, in row order.

        Raises:
            EmbeddingsError: an id is missing, or there are more or fewer than vectors.
        """
        try:
            with opened(shard.ids) as file:
                column = file.read(columns=[self.id_column])[self.id_column]
        except (OSError, pa.ArrowException) as error:
            raise EmbeddingsError(f"{shard.ids} cannot be read ({in_words(error)}); write it again") from error
        if column.null_count or len(column) != shard.num_rows:
            raise EmbeddingsError(
                f"{shard.ids} has {len(column) - column.null_count} ids for {shard.num_rows} vectors; "
                "give each one an id"
            )
        return column.cast(pa.string()).combine_chunks()

    def check_start(self, shard: Shard) -> None:
        """See that the first vectors are of length 1, before hours of work.

        Raises:
            EmbeddingsError: one is not.
        """
        for raw in self._raw(shard, _FIRST_ROWS):
            self._scaled(np.ascontiguousarray(raw, np.float32), shard, 0)
            return

    def _checked(self, shard: Shard, rows: int) -> Iterator[Vectors]:
        start = 0
        for raw in self._raw(shard, rows):
            tile = np.ascontiguousarray(raw, np.float32)
            yield self._scaled(tile, shard, start)
            start += len(tile)
        if start != shard.num_rows:
            raise EmbeddingsError(f"{shard.vectors} changed while it was read; run again")

    def _scaled(self, tile: Vectors, shard: Shard, start: int) -> Vectors:
        lengths = np.sqrt(np.einsum("ij,ij->i", tile, tile))  # (B, D) -> (B,)
        if not self.is_normalised_here:
            wrong = ~(np.abs(lengths - 1) <= MAX_LENGTH_ERROR)
            remedy = "normalise the vectors, or pass --normalise"
        else:
            wrong = ~(np.isfinite(lengths) & (lengths > 0))
            remedy = "remove it from the file"
        if wrong.any():
            row = int(np.argmax(wrong))
            raise EmbeddingsError(
                f"row {start + row} of {shard.vectors} has length {lengths[row]:.4g}, not 1; {remedy}"
            )
        scaled: Vectors = tile / lengths[:, None]
        return scaled

    def _raw(self, shard: Shard, rows: int) -> Iterator[npt.NDArray[Any]]:
        try:
            if shard.vectors.suffix == ".npy":
                yield from npy.tiles(shard.vectors, rows)
                return
            with opened(shard.vectors) as file:
                for batch in file.iter_batches(batch_size=rows, columns=[self.vector_column]):
                    yield _matrix(batch.column(0), self.embedding_dim, shard)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise EmbeddingsError(f"{shard.vectors} cannot be read ({in_words(error)}); write it again") from error


def open_embeddings(
    path: str | Place,
    model: str | None = None,
    *,
    fallback_model: str | None = None,
    id_column: str | None = None,
    normalise: bool = False,
) -> EmbeddingSet:
    """Look at a set's files: layout, shape, model, and the length of each shard's first vectors.

    Args:
        path: a folder of shards, or one file, on disk or at s3://.
        model: the model's tag; needed where the files do not say it, and refused where they say another.
        fallback_model: the tag of files that do not say it, when none is stated.
        id_column: the column of ids; None = the first of `ID_COLUMNS` that is there.
        normalise: accept vectors of any length.

    Raises:
        EmbeddingsError: no such files, no ids, shards that differ in model or dimension, or
            vectors of another length than 1.
    """
    path = place(path)
    pairs = files_of(path)
    names = columns_of(pairs[0][2])
    ids = [id_column] if id_column else [name for name in ID_COLUMNS if name in names]
    if not ids or ids[0] not in names:
        raise EmbeddingsError(
            f"{pairs[0][2]} has no column {id_column or ' or '.join(ID_COLUMNS)!r} of ids; name it with --id-column"
        )
    column = vector_column(pairs[0][1]) if pairs[0][1].suffix == ".parquet" else ""
    shards: list[Shard] = []
    dims: dict[int, Place] = {}
    tags: dict[str, Place] = {}
    for name, vectors, id_file in pairs:
        num_rows, dim = shape_of(vectors, column)
        shards.append(Shard(name, vectors, id_file, num_rows, (ids[0], column)))
        if num_rows:
            dims.setdefault(dim, vectors)
        for tag in tags_of(vectors) if column else ():
            tags.setdefault(tag, vectors)
    if not dims:
        raise EmbeddingsError(f"{path} holds no vectors; give the embeddings of at least one image")
    if len(dims) > 1:
        (first, one), (second, other) = list(dims.items())[:2]
        raise EmbeddingsError(f"{one} has {first} dimensions and {other} has {second}; give shards of one model")
    if len(tags) > 1:
        tag, other_tag = list(tags)[:2]
        raise EmbeddingsError(
            f"{tags[tag]} is of the model {tag!r} and {tags[other_tag]} of {other_tag!r}; give shards of one model"
        )
    tagged = next(iter(tags), None)
    if model and tagged and model != tagged:
        raise EmbeddingsError(f"{path} is of the model {tagged!r}, not {model!r}; compare embeddings of one model only")
    model = model or fallback_model
    if not (tagged or model):
        raise EmbeddingsError(
            f"{path} does not say which model made it; state it with --model, e.g. ViT-B-32/laion2b_e16"
        )
    opened = EmbeddingSet(path, tagged or str(model), next(iter(dims)), tuple(shards), column, ids[0], normalise)
    for shard in shards:
        opened.check_start(shard)
    return opened


def check_same(first: EmbeddingSet, second: EmbeddingSet) -> None:
    """See that two sets can be compared.

    Raises:
        EmbeddingsError: they are of two models or dimensions.
    """
    if first.model != second.model:
        raise EmbeddingsError(
            f"{first.path} is of the model {first.model!r} and {second.path} of {second.model!r}; "
            "embed both with one model"
        )
    if first.embedding_dim != second.embedding_dim:
        raise EmbeddingsError(
            f"{first.path} has {first.embedding_dim} dimensions and {second.path} has {second.embedding_dim}; "
            "embed both with one model"
        )


def _matrix(column: pa.Array, dim: int, shard: Shard) -> npt.NDArray[Any]:
    """(B, D) from a list column."""
    if column.null_count or column.flatten().null_count:
        raise EmbeddingsError(f"{shard.vectors} has rows without a vector; remove them")
    values: npt.NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    if len(values) != len(column) * dim:
        raise EmbeddingsError(f"{shard.vectors} has vectors of other lengths than {dim}; give vectors of one model")
    return values.reshape(-1, dim)


def _ahead(tiles: Iterator[Vectors]) -> Iterator[Vectors]:
    """The same tiles; while one is worked on, the next is read."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, tiles, None)
        while (tile := coming.result()) is not None:
            coming = pool.submit(next, tiles, None)
            yield tile


def read_all(embeddings: EmbeddingSet) -> tuple[list[str], Vectors]:
    """All ids and (N, D) vectors of a set that fits into memory, sorted by id.

    Raises:
        EmbeddingsError: an id occurs twice.
    """
    ids: list[str] = []
    tiles: list[Vectors] = [np.empty((0, embeddings.embedding_dim), np.float32)]
    for shard in embeddings.shards:
        ids += embeddings.ids(shard).to_pylist()
        tiles += embeddings.tiles(shard)
    if len(set(ids)) != len(ids):
        twice = next(first for first, second in itertools.pairwise(sorted(ids)) if first == second)
        raise EmbeddingsError(f"{embeddings.path} has the id {twice!r} twice; keep one row of it")
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return [ids[index] for index in order], np.concatenate(tiles)[order]
