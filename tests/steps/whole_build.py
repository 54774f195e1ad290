"""All steps of a build in one process, without Prefect."""

from __future__ import annotations

from pathlib import Path

from counterset.config import load_config
from counterset.steps import shard_steps, table_steps
from counterset.steps.keys import Build
from counterset.steps.naming_steps import name_pairs
from counterset.steps.progress import Progress
from counterset.steps.release_steps import publish_release
from counterset.steps.review_steps import apply_review
from counterset.steps.series import basis_of
from counterset.storage import Place, place


def build(config: Path, *, refresh: bool = False) -> tuple[Place, bool]:
    """`run` of a config file, as `counterset build CONFIG` does it."""
    current = Build(load_config(config), Progress())
    if refresh:
        current.refresh()
    return run(current)


def run(build: Build) -> tuple[Place, bool]:
    """The steps in the order of the flow; the release, and whether it is new."""
    build.workspace.prepare()
    build.check_models()
    missing = [spec for spec in build.specs if not build.is_done("crawl", build.crawl_key, build.crawl_name(spec))]
    if missing:
        build.source.check(build.specs)
    crawls = [shard_steps.crawl_class(build, spec) for spec in build.specs]
    shard_steps.recheck(build, crawls)
    shards = shard_steps.plan_shards(build, crawls)
    for shard in shards:
        shard_steps.download_shard(build, shard)
    photos = [shard_steps.inspect_shard(build, shard) for shard in shards]
    embedded = {
        model: [shard_steps.embed_shard(build, shard, model) for shard in shards] for model in build.model_names
    }
    annotated = embedded[build.config.models.annotator]
    basis = basis_of(build, crawls, photos)
    chosen = table_steps.choose_members(build, crawls, photos, annotated, basis)
    named = table_steps.annotate_and_group(build, chosen, annotated)
    made = {
        (model, templates): table_steps.evaluate_model(build, chosen, embedded[model], model, templates)
        for model, templates in build.evaluations
    }
    usual = build.config.evaluate.templates
    predicted = [ref for (_, templates), ref in made.items() if templates == usual]
    others = {key: [ref for (_, name), ref in made.items() if name == key] for _, key in made if key != usual}
    reviewed = apply_review(build, chosen, named)
    members, backgrounds = reviewed.members, reviewed.backgrounds
    tables = {"members": members, "backgrounds": backgrounds}
    tables |= table_steps.select_pairs(build, members, backgrounds, predicted, others, basis)
    tables |= name_pairs(build, members, backgrounds, predicted, tables["pairs"])
    if reviewed.decisions is not None:
        tables["decisions"] = reviewed.decisions
    release, is_new = publish_release(build, crawls, shards, photos, tables, predicted, basis, today="2026-11-01")
    return place(release), is_new
