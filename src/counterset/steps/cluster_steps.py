"""The steps of semantic de-duplication over shards, from files to files. No Prefect here.

While it runs, a copy of all vectors in the order of their clusters lies beside the other work (4 bytes per
dimension), so that the clusters of a task are one slice of each shard, whatever shards their vectors are of.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from counterset.similarity import npy
from counterset.similarity.deduplicate import assign, duplicates_of_cluster, learn_centroids
from counterset.similarity.embedding_sets import EmbeddingSet, Vectors
from counterset.similarity.schemas import CLUSTER_PARTS, DUPLICATE_PARTS, queries
from counterset.steps.similarity_steps import describe_shard, joined, part, read_queries
from counterset.storage import ObjectPath, Place
from counterset.tables import read_metadata, read_table, sha256_of, table_of, write_bytes, write_table
from counterset.workspace import digest

ROWS_PER_TASK = 100_000
"""Vectors whose clusters are searched in one task."""
IDS_PER_BATCH = 16_384
"""Ids that are read at once."""


def centroids_path(work: Place, base: EmbeddingSet, num_clusters: int, seed: int) -> Place:
    """Where the centroids of the base lie, there or not."""
    key = digest("centroids", [shard.identity for shard in base.shards], num_clusters, seed, base.is_normalised_here)
    return part(work, "centroids", key, "all")


def centroids_file(work: Place, base: EmbeddingSet, num_clusters: int, seed: int) -> None:
    """The k-means centroids of the whole base."""
    path = centroids_path(work, base, num_clusters, seed)
    if not path.is_file():
        centroids = learn_centroids(base, num_clusters, seed=seed)
        dim = base.embedding_dim
        column = pa.FixedSizeListArray.from_arrays(pa.array(centroids.reshape(-1), pa.float32()), dim)
        names = [f"{index:09d}" for index in range(len(centroids))]
        rows = {"query_id": names, "query_set": ["centroid"] * len(names), "embedding": column}
        write_table(table_of(queries(dim), rows), queries(dim), path)


def cluster_folder(work: Place, centroids: Place) -> Place:
    """Where the vectors lie in the order of their clusters, until the duplicates are found."""
    return work / "clusters" / f"{centroids.parent.name}-{IDS_PER_BATCH}"


def assign_shard(work: Place, base: EmbeddingSet, centroids: Place) -> None:
    """Write the vectors of the one shard of `base` in the order of their clusters."""
    [shard] = base.shards
    describe_shard(work, base, "base")
    folder = cluster_folder(work, centroids)
    path = folder / f"{shard.identity}.parquet"
    if path.is_file():
        return
    assigned = assign(base.tiles(shard), read_queries(str(centroids), base.embedding_dim).vectors)
    order = np.argsort(assigned.cluster, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))

    def sorted_vectors(aside: Path) -> None:
        # In the file rather than in memory: a shard may be large.
        shape = (max(len(order), 1), base.embedding_dim)
        vectors = np.lib.format.open_memmap(aside, "w+", np.float32, shape)
        start = 0
        for tile in base.tiles(shard):
            vectors[place[start : start + len(tile)]] = tile
            start += len(tile)
        vectors.flush()

    def sorted_ids(aside: Path) -> None:
        ids = pa.table({"id": base.ids(shard).take(pa.array(order))})
        with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, ids.schema) as writer:
            writer.write_table(ids, max_chunksize=IDS_PER_BATCH)

    _write(folder / f"{shard.identity}.vectors.npy", sorted_vectors)
    for name, values in (("rows", order.astype(np.int64)), ("similarity", assigned.similarity[order])):
        _write(folder / f"{shard.identity}.{name}.npy", functools.partial(_save, values))
    _write(folder / f"{shard.identity}.ids.arrow", sorted_ids)
    cluster, count = np.unique(assigned.cluster, return_counts=True)
    write_table(table_of(CLUSTER_PARTS, {"cluster": cluster, "num_rows": count}), CLUSTER_PARTS, path)


def _save(values: np.ndarray, aside: Path) -> None:
    np.save(aside, values)


def _write(target: Place, write: Callable[[Path], object]) -> None:
    """What `write` writes into a file of this machine, at `target`, whole or not at all."""
    beside = None if isinstance(target, ObjectPath) else target.parent
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=beside) as folder:
        aside = Path(folder) / target.name
        write(aside)
        if isinstance(target, ObjectPath):
            target.upload(aside)
        else:
            aside.replace(target)


def _ids(path: Place, start: int, stop: int) -> list[str]:
    """The ids `start` to `stop` of a shard, in the order of their clusters."""
    first = start // IDS_PER_BATCH
    with path.open() if isinstance(path, ObjectPath) else pa.memory_map(str(path)) as source:
        file = pa.ipc.open_file(source)
        batches = [file.get_batch(number) for number in range(first, -(-stop // IDS_PER_BATCH))]
        column = pa.Table.from_batches(batches, file.schema)["id"]
        found: list[str] = column.slice(start - first * IDS_PER_BATCH, stop - start).to_pylist()
    return found


def cluster_counts(work: Place, base: EmbeddingSet, centroids: Place) -> np.ndarray:
    """(shards, clusters) vectors of each shard in each cluster."""
    folder = cluster_folder(work, centroids)
    num_clusters = read_metadata(centroids).num_rows
    counts = np.zeros((len(base.shards), num_clusters), np.int64)
    for index, shard in enumerate(base.shards):
        table = read_table(folder / f"{shard.identity}.parquet", CLUSTER_PARTS)
        counts[index, table["cluster"].to_numpy()] = table["num_rows"].to_numpy()
    return counts


def cluster_tasks(counts: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of clusters (first, after the last) with about `ROWS_PER_TASK` vectors each."""
    number = (counts.sum(axis=0).cumsum() - 1) // ROWS_PER_TASK
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    return [(int(first), int(last)) for first, last in zip(starts, [*starts[1:], counts.shape[1]], strict=True)]


def duplicates_key(centroids: Place, limit: float) -> str:
    return digest("duplicates", centroids.parent.name, sha256_of(centroids), limit)


class _Slice(NamedTuple):
    """What of one shard is of some clusters that follow each other: N vectors in the order of their clusters.

    Attributes:
        start: which of the shard's, in that order, is the first.
        vectors: (N, D).
        rows: (N,) where they are in the shard.
        similarity: (N,) to their centroids.
        ids: N.
    """

    start: int
    vectors: Vectors
    rows: np.ndarray
    similarity: np.ndarray
    ids: list[str]

    @classmethod
    def read(cls, stem: Place, start: int, stop: int) -> _Slice:
        """From the files that `assign_shard` wrote."""
        vectors, rows, similarity = (
            npy.rows(stem.parent / f"{stem.name}.{name}.npy", start, stop) for name in ("vectors", "rows", "similarity")
        )
        return cls(start, vectors, rows, similarity, _ids(stem.parent / f"{stem.name}.ids.arrow", start, stop))

    def of(self, start: int, stop: int) -> _Slice:
        """The same of fewer clusters."""
        own = slice(start - self.start, stop - self.start)
        return _Slice(start, self.vectors[own], self.rows[own], self.similarity[own], self.ids[own])


def duplicates_in_clusters(
    work: Place, base: EmbeddingSet, centroids: Place, limit: float, first: int, last: int
) -> None:
    """The duplicates within each of some clusters, over all shards."""
    path = part(work, "duplicates", duplicates_key(centroids, limit), f"{first:09d}")
    if path.is_file():
        return
    folder = cluster_folder(work, centroids)
    counts = cluster_counts(work, base, centroids)
    ends = counts.cumsum(axis=1)
    starts = ends - counts
    slices: dict[int, _Slice] = {}
    for index in np.flatnonzero(counts[:, first:last].sum(axis=1)).tolist():
        low, high = int(starts[index, first]), int(ends[index, last - 1])
        slices[index] = _Slice.read(folder / base.shards[index].identity, low, high)
    rows: dict[str, list[np.ndarray]] = {"shard": [], "row": [], "similarity": []}
    others: list[str] = []
    for cluster in range(first, last):
        owners = np.flatnonzero(counts[:, cluster]).tolist()
        parts = [slices[index].of(int(starts[index, cluster]), int(ends[index, cluster])) for index in owners]
        ids = [one for part in parts for one in part.ids]
        if len(ids) < 2:
            continue
        vectors, similarity, row = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("vectors", "similarity", "rows")
        )
        duplicates = duplicates_of_cluster(vectors, similarity, limit)
        owner = np.repeat(owners, [len(part.ids) for part in parts])
        rows["shard"].append(owner[duplicates.member])
        rows["row"].append(row[duplicates.member])
        others += [ids[index] for index in duplicates.other]
        rows["similarity"].append(duplicates.similarity)
    columns = {name: joined(values) for name, values in rows.items()}
    columns["similarity"] = columns["similarity"].astype(np.float32)
    write_table(table_of(DUPLICATE_PARTS, columns | {"other_id": others}), DUPLICATE_PARTS, path)


def are_duplicates_done(work: Place, centroids: Place, limit: float) -> bool:
    """Whether `finish_duplicates` was reached before."""
    return (part(work, "duplicates", duplicates_key(centroids, limit), "x").parent / "done").is_file()


def finish_duplicates(work: Place, centroids: Place, limit: float) -> None:
    """Note that all duplicates are found, and give back the disk that the sorted vectors took."""
    write_bytes(b"", part(work, "duplicates", duplicates_key(centroids, limit), "x").parent / "done")
    folder = cluster_folder(work, centroids)
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        for path in list(folder.walk()):
            path.unlink(missing_ok=True)
