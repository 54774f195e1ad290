"""One build's config, keys and files: what every step needs to know."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem
from pydantic import BaseModel

from counterset.backgrounds import Background, Templates, load_cue, load_elsewhere, load_templates, load_vocabulary
from counterset.classes import ClassSpec, load_classes
from counterset.config import Config
from counterset.config_sections import ANNOTATORS, SOURCES
from counterset.content import content
from counterset.digests import Digests
from counterset.errors import ConfigError
from counterset.machine.ways import agree_on, way
from counterset.models.door import TextModel, identity, open_model, open_text_model
from counterset.models.labels import LabelSpace, label_space
from counterset.models.lineage import check_roles
from counterset.models.prompts import check_labels
from counterset.models.schemas import kept_texts
from counterset.models.shared_weights import check_weights
from counterset.pictures import DECODER_VERSION
from counterset.places import PLACES, Places
from counterset.release.versions.followed import Followed, newest_release
from counterset.schemas import CANDIDATES, PHOTOS, TableSchema
from counterset.sources import Source
from counterset.sources.budget import Budget
from counterset.stamps import check_stamp
from counterset.steps.progress import Progress
from counterset.storage import ObjectPath, Place, place
from counterset.tables import TableRef, read_metadata, read_parts, read_table, write_bytes, write_table
from counterset.workspace import Workspace, digest, versions

READS = {
    "requests": ("source",),
    "crawl": ("source",),
    "pool": ("source", "download"),
    "photos": (),
    "features": ("models",),
    "members": ("source", "curate", "select"),
    "backgrounds": ("annotate", "group"),
    "predictions": ("evaluate",),
    "pairs": ("models", "evaluate", "select"),
    "names": ("models", "evaluate", "naming"),
}
"""The sections that a stage is given. It depends on all of their settings but those that are marked (`NotContent`)."""

REVISIONS = dict.fromkeys(READS, 1) | {"members": 2, "backgrounds": 3, "pairs": 4, "names": 2}
"""Raised by whoever changes what a stage makes of the same inputs."""

PHOTO_PACKAGES = ("pillow", "ImageHash", "numpy", "scipy")
GROUP_PACKAGES = ("faiss-cpu", "numpy")
SCORE_PACKAGES = ("numpy",)
TEST_PACKAGES = ("numpy", "scipy", "statsmodels", "duckdb")
MEMBER_PACKAGES = ("numpy", "scipy")
"""Packages whose version may change a stage's bytes; those of features are in their model's id."""


def settings_of(config: Config, stage: str, *packages: str) -> list[object]:
    """What a stage's key holds of the config, of its code's revision and of packages; its inputs come beside it."""
    known = content(config, stage)
    sections = {
        name for name, field in type(config).model_fields.items() if isinstance(getattr(config, name), BaseModel)
    }
    kept = {name: part for name, part in known.items() if name not in sections or name in READS[stage]}
    return [stage, REVISIONS[stage], kept, versions(*packages)]


UNSENT = ("budget", "digests", "source", "fetched", "newest_release")
"""What another process does without: open connections, and what it can ask itself."""


class Build:
    """One config with its workspace: what every step needs to know.

    Attributes:
        progress: what is done of the run; in another process, counts that nobody looks at.
        requests_key: of what the source answered; one for all choices among the same answers.
        crawl_key: of the candidates.
        pool_key: of the photos' bytes, one for all crawls.
        photos_key: of what the photos are.
        animals: where the animals are, of the photos of which a file says so.
        places: the places around each animal; None where the annotation method needs none.
    """

    def __init__(self, config: Config, progress: Progress | None = None) -> None:
        self.config = config
        self.progress = progress or Progress()
        self.specs: tuple[ClassSpec, ...] = load_classes(config.classes.list, config.classes.only)
        # All that the vocabulary's files say, for they may not lie on every machine that works on the build
        vocabulary = config.annotate.vocabulary
        self.vocabulary: tuple[Background, ...] = load_vocabulary(vocabulary)
        self.templates: Templates = load_templates(vocabulary)
        self.elsewhere: tuple[str, ...] = load_elsewhere(vocabulary)
        self.cue: str = load_cue(vocabulary)
        self.space: LabelSpace = label_space(config.evaluate.label_space, self.specs)
        for name in (config.models.annotator, *config.models.selectors):
            open_text_model(name)
        for name in config.models.evaluators:
            check_labels(open_model(name), self.space)
        check_roles(config.models)
        self.workspace = Workspace(config.workspace)
        place(config.releases)  # an address that nothing can be written to is refused before the work
        # The newest are asked for until there are enough, so what is asked depends on how many are chosen.
        asked = settings_of(config, "requests" if config.source.order == "sample" else "crawl")
        self.requests_key = digest(
            asked,
            self.source_kind.input_digests(config.source),
            *SOURCES.version(config.source.kind),  # nothing for our own, whose revision is above
        )
        self.crawl_key = digest(settings_of(config, "crawl"), self.requests_key)
        self.pool_key = digest(settings_of(config, "pool"))
        self.photos_key = digest(
            settings_of(config, "photos", *PHOTO_PACKAGES), PHOTOS.version, DECODER_VERSION, self.pool_key
        )
        self._features: dict[str, str] = {}
        self.animals = Places.read(config.annotate.animals)
        self.places = self.animals if ANNOTATORS[config.annotate.method].surroundings else None

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: the keys as they are here, and no open connection."""
        return {name: value for name, value in self.__dict__.items() if name not in UNSENT} | {"way": way()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        agree_on(state.pop("way"))  # all processes of a build compute alike, whatever their machines have besides
        self.__dict__.update(state)

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

    @property
    def source_kind(self) -> type[Source]:
        """What the source says of itself, without being asked anything."""
        kind: type[Source] = SOURCES[self.config.source.kind]
        return kind

    @functools.cached_property
    def budget(self) -> Budget:
        """What may still be asked of the source; one for all machines of a workspace, kept between runs."""
        return self.source_kind.budget_in(self.workspace.root, self.config.source)

    @functools.cached_property
    def source(self) -> Source:
        self.workspace.fetch_scratch("crawl_state", self.requests_key)
        return self.source_kind.open(
            self.config.source,
            state=self.workspace.scratch("crawl_state", self.requests_key),
            seed=self.config.seed,
            budget=self.budget,
            look=self.snapshot,
        )

    @functools.cached_property
    def newest_release(self) -> Followed | None:
        """The newest release of this name when the build first asked for it.

        Raises:
            ReleaseError: it is damaged.
        """
        return newest_release(place(self.config.releases) / self.config.name)

    @functools.cached_property
    def fetched(self) -> dict[str, tuple[str, str]]:
        """URL -> pool and shard of each photo that was downloaded under another pool's key: for other settings, or
        by an earlier version. A photo is known by its address, whichever service told of it."""
        pools = {path.parent.name for path in (self.workspace.root / "images").glob("*/*.parquet")}
        places: dict[str, tuple[str, str]] = {}
        for pool in sorted(pools - {self.pool_key}):
            for shard in set(self.workspace.names("images", pool)) & set(self.workspace.names("shards", pool)):
                table = read_table(self.workspace.file("shards", pool, shard), CANDIDATES, ["url"])
                places |= {url: (pool, shard) for url in table["url"].to_pylist()}
        return places

    def check_models(self) -> None:
        """See that every model's weights can be read, and that the roles do not share any, before anything is crawled.

        Raises:
            ModelError: one cannot.
            ConfigError: two roles share weights.
        """
        models = self.config.models
        if self.places is not None and models.annotator in (*models.selectors, *models.evaluators):
            raise ConfigError(
                f"annotate.method = {self.config.annotate.method!r} embeds whole frames, by which {models.annotator} "
                "cannot be measured as well; name another annotator, or take it out of the selectors and evaluators"
            )
        for model in self.model_names:
            self.features_of(model)
        check_weights(self.config.models, are_fetched=True)

    @property
    def anew(self) -> list[str]:
        """What this workspace holds of earlier settings, inputs or versions, none of which can be used."""
        keys = {"crawl": [self.crawl_key], "photos": [self.photos_key]}
        keys["embeddings"] = [self.embed_key(model) for model in self.model_names]
        return [stage for stage, own in keys.items() if all(self.workspace.other_keys(stage, key) for key in own)]

    @property
    def _looks(self) -> Place:
        """What is known of the looks at the source: how many, and which have come to their end."""
        return self.workspace.folder("looks", self.requests_key)

    @property
    def snapshot(self) -> int:
        """Which look at the source this is: 1 for the first crawl, one more with every refresh."""
        path = self._looks / "snapshot.txt"
        return int(path.read_text()) if path.is_file() else 1

    def refresh(self) -> None:
        """Begin a new look at the source; an unfinished one goes on instead.

        A look ends with the question what was withdrawn, so a class that was added since does not reopen it.
        """
        if (self._looks / f"ended-{self.snapshot_name}.txt").is_file():
            write_bytes(str(self.snapshot + 1).encode(), self._looks / "snapshot.txt")

    def end_look(self) -> None:
        """The source was asked about every photo of some config; the next refresh begins a new look."""
        write_bytes(b"", self._looks / f"ended-{self.snapshot_name}.txt")

    def day_of_look(self, today: Callable[[], str]) -> str:
        """The day that the source's answers are of, kept so that a resumed build says the same day."""
        path = self._looks / f"day-{self.snapshot_name}.txt"
        if not path.is_file():
            write_bytes(today().encode(), path)
        return path.read_text().strip()

    @property
    def snapshot_name(self) -> str:
        return f"{self.snapshot:04d}"

    def crawl_name(self, spec: ClassSpec) -> str:
        stage = "requests" if self.source_kind.is_by_taxon else "crawl"
        return f"{spec.class_id}-{_digest_of(spec, stage)}-{self.snapshot_name}"

    def features_of(self, model: str) -> str:
        """The id of a model's features, as it was when this build first asked."""
        if model not in self._features:
            self._features[model] = identity(open_model(model, self.config.models.backend))
        return self._features[model]

    def embed_key(self, model: str) -> str:
        places = [] if self.places is None or model != self.config.models.annotator else [PLACES, self.places.digest]
        return digest(settings_of(self.config, "features"), self.photos_key, self.features_of(model), *places)

    def texts_folder(self, model: TextModel) -> Place:
        """Where the texts lie that were encoded under a model, by a key of all that decides them and nothing else."""
        return self.workspace.folder("texts", digest("texts", kept_texts(0).version, model.texts_id))

    @functools.cached_property
    def digests(self) -> Digests:
        """Those of the workspace's files, kept between runs."""
        return Digests(self.workspace.root, self.workspace.local / "digests.jsonl")

    def ref(self, stage: str, key: str, name: str) -> TableRef:
        """The reference of a finished file."""
        return self.digests.ref(self.workspace.file(stage, key, name))

    def write(self, table: pa.Table, schema: TableSchema, stage: str, key: str, name: str) -> TableRef:
        """Write a stage's file, whole or not at all; its reference.

        Raises:
            SchemaError: as `conform`.
            WorkspaceError: the disk is full, or the folder or bucket cannot be written.
        """
        path = self.workspace.file(stage, key, name)
        return self.digests.written(write_table(table, schema, path), path)

    def is_done(self, stage: str, key: str, name: str) -> bool:
        return self.workspace.file(stage, key, name).is_file()


@functools.cache  # a build asks for each class's several times
def _digest_of(spec: ClassSpec, stage: str) -> str:
    return digest(content(spec, stage))[:8]


def read_all(refs: Iterable[TableRef], schema: TableSchema, columns: list[str] | None = None) -> pa.Table:
    """The rows of several files of one table, of all columns or some."""
    empty = schema.arrow().empty_table()
    tables = [read_table(ref.path, schema, columns) for ref in refs]
    return pa.concat_tables([empty if columns is None else empty.select(columns), *tables])


def parts_of(refs: Iterable[TableRef], schema: TableSchema, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The same in parts, the first of which is empty."""
    empty = schema.arrow().empty_table()
    yield empty if columns is None else empty.select(columns)
    for ref in refs:
        yield from read_parts(ref.path, schema, columns)


def stored(refs: Iterable[TableRef], schema: TableSchema) -> ds.Dataset:
    """The rows of several files of one table, which are read where they lie.

    Raises:
        SchemaError: a file holds another table or a newer version.
        WorkspaceError: a file is missing or damaged.
    """
    places = [place(ref.path) for ref in refs]
    for where in places:
        check_stamp(read_metadata(where).schema.to_arrow_schema(), schema, str(where))
    files = [where.key if isinstance(where, ObjectPath) else str(where) for where in places]
    filesystem = next((where.filesystem for where in places if isinstance(where, ObjectPath)), LocalFileSystem())
    return ds.dataset(files, schema.arrow(), format="parquet", filesystem=filesystem)


def without(table: pa.Table, photo_ids: pa.Array) -> pa.Table:
    """The rows of all other photos."""
    if not len(photo_ids):
        return table
    return table.filter(pc.invert(pc.is_in(table["photo_id"], photo_ids)))
