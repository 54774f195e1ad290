"""The steps of an audit and of a pruning, from files to files. No Prefect here.

Files lie at `<work>/<stage>/<key>/<name>.parquet`, whole or not at all, as a build's do. What is
done of a shard is filed under the shard's own identity, so shards that are added later cost
only their own work.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import filelock
import numpy as np
import pyarrow as pa

from counterset import lease
from counterset.digests import Digests, Mark, mark_of
from counterset.errors import EmbeddingsError, ReleaseError, WorkspaceError
from counterset.load import Release, load
from counterset.machine.ways import agree_on, way
from counterset.models.door import identity, open_text_model
from counterset.release.checksums import SUMS
from counterset.schemas import embeddings
from counterset.similarity.embedding_sets import EmbeddingSet, Shard, Vectors, read_all
from counterset.similarity.schemas import (
    BASE_SHARDS,
    FAR_PARTS,
    NEAR_PARTS,
    NEAREST_PARTS,
    PRUNE_QUERIES,
    queries,
)
from counterset.similarity.search import exceeding, nearest
from counterset.storage import ObjectPath, Place, scratch_of
from counterset.tables import TableRef, read_table, sha256_of, table_of, write_table
from counterset.workspace import digest

logger = logging.getLogger(__name__)

PHOTOS_PER_CHUNK = 512
"""Photos of a release that are embedded in one task."""


@dataclasses.dataclass(frozen=True)
class Queries:
    """The queries of a run: ids in order of (query_id, query_set), and their (Q, D) vectors."""

    ids: list[str]
    sets: list[str]
    vectors: Vectors


@dataclasses.dataclass(frozen=True)
class Source:
    """Where queries come from: a release with its embeddings (None = computed from its photos), or embeddings alone.

    Attributes:
        release: the release, opened.
        embeddings: of its photos, or of a test set.
        mirrors: places that are asked for its photos before their own URLs.
        address: what `load` opens to the same release on another machine; "" = its folder on this one.
    """

    release: Release | None
    embeddings: Place | None
    mirrors: tuple[str, ...] = ()
    address: str = ""

    @property
    def name(self) -> str:
        """What the queries are called in the results."""
        if self.release is not None:
            return f"{self.release.name} {self.release.version}"
        return str(self.embeddings.name if self.embeddings else "")

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the release itself: this one's copy may not be there, and its tables are large."""
        release, beside = self.release, (self.embeddings, self.mirrors, self.address)
        if release is None:
            return Source, (None, *beside)
        where = self.address or str(release.path.resolve())
        return _opened_elsewhere, (way(), where, release.version, release.verdicts, release.naming, *beside)


@functools.lru_cache(maxsize=4)
def _opened_elsewhere(
    way_of_all: str,
    where: str,
    version: str,
    verdicts: tuple[str, ...],
    naming: tuple[str, ...],
    embeddings: Place | None,
    mirrors: tuple[str, ...],
    address: str,
) -> Source:
    agree_on(way_of_all)
    release = load(where, version, verdicts=verdicts, naming=naming, verify=False, mirrors=mirrors)
    return Source(release, embeddings, mirrors, address)


def part(work: Place, stage: str, key: str, name: str) -> Place:
    """Where one finished file lies, there or not."""
    return work / stage / key / f"{name}.parquet"


@contextlib.contextmanager
def locked(work: Place) -> Iterator[None]:
    """Hold the place of unfinished work for one run; ends with the process, however it ends (on S3: see `lease`).

    Raises:
        WorkspaceError: another run holds it, or it cannot be written.
    """
    if isinstance(work, ObjectPath):
        with lease.held(work / ".lease", str(work)):
            yield
        return
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(work / ".lock")
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise WorkspaceError(f"another run works in {work}; wait until it ends, or give another --output") from error
    except OSError as error:
        raise WorkspaceError(f"{work} cannot be written ({error.strerror}); give another --output") from error
    try:
        yield
    finally:
        lock.release()


def kept_digests(work: Place) -> Digests:
    """The digests of files that were compared with, kept on this machine from one run to the next."""
    return Digests(work, (scratch_of(work) if isinstance(work, ObjectPath) else work) / "digests.jsonl")


def know_shard(kept: Digests, shard: Shard) -> bool:
    """Whether the digests of both files of a shard are kept; then it has them."""
    vectors, ids = kept.sha256(shard.vectors), kept.sha256(shard.ids)
    if vectors is None or ids is None:
        return False
    shard.know((vectors, ids))
    return True


def keep_digests(kept: Digests, shard: Shard, sha256: tuple[str, str], before: Sequence[Mark | None]) -> None:
    """Keep the digests of both files of a shard; `before` is what each was before it was read."""
    shard.know(sha256)
    for path, one, mark in zip((shard.vectors, shard.ids), sha256, before, strict=True):
        kept.keep(path, one, mark)


def marks_of(shard: Shard) -> list[Mark | None]:
    """What both files of a shard are now."""
    return [mark_of(shard.vectors), mark_of(shard.ids)]


def only(embedding_set: EmbeddingSet, shard: Shard) -> EmbeddingSet:
    """The set with one shard alone: what a task of that shard is given."""
    return dataclasses.replace(embedding_set, shards=(shard,))


def describe_shard(work: Place, base: EmbeddingSet, role: str) -> None:
    """Note the digests of a shard's files; `base` holds that shard alone."""
    [shard] = base.shards
    path = part(work, "shards", role, shard.identity)
    if not path.is_file():
        vectors, ids = shard.sha256
        row = {
            "role": role,
            "shard": shard.name,
            "num_rows": shard.num_rows,
            "vectors_sha256": vectors,
            "ids_sha256": ids,
        }
        write_table(table_of(BASE_SHARDS, [row]), BASE_SHARDS, path)


def release_key(release: Release, model: str) -> str:
    """What a release's embeddings under a model are filed under."""
    return digest("release", sha256_of(release.path / SUMS), identity(open_text_model(model)))


def embed_chunk(work: Place, release: Release, model: str, chunk: int) -> Place:
    """Embeddings of one chunk of a release's photos; photos that cannot be read are left out."""
    path = part(work, "release_embeddings", release_key(release, model), f"{chunk:06d}")
    if not path.is_file():
        photo_ids = sorted(release.all_photos["photo_id"].to_pylist())[chunk * PHOTOS_PER_CHUNK :][:PHOTOS_PER_CHUNK]
        contents, kept, missing = [], [], []
        for photo_id in photo_ids:
            try:
                contents.append(release.photo(photo_id))
                kept.append(photo_id)
            except ReleaseError as error:
                missing.append(str(error))
        if missing:
            logger.warning("%d photos are left out; the first: %s", len(missing), missing[0])
        encoder = open_text_model(model)
        features = encoder.encode_images(contents, batch_size=64)
        dim = encoder.embedding_dim
        column = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1), pa.float32()), dim)
        table = table_of(embeddings(dim), {"photo_id": kept, "model": [model] * len(kept), "embedding": column})
        write_table(table, embeddings(dim), path)
    return path


def write_queries(work: Place, sets: Sequence[tuple[str, EmbeddingSet]], wanted: Sequence[set[str] | None]) -> TableRef:
    """All queries in one file.

    Args:
        work: folder of unfinished work.
        sets: (name, embeddings); all of one model.
        wanted: by set, the ids that are queries; None = all.
    """
    ids: list[str] = []
    names: list[str] = []
    parts: list[Vectors] = []
    for (name, embedding_set), chosen in zip(sets, wanted, strict=True):
        own_ids, vectors = read_all(embedding_set)
        kept = [index for index, own_id in enumerate(own_ids) if chosen is None or own_id in chosen]
        if not kept:
            raise EmbeddingsError(
                f"{embedding_set.path} has no embedding of a photo of {name}; give its own embeddings"
            )
        ids += [own_ids[index] for index in kept]
        names += [name] * len(kept)
        parts.append(vectors[kept])
    dim = sets[0][1].embedding_dim
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(parts).reshape(-1), pa.float32()), dim)
    table = table_of(queries(dim), {"query_id": ids, "query_set": names, "embedding": column})
    key = digest("queries", [[name, [shard.identity for shard in one.shards], one.model] for name, one in sets])
    return write_table(table, queries(dim), part(work, "queries", key, "all"))


@functools.lru_cache(maxsize=2)
def read_queries(path: str, embedding_dim: int) -> Queries:
    """The queries of a file that `write_queries` wrote."""
    table = read_table(path, queries(embedding_dim))
    vectors = np.array(table["embedding"].combine_chunks().flatten().to_numpy()).reshape(-1, embedding_dim)
    return Queries(table["query_id"].to_pylist(), table["query_set"].to_pylist(), vectors)


def nearest_key(asked: TableRef) -> str:
    return digest("nearest", asked.sha256)


def nearest_in_shard(work: Place, base: EmbeddingSet, role: str, asked: TableRef) -> None:
    """Each query's most similar vector in the one shard of `base`."""
    [shard] = base.shards
    describe_shard(work, base, role)
    path = part(work, "nearest", nearest_key(asked), shard.identity)
    if not path.is_file():
        vectors = read_queries(asked.path, base.embedding_dim).vectors
        neighbours = nearest(vectors, base.tiles(shard))
        ids = base.ids(shard)
        position = neighbours.position[:, 0]
        near = ids.take(pa.array(position)) if len(ids) else pa.nulls(len(position), pa.string())
        rows = {"query": np.arange(len(position)), "nearest_id": near, "similarity": neighbours.similarity[:, 0]}
        write_table(table_of(NEAREST_PARTS, rows), NEAREST_PARTS, path)


def merge_nearest(work: Place, base: EmbeddingSet, asked: TableRef) -> tuple[list[str], np.ndarray]:
    """(Q,) ids and similarities of each query's most similar vector over all shards; ties to the first shard."""
    ids: list[str] = [""] * asked.num_rows
    best = np.full(asked.num_rows, -np.inf, np.float32)
    for shard in base.shards:
        table = read_table(part(work, "nearest", nearest_key(asked), shard.identity), NEAREST_PARTS)
        similarity = table["similarity"].to_numpy()
        better = np.flatnonzero(similarity > best)
        for index, nearest_id in zip(better, table["nearest_id"].take(pa.array(better)).to_pylist(), strict=True):
            ids[index] = nearest_id
        best[better] = similarity[better]
    return ids, best


def near_key(asked: TableRef, limits: TableRef) -> str:
    return digest("near", asked.sha256, limits.sha256)


def near_in_shard(work: Place, base: EmbeddingSet, asked: TableRef, limits: TableRef) -> None:
    """The vectors of the one shard of `base` that are nearer to a query than its limit."""
    [shard] = base.shards
    describe_shard(work, base, "base")
    path = part(work, "near", near_key(asked, limits), shard.identity)
    if not path.is_file():
        vectors = read_queries(asked.path, base.embedding_dim).vectors
        thresholds = read_table(limits.path, PRUNE_QUERIES, ["threshold"])["threshold"].to_numpy().copy()
        rows, indices, values, start = [], [], [], 0
        for tile in base.tiles(shard):
            near = exceeding(tile, vectors, thresholds)
            over = np.flatnonzero(near.query >= 0)
            rows.append(over + start)
            indices.append(near.query[over])
            values.append(near.similarity[over])
            start += len(tile)
        write_table(
            table_of(
                NEAR_PARTS,
                {"row": joined(rows), "query": joined(indices), "similarity": joined(values).astype(np.float32)},
            ),
            NEAR_PARTS,
            path,
        )


def far_key(asked: TableRef) -> str:
    return digest("far", asked.sha256)


def far_in_shard(work: Place, base: EmbeddingSet, asked: TableRef) -> None:
    """Each vector's most similar query, for the one shard of `base`."""
    [shard] = base.shards
    describe_shard(work, base, "base")
    path = part(work, "far", far_key(asked), shard.identity)
    if not path.is_file():
        vectors = read_queries(asked.path, base.embedding_dim).vectors
        neighbours = [nearest(tile, [vectors]) for tile in base.tiles(shard)]
        rows = {
            "row": np.arange(shard.num_rows),
            "query": joined([one.position[:, 0] for one in neighbours]),
            "similarity": joined([one.similarity[:, 0] for one in neighbours]).astype(np.float32),
        }
        write_table(table_of(FAR_PARTS, rows), FAR_PARTS, path)


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The parts in one, also when there are none."""
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
