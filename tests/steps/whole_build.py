"""All steps of a build in one process, without Prefect."""

from __future__ import annotations

from counterset.steps import shard_steps, table_steps
from counterset.steps.keys import Build
from counterset.steps.naming_steps import name_pairs
from counterset.steps.release_steps import publish_release
from counterset.steps.series import basis_of
from counterset.storage import Place, place


def run(build: Build) -> tuple[Place, bool]:
    """The steps in the order of the flow, with one selector and one set of prompts; the release, whether it is new."""
    build.workspace.prepare()
    missing = [spec for spec in build.specs if not build.is_done("crawl", build.crawl_key, build.crawl_name(spec))]
    if missing:
        build.source.check(build.specs)
    crawls = [shard_steps.crawl_class(build, spec) for spec in build.specs]
    shard_steps.recheck(build, crawls)
    shards = shard_steps.plan_shards(build, crawls)
    for shard in shards:
        shard_steps.download_shard(build, shard)
    photos = [shard_steps.inspect_shard(build, shard) for shard in shards]
    models = (build.config.models.annotator, *build.config.models.selectors)
    annotated, selected = ([shard_steps.embed_shard(build, shard, model) for shard in shards] for model in models)
    basis = basis_of(build, crawls, photos)
    members = table_steps.choose_members(build, crawls, photos, annotated, basis)
    backgrounds = table_steps.annotate_and_group(build, members, annotated)
    predicted = [table_steps.evaluate_model(build, members, selected, models[1], build.config.evaluate.templates)]
    pairs = table_steps.select_pairs(build, members, backgrounds, predicted, {}, basis)
    named = name_pairs(build, members, backgrounds, predicted, pairs["pairs"])
    tables = {"members": members, "backgrounds": backgrounds, **pairs, **named}
    release, is_new = publish_release(build, crawls, shards, photos, tables, predicted, basis, today="2026-11-01")
    return place(release), is_new
