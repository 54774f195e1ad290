"""The prune flow: a base set without what is too near to a benchmark, too far from it, or there twice.

queries -> [nearest reference] by shard -> limits -> [near] by shard of the base -+
base -> centroids -> [assign] by shard -> [duplicates] by clusters ---------------+-> kept and removed ids
queries -> [nearest query] by shard of the base ----------------------------------+
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import flow, task

from counterset.similarity.deduplicate import default_clusters
from counterset.similarity.embedding_sets import EmbeddingSet, check_same
from counterset.similarity.results import Folder
from counterset.steps import cluster_steps
from counterset.steps import similarity_steps as steps
from counterset.steps.progress import Progress
from counterset.steps.pruning_steps import Pruned, PruneOptions, check_ids, limits_table, publish_pruning
from counterset.steps.similarity_steps import Source, locked, only, part
from counterset.storage import Place
from counterset.tables import TableRef
from counterset_flows.pool import on_demand, one_way, retrying
from counterset_flows.similarity_tasks import Job, Run, find_nearest, gather_queries, identify, run_jobs

ids = task(name="check ids", **retrying)(check_ids)
limits_of = task(name="limits", **retrying)(limits_table)
publish = task(name="publish pruning", **retrying)(publish_pruning)


@task(name="near", task_run_name="near {shard}", **retrying)
def near(work: Place, base: EmbeddingSet, asked: TableRef, limits: TableRef, shard: str) -> None:
    """What of one shard is nearer to a query than its limit."""
    steps.near_in_shard(work, base, asked, limits)


@task(name="far", task_run_name="far {shard}", **retrying)
def far(work: Place, base: EmbeddingSet, asked: TableRef, shard: str) -> None:
    """Each image of one shard with its nearest query."""
    steps.far_in_shard(work, base, asked)


@task(name="centroids", **retrying)
def centroids(work: Place, base: EmbeddingSet, num_clusters: int, seed: int) -> None:
    """The k-means centroids of the base."""
    cluster_steps.centroids_file(work, base, num_clusters, seed)


@task(name="assign", task_run_name="assign {shard}", **retrying)
def assign(work: Place, base: EmbeddingSet, centroids_path: Place, shard: str) -> None:
    """One shard's vectors by cluster."""
    cluster_steps.assign_shard(work, base, centroids_path)


@task(name="duplicates", task_run_name="duplicates {first}", **retrying)
def duplicates(work: Place, base: EmbeddingSet, centroids_path: Place, limit: float, first: int, last: int) -> None:
    """The duplicates within some clusters, over all shards."""
    cluster_steps.duplicates_in_clusters(work, base, centroids_path, limit, first, last)


@flow(name="counterset-prune", flow_run_name="{name}", validate_parameters=False)
def prune(
    base: EmbeddingSet,
    sources: Sequence[Source],
    reference: EmbeddingSet | None,
    output: Place,
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
        output: results lie in `<output>/<name>/<version>`, unfinished work in `<output>/.work`; on a cluster of
            several machines it is an address that all of them reach.
        name: of the pruning.
        options: what else is removed.
        id_column: the column of ids of embeddings that are queries.
        runner: one of `counterset.runners.RUNNERS`.
        progress: told what is done; None = nobody looks.

    Raises:
        UserError: something that the user can fix, in one sentence.
    """
    work, told = output / ".work", progress or Progress()
    if reference is not None:
        check_same(base, reference)
    with locked(work), on_demand(runner, told) as pool, one_way(runner, pool):
        run = Run(work, pool, told)
        identify(run, base, *(() if reference is None else (reference,)))
        run.whole(ids, base=base)
        asked = gather_queries(run, sources, base, id_column)
        if reference is not None:
            find_nearest(run, reference, "reference", asked)
        limits = run.whole(limits_of, work=work, asked=asked, embedding_dim=base.embedding_dim, reference=reference)
        folder = None
        if options.max_similarity is not None:
            folder = _find_duplicates(run, base, options.max_similarity, options)
        if reference is not None:
            key = steps.near_key(asked, limits)
            _run(run, base, "near", key, near, {"asked": asked, "limits": limits})
        if options.keep is not None:
            _run(run, base, "far", steps.far_key(asked), far, {"asked": asked})
        for shard in base.shards:
            steps.describe_shard(work, only(base, shard), "base")
        pruned = Pruned(work, base, asked, limits, reference, options, folder)
        names = sorted(source.name for source in sources)
        found: Folder = run.whole(publish, pruned=pruned, home=output / name, queries_of=names)
        return found


def _run(run: Run, base: EmbeddingSet, stage: str, key: str, doing: Any, more: dict[str, Any]) -> None:
    work = run.work
    jobs = [
        Job(
            {"work": work, "base": only(base, shard), "shard": shard.name} | more,
            part(work, stage, key, shard.identity),
            shard.num_rows,
        )
        for shard in base.shards
    ]
    run_jobs(run, stage, doing, jobs)


def _find_duplicates(run: Run, base: EmbeddingSet, limit: float, options: PruneOptions) -> Place:
    work = run.work
    num_clusters = options.clusters or default_clusters(base.num_rows)
    path = cluster_steps.centroids_path(work, base, num_clusters, options.seed)
    run_jobs(
        run,
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
        run_jobs(run, "assign", assign, jobs)
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
        run_jobs(run, "duplicates", duplicates, jobs)
        cluster_steps.finish_duplicates(work, path, limit)
    return folder
