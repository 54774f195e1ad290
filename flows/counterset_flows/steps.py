"""The steps of a build, from files to files: read, call the stage, write.

No Prefect here. Every step asks what is missing, does that, and returns references;
the stages themselves are pure and know nothing of files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterset.backgrounds import Background, load_vocabulary
from counterset.classes import ClassSpec, load_classes
from counterset.config import Config
from counterset.models.lineage import check_roles
from counterset.models.open_clip_encoder import load_encoder, weights_sha256
from counterset.models.prompts import LabelSpace, classifier, label_space
from counterset.schemas import (
    BACKGROUNDS,
    CANDIDATES,
    GROUP_ACCURACY,
    IMAGES,
    MEMBERS,
    PAIRS,
    PHOTOS,
    PREDICTIONS,
    REJECTS,
    TableSchema,
    embeddings,
)
from counterset.sources import Source
from counterset.sources.factory import make_source
from counterset.stages import annotate, curate, embed, evaluate, group, select
from counterset.stages.download import download_photos
from counterset.tables import TableRef, read_table, sha256_of, table_of, write_bytes, write_table
from counterset.workspace import Workspace, digest

SOURCE_CONTENT = {
    "kind",
    "path",
    "photos_per_class",
    "order",
    "licenses",
    "quality_grades",
    "include_captive",
    "observed_from",
    "observed_to",
    "photos_per_observer_day",
    "allowed_hosts",
}
"""The source settings that decide which photos are offered (limits and mirrors do not)."""

USER_AGENT = f"counterset/{importlib.metadata.version('counterset')}"


class Build:
    """One config with its workspace: what every step needs to know."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.specs: tuple[ClassSpec, ...] = load_classes(config.classes.list, config.classes.only)
        self.vocabulary: tuple[Background, ...] = load_vocabulary(config.annotate.vocabulary)
        self.space: LabelSpace = label_space(config.evaluate.label_space, self.specs)
        check_roles(config.models)
        self.workspace = Workspace(config.workspace)
        source = config.source.model_dump(mode="json", include=SOURCE_CONTENT)
        self.crawl_key = digest("crawl", source, config.seed)
        # Photos are downloaded once, whatever asks for them.
        self.pool_key = digest("pool", config.source.kind, config.source.photo_size, config.download.shard_size)
        self.photos_key = digest("photos", self.pool_key, config.curate.model_dump(exclude={"near_duplicate_bits"}))

    @property
    def model_names(self) -> tuple[str, ...]:
        """Annotator, selectors and evaluators, each once."""
        models = self.config.models
        return tuple(dict.fromkeys((models.annotator, *models.selectors, *models.evaluators)))

    @property
    def tested_names(self) -> tuple[str, ...]:
        """Selectors and evaluators, each once."""
        models = self.config.models
        return tuple(dict.fromkeys((*models.selectors, *models.evaluators)))

    @functools.cached_property
    def source(self) -> Source:
        # URLs stay the source's own; the mirror is only where they are fetched from.
        return make_source(
            self.config.source.model_copy(update={"photo_url": ""}),
            self.workspace.folder("crawl_state", self.crawl_key),
            self.config.seed,
        )

    def crawl_name(self, spec: ClassSpec) -> str:
        return f"{spec.class_id}-{digest(dataclasses.asdict(spec))[:8]}"

    def embed_key(self, model: str) -> str:
        return digest("embed", self.photos_key, weights_sha256(model), self.config.models.batch_size)

    def ref(self, stage: str, key: str, name: str) -> TableRef:
        """The reference of a finished file."""
        path = self.workspace.file(stage, key, name)
        metadata = pq.read_metadata(path)
        version = int((metadata.metadata or {}).get(b"counterset.schema_version", b"0"))
        return TableRef(str(path), sha256_of(path), metadata.num_rows, version)

    def is_done(self, stage: str, key: str, name: str) -> bool:
        return self.workspace.file(stage, key, name).is_file()


def read_all(refs: Iterable[TableRef], schema: TableSchema) -> pa.Table:
    """The rows of several files of one table."""
    return pa.concat_tables([schema.arrow().empty_table(), *(read_table(ref.path, schema) for ref in refs)])


# --- crawl and plan -------------------------------------------------------------------


def crawl_class(build: Build, spec: ClassSpec) -> TableRef:
    """Candidates of one class, crawled unless they lie there already."""
    name = build.crawl_name(spec)
    if not build.is_done("crawl", build.crawl_key, name):
        crawl = build.source.crawl(spec)
        write_table(crawl.rejects, REJECTS, build.workspace.file("crawl_rejects", build.crawl_key, name))
        write_table(crawl.candidates, CANDIDATES, build.workspace.file("crawl", build.crawl_key, name))
    return build.ref("crawl", build.crawl_key, name)


def candidates_of(build: Build, crawls: Iterable[TableRef]) -> pa.Table:
    """All candidates, each photo id once (the first class in the list keeps it)."""
    table = read_all(crawls, CANDIDATES)
    _, first = np.unique(np.array(table["photo_id"].to_pylist(), object).astype(str), return_index=True)
    return table.take(pa.array(np.sort(first)))


def plan_shards(build: Build, crawls: Iterable[TableRef]) -> list[str]:
    """Cut the candidates that are in no shard yet into shards; give the names of those that matter.

    Shards are only ever added, in one order, so a killed plan goes on where it stopped.
    """
    table = candidates_of(build, crawls)
    wanted = set(table["photo_id"].to_pylist())
    known: set[str] = set()
    relevant = []
    names = build.workspace.names("shards", build.pool_key)
    for name in names:
        path = build.workspace.file("shards", build.pool_key, name)
        ids = set(read_table(path, CANDIDATES, ["photo_id"])["photo_id"].to_pylist())
        known |= ids
        if ids & wanted:
            relevant.append(name)
    todo = sorted(wanted - known, key=digest)  # a hash order mixes the classes
    for start in range(0, len(todo), build.config.download.shard_size):
        ids = set(todo[start : start + build.config.download.shard_size])
        name = f"{len(names):06d}"
        part = table.filter(pc.is_in(table["photo_id"], pa.array(sorted(ids))))
        write_table(part, CANDIDATES, build.workspace.file("shards", build.pool_key, name))
        names.append(name)
        relevant.append(name)
    return relevant


# --- shard by shard -------------------------------------------------------------------


def download_shard(build: Build, shard: str, on_progress: Callable[[int], None] | None = None) -> TableRef:
    """A shard's images, downloaded unless they lie there already."""
    workspace, key = build.workspace, build.pool_key
    if not build.is_done("images", key, shard):
        candidates = read_table(workspace.file("shards", key, shard), CANDIDATES)
        contact = build.config.source.contact
        result = download_photos(
            candidates,
            workspace.folder("download_scratch", key) / shard,
            build.config.download,
            user_agent=f"{USER_AGENT} ({contact})" if contact else USER_AGENT,
            photo_host=build.config.source.photo_url,
            on_progress=on_progress,
        )
        write_table(result.rejects, REJECTS, workspace.file("download_rejects", key, shard))
        write_table(result.images, IMAGES, workspace.file("images", key, shard))
    return build.ref("images", key, shard)


def inspect_shard(build: Build, shard: str) -> TableRef:
    """A shard's photos that decode and fit."""
    workspace, key = build.workspace, build.photos_key
    if not build.is_done("photos", key, shard):
        images = read_table(workspace.file("images", build.pool_key, shard), IMAGES)
        candidates = read_table(workspace.file("shards", build.pool_key, shard), CANDIDATES)
        result = curate.inspect_photos(images, candidates, build.config.curate, shard=shard)
        write_table(result.rejects, REJECTS, workspace.file("photos_rejects", key, shard))
        write_table(result.photos, PHOTOS, workspace.file("photos", key, shard))
    return build.ref("photos", key, shard)


def embed_shard(build: Build, shard: str, model: str) -> TableRef:
    """A shard's image features under one model."""
    key = build.embed_key(model)
    if not build.is_done("embeddings", key, shard):
        images = read_table(build.workspace.file("images", build.pool_key, shard), IMAGES)
        photos = read_table(build.workspace.file("photos", build.photos_key, shard), PHOTOS, ["photo_id"])
        encoder = load_encoder(model)
        table = embed.embed_photos(images, photos, encoder, batch_size=build.config.models.batch_size)
        write_table(table, embeddings(encoder.embedding_dim), build.workspace.file("embeddings", key, shard))
    return build.ref("embeddings", key, shard)


# --- whole tables ---------------------------------------------------------------------


def members_key(build: Build, crawls: list[TableRef], photos: list[TableRef]) -> str:
    inputs = [ref.sha256 for ref in (*crawls, *photos)]
    return digest("members", inputs, build.config.curate, build.config.select.salt)


def choose_members(build: Build, crawls: list[TableRef], photos: list[TableRef]) -> TableRef:
    """The kept photos with their observers' halves."""
    curation, salt = build.config.curate, build.config.select.salt
    key = members_key(build, crawls, photos)
    if not build.is_done("members", key, "all"):
        candidates = candidates_of(build, crawls)
        table = read_all(photos, PHOTOS)
        table = table.filter(pc.is_in(table["photo_id"], candidates["photo_id"].combine_chunks()))
        result = curate.choose_members(table, candidates, curation, salt=salt)
        write_table(result.rejects, REJECTS, build.workspace.file("members_rejects", key, "all"))
        write_table(result.members, MEMBERS, build.workspace.file("members", key, "all"))
    return build.ref("members", key, "all")


def backgrounds_key(build: Build, members: TableRef) -> str:
    config = build.config
    return digest(
        "backgrounds",
        members.sha256,
        weights_sha256(config.models.annotator),
        config.models.batch_size,
        [dataclasses.asdict(background) for background in build.vocabulary],
        [dataclasses.asdict(spec) for spec in build.specs],
        config.annotate,
        config.group,
        config.seed,
    )


def annotate_and_group(build: Build, members: TableRef, embedded: list[TableRef]) -> TableRef:
    """Each member's background profile and group."""
    config, key = build.config, backgrounds_key(build, members)
    if not build.is_done("backgrounds", key, "all"):
        kept = read_table(members.path, MEMBERS)
        class_of = dict(zip(kept["photo_id"].to_pylist(), kept["class_id"].to_pylist(), strict=True))
        encoder = load_encoder(config.models.annotator)
        method, names = config.annotate.method, [background.name for background in build.vocabulary]
        directions = {
            spec.class_id: annotate.background_classifier(encoder, build.vocabulary, spec, method)
            for spec in build.specs
        }
        features: dict[str, list[np.ndarray]] = {spec.class_id: [] for spec in build.specs}  # type: ignore[type-arg]
        photo_ids: dict[str, list[str]] = {spec.class_id: [] for spec in build.specs}
        for ref in embedded:
            table = read_table(ref.path, embeddings(encoder.embedding_dim))
            for photo_id, vector in zip(table["photo_id"].to_pylist(), embed.feature_matrix(table), strict=True):
                class_id = class_of.get(photo_id)
                if class_id is not None:
                    # (D,) @ (D, B) -> (B,): only the profile is kept, so memory does not grow with D
                    features[class_id].append(directions[class_id] @ vector)
                    photo_ids[class_id].append(photo_id)
        rows = []
        for spec in build.specs:
            ids = photo_ids[spec.class_id]
            order = np.argsort(ids)
            scores = np.array(features[spec.class_id], np.float32).reshape(len(ids), len(names))[order]
            profiles = annotate.finish_profiles(scores, method)
            margins = annotate.margins(profiles)
            groups = group.group_photos(profiles, names, config.group, seed=config.seed)
            for index, position in enumerate(order):
                is_confident = groups[index] is not None and bool(margins[index] >= config.annotate.min_margin)
                rows.append(
                    {
                        "photo_id": ids[position],
                        "class_id": spec.class_id,
                        "profile": profiles[index].tolist(),
                        "background": names[int(profiles[index].argmax())],
                        "margin": float(margins[index]),
                        "group": groups[index] if is_confident else None,
                        "is_confident": is_confident,
                    }
                )
        write_table(table_of(BACKGROUNDS, rows), BACKGROUNDS, build.workspace.file("backgrounds", key, "all"))
    return build.ref("backgrounds", key, "all")


def predictions_key(build: Build, members: TableRef, model: str) -> str:
    config = build.config
    return digest(
        "predictions",
        members.sha256,
        model,
        weights_sha256(model),
        config.models.batch_size,
        build.space.labels,
        build.space.index_of,
        config.evaluate,
    )


def evaluate_model(build: Build, members: TableRef, embedded: list[TableRef], model: str) -> TableRef:
    """One model's zero-shot predictions for every member."""
    config, key = build.config, predictions_key(build, members, model)
    if not build.is_done("predictions", key, "all"):
        kept = read_table(members.path, MEMBERS)
        class_of = dict(zip(kept["photo_id"].to_pylist(), kept["class_id"].to_pylist(), strict=True))
        encoder = load_encoder(model)
        text_features = classifier(encoder, build.space, config.evaluate.templates)
        parts = [
            evaluate.predict(
                read_table(ref.path, embeddings(encoder.embedding_dim)),
                class_of,
                text_features,
                labels=build.space.labels,
                index_of=build.space.index_of,
                model=model,
                label_space=build.space.name,
            )
            for ref in embedded
        ]
        write_table(pa.concat_tables(parts), PREDICTIONS, build.workspace.file("predictions", key, "all"))
    return build.ref("predictions", key, "all")


def select_pairs(
    build: Build, members: TableRef, backgrounds: TableRef, predictions: list[TableRef]
) -> tuple[TableRef, TableRef]:
    """Group accuracies and the chosen pairs."""
    config = build.config
    key = digest(
        "select",
        [members.sha256, backgrounds.sha256, *(ref.sha256 for ref in predictions)],
        config.select,
        config.models.selectors,
        [spec.class_id for spec in build.specs],
        config.seed,
    )
    if not build.is_done("pairs", key, "all"):
        result = select.select_pairs(
            read_table(members.path, MEMBERS),
            read_table(backgrounds.path, BACKGROUNDS),
            read_all(predictions, PREDICTIONS),
            config.select,
            selectors=config.models.selectors,
            label_space=build.space.name,
            class_ids=tuple(spec.class_id for spec in build.specs),
            seed=config.seed,
        )
        write_table(result.group_accuracy, GROUP_ACCURACY, build.workspace.file("group_accuracy", key, "all"))
        write_table(result.pairs, PAIRS, build.workspace.file("pairs", key, "all"))
    return build.ref("group_accuracy", key, "all"), build.ref("pairs", key, "all")


def all_rejects(build: Build, members: TableRef, shards: list[str]) -> pa.Table:
    """The rejects of every stage, for the candidates of this build."""
    workspace = build.workspace
    files: list[Path] = [
        *(workspace.file("crawl_rejects", build.crawl_key, build.crawl_name(spec)) for spec in build.specs),
        *(workspace.file("download_rejects", build.pool_key, shard) for shard in shards),
        *(workspace.file("photos_rejects", build.photos_key, shard) for shard in shards),
        workspace.file("members_rejects", Path(members.path).parent.name, "all"),
    ]
    table = pa.concat_tables([read_table(path, REJECTS) for path in files])
    return table_of(REJECTS, {name: table[name].combine_chunks() for name in table.column_names})


def photo_bytes(build: Build, members: pa.Table) -> Callable[[str], bytes | None]:
    """A function from photo_id to the photo's bytes; reads one shard at a time."""
    shard_of = dict(zip(members["photo_id"].to_pylist(), members["shard"].to_pylist(), strict=True))

    @functools.lru_cache(maxsize=2)
    def shard(name: str) -> dict[str, bytes]:
        table = read_table(build.workspace.file("images", build.pool_key, name), IMAGES)
        return dict(zip(table["photo_id"].to_pylist(), table["image"].to_pylist(), strict=True))

    def read(photo_id: str) -> bytes | None:
        with contextlib.suppress(KeyError):
            return shard(shard_of[photo_id]).get(photo_id)
        return None

    return read


def snapshot_date(build: Build, today: str) -> str:
    """The day of the crawl, kept in the workspace so that a resumed build says the same day."""
    path = build.workspace.folder("crawl", build.crawl_key) / "crawled_on.txt"
    if not path.is_file():
        write_bytes(today.encode(), path)
    return path.read_text().strip()


def shard_size(build: Build, shard: str) -> int:
    """The number of candidates in a shard."""
    return int(pq.read_metadata(build.workspace.file("shards", build.pool_key, shard)).num_rows)
