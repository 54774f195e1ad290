"""The tasks that audits and prunings share: what is missing of a stage, shard by shard.

A task is given a shard's place and references, never vectors, so that it may run in another
process or on another machine. The runner changes no byte of what is found.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task

from counterset.errors import EmbeddingsError
from counterset.similarity.embedding_sets import EmbeddingSet, Shard, check_same, open_embeddings
from counterset.steps import similarity_steps
from counterset.steps.progress import Progress
from counterset.steps.similarity_steps import (
    PHOTOS_PER_CHUNK,
    Source,
    embed_chunk,
    only,
    part,
    release_key,
    write_queries,
)
from counterset.storage import Place
from counterset.tables import TableRef
from counterset_flows.pool import Pool, retrying


@dataclass(frozen=True)
class Job:
    """One task's parameters, the file that says it is done (None = nothing does), and its size for the progress."""

    parameters: dict[str, Any]
    done: Place | None
    size: int


@dataclass(frozen=True)
class Run:
    """What all stages of one run share.

    Attributes:
        work: where unfinished work lies.
        pool: what tasks run in, started when it is first asked for.
        progress: told what is done.
    """

    work: Place
    pool: Callable[[], Pool]
    progress: Progress

    def whole(self, step: Any, **parameters: Any) -> Any:
        """A step that looks at everything: where the runner has such steps done, if work is at s3://; else here."""
        if isinstance(self.work, Path):
            return step(**parameters)
        [result] = self.pool().run(step, [parameters])
        return result


def run_jobs(run: Run, stage: str, doing: Any, jobs: Sequence[Job]) -> list[Any]:
    """Run what is not done yet; the first error ends the stage, and what would follow is never begun.

    Returns:
        What the tasks that ran gave, in order.
    """
    missing = [job for job in jobs if job.done is None or not job.done.is_file()]
    outcomes: list[Any] = []
    total = sum(job.size for job in jobs)
    run.progress.begin(stage, total, reused=total - sum(job.size for job in missing))
    if not missing:
        return outcomes
    waiting, pool = iter(missing), run.pool()
    at_once = pool.limits["embed"]  # a search uses as many processors as an embedding
    ahead = [(job, pool.submit(doing, "embed", **job.parameters)) for job in itertools.islice(waiting, at_once)]
    while ahead:
        job, future = ahead.pop(0)
        outcome = pool.outcome(future)
        if isinstance(outcome, BaseException):
            raise outcome
        outcomes.append(outcome)
        run.progress.advance(stage, job.size)
        ahead += [
            (next_job, pool.submit(doing, "embed", **next_job.parameters)) for next_job in itertools.islice(waiting, 1)
        ]
    return outcomes


@task(name="digest", task_run_name="digest {name}", **retrying)
def digest(shard: Shard, name: str) -> tuple[str, str]:
    """The digests of one shard's files."""
    return shard.sha256


def identify(run: Run, *sets: EmbeddingSet) -> None:
    """Have the digests of all shards, under which finished work is filed; a file that did not change is not read."""
    kept = similarity_steps.kept_digests(run.work)
    shards = [shard for one in sets for shard in one.shards if not similarity_steps.know_shard(kept, shard)]
    before = [similarity_steps.marks_of(shard) for shard in shards]
    jobs = [Job({"shard": shard, "name": shard.name}, None, shard.num_rows) for shard in shards]
    for shard, found, marks in zip(shards, run_jobs(run, "digest", digest, jobs), before, strict=True):
        similarity_steps.keep_digests(kept, shard, found, marks)


@task(name="embed release", task_run_name="embed {chunk}", **retrying)
def embed(work: Place, source: Source, model: str, chunk: int) -> None:
    """One chunk of a release's photos."""
    assert source.release is not None
    embed_chunk(work, source.release, model, chunk)


@task(name="nearest", task_run_name="nearest {role} {shard}", **retrying)
def nearest(work: Place, base: EmbeddingSet, role: str, asked: TableRef, shard: str) -> None:
    """Each query's nearest in one shard."""
    similarity_steps.nearest_in_shard(work, base, role, asked)


@task(name="queries", **retrying)
def queries(work: Place, sets: list[tuple[str, EmbeddingSet]], wanted: list[set[str] | None]) -> TableRef:
    """The queries of all sources in one file."""
    return write_queries(work, sets, wanted)


def find_nearest(run: Run, base: EmbeddingSet, role: str, asked: TableRef) -> None:
    """Find each query's nearest vector in every shard, for `merge_nearest`."""
    work, key = run.work, similarity_steps.nearest_key(asked)
    jobs = [
        Job(
            {"work": work, "base": only(base, shard), "role": role, "asked": asked, "shard": shard.name},
            part(work, "nearest", key, shard.identity),
            shard.num_rows,
        )
        for shard in base.shards
    ]
    run_jobs(run, role, nearest, jobs)
    for shard in base.shards:  # a shard whose work was done under another role
        similarity_steps.describe_shard(work, only(base, shard), role)


def gather_queries(run: Run, sources: Sequence[Source], base: EmbeddingSet, id_column: str | None) -> TableRef:
    """The queries of all sources under the base's model, in one file.

    Raises:
        EmbeddingsError: a source's embeddings are of another model or dimension.
        ModelError: photos are to be embedded and the base's model cannot be loaded.
    """
    sets: list[tuple[str, EmbeddingSet]] = []
    wanted: list[set[str] | None] = []
    for source in sources:
        if source.embeddings is not None:
            opened = open_embeddings(
                source.embeddings,
                fallback_model=base.model,
                id_column=id_column if source.release is None else None,
                normalise=base.is_normalised_here,
            )
        else:
            opened = _embed_release(run, source, base.model)
        check_same(base, opened)
        sets.append((source.name, opened))
        wanted.append(set(source.release.all_photos["photo_id"].to_pylist()) if source.release is not None else None)
    names = [name for name, _ in sets]
    if len(set(names)) < len(names):
        raise EmbeddingsError(f"the queries {sorted(names)} have equal names; give each of them once")
    found: TableRef = run.whole(queries, work=run.work, sets=sets, wanted=wanted)
    return found


def _embed_release(run: Run, source: Source, model: str) -> EmbeddingSet:
    release, work = source.release, run.work
    assert release is not None
    key = release_key(release, model)
    count = -(-release.all_photos.num_rows // PHOTOS_PER_CHUNK)
    jobs = [
        Job(
            {"work": work, "source": source, "model": model, "chunk": chunk},
            part(work, "release_embeddings", key, f"{chunk:06d}"),
            min(PHOTOS_PER_CHUNK, release.all_photos.num_rows - chunk * PHOTOS_PER_CHUNK),
        )
        for chunk in range(count)
    ]
    run_jobs(run, "embed", embed, jobs)
    # A model in half precision gives lengths a little off 1.
    return open_embeddings(part(work, "release_embeddings", key, "x").parent, model, normalise=True)
