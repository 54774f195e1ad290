"""The audit flow: how near a release is to a training set.

    photos -> embeddings -> [nearest] by shard of the base -> tables and page -> <output>/<name>/<version>

Only missing shards become tasks, so a killed audit resumes, and one against a base that has
grown does what is new.
"""

from __future__ import annotations

from prefect import flow, task

from counterset.similarity.embedding_sets import EmbeddingSet
from counterset.similarity.results import Folder
from counterset.steps.audit_steps import AuditOptions, finish_audit
from counterset.steps.progress import Progress
from counterset.steps.similarity_steps import Source, locked
from counterset.storage import Place
from counterset.tables import TableRef
from counterset_flows.pool import on_demand, one_way, retrying
from counterset_flows.similarity_tasks import Run, find_nearest, gather_queries, identify


@task(name="publish audit", **retrying)
def publish(
    work: Place, source: Source, base: EmbeddingSet, asked: TableRef, options: AuditOptions, home: Place
) -> Folder:
    """The result's folder."""
    return finish_audit(work, source, base, asked, options, home)


@flow(name="counterset-audit", flow_run_name="{name}", validate_parameters=False)
def audit(
    source: Source,
    base: EmbeddingSet,
    output: Place,
    name: str,
    options: AuditOptions,
    runner: str = "threads",
    progress: Progress | None = None,
) -> Folder:
    """Audit one release against a base.

    Args:
        source: the release, with or without embeddings.
        base: the training set.
        output: results lie in `<output>/<name>/<version>`, unfinished work in `<output>/.work`; on a cluster of
            several machines it is an address that all of them reach.
        name: of the audit.
        options: how.
        runner: one of `counterset.runners.RUNNERS`.
        progress: told what is done; None = nobody looks.

    Raises:
        UserError: something that the user can fix, in one sentence.
    """
    work, told = output / ".work", progress or Progress()
    with locked(work), on_demand(runner, told) as pool, one_way(runner, pool):
        run = Run(work, pool, told)
        identify(run, base)
        asked = gather_queries(run, [source], base, None)
        is_exact = options.index == "exact"
        if is_exact:
            find_nearest(run, base, "base", asked)
        else:
            told.begin("index", 1)
        found: Folder = run.whole(
            publish, work=work, source=source, base=base, asked=asked, options=options, home=output / name
        )
        if not is_exact:
            told.advance("index", 1)
        return found
