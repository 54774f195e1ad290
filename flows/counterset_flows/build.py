"""The build flow: from a config to a release.

    crawl -> plan -> [download -> inspect -> embed] by shard -> members -> backgrounds -+
                                                                \\-> predictions -------+-> pairs -> release

Prefect orders, retries and shows; what is done is in `shard_steps` and `table_steps`. Only missing work
becomes a task, so a second build of one config runs next to none.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait
from prefect.task_runners import ThreadPoolTaskRunner

from counterset.classes import ClassSpec
from counterset.config import Config
from counterset.errors import CountersetError
from counterset.schemas import PAIRS
from counterset.tables import TableRef, read_table
from counterset_flows import progress, shard_steps, table_steps
from counterset_flows.artifacts import Pages
from counterset_flows.context import Build
from counterset_flows.publishing import publish_release

MAX_WORKERS = 4


def _may_heal(task: Any, run: Any, state: Any) -> bool:
    """Retry what may pass by itself; an error that the user must mend will not."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, CountersetError)


retrying: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retries": 2,
    "retry_delay_seconds": [2, 20],
    "retry_condition_fn": _may_heal,
}


@dataclass(frozen=True)
class BuildResult:
    """What a build gives.

    Attributes:
        release: folder of the release.
        is_new: false when an equal release was there already.
        pairs: the chosen pairs.
        stages: photos (or classes) done now and found done, by stage.
    """

    release: Path
    is_new: bool
    pairs: TableRef
    stages: dict[str, dict[str, float]]


@task(name="crawl", task_run_name="crawl {spec.class_id}", **retrying)
def crawl(build: Build, spec: ClassSpec) -> TableRef:
    """Candidates of one class."""
    ref = shard_steps.crawl_class(build, spec)
    progress.current().advance("crawl", 1)
    return ref


@task(name="recheck", **retrying)
def recheck(build: Build, crawls: list[TableRef]) -> TableRef:
    """The photos that were withdrawn since an earlier look at the source."""
    return shard_steps.recheck(build, crawls)


@task(name="plan", **retrying)
def plan(build: Build, crawls: list[TableRef]) -> list[str]:
    """Names of the shards that hold the candidates."""
    return shard_steps.plan_shards(build, crawls)


@task(name="download", task_run_name="download {shard}", tags=["media"], **retrying)
def download(build: Build, shard: str) -> TableRef:
    """One shard's images."""
    meter, start = progress.current(), progress.current().stages["download"].done
    ref = shard_steps.download_shard(build, shard, lambda done: meter.at("download", start + done))
    meter.at("download", start + shard_steps.shard_size(build, shard))
    return ref


@task(name="inspect", task_run_name="inspect {shard}", **retrying)
def inspect(build: Build, shard: str) -> TableRef:
    """One shard's photos that decode and fit."""
    ref = shard_steps.inspect_shard(build, shard)
    progress.current().advance("inspect", shard_steps.shard_size(build, shard))
    return ref


@task(name="embed", task_run_name="embed {shard} {model}", **retrying)
def embed(build: Build, shard: str, model: str) -> TableRef:
    """One shard's image features under one model."""
    ref = shard_steps.embed_shard(build, shard, model)
    progress.current().advance("embed", shard_steps.shard_size(build, shard))
    return ref


@task(name="choose members", **retrying)
def members(build: Build, crawls: list[TableRef], photos: list[TableRef]) -> TableRef:
    """The kept photos with their halves."""
    return table_steps.choose_members(build, crawls, photos)


@task(name="annotate and group", **retrying)
def backgrounds(build: Build, chosen: TableRef, embedded: list[TableRef]) -> TableRef:
    """Each photo's background profile and group."""
    ref = table_steps.annotate_and_group(build, chosen, embedded)
    progress.current().advance("annotate", ref.num_rows)
    return ref


@task(name="evaluate", task_run_name="evaluate {model}", **retrying)
def predictions(build: Build, chosen: TableRef, embedded: list[TableRef], model: str) -> TableRef:
    """One model's predictions."""
    ref = table_steps.evaluate_model(build, chosen, embedded, model)
    progress.current().advance("evaluate", ref.num_rows)
    return ref


@task(name="select", **retrying)
def select(build: Build, chosen: TableRef, annotated: TableRef, predicted: list[TableRef]) -> tuple[TableRef, TableRef]:
    """Group accuracies and pairs."""
    return table_steps.select_pairs(build, chosen, annotated, predicted)


@task(name="publish", **retrying)
def publish(
    build: Build,
    crawls: list[TableRef],
    shards: list[str],
    photos: list[TableRef],
    tables: dict[str, TableRef],
    predicted: list[TableRef],
) -> tuple[str, bool]:
    """The release folder, and whether it is new."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return publish_release(build, crawls, shards, photos, tables, predicted, today=today)


def _crawl_all(build: Build) -> list[TableRef]:
    names = {spec: build.crawl_name(spec) for spec in build.specs}
    missing = [spec for spec in build.specs if not build.is_done("crawl", build.crawl_key, names[spec])]
    progress.current().begin("crawl", len(build.specs), reused=len(build.specs) - len(missing))
    if missing:
        build.source.check(build.specs)
    for spec in missing:  # one connection to the source, one request at a time
        crawl(build, spec)
    return [build.ref("crawl", build.crawl_key, names[spec]) for spec in build.specs]


def _run_shards(build: Build, shards: list[str]) -> None:
    """Download, inspect and embed what is missing; embedding overlaps with the next download."""
    sizes = {shard: shard_steps.shard_size(build, shard) for shard in shards}
    models = build.model_names

    def missing(stage: str, key: str) -> list[str]:
        return [shard for shard in shards if not build.is_done(stage, key, shard)]

    def begin(stage: str, todo: int, total: int) -> None:
        progress.current().begin(stage, total, reused=total - todo)

    todo_download = missing("images", build.pool_key)
    todo_inspect = missing("photos", build.photos_key)
    todo_embed = [(shard, model) for model in models for shard in missing("embeddings", build.embed_key(model))]
    total = sum(sizes.values())
    begin("download", sum(sizes[shard] for shard in todo_download), total)
    begin("inspect", sum(sizes[shard] for shard in todo_inspect), total)
    begin("embed", sum(sizes[shard] for shard, _ in todo_embed), total * len(models))
    downloaded: dict[str, PrefectFuture[TableRef]] = {}
    inspected: dict[str, PrefectFuture[TableRef]] = {}
    futures: list[PrefectFuture[Any]] = []
    last: list[PrefectFuture[Any]] = []
    for shard in todo_download:
        # One download at a time: the limits of the host are for all of them together.
        downloaded[shard] = download.submit(build, shard, wait_for=last, return_state=False)
        last = [downloaded[shard]]
    for shard in todo_inspect:
        inspected[shard] = inspect.submit(
            build, shard, wait_for=[downloaded[shard]] if shard in downloaded else [], return_state=False
        )
    for shard, model in sorted(todo_embed):
        futures.append(
            embed.submit(
                build, shard, model, wait_for=[inspected[shard]] if shard in inspected else [], return_state=False
            )
        )
    everything = [*downloaded.values(), *inspected.values(), *futures]
    wait(everything)
    for future in everything:
        future.result()


RUNNER: Any = ThreadPoolTaskRunner(max_workers=MAX_WORKERS)


@flow(name="counterset-build", task_runner=RUNNER, validate_parameters=False)
def build(config: Config, refresh: bool = False) -> BuildResult:
    """Build one release from a config.

    Args:
        config: the build's config.
        refresh: look at the source again: what is new is added, what was withdrawn is
            removed, the rest is reused. Without it, a finished crawl is never repeated.

    Raises:
        UserError: something that the user can mend, in one sentence.
    """
    current = Build(config)
    current.workspace.prepare()
    with current.workspace.locked():
        if refresh:
            current.refresh()
        with Pages(config) as pages:
            return _build(current, pages)


def _finished(current: Build, stage: str, key: str) -> TableRef | None:
    return current.ref(stage, key, "all") if current.is_done(stage, key, "all") else None


def _build(current: Build, pages: Pages) -> BuildResult:
    logger = get_run_logger()
    current.check_models()
    crawls = _crawl_all(current)
    recheck(current, crawls)
    shards = plan(current, crawls)
    logger.info("%d candidates in %d shards", sum(ref.num_rows for ref in crawls), len(shards))
    _run_shards(current, shards)
    photos = [current.ref("photos", current.photos_key, shard) for shard in shards]
    key = table_steps.members_key(current, crawls, photos)
    chosen = _finished(current, "members", key) or members(current, crawls, photos)
    embedded = {
        model: [current.ref("embeddings", current.embed_key(model), shard) for shard in shards]
        for model in current.model_names
    }
    annotated = _finished(current, "backgrounds", table_steps.backgrounds_key(current, chosen))
    progress.current().begin("annotate", chosen.num_rows, reused=annotated.num_rows if annotated else 0)
    annotated = annotated or backgrounds(current, chosen, embedded[current.config.models.annotator])
    tested = current.tested_names
    known = {
        model: _finished(current, "predictions", table_steps.predictions_key(current, chosen, model))
        for model in tested
    }
    reused = sum(ref.num_rows for ref in known.values() if ref)
    progress.current().begin("evaluate", chosen.num_rows * len(tested), reused=reused)
    predicted = [known[model] or predictions(current, chosen, embedded[model], model) for model in tested]
    accuracy, pairs = select(current, chosen, annotated, predicted)
    pages.show_pairs(pairs)
    tables = {"members": chosen, "backgrounds": annotated, "group_accuracy": accuracy, "pairs": pairs}
    release, is_new = publish(current, crawls, shards, photos, tables, predicted)
    pages.show_release(Path(release), is_new, pairs)
    verdicts = read_table(pairs.path, PAIRS, ["verdict"])["verdict"].to_pylist()
    logger.info("%d of %d classes confirmed; release %s", verdicts.count("confirmed"), len(verdicts), release)
    stages = {
        name: {"total": count.total, "done": count.done, "reused": count.reused, "seconds": count.seconds}
        for name, count in progress.current().stages.items()
    }
    return BuildResult(Path(release), is_new, pairs, stages)
