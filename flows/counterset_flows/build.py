"""The build flow: from a config to a release.

    crawl -> plan -> [download -> inspect -> embed] by shard -> members -> backgrounds -> review -+
                                                                \\-> predictions -----------------+-> pairs -> release

Prefect orders, retries and shows; what is done is in `shard_steps` and `table_steps`. Only missing work
becomes a task, and behind the bracket none where all is as it was when the last build ended (`ended`), so a second
build of one config runs next to none. `shards` runs the bracket, in a `pool`; on a cluster the steps after it go there
too.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from prefect import flow, get_run_logger, task

from counterset.classes import ClassSpec
from counterset.config import Config
from counterset.schemas import PAIRS
from counterset.steps import shard_steps, table_steps
from counterset.steps.annotator_check import edges_key
from counterset.steps.before_build import check_places
from counterset.steps.ended import Ended, ended_key, how_it_ended, keep, warnings_kept
from counterset.steps.keys import Build
from counterset.steps.naming_steps import name_pairs
from counterset.steps.progress import Progress
from counterset.steps.record_keeping import Record
from counterset.steps.release_steps import named_files, publish_release
from counterset.steps.review_steps import apply_review
from counterset.steps.series import Basis, basis_of
from counterset.storage import Place, place
from counterset.tables import TableRef, read_table
from counterset_flows.artifacts import Pages
from counterset_flows.pool import Pool, on_demand, one_way, retrying
from counterset_flows.shards import run_shards


@dataclass(frozen=True)
class BuildResult:
    """What a build gives.

    Attributes:
        release: folder of the release.
        is_new: false when an equal release was there already.
        pairs: the chosen pairs.
        groups: every class's groups with their accuracies.
        stages: photos (or classes) done now and found done, by stage.
    """

    release: Place
    is_new: bool
    pairs: TableRef
    groups: TableRef
    stages: dict[str, dict[str, float]]


@task(name="crawl", task_run_name="crawl {spec.class_id}", **retrying)
def crawl(build: Build, spec: ClassSpec) -> TableRef:
    """Candidates of one class."""
    return shard_steps.crawl_class(build, spec)


@task(name="recheck", **retrying)
def recheck(build: Build, crawls: list[TableRef]) -> TableRef:
    """The photos that were withdrawn since an earlier look at the source."""
    return shard_steps.recheck(build, crawls)


@task(name="plan", **retrying)
def plan(build: Build, crawls: list[TableRef]) -> list[str]:
    """Names of the shards that hold the candidates."""
    return shard_steps.plan_shards(build, crawls)


@task(name="choose members", **retrying)
def members(
    build: Build, crawls: list[TableRef], photos: list[TableRef], embedded: list[TableRef], basis: Basis
) -> TableRef:
    """The kept photos with their units and halves."""
    return table_steps.choose_members(build, crawls, photos, embedded, basis)


@task(name="annotate classes", task_run_name="annotate part {part} of {num_parts}", **retrying)
def background_part(build: Build, chosen: TableRef, embedded: list[TableRef], part: int, num_parts: int) -> None:
    """The same as `backgrounds`, of some of the classes."""
    table_steps.annotate_part(build, chosen, embedded, part, num_parts)


@task(name="annotate and group", **retrying)
def backgrounds(build: Build, chosen: TableRef, embedded: list[TableRef], num_parts: int) -> TableRef:
    """Each photo's background profile and group."""
    return table_steps.annotate_and_group(build, chosen, embedded, num_parts)


@task(name="evaluate", task_run_name="evaluate {model} {templates}", **retrying)
def predictions(build: Build, chosen: TableRef, embedded: list[TableRef], model: str, templates: str) -> TableRef:
    """One model's predictions under one set of prompts."""
    return table_steps.evaluate_model(build, chosen, embedded, model, templates)


@task(name="select", **retrying)
def select(
    build: Build,
    chosen: TableRef,
    annotated: TableRef,
    predicted: list[TableRef],
    by_templates: dict[str, list[TableRef]],
    basis: Basis,
) -> dict[str, TableRef]:
    """Group accuracies, pairs and their sensitivity."""
    return table_steps.select_pairs(build, chosen, annotated, predicted, by_templates, basis)


@task(name="name", **retrying)
def name(
    build: Build, chosen: TableRef, annotated: TableRef, predicted: list[TableRef], pairs: TableRef
) -> dict[str, TableRef]:
    """The pairs with what people's labels say of their names, and every group's name."""
    return name_pairs(build, chosen, annotated, predicted, pairs)


@task(name="publish", **retrying)
def publish(
    build: Build,
    crawls: list[TableRef],
    shards: list[str],
    photos: list[TableRef],
    tables: dict[str, TableRef],
    predicted: list[TableRef],
    basis: Basis,
    files: dict[str, str],
) -> tuple[str, bool]:
    """The release folder, and whether it is new."""
    return publish_release(build, crawls, shards, photos, tables, predicted, basis, today=_today(), files=files)


def _crawl_all(build: Build) -> list[TableRef]:
    names = {spec: build.crawl_name(spec) for spec in build.specs}
    missing = [spec for spec in build.specs if not build.is_done("crawl", build.crawl_key, names[spec])]
    build.progress.begin("crawl", len(build.specs), reused=len(build.specs) - len(missing))
    if missing:
        build.source.check(build.specs)
    for spec in missing:  # one connection to the source, one request at a time
        crawl(build, spec)
        build.progress.advance("crawl", 1)
    return [build.ref("crawl", build.crawl_key, names[spec]) for spec in build.specs]


@flow(name="counterset-build", flow_run_name="{config.name}", validate_parameters=False)
def build(config: Config, refresh: bool = False, progress: Progress | None = None) -> BuildResult:
    """Build one release from a config.

    Args:
        config: the build's config.
        refresh: look at the source again: what is new is added, what was withdrawn is
            removed, the rest is reused. Without it, a finished crawl is never repeated.
        progress: told what is done; None = nobody looks.

    Raises:
        UserError: something that the user can fix, in one sentence.
    """
    current = Build(config, progress)
    check_places(config)  # now, not after the work
    current.workspace.prepare()
    with current.workspace.locked():
        if refresh:
            current.refresh()
        with (
            on_demand(config.runner) as pool,
            one_way(config.runner, pool),
            Pages(config, current.progress) as pages,
            Record(current) as record,
        ):
            return _build(current, pages, record, pool)


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _finished(current: Build, stage: str, key: str) -> TableRef | None:
    return current.ref(stage, key, "all") if current.is_done(stage, key, "all") else None


def _build(current: Build, pages: Pages, record: Record, pool: Callable[[], Pool]) -> BuildResult:
    current.check_models()
    if anew := current.anew:
        logging.getLogger(__name__).warning(  # not the run's own logger, whose lines the command line does not show
            "made anew, for settings, inputs, packages or counterset itself have changed since: %s; photos that were "
            "downloaded from the same addresses are kept",
            ", ".join(anew),
        )
    crawls = _crawl_all(current)
    table_steps.snapshot_date(current, _today())  # now, for a killed build may go on another day
    if current.is_done("withdrawn", current.crawl_key, current.snapshot_name):
        shard_steps.recheck(current, crawls)
    else:
        recheck(current, crawls)
    shards = plan(current, crawls)
    get_run_logger().info("%d candidates in %d shards", sum(ref.num_rows for ref in crawls), len(shards))
    finished = run_shards(current, shards, pool)
    photos = [current.ref("photos", current.photos_key, shard) for shard in finished]
    embedded = {
        model: [current.ref("embeddings", current.embed_key(model), shard) for shard in finished]
        for model in current.model_names
    }
    key = ended_key(current, crawls, shards, photos, embedded) if finished == shards else ""
    if key and (ended := how_it_ended(current, key)):
        return _as_it_ended(current, ended, pages, record)
    with warnings_kept() as told:
        made = _made_of(current, crawls, shards, photos, embedded, pages, pool)
    keys = table_steps.keys(current, (*crawls, *photos, *made.tables.values())) | {edges_key()}
    if key:
        keys.add(key)
        keep(
            current,
            key,
            place(made.release),
            tables=made.tables,
            num_photos=made.num_photos,
            num_predictions=made.num_predictions,
            keys=keys,
            told=told,
        )
    pairs, groups = made.tables["pairs"], made.tables["group_accuracy"]
    return _shown(current, place(made.release), made.is_new, pairs, groups, keys, pages, record)


class _Made(NamedTuple):
    """What was made of all shards: tables by name, and their release."""

    tables: dict[str, TableRef]
    num_photos: int
    num_predictions: int
    release: str
    is_new: bool


def _made_of(
    current: Build,
    crawls: list[TableRef],
    shards: list[str],
    photos: list[TableRef],
    embedded: dict[str, list[TableRef]],
    pages: Pages,
    pool: Callable[[], Pool],
) -> _Made:
    def run(step: Any, **parameters: Any) -> Any:
        """A step that looks at all photos, wherever the runner has such steps done."""
        [result] = pool().run(step, [{"build": current} | parameters])
        return result

    looked_at = embedded[current.config.models.annotator]
    basis = basis_of(current, crawls, photos)
    key = table_steps.members_key(current, crawls, photos, looked_at, basis)
    chosen = _finished(current, "members", key) or run(
        members, crawls=crawls, photos=photos, embedded=looked_at, basis=basis
    )
    annotated = _finished(current, "backgrounds", table_steps.backgrounds_key(current, chosen))
    current.progress.begin("annotate", chosen.num_rows, reused=annotated.num_rows if annotated else 0)
    if annotated is None:
        num_parts = min(pool().num_tables, len(current.specs))
        asked = {"build": current, "chosen": chosen, "embedded": looked_at, "num_parts": num_parts}
        if num_parts > 1:
            list(pool().run(background_part, [asked | {"part": part} for part in range(num_parts)]))
        [annotated] = pool().run(backgrounds, [asked])
        current.progress.advance("annotate", annotated.num_rows)
    wanted = current.evaluations
    known = {
        item: _finished(current, "predictions", table_steps.predictions_key(current, chosen, *item)) for item in wanted
    }
    reused = sum(ref.num_rows for ref in known.values() if ref)
    num_predictions = chosen.num_rows * len(wanted)
    current.progress.begin("evaluate", num_predictions, reused=reused)
    made = {item: ref for item, ref in known.items() if ref is not None}
    missing = [item for item in wanted if item not in made]
    calls = [
        {"build": current, "chosen": chosen, "embedded": embedded[model], "model": model, "templates": templates}
        for model, templates in missing
    ]
    for item, ref in zip(missing, pool().run(predictions, calls) if calls else (), strict=True):
        made[item] = ref
        current.progress.advance("evaluate", ref.num_rows)
    made = {item: made[item] for item in wanted}
    usual = current.config.evaluate.templates
    predicted = [ref for (_, templates), ref in made.items() if templates == usual]
    by_templates: dict[str, list[TableRef]] = {}
    for (_, templates), ref in made.items():
        if templates != usual:
            by_templates.setdefault(templates, []).append(ref)
    reviewed = apply_review(current, chosen, annotated)
    final = {"chosen": reviewed.members, "annotated": reviewed.backgrounds, "predicted": predicted}
    tables: dict[str, TableRef] = run(select, **final, by_templates=by_templates, basis=basis)
    tables |= run(name, **final, pairs=tables["pairs"])
    tables |= {"members": reviewed.members, "backgrounds": reviewed.backgrounds}
    if reviewed.decisions is not None:
        tables["decisions"] = reviewed.decisions
    pages.show_pairs(tables["pairs"])
    gathered: dict[str, Any] = {"crawls": crawls, "shards": shards, "photos": photos, "tables": tables}
    gathered |= {"predicted": predicted, "basis": basis, "files": named_files(current)}
    is_here = isinstance(place(current.config.releases), Path)  # a folder may be of this machine alone
    release, is_new = publish(current, **gathered) if is_here else run(publish, **gathered)
    before = {"members before review": chosen, "backgrounds before review": annotated}
    scores = {f"predictions of {model} under {templates}": ref for (model, templates), ref in made.items()}
    return _Made(tables | before | scores, chosen.num_rows, num_predictions, release, is_new)


def _as_it_ended(current: Build, ended: Ended, pages: Pages, record: Record) -> BuildResult:
    """What the same build came to before, which still stands: nothing is read but what is shown."""
    for warning in ended.told:
        logging.getLogger(__name__).warning("%s", warning)
    current.progress.begin("annotate", ended.num_photos, reused=ended.num_photos)
    current.progress.begin("evaluate", ended.num_predictions, reused=ended.num_predictions)
    pairs, groups = (
        current.ref(made.stage, made.key, "all") for made in (ended.tables["pairs"], ended.tables["group_accuracy"])
    )
    pages.show_pairs(pairs)
    release = place(current.config.releases) / current.config.name / ended.version
    get_run_logger().info("nothing to do behind the shards: all is as it was when the last build ended")
    return _shown(current, release, False, pairs, groups, set(ended.keys), pages, record)


def _shown(
    current: Build,
    release: Place,
    is_new: bool,
    pairs: TableRef,
    groups: TableRef,
    keys: set[str],
    pages: Pages,
    record: Record,
) -> BuildResult:
    pages.show_release(release, is_new, pairs)
    verdicts = read_table(pairs.path, PAIRS, ["verdict"])["verdict"].to_pylist()
    get_run_logger().info("%d of %d classes confirmed; release %s", verdicts.count("confirmed"), len(verdicts), release)
    record.release = str(release)
    record.use(*keys)
    return BuildResult(release, is_new, pairs, groups, current.progress.counts())
