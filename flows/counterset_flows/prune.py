"""The prune flow: a base set without what is too near to a benchmark, too far from it, or there twice.

queries -> [nearest reference] by shard -> limits -> [near] by shard of the base -+
base -> centroids -> [assign] by shard -> [duplicates] by clusters ---------------+-> kept and removed ids
queries -> [nearest query] by shard of the base ----------------------------------+
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow, task

from counterset.similarity.deduplicate import default_clusters
from counterset.similarity.embedding_sets import EmbeddingSet, check_same
from counterset.similarity.results import Folder
from counterset.steps import cluster_steps
from counterset.steps import similarity_steps as steps
from counterset.steps.progress import Progress
from counterset.steps.pruning_steps import Pruned, PruneOptions, check_ids, limits_table, publish_pruning
from counterset.steps.similarity_steps import Source, locked, only, part, read_queries
from counterset.tables import TableRef
from counterset_flows.pool import Pool, retrying, started
from counterset_flows.similarity_tasks import Job, find_nearest, gather_queries, run_jobs


@task(name="near", task_run_name="near {shard}", **retrying)
def near(work: Path, base: EmbeddingSet, asked: TableRef, limits: TableRef, shard: str) -> None:
    """What of one shard is nearer to a query than its limit."""
    steps.near_in_shard(work, base, asked, limits)


@task(name="far", task_run_name="far {shard}", **retrying)
def far(work: Path, base: EmbeddingSet, asked: TableRef, shard: str) -> None:
    """Each image of one shard with its nearest query."""
    steps.far_in_shard(work, base, asked)


@task(name="centroids", **retrying)
def centroids(work: Path, base: EmbeddingSet, num_clusters: int, seed: int) -> None:
    """The k-means centroids of the base."""
    cluster_steps.centroids_file(work, base, num_clusters, seed)


@task(name="assign", task_run_name="assign {shard}", **retrying)
def assign(work: Path, base: EmbeddingSet, centroids_path: Path, shard: str) -> None:
    """One shard's vectors by cluster."""
    cluster_steps.assign_shard(work, base, centroids_path)


@task(name="duplicates", task_run_name="duplicates {first}", **retrying)
def duplicates(work: Path, base: EmbeddingSet, centroids_path: Path, limit: float, first: int, last: int) -> None:
    """The duplicates within some clusters, over all shards."""
    cluster_steps.duplicates_in_clusters(work, base, centroids_path, limit, first, last)


@flow(name="counterset-prune", flow_run_name="{name}", validate_parameters=False)
def prune(
    base: EmbeddingSet,
    sources: Sequence[Source],
    reference: EmbeddingSet | None,
    output: Path,
    name: str,
    options: PruneOptions,
    id_column: str | None = None,
    runner: str = "threads",
    progress: Progress | None = None,
) -> Folder:
    """Prune one base set.

    Args:
        base: what is pruned.
        sources: the queries.
        reference: near-pruning leaves the gap that this set leaves; None = no near-pruning.
        output: results lie in `<output>/<name>/<version>`, unfinished work in `<output>/.work`.
        name: of the pruning.
        options: what else is removed.
        id_column: the column of ids of embeddings that are queries.
        runner: one of `counterset.runners.RUNNERS`.
        progress: told what is done; None = nobody looks.

    Raises:
        UserError: something that the user can fix, in one sentence.
    """
    work = output / ".work"
    if reference is not None:
        check_same(base, reference)
    with locked(work), started(runner, progress) as pool:
        check_ids(base)
        asked = gather_queries(pool, work, sources, base, id_column)
        queries = read_queries(asked.path, base.embedding_dim)
        nearest = find_nearest(pool, work, reference, "reference", asked) if reference is not None else None
        limits = limits_table(work, queries, asked, nearest)
        folder = None
        if options.max_similarity is not None:
            folder = _find_duplicates(pool, work, base, options.max_similarity, options)
        if reference is not None:
            key = steps.near_key(asked, limits)
            _run(pool, work, base, "near", key, near, {"asked": asked, "limits": limits})
        if options.keep is not None:
            _run(pool, work, base, "far", steps.far_key(asked), far, {"asked": asked})
        for shard in base.shards:
            steps.describe_shard(work, only(base, shard), "base")
        pruned = Pruned(work, base, asked, limits, reference, options, folder)
        return publish_pruning(pruned, output / name, sorted(source.name for source in sources))


def _run(pool: Pool, work: Path, base: EmbeddingSet, stage: str, key: str, doing: Any, more: dict[str, Any]) -> None:
    jobs = [
        Job(
            {"work": work, "base": only(base, shard), "shard": shard.name} | more,
            part(work, stage, key, shard.identity),
            shard.num_rows,
        )
        for shard in base.shards
    ]
    run_jobs(pool, stage, doing, jobs)


def _find_duplicates(pool: Pool, work: Path, base: EmbeddingSet, limit: float, options: PruneOptions) -> Path:
    num_clusters = options.clusters or default_clusters(base.num_rows)
    path = cluster_steps.centroids_path(work, base, num_clusters, options.seed)
    run_jobs(
        pool,
        "centroids",
        centroids,
        [Job({"work": work, "base": base, "num_clusters": num_clusters, "seed": options.seed}, path, 1)],
    )
    folder = part(work, "duplicates", cluster_steps.duplicates_key(path, limit), "x").parent
    if not cluster_steps.are_duplicates_done(work, path, limit):
        jobs = [
            Job(
                {"work": work, "base": only(base, shard), "centroids_path": path, "shard": shard.name},
                cluster_steps.cluster_folder(work, path) / f"{shard.identity}.parquet",
                shard.num_rows,
            )
            for shard in base.shards
        ]
        run_jobs(pool, "assign", assign, jobs)
        counts = cluster_steps.cluster_counts(work, base, path)
        sizes = counts.sum(axis=0)
        jobs = [
            Job(
                {"work": work, "base": base, "centroids_path": path, "limit": limit, "first": first, "last": last},
                folder / f"{first:09d}.parquet",
                int(sizes[first:last].sum()),
            )
            for first, last in cluster_steps.cluster_tasks(counts)
        ]
        run_jobs(pool, "duplicates", duplicates, jobs)
        cluster_steps.finish_duplicates(work, path, limit)
    return folder
