"""The audit flow: how near a release is to a training set.

    photos -> embeddings -> [nearest] by shard of the base -> tables and page -> <output>/<name>/<version>

Only missing shards become tasks, so a killed audit resumes, and one against a base that has
grown does what is new.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from counterset.similarity.embedding_sets import EmbeddingSet
from counterset.similarity.results import Folder
from counterset.steps.audit_steps import AuditOptions, Nearest, nearest_by_index, publish_audit
from counterset.steps.progress import Progress
from counterset.steps.similarity_steps import Source, locked, read_queries
from counterset_flows.pool import started
from counterset_flows.similarity_tasks import find_nearest, gather_queries


@flow(name="counterset-audit", flow_run_name="{name}", validate_parameters=False)
def audit(
    source: Source,
    base: EmbeddingSet,
    output: Path,
    name: str,
    options: AuditOptions,
    runner: str = "threads",
    progress: Progress | None = None,
) -> Folder:
    """Audit one release against a base.

    Args:
        source: the release, with or without embeddings.
        base: the training set.
        output: results lie in `<output>/<name>/<version>`, unfinished work in `<output>/.work`.
        name: of the audit.
        options: how.
        runner: one of `counterset.runners.RUNNERS`.
        progress: told what is done; None = nobody looks.

    Raises:
        UserError: something that the user can fix, in one sentence.
    """
    assert source.release is not None
    work = output / ".work"
    with locked(work), started(runner, progress) as pool:
        asked = gather_queries(pool, work, [source], base, None)
        queries = read_queries(asked.path, base.embedding_dim)
        if options.index == "exact":
            nearest = Nearest(*find_nearest(pool, work, base, "base", asked), {"kind": "exact"})
        else:
            pool.progress.begin("index", 1)
            nearest = nearest_by_index(work, base, queries, options)
            pool.progress.advance("index", 1)
        return publish_audit(work, source.release, base, asked, queries, nearest, options, output / name)
