"""One build's config, keys and files: what every step needs to know."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from counterset.backgrounds import Background, load_vocabulary
from counterset.classes import ClassSpec, load_classes
from counterset.config import Config
from counterset.models.lineage import check_roles
from counterset.models.open_clip_encoder import features_id, weights_sha256
from counterset.models.prompts import LabelSpace, label_space
from counterset.pictures import DECODER_VERSION
from counterset.schemas import (
    TableSchema,
)
from counterset.sources import Source
from counterset.sources.budget import Budget
from counterset.sources.factory import make_source
from counterset.sources.inaturalist import build_budget
from counterset.storage import Place, place
from counterset.tables import TableRef, read_metadata, read_table, sha256_of, write_bytes
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
    "photos_per_observation",
    "allowed_hosts",
}
"""The source settings that decide which photos are offered (limits and mirrors do not)."""


def _state_of_files(config: Config) -> list[list[object]]:
    """Name, size and time of the files that a list or folder source reads, so that a changed one is read anew."""
    path = Path(config.source.path)
    if config.source.kind not in ("url_list", "folder") or not path.exists():
        return []
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


class Build:
    """One config with its workspace: what every step needs to know."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.specs: tuple[ClassSpec, ...] = load_classes(config.classes.list, config.classes.only)
        self.vocabulary: tuple[Background, ...] = load_vocabulary(config.annotate.vocabulary)
        self.space: LabelSpace = label_space(config.evaluate.label_space, self.specs)
        check_roles(config.models)
        self.workspace = Workspace(config.workspace)
        place(config.releases)  # an address that nothing can be written to is refused before the work
        source = config.source.model_dump(mode="json", include=SOURCE_CONTENT)
        source["is_enriched"] = bool(config.source.api_url)  # the Open Data tables lack what the API adds
        self.crawl_key = digest("crawl", source, config.seed, _state_of_files(config))
        # Photos are downloaded once, whatever asks for them.
        self.pool_key = digest("pool", config.source.kind, config.source.photo_size, config.download.shard_size)
        self.photos_key = digest(
            "photos",
            self.pool_key,
            DECODER_VERSION,  # part of the embeddings' keys by this one
            config.curate.model_dump(exclude={"near_duplicate_bits", "max_similarity"}),
        )

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: the keys as they are here, and no open connection."""
        return {name: value for name, value in self.__dict__.items() if name not in ("budget", "source")}

    @property
    def model_names(self) -> tuple[str, ...]:
        """Annotator, selectors and evaluators, each once."""
        models = self.config.models
        return tuple(dict.fromkeys((models.annotator, *models.selectors, *models.evaluators)))

    @property
    def evaluations(self) -> list[tuple[str, str]]:
        """Model and prompts of each evaluation: all models under the chosen prompts, selectors under others too."""
        models, prompts = self.config.models, self.config.evaluate
        tested = dict.fromkeys((*models.selectors, *models.evaluators))
        pairs = [(model, prompts.templates) for model in tested]
        pairs += [(model, other) for model in models.selectors for other in prompts.compare_templates]
        return list(dict.fromkeys(pairs))

    @functools.cached_property
    def budget(self) -> Budget:
        """What may still be asked of the source; one for all requests of this workspace, kept between runs."""
        return build_budget(self.config.source, self.workspace.local)

    @functools.cached_property
    def source(self) -> Source:
        self.workspace.fetch_scratch("crawl_state", self.crawl_key)
        # URLs stay the source's own; the mirror is only where they are fetched from.
        return make_source(
            self.config.source.model_copy(update={"photo_url": ""}),
            self.workspace.scratch("crawl_state", self.crawl_key),
            self.config.seed,
            budget=self.budget,
        )

    def check_models(self) -> None:
        """See that every model's weights can be had, before anything is crawled.

        Raises:
            ModelError: one cannot.
        """
        for model in self.model_names:
            weights_sha256(model)

    @property
    def _snapshot_path(self) -> Place:
        return self.workspace.folder("crawl", self.crawl_key) / "snapshot.txt"

    @property
    def snapshot(self) -> int:
        """Which look at the source this is: 1 for the first crawl, one more with every refresh."""
        return int(self._snapshot_path.read_text()) if self._snapshot_path.is_file() else 1

    def refresh(self) -> None:
        """Begin a new look at the source; an unfinished one goes on instead.

        A look ends with the question what was withdrawn, so a class that was added since does not reopen it.
        """
        if self.is_done("withdrawn", self.crawl_key, self.snapshot_name):
            write_bytes(str(self.snapshot + 1).encode(), self._snapshot_path)

    @property
    def snapshot_name(self) -> str:
        return f"{self.snapshot:04d}"

    def crawl_name(self, spec: ClassSpec) -> str:
        return f"{spec.class_id}-{digest(dataclasses.asdict(spec))[:8]}-{self.snapshot_name}"

    def embed_key(self, model: str) -> str:
        models = self.config.models
        return digest("embed", self.photos_key, features_id(model, models.backend), models.batch_size)

    def ref(self, stage: str, key: str, name: str) -> TableRef:
        """The reference of a finished file."""
        path = self.workspace.file(stage, key, name)
        metadata = read_metadata(path)
        version = int((metadata.metadata or {}).get(b"counterset.schema_version", b"0"))
        return TableRef(str(path), sha256_of(path), metadata.num_rows, version)

    def is_done(self, stage: str, key: str, name: str) -> bool:
        return self.workspace.file(stage, key, name).is_file()


def read_all(refs: Iterable[TableRef], schema: TableSchema) -> pa.Table:
    """The rows of several files of one table."""
    return pa.concat_tables([schema.arrow().empty_table(), *(read_table(ref.path, schema) for ref in refs)])


def without(table: pa.Table, photo_ids: pa.Array) -> pa.Table:
    """The rows of all other photos."""
    return table.filter(pc.invert(pc.is_in(table["photo_id"], photo_ids)))
