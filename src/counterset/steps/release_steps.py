"""The last step of a build: gather every table and hand it to the release writer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from counterset.models.door import open_model, trained_on
from counterset.naming.schemas import GROUP_NAMES
from counterset.release.publish.inputs import DEFAULT_FAMILY, ModelRecord, ReleaseInputs
from counterset.release.publish.writer import publish
from counterset.review.citing import cite
from counterset.review.schemas import DECISIONS
from counterset.schemas import BACKGROUNDS, GROUP_ACCURACY, MEMBERS, PAIRS, PHOTOS, PREDICTIONS, SENSITIVITY, Verdict
from counterset.steps.annotator_check import check_annotator
from counterset.steps.causes_steps import located, measured
from counterset.steps.keys import Build, read_all
from counterset.steps.rejects import all_rejects
from counterset.steps.series import Basis, place_in_series
from counterset.steps.shard_steps import candidates_of
from counterset.steps.table_steps import photo_bytes, snapshot_date
from counterset.storage import place
from counterset.tables import TableRef, read_table, sha256_of


def publish_release(
    build: Build,
    crawls: list[TableRef],
    shards: list[str],
    photos: list[TableRef],
    tables: dict[str, TableRef],
    predictions: list[TableRef],
    basis: Basis,
    *,
    today: str,
    files: dict[str, str] | None = None,
) -> tuple[str, bool]:
    """Write the release, unless the last one is the same; its folder, and whether it is new.

    Args:
        build: the build.
        crawls: candidates, one file per class.
        shards: names of the shards that hold them.
        photos: photos, one file per shard.
        tables: members, backgrounds, group_accuracy, sensitivity, pairs and group_names; decisions, where there are
            any.
        predictions: one file per model.
        basis: what the members stand on.
        today: ISO date, used as the snapshot date of a crawl that has none yet.
        files: `named_files` of the machine that the config is of; None = of this one.
    """
    found = check_annotator(build, tables["members"], tables["backgrounds"])
    is_empty = found is not None and found.is_empty
    empty_names = asdict(found) if found is not None and is_empty else None

    def inputs() -> ReleaseInputs:  # so that nothing here holds them: of large builds they are gigabytes
        candidates = candidates_of(build, crawls)
        kept = read_table(tables["members"].path, MEMBERS)
        inspected = read_all(photos, PHOTOS)
        inspected = inspected.filter(pc.is_in(inspected["photo_id"], candidates["photo_id"].combine_chunks()))
        rejects = all_rejects(build, tables["members"], shards, candidates)
        backgrounds = read_table(tables["backgrounds"].path, BACKGROUNDS)
        downloads = pc.sum(pc.equal(rejects["stage"], "download")).as_py() or 0
        before_download = rejects.filter(pc.is_in(rejects["stage"], pa.array(["crawl", "publish"])))["photo_id"]
        return ReleaseInputs(
            config=build.config,
            classes=build.specs,
            candidates=candidates,
            photos=inspected,
            members=kept,
            backgrounds=backgrounds,
            predictions=read_all(predictions, PREDICTIONS),
            group_accuracy=read_table(tables["group_accuracy"].path, GROUP_ACCURACY),
            pairs=read_table(tables["pairs"].path, PAIRS),
            rejects=rejects,
            sensitivity=read_table(tables["sensitivity"].path, SENSITIVITY),
            group_names=read_table(tables["group_names"].path, GROUP_NAMES),
            models=model_records(build),
            source_snapshot=snapshot_date(build, today),
            funnel={
                "offered": candidates.num_rows + pc.count_distinct(before_download).as_py(),
                "chosen": candidates.num_rows,
                "downloaded": candidates.num_rows - downloads,
                "readable": inspected.num_rows,
                "kept": kept.num_rows,
                "grouped": pc.sum(backgrounds["is_confident"]).as_py() or 0,
            },
            files=named_files(build) if files is None else files,
            review=cite(read_table(tables["decisions"].path, DECISIONS)).metadata() if "decisions" in tables else None,
            appearance=measured(build, [place(ref.path).stem for ref in photos]),
            animals=located(build, [place(ref.path).stem for ref in photos]),
            imagenet_labels=_imagenet_labels(build),
            series=place_in_series(build, tables["members"], basis).inputs,
            empty_names=empty_names,
            cue=build.cue,
            photo_bytes=photo_bytes(build, kept),
        )

    release = publish(inputs(), default_verdicts=() if is_empty else (Verdict.CONFIRMED.value,))
    return str(release.path), release.is_new


def named_files(build: Build) -> dict[str, str]:
    """sha256 of each file that the config names and whose content decides the release, by its path."""
    config = build.config
    named = [
        config.classes.list,
        config.annotate.vocabulary,
        config.annotate.animals,
        config.evaluate.label_space,
        *config.source.paths.values(),
    ]
    return {name: sha256_of(Path(name)) for name in named if Path(name).is_absolute() and Path(name).is_file()}


def _imagenet_labels(build: Build) -> dict[str, int]:
    known = zip(build.space.labels, build.space.imagenet_index, strict=True)
    return {label: index for label, index in known if index is not None}


def model_records(build: Build) -> tuple[ModelRecord, ...]:
    models = build.config.models
    roles = [("annotator", models.annotator)]
    roles += [("selector", name) for name in models.selectors]
    roles += [("evaluator", name) for name in models.evaluators]
    return tuple(_record(build, role, name) for role, name in roles)


def _record(build: Build, role: str, name: str) -> ModelRecord:
    model = open_model(name, build.config.models.backend)
    family = {} if model.family == DEFAULT_FAMILY else {"family": model.family}
    lineage = {"pretraining": ", ".join(sorted(trained_on(name)))}
    return ModelRecord(name, role, model.weights_sha256, family | lineage)
