"""The last steps of a pruning: what is decided shard by shard, and the published folder. No Prefect here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from counterset.errors import EmbeddingsError
from counterset.parquet_sql import parquet_sql
from counterset.similarity.embedding_sets import EmbeddingSet
from counterset.similarity.prune import Objects, decide, find_cut
from counterset.similarity.results import Folder, publish_folder
from counterset.similarity.schemas import BASE_SHARDS, FAR_PARTS, KEPT, NEAR_PARTS, PRUNE_QUERIES, REMOVED
from counterset.similarity.search import Ints
from counterset.steps.similarity_steps import far_key, merge_nearest, near_key, part, read_queries
from counterset.storage import ObjectPath, Place, fetch, scratch_of
from counterset.tables import TableRef, read_table, table_of, write_table
from counterset.version import __version__


@dataclass(frozen=True)
class PruneOptions:
    """What is removed; None = not asked for.

    Attributes:
        keep: images kept by far-pruning.
        max_similarity: above it, two images of a cluster are one.
        clusters: k-means clusters for that; None = as many as a cluster has images.
        seed: of k-means.
    """

    keep: int | None = None
    max_similarity: float | None = None
    clusters: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Pruned:
    """What the steps before have left; `reference` and `duplicates` are None where they were not asked for."""

    work: Place
    base: EmbeddingSet
    asked: TableRef
    limits: TableRef
    reference: EmbeddingSet | None
    options: PruneOptions
    duplicates: Place | None


def limits_table(work: Place, asked: TableRef, embedding_dim: int, reference: EmbeddingSet | None) -> TableRef:
    """Each query with its nearest reference image, of what `nearest_in_shard` has left; None = without any."""
    queries = read_queries(asked.path, embedding_dim)
    nearest = None if reference is None else merge_nearest(work, reference, asked)
    num = len(queries.ids)
    rows = {
        "query_id": queries.ids,
        "query_set": queries.sets,
        "reference_id": pa.array(nearest[0] if nearest else [None] * num, pa.string()),
        "threshold": pa.array(nearest[1] if nearest else [None] * num, pa.float32()),
    }
    name = asked.sha256[:16]
    return write_table(table_of(PRUNE_QUERIES, rows), PRUNE_QUERIES, part(work, "limits", name, "all"))


def check_ids(base: EmbeddingSet) -> None:
    """See that no two images of a base have one id, before hours of work.

    Raises:
        EmbeddingsError: two have.
    """
    schema = pa.schema([("id", pa.string())])
    batches = (pa.record_batch([base.ids(shard)], schema=schema) for shard in base.shards)
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.register("ids", pa.RecordBatchReader.from_batches(schema, batches))
        twice = connection.execute("SELECT id FROM ids GROUP BY id HAVING count(*) > 1 LIMIT 1").fetchone()
    if twice:
        raise EmbeddingsError(
            f"{base.path} has the id {twice[0]!r} twice; name a column of unique ids with --id-column"
        )


def publish_pruning(pruned: Pruned, home: Place, queries_of: Sequence[str]) -> Folder:
    """Kept and removed ids by shard, with the reason and the query, as a versioned folder.

    Args:
        pruned: what the steps before have left.
        home: the folder of versions.
        queries_of: names of what the queries came from, sorted.
    """
    base, options = pruned.base, pruned.options
    if isinstance(pruned.duplicates, ObjectPath):  # all files are asked once per shard
        here = scratch_of(pruned.duplicates)
        fetch(pruned.duplicates, here)
        pruned = replace(pruned, duplicates=here)
    cut = find_cut(lambda: _left(pruned), options.keep) if options.keep is not None else None
    counts = {"kept": 0, "duplicate": 0, "near": 0, "far": 0}
    metadata = {
        "base": base.path.name,
        "reference": pruned.reference.path.name if pruned.reference is not None else None,
        "queries": list(queries_of),
        "model": base.model,
        "num_base": base.num_rows,
        "num_queries": pruned.asked.num_rows,
        "queries_sha256": pruned.asked.sha256,
        "is_normalised_here": base.is_normalised_here,
        "options": asdict(options),
        "counterset_version": __version__,
        "counts": counts,
    }

    def write(folder: Path) -> None:
        queries = read_queries(pruned.asked.path, pruned.base.embedding_dim)
        query_ids, query_sets = (np.array(values, np.object_) for values in (queries.ids, queries.sets))
        thresholds = read_table(pruned.limits.path, PRUNE_QUERIES)["threshold"].to_numpy(zero_copy_only=False)
        total = len(pruned.base.shards)
        for index, shard in enumerate(pruned.base.shards):
            near = far = repeated = None
            if pruned.reference is not None:
                rows, indices, similarity = _near(pruned, index)
                near = (rows, indices, similarity, thresholds.astype(np.float32))
            if options.keep is not None:
                table = read_table(part(pruned.work, "far", far_key(pruned.asked), shard.identity), FAR_PARTS)
                far = (table["query"].to_numpy(), table["similarity"].to_numpy(), cut)
            if pruned.duplicates is not None and options.max_similarity is not None:
                repeated = (*_duplicates(pruned, index), options.max_similarity)
            decided = decide(pruned.base.ids(shard), query_ids, query_sets, duplicates=repeated, near=near, far=far)
            name = f"{index:05d}-of-{total:05d}.parquet"
            counts["kept"] += write_table(decided.kept, KEPT, folder / "kept" / name).num_rows
            write_table(decided.removed, REMOVED, folder / "removed" / name)
            for reason in decided.removed["reason"].value_counts().to_pylist():
                counts[reason["values"]] += reason["counts"]
        write_table(read_table(pruned.limits.path, PRUNE_QUERIES), PRUNE_QUERIES, folder / "queries.parquet")
        sets = [("base", pruned.base)] + [("reference", one) for one in (pruned.reference,) if one is not None]
        write_table(shards_table(pruned.work, sets), BASE_SHARDS, folder / "base_shards.parquet")

    return publish_folder(home, "pruning", metadata, write, rows="kept/*.parquet", columns="id")


def shards_table(work: Place, sets: Iterable[tuple[str, EmbeddingSet]]) -> pa.Table:
    """The digests of all files that were compared with."""
    tables = [
        read_table(part(work, "shards", role, shard.identity), BASE_SHARDS)
        for role, embedding_set in sets
        for shard in embedding_set.shards
    ]
    return pa.concat_tables(tables)


def _left(pruned: Pruned) -> Iterator[tuple[np.ndarray, Any]]:
    """Similarity and ids of the images that neither of the other reasons removes, shard by shard."""
    for index, shard in enumerate(pruned.base.shards):
        table = read_table(part(pruned.work, "far", far_key(pruned.asked), shard.identity), FAR_PARTS, ["similarity"])
        left = np.ones(shard.num_rows, np.bool_)
        if pruned.reference is not None:
            left[_near(pruned, index)[0]] = False
        if pruned.duplicates is not None:
            left[_duplicates(pruned, index)[0]] = False
        mask = pa.array(left)
        yield table["similarity"].to_numpy()[left], lambda shard=shard, mask=mask: pruned.base.ids(shard).filter(mask)


def _near(pruned: Pruned, index: int) -> tuple[Ints, Ints, np.ndarray]:
    identity = pruned.base.shards[index].identity
    table = read_table(part(pruned.work, "near", near_key(pruned.asked, pruned.limits), identity), NEAR_PARTS)
    return table["row"].to_numpy(), table["query"].to_numpy(), table["similarity"].to_numpy()


def _duplicates(pruned: Pruned, index: int) -> tuple[Ints, Objects, np.ndarray]:
    assert isinstance(pruned.duplicates, Path)
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        table = connection.sql(
            f"SELECT row, other_id, similarity FROM {parquet_sql(sorted(pruned.duplicates.glob('*.parquet')))} "
            "WHERE shard = $shard ORDER BY row",
            params={"shard": index},
        ).to_arrow_table()
    others: Objects = np.array(table["other_id"].to_pylist(), np.object_)
    return table["row"].to_numpy(), others, table["similarity"].to_numpy().astype(np.float32)
