"""The steps of semantic de-duplication over shards, from files to files. No Prefect here.

While it runs, a copy of all vectors in the order of their clusters lies on the disk (4 bytes a
dimension), so that a cluster is read in a few slices, whatever shards its vectors are of.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterset.similarity.deduplicate import assign, duplicates_of_cluster, learn_centroids
from counterset.similarity.embedding_sets import EmbeddingSet
from counterset.similarity.schemas import CLUSTER_PARTS, DUPLICATE_PARTS, queries
from counterset.steps.similarity_steps import describe_shard, joined, part, read_queries
from counterset.tables import read_table, sha256_of, table_of, write_bytes, write_table
from counterset.workspace import digest

ROWS_PER_TASK = 100_000
"""Vectors whose clusters are searched in one task."""


def centroids_path(work: Path, base: EmbeddingSet, num_clusters: int, seed: int) -> Path:
    """Where the centroids of the base lie, there or not."""
    key = digest("centroids", [shard.identity for shard in base.shards], num_clusters, seed, base.is_normalised_here)
    return part(work, "centroids", key, "all")


def centroids_file(work: Path, base: EmbeddingSet, num_clusters: int, seed: int) -> None:
    """The k-means centroids of the whole base."""
    path = centroids_path(work, base, num_clusters, seed)
    if not path.is_file():
        centroids = learn_centroids(base, num_clusters, seed=seed)
        dim = base.embedding_dim
        column = pa.FixedSizeListArray.from_arrays(pa.array(centroids.reshape(-1), pa.float32()), dim)
        names = [f"{index:09d}" for index in range(len(centroids))]
        rows = {"query_id": names, "query_set": ["centroid"] * len(names), "embedding": column}
        write_table(table_of(queries(dim), rows), queries(dim), path)


def cluster_folder(work: Path, centroids: Path) -> Path:
    """Where the vectors lie in the order of their clusters, until the duplicates are found."""
    return work / "clusters" / centroids.parent.name


def assign_shard(work: Path, base: EmbeddingSet, centroids: Path) -> None:
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
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{shard.identity}.{os.getpid()}.part"
    # In the file rather than in memory: a shard may be large.
    shape = (max(len(order), 1), base.embedding_dim)
    vectors = np.lib.format.open_memmap(aside, "w+", np.float32, shape)
    start = 0
    for tile in base.tiles(shard):
        vectors[place[start : start + len(tile)]] = tile
        start += len(tile)
    vectors.flush()
    del vectors
    aside.replace(folder / f"{shard.identity}.vectors.npy")
    for name, values in (("rows", order.astype(np.int64)), ("similarity", assigned.similarity[order])):
        with aside.open("wb") as file:
            np.save(file, values)
        aside.replace(folder / f"{shard.identity}.{name}.npy")
    ids = pa.table({"id": base.ids(shard).take(pa.array(order))})
    with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, ids.schema) as writer:
        writer.write_table(ids)
    aside.replace(folder / f"{shard.identity}.ids.arrow")
    cluster, count = np.unique(assigned.cluster, return_counts=True)
    write_table(table_of(CLUSTER_PARTS, {"cluster": cluster, "num_rows": count}), CLUSTER_PARTS, path)


def cluster_counts(work: Path, base: EmbeddingSet, centroids: Path) -> np.ndarray:
    """(shards, clusters) vectors of each shard in each cluster."""
    folder = cluster_folder(work, centroids)
    num_clusters = pq.read_metadata(centroids).num_rows
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


def duplicates_key(centroids: Path, limit: float) -> str:
    return digest("duplicates", centroids.parent.name, sha256_of(centroids), limit)


def duplicates_in_clusters(
    work: Path, base: EmbeddingSet, centroids: Path, limit: float, first: int, last: int
) -> None:
    """The duplicates within each of some clusters, over all shards."""
    path = part(work, "duplicates", duplicates_key(centroids, limit), f"{first:09d}")
    if path.is_file():
        return
    folder = cluster_folder(work, centroids)
    counts = cluster_counts(work, base, centroids)
    ends = counts.cumsum(axis=1)
    rows: dict[str, list[np.ndarray]] = {"shard": [], "row": [], "similarity": []}
    others: list[str] = []
    for cluster in range(first, last):
        vectors: list[np.ndarray] = []
        owners: list[np.ndarray] = []
        own_rows: list[np.ndarray] = []
        similarities: list[np.ndarray] = []
        ids: list[str] = []
        for index in np.flatnonzero(counts[:, cluster]):
            stop = int(ends[index, cluster])
            part_of = slice(stop - int(counts[index, cluster]), stop)
            stem = folder / base.shards[index].identity
            for kind, into in (("vectors", vectors), ("rows", own_rows), ("similarity", similarities)):
                into.append(np.array(np.load(f"{stem}.{kind}.npy", mmap_mode="r", allow_pickle=False)[part_of]))
            owners.append(np.full(len(own_rows[-1]), index))
            with pa.memory_map(f"{stem}.ids.arrow") as source:
                column = pa.ipc.open_file(source).read_all()["id"]
                ids += column.slice(part_of.start, part_of.stop - part_of.start).to_pylist()
        if len(ids) < 2:
            continue
        duplicates = duplicates_of_cluster(np.concatenate(vectors), np.concatenate(similarities), limit)
        owner, row = np.concatenate(owners), np.concatenate(own_rows)
        rows["shard"].append(owner[duplicates.member])
        rows["row"].append(row[duplicates.member])
        others += [ids[index] for index in duplicates.other]
        rows["similarity"].append(duplicates.similarity)
    columns = {name: joined(values) for name, values in rows.items()}
    columns["similarity"] = columns["similarity"].astype(np.float32)
    write_table(table_of(DUPLICATE_PARTS, columns | {"other_id": others}), DUPLICATE_PARTS, path)


def are_duplicates_done(work: Path, centroids: Path, limit: float) -> bool:
    """Whether `finish_duplicates` was reached before."""
    return (part(work, "duplicates", duplicates_key(centroids, limit), "x").parent / "done").is_file()


def finish_duplicates(work: Path, centroids: Path, limit: float) -> None:
    """Note that all duplicates are found, and give back the disk that the sorted vectors took."""
    write_bytes(b"", part(work, "duplicates", duplicates_key(centroids, limit), "x").parent / "done")
    shutil.rmtree(cluster_folder(work, centroids), ignore_errors=True)
