"""The last step of a build: gather every table and hand it to the release writer."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from counterset.models.door import open_model, trained_on
from counterset.naming.schemas import GROUP_NAMES
from counterset.photo_rows import Rows
from counterset.release.publish.inputs import DEFAULT_FAMILY, ModelRecord, ReleaseInputs
from counterset.release.publish.writer import publish
from counterset.review.citing import cite
from counterset.review.schemas import DECISIONS
from counterset.schemas import (
    BACKGROUNDS,
    CANDIDATES,
    GROUP_ACCURACY,
    MEMBERS,
    PAIRS,
    PHOTOS,
    PREDICTIONS,
    SENSITIVITY,
    Verdict,
)
from counterset.steps.annotator_check import check_annotator
from counterset.steps.causes_steps import located, measured
from counterset.steps.keys import Build, parts_of
from counterset.steps.rejects import all_rejects
from counterset.steps.series import Basis, place_in_series
from counterset.steps.shard_steps import candidate_parts
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

    with tempfile.TemporaryDirectory(prefix="counterset-") as folder:
        # All that grows with the photos is put in their order once, and read from there
        told = pa.schema([field for field in CANDIDATES.arrow() if field.name != "place"])
        parts = candidate_parts(build, crawls, told.names)
        candidates = Rows.sorted(parts, told, Path(folder) / "candidates.arrow")
        parts = parts_of(photos, PHOTOS)
        inspected = Rows.sorted(parts, PHOTOS.arrow(), Path(folder) / "photos.arrow").among(candidates)
        names = [place(ref.path).stem for ref in photos]
        rejects = all_rejects(build, tables["members"], shards, candidates, Path(folder))
        backgrounds = Rows.stored(tables["backgrounds"], BACKGROUNDS)
        num_candidates = candidates.count()
        inputs = ReleaseInputs(
            config=build.config,
            classes=build.specs,
            candidates=candidates,
            photos=inspected,
            members=Rows.stored(tables["members"], MEMBERS),
            backgrounds=backgrounds,
            predictions=Rows.merged([Rows.stored(ref, PREDICTIONS) for ref in predictions], PREDICTIONS),
            group_accuracy=read_table(tables["group_accuracy"].path, GROUP_ACCURACY),
            pairs=read_table(tables["pairs"].path, PAIRS),
            rejects=rejects,
            sensitivity=read_table(tables["sensitivity"].path, SENSITIVITY),
            group_names=read_table(tables["group_names"].path, GROUP_NAMES),
            models=model_records(build),
            source_snapshot=snapshot_date(build, today),
            funnel={
                "offered": num_candidates + _num_photos(rejects, "crawl", "publish"),
                "chosen": num_candidates,
                "downloaded": num_candidates - _num_photos(rejects, "download"),
                "readable": inspected.count(),
                "kept": tables["members"].num_rows,
                "grouped": sum(pc.sum(part["is_confident"]).as_py() for part in backgrounds.read(["is_confident"])),
            },
            files=named_files(build) if files is None else files,
            review=cite(read_table(tables["decisions"].path, DECISIONS)).metadata() if "decisions" in tables else None,
            appearance=measured(build, names, Path(folder)),
            animals=located(build, names, Path(folder)),
            imagenet_labels=_imagenet_labels(build),
            series=place_in_series(build, tables["members"], basis).inputs,
            empty_names=empty_names,
            cue=build.cue,
            photo_bytes=photo_bytes(build, tables["members"]),
        )
        release = publish(inputs, default_verdicts=() if is_empty else (Verdict.CONFIRMED.value,))
    return str(release.path), release.is_new


def _num_photos(rejects: Rows, *stages: str) -> int:
    """Photos that any of some stages turned away."""
    number, last = 0, None
    for part in rejects.read(["photo_id", "stage"]):
        ids = part.filter(pc.is_in(part["stage"], pa.array(stages)))["photo_id"].unique()
        if len(ids):
            number, last = number + len(ids) - (ids[0].as_py() == last), ids[-1].as_py()
    return number


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
