"""The steps of a build that look at all photos, from files to files. No Prefect here."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from counterset.config_sections import ANNOTATORS
from counterset.content import content
from counterset.models.door import open_model, open_text_model, reads_texts
from counterset.models.prompts import label_rows, labels_id
from counterset.parquet_sql import add, spilling
from counterset.photo_rows import Rows, in_photo_order
from counterset.schemas import (
    BACKGROUNDS,
    GROUP_ACCURACY,
    MEMBERS,
    PAIRS,
    PHOTOS,
    PREDICTIONS,
    REJECTS,
    SENSITIVITY,
    STABILITY,
    embeddings,
    text_features,
)
from counterset.stages import curate, evaluate, select
from counterset.stages.curate import members as choosing
from counterset.statistics.series import Series, with_looks
from counterset.steps.annotating import annotate_classes, by_shard
from counterset.steps.causes_steps import animals_key, appearance_key
from counterset.steps.keys import (
    GROUP_PACKAGES,
    MEMBER_PACKAGES,
    SCORE_PACKAGES,
    TEST_PACKAGES,
    Build,
    parts_of,
    settings_of,
    stored,
)
from counterset.steps.rejects import of_several_classes
from counterset.steps.series import Basis, class_identity, place_in_series
from counterset.steps.shard_steps import candidate_parts
from counterset.storage import place
from counterset.tables import (
    RowGroups,
    TableRef,
    feature_matrix,
    read_parts,
    read_table,
    table_of,
    write_parts,
    write_table,
)
from counterset.workspace import digest
from counterset.workspace_photos import WorkspacePhotos

MAX_CACHED_BYTES = 1_000_000_000
"""Of photos, while a release is written."""
MEMBER_GROUPS = 40
"""Row groups of members, of 5,000 photos each, of which it is held in which shards they lie."""


def members_key(
    build: Build, crawls: list[TableRef], photos: list[TableRef], embedded: list[TableRef], basis: Basis
) -> str:
    """`embedded` are the annotator's embeddings; `basis` is what the look stands on."""
    withdrawn = build.ref("withdrawn", build.crawl_key, build.snapshot_name)
    config = build.config
    looked_at = embedded if config.curate.max_similarity < 1 else []
    inputs = [ref.sha256 for ref in (*crawls, withdrawn, *photos, *looked_at)]
    inputs += of_several_classes(build)["photo_id"].to_pylist()
    inputs.append(basis.units_digest)
    inputs += [f"{spec.class_id} {class_identity(spec)}" for spec in build.specs]
    return digest(settings_of(config, "members", *MEMBER_PACKAGES), MEMBERS.version, inputs)


def choose_members(
    build: Build, crawls: list[TableRef], photos: list[TableRef], embedded: list[TableRef], basis: Basis
) -> TableRef:
    """The kept photos with their units and halves; `embedded` are the annotator's embeddings."""
    curation, salt = build.config.curate, build.config.select.salt
    key = members_key(build, crawls, photos, embedded, basis)
    if not build.is_done("members", key, "all"):
        with spilling() as connection:

            def fitting(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
                for part in parts:
                    fit = curate.fitting(part, part, curation)
                    add(connection, "rejects", fit.rejects)
                    yield fit.photos

            chosen = choosing.choose(
                connection,
                fitting(
                    choosing.offered(
                        connection,
                        candidate_parts(build, crawls, list(choosing.OFFERED)),
                        parts_of(photos, PHOTOS, list(choosing.INSPECTED)),
                    )
                ),
                curation,
                salt=salt,
                identities={spec.class_id: class_identity(spec) for spec in build.specs},
                published=basis.units,
                photos_per_observation=build.config.source.photos_per_observation,
                features=_features(build, embedded) if curation.max_similarity < 1 else None,
            )
            write_parts(chosen.rejects, REJECTS, build.workspace.file("members_rejects", key, "all"))
            write_parts(chosen.members, MEMBERS, build.workspace.file("members", key, "all"))
    return build.ref("members", key, "all")


def _features(build: Build, embedded: list[TableRef]) -> Iterator[tuple[pa.ChunkedArray, np.ndarray]]:
    """Photo ids and their (B, D) features under the annotator, shard by shard."""
    schema = embeddings(open_model(build.config.models.annotator, build.config.models.backend).embedding_dim)
    for ref in embedded:
        table = read_table(ref.path, schema, ["photo_id", "embedding"])
        yield table["photo_id"], feature_matrix(table)


def backgrounds_key(build: Build, members: TableRef) -> str:
    annotator = build.config.models.annotator
    return digest(
        settings_of(build.config, "backgrounds", *GROUP_PACKAGES),
        [BACKGROUNDS.version, STABILITY.version],
        members.sha256,
        build.embed_key(annotator),
        open_text_model(annotator, build.config.models.backend).texts_id,
        [dataclasses.asdict(background) for background in build.vocabulary],
        dataclasses.asdict(build.templates),
        build.elsewhere,
        [content(spec, "backgrounds") for spec in build.specs],
        *ANNOTATORS.version(build.config.annotate.method),  # nothing for our own, whose revision is above
    )


def annotate_and_group(build: Build, members: TableRef, embedded: list[TableRef], num_parts: int = 1) -> TableRef:
    """Each member's background profile and group.

    Args:
        build: the build.
        members: its members.
        embedded: the annotator's embeddings.
        num_parts: into how many the work was shared out, all of which `annotate_part` has done; 1 = not at all.
    """
    key, file = backgrounds_key(build, members), build.workspace.file
    if not build.is_done("backgrounds", key, "all"):
        with tempfile.TemporaryDirectory(prefix="counterset-") as folder:
            aside = Path(folder) / "backgrounds.arrow"
            if num_parts == 1:
                stability, backgrounds = annotate_classes(build, members, embedded, build.specs, aside)
            else:
                names = [_part_name(part, num_parts) for part in range(num_parts)]
                parts = (
                    part for name in names for part in read_parts(file("background_parts", key, name), BACKGROUNDS)
                )
                backgrounds = Rows.sorted(parts, BACKGROUNDS.arrow(), aside)
                stability = pa.concat_tables(
                    [read_table(file("stability_parts", key, name), STABILITY) for name in names]
                )
            write_table(stability, STABILITY, file("stability", key, "all"))
            write_parts(backgrounds.read(None), BACKGROUNDS, file("backgrounds", key, "all"))
        for stage in ("background_parts", "stability_parts"):
            for path in build.workspace.folder(stage, key).glob("*.parquet"):
                path.unlink(missing_ok=True)
    return build.ref("backgrounds", key, "all")


def annotate_part(build: Build, members: TableRef, embedded: list[TableRef], part: int, num_parts: int) -> None:
    """The same of every `num_parts`-th class, for `annotate_and_group` to put together; the bytes are the same."""
    key, name = backgrounds_key(build, members), _part_name(part, num_parts)
    if not build.is_done("background_parts", key, name):
        with tempfile.TemporaryDirectory(prefix="counterset-") as folder:
            path = Path(folder) / "backgrounds.arrow"
            stability, backgrounds = annotate_classes(build, members, embedded, build.specs[part::num_parts], path)
            write_table(stability, STABILITY, build.workspace.file("stability_parts", key, name))
            write_parts(backgrounds.read(None), BACKGROUNDS, build.workspace.file("background_parts", key, name))


def _part_name(part: int, num_parts: int) -> str:
    return f"{part:04d}-of-{num_parts:04d}"


def predictions_key(build: Build, members: TableRef, model: str, templates: str) -> str:
    return digest(
        settings_of(build.config, "predictions", *SCORE_PACKAGES),
        PREDICTIONS.version,
        members.sha256,
        model,
        build.embed_key(model),
        classifier_key(build, model, templates),
        build.space.index_of,
        build.space.name,
    )


def evaluate_model(build: Build, members: TableRef, embedded: list[TableRef], model: str, templates: str) -> TableRef:
    """One model's predictions for every member, under one set of prompts."""
    key = predictions_key(build, members, model, templates)
    if not build.is_done("predictions", key, "all"):
        text_features = _classifier(build, model, templates)
        schema = embeddings(text_features.shape[1])
        parts = (
            evaluate.predict(
                read_table(ref.path, schema),
                dict(zip(own["photo_id"].to_pylist(), own["class_id"].to_pylist(), strict=True)),
                text_features,
                labels=build.space.labels,
                index_of=build.space.index_of,
                model=model,
                label_space=build.space.name,
            )
            for ref, own in by_shard(members, embedded)
        )
        ordered = in_photo_order(parts, PREDICTIONS.arrow())
        write_parts(ordered, PREDICTIONS, build.workspace.file("predictions", key, "all"))
    return build.ref("predictions", key, "all")


def classifier_key(build: Build, model: str, templates: str) -> str:
    """Of the labels' rows under a model and a set of prompts."""
    return labels_id(open_model(model, build.config.models.backend), build.space, templates)


def keys(build: Build, refs: Iterable[TableRef]) -> set[str]:
    """The keys of all files that a build's tables stand on."""
    opened = [open_model(name, build.config.models.backend) for name in build.model_names]
    return {
        build.requests_key,
        build.crawl_key,
        build.pool_key,
        build.photos_key,
        appearance_key(build),
        animals_key(build),
        *map(build.embed_key, build.model_names),
        *(classifier_key(build, *item) for item in build.evaluations),
        *(build.texts_folder(model).name for model in opened if reads_texts(model)),
        *(place(ref.path).parent.name for ref in refs),
    }


def _classifier(build: Build, model: str, templates: str) -> np.ndarray:
    """(C, D) rows of the labels, kept, so that the texts that they are means of are not read again."""
    key = classifier_key(build, model, templates)
    opened = open_model(model, build.config.models.backend)
    schema = text_features(opened.embedding_dim)
    path = build.workspace.file("classifier", key, "all")
    if not build.is_done("classifier", key, "all"):
        kept = build.texts_folder(opened) if reads_texts(opened) else None
        features = label_rows(opened, build.space, templates, kept)
        # (C, D) -> C lists of D
        column = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), opened.embedding_dim)
        labels = build.space.labels
        write_table(
            table_of(schema, {"position": range(len(labels)), "label": labels, "embedding": column}), schema, path
        )
    return feature_matrix(read_table(path, schema))


def pairs_key(build: Build, inputs: list[TableRef], by_templates: dict[str, list[TableRef]], series: Series) -> str:
    """`inputs` are the members, backgrounds, stability and predictions."""
    return digest(
        settings_of(build.config, "pairs", *TEST_PACKAGES),
        [GROUP_ACCURACY.version, SENSITIVITY.version, PAIRS.version],
        [ref.sha256 for ref in inputs],
        {name: [ref.sha256 for ref in refs] for name, refs in by_templates.items()},
        build.space.name,
        [spec.class_id for spec in build.specs],
        [series.look, sorted(series.held.items())],
    )


def select_pairs(
    build: Build,
    members: TableRef,
    backgrounds: TableRef,
    predictions: list[TableRef],
    by_templates: dict[str, list[TableRef]],
    basis: Basis,
) -> dict[str, TableRef]:
    """Group accuracies, the chosen pairs, and their sensitivity to models and prompts.

    Args:
        by_templates: the selectors' predictions under other prompts, by their name.
        basis: what the members stand on.
    """
    config = build.config
    stability = build.ref("stability", place(backgrounds.path).parent.name, "all")
    series = place_in_series(build, members, basis).series
    level = series.level(config.select.max_q_value)
    key = pairs_key(build, [members, backgrounds, stability, *predictions], by_templates, series)
    if not build.is_done("pairs", key, "all"):
        result = select.select_pairs(
            stored([members], MEMBERS),
            stored([backgrounds], BACKGROUNDS),
            stored(predictions, PREDICTIONS),
            config.select.model_copy(update={"max_q_value": level}),
            selectors=config.models.selectors,
            label_space=build.space.name,
            class_ids=tuple(spec.class_id for spec in build.specs),
            seed=config.seed,
            templates=config.evaluate.templates,
            predictions_by_templates={name: stored(refs, PREDICTIONS) for name, refs in by_templates.items()},
            stability=read_table(stability.path, STABILITY),
            held={class_id: (pair.common, pair.counter) for class_id, pair in series.held.items()},
        )
        pairs = with_looks(result.pairs, series, level)
        write_table(result.group_accuracy, GROUP_ACCURACY, build.workspace.file("group_accuracy", key, "all"))
        write_table(result.sensitivity, SENSITIVITY, build.workspace.file("sensitivity", key, "all"))
        write_table(pairs, PAIRS, build.workspace.file("pairs", key, "all"))
    return {name: build.ref(name, key, "all") for name in ("group_accuracy", "sensitivity", "pairs")}


def photo_bytes(build: Build, members: TableRef) -> WorkspacePhotos:
    """The bytes of the members' photos. They are asked for in the order of their ids, in which a shard's row groups
    come one after another."""
    groups = RowGroups(members.path, MEMBERS)

    @functools.lru_cache(maxsize=MEMBER_GROUPS)
    def shards_of(number: int) -> dict[str, str]:
        table = groups.read(number, ["photo_id", "shard"])
        return dict(zip(table["photo_id"].to_pylist(), table["shard"].to_pylist(), strict=True))

    def shard_of(photo_id: str) -> str | None:
        return shards_of(groups.group_with(photo_id)).get(photo_id)

    return WorkspacePhotos(build.workspace, build.pool_key, shard_of, MAX_CACHED_BYTES)


def snapshot_date(build: Build, today: str) -> str:
    """The day that the source's content is of: the source's own word, else the day of the crawl."""
    return build.day_of_look(lambda: build.source.snapshot or today)
