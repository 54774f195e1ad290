"""The sections of the build config and what each of their keys means.

A key's docstring is its entry in the reference of the documentation; a test refuses a key without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    SerializationInfo,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from counterset import marks
from counterset.errors import ConfigError
from counterset.registry import Registry
from counterset.runners import RUNNERS

OPEN_LICENSES = ("cc0", "cc-by", "cc-by-sa", "cc-by-nc", "cc-by-nc-sa")
"""Accepted by default: no-derivatives licences forbid the crops that models see."""

ANNOTATORS = Registry("counterset.annotators", "counterset.stages.annotate.methods", "method", "annotate.method")
"""How backgrounds are scored: each a `counterset.stages.annotate.prompts.Method`."""

SOURCES = Registry("counterset.sources", "counterset.sources.kinds", "source", "source.kind")
"""Where photos come from: each a class, a `counterset.sources.Source`, with its settings."""

DEFAULT_SOURCE = "inaturalist"

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]

LOCAL_PATH = "a path"
LocalPath = Annotated[str, LOCAL_PATH]
"""A setting of a source that names a file or folder, relative to the config; or an address."""


class Section(BaseModel):
    """Keys of the config: frozen, and without any that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _registered(name: str, registry: Registry) -> str:
    try:
        registry.check(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return name


def web_address(text: str) -> str:
    """The text, which is one or empty.

    Raises:
        ValueError: it is neither.
    """
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("not a web address; write it as https://host/path, or leave it empty")
    return text


class ClassesConfig(Section):
    """Which classes: a class list (packaged name or CSV path) and, optionally, a subset."""

    list: Annotated[str, marks.NAMED]
    """The name of a packaged class list, or the path of a CSV file."""
    only: Annotated[tuple[str, ...], marks.NAMED] = ()
    """The ids of the classes to build; empty = all classes of the list."""


class SourceConfig(Section):
    """Where candidates come from, and how many. Each kind of source has these keys, and those of its own."""

    FORMER: ClassVar[tuple[type[Section], ...]] = ()
    """Keys that the kind once took and never read. With their defaults they stay in its keys and releases: files of
    earlier versions stay good, and equal inputs give equal releases."""

    kind: str
    """Which kind of source."""
    photo_url: Annotated[str | tuple[str, ...], marks.MIRROR] = ""
    """Replaces the host of every photo URL, e.g. a mirror; empty = as the source says. Of a list, each is asked for
    what those before it did not give."""
    contact: Annotated[str, marks.CALLER] = ""
    """Web page or e-mail put into the User-Agent; required for real hosts."""
    allowed_hosts: Annotated[tuple[str, ...], marks.ANSWERS] = ()
    """Further hosts that photos may come from, and the only way to allow a private address."""
    is_synthetic: Annotated[bool, marks.SAID] = False
    """Whether the photos were drawn, rendered or generated, not taken; the release says so."""
    photos_per_class: Annotated[int, marks.CHOSEN] = Field(default=300, ge=1)
    """At most this many photos are chosen per class."""
    order: Annotated[Literal["sample", "latest"], marks.OFFERED] = "sample"
    """sample = in the order of a seeded hash of the observation's id; latest = newest first, as in the paper."""
    photos_per_observer_day: Annotated[int, marks.CHOSEN] = Field(default=3, ge=1)
    """At most this many photos per class, observer and day."""
    photos_per_observation: Annotated[int, marks.CHOSEN] = Field(default=1, ge=1)
    """At most this many photos per observation, those that the observation shows first."""

    @property
    def paths(self) -> dict[str, str]:
        """The settings of the type `LocalPath` that name a local file or folder, by their keys."""
        marked = [name for name, field in type(self).model_fields.items() if LOCAL_PATH in field.metadata]
        return {name: path for name in marked if (path := getattr(self, name)) and "://" not in path}

    @field_validator("kind")
    @classmethod
    def _is_kind(cls, name: str) -> str:
        return _registered(name, SOURCES)

    @field_validator("photo_url", mode="before")
    @classmethod
    def _are_addresses(cls, named: object) -> str | tuple[str, ...]:
        if isinstance(named, str):
            return web_address(named)
        if isinstance(named, list | tuple) and all(isinstance(one, str) for one in named):
            return tuple(map(web_address, named))
        raise ValueError("give an address, or a list of addresses")

    @model_serializer(mode="wrap")
    def _with_former_keys(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        former = [part().model_dump(mode=info.mode) for part in self.FORMER]
        return {name: value for part in (*former, dump(self)) for name, value in part.items()}


def source_config(settings: Mapping[str, Any]) -> SourceConfig:
    """The section `[source]` of the kind that it names.

    Raises:
        ValidationError: an unknown kind, a key of another kind, or a value out of range.
        ExtensionError: the kind is of a package that cannot be loaded.
    """
    section, kind = section_of(settings), settings.get("kind", DEFAULT_SOURCE)
    return section.model_validate({"kind": kind} if section is SourceConfig else {"kind": kind, **settings})


def section_of(settings: Mapping[str, Any]) -> type[SourceConfig]:
    """The class of a section `[source]`; the base of all for an unknown kind.

    Raises:
        ExtensionError: the kind is of a package that cannot be loaded.
    """
    kind = settings.get("kind", DEFAULT_SOURCE)
    section: type[SourceConfig] = SOURCES[kind].settings if isinstance(kind, str) and kind in SOURCES else SourceConfig
    return section


class DownloadConfig(Section):
    """How photos are downloaded (img2dataset)."""

    threads: Annotated[int, marks.TIRELESS] = Field(default=16, ge=1)
    """Photos that are downloaded at the same time."""
    timeout_s: Annotated[int, marks.TIRELESS] = Field(default=20, ge=1)
    """Seconds to wait for data of a photo; the whole photo may take five times as long."""
    retries: Annotated[int, marks.TIRELESS] = Field(default=2, ge=0)
    """Retries per photo where the failure may pass, before it becomes a reject."""
    max_size_bytes: int = Field(default=20_000_000, ge=1)
    """Larger photos become rejects (`too_large`)."""
    shard_size: int = Field(default=2_000, ge=1)
    """Photos per shard, the unit of all work."""


class CurateConfig(Section):
    """Which downloaded photos are kept; never decided by a measured model."""

    min_side_px: int = Field(default=100, ge=1)
    """Photos whose shorter side is smaller become rejects (`too_small`)."""
    max_pixels: int = Field(default=50_000_000, ge=1, le=50_000_000)
    """Photos with more pixels become rejects (`too_large`)."""
    max_aspect_ratio: float = Field(default=4.0, ge=1.0, le=20.0)
    """Photos whose longer side is more than this many times the shorter become rejects (`aspect_ratio`)."""
    near_duplicate_bits: int = Field(default=4, ge=-1, le=32)
    """Photos whose 64-bit perceptual hashes differ in at most this many bits count as one photo; -1 = off."""
    max_similarity: float = Field(default=1.0, gt=0.0, le=1.0)
    """Photos with a greater cosine under the annotator count as one photo, e.g. 0.98; 1 = off."""


class ModelsConfig(Section):
    """Three roles, three models. A model is an open_clip tag (`ViT-B-32/laion400m_e31`),
    `local-dir:PATH`, `hf-hub:NAME` or `demo:NAME`; an evaluator may also be a classifier, `timm:NAME` or
    `torchvision:NAME`."""

    annotator: Annotated[str, marks.ROLE]
    """The model that names backgrounds."""
    selectors: Annotated[tuple[str, ...], marks.ROLE] = Field(min_length=1)
    """The models whose accuracies choose the pairs; one at least."""
    evaluators: Annotated[tuple[str, ...], marks.ROLE] = ()
    """Further models that are measured and have no part in any choice."""
    allow_circular: Annotated[bool, marks.LEAVE] = False
    """Whether the annotator may share weights or training data with a selector; the release records it."""
    batch_size: int = Field(default=64, ge=1)
    """Photos that a model embeds together."""
    backend: Annotated[Literal["torch", "torch-float32", "openvino"], marks.NUMBERS] = "torch"
    """What computes image features. torch = large models in bfloat16 where the processor or GPU multiplies it
    natively; torch-float32 = never; openvino = large models in int8 on the processor (`counterset[openvino]`).
    Both fast ways are checked against float32 at each load, and given up for a model that fails."""

    @field_validator("selectors")
    @classmethod
    def _are_named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("a selector is named twice; name each once")
        return names


class AnnotateConfig(Section):
    """How backgrounds are named."""

    vocabulary: Annotated[str, marks.NAMED] = "counteranimal"
    """The name of a packaged vocabulary of backgrounds, or the path of a CSV file. `<its name>.prompts.csv` beside it,
    if there is one, has its prompts and the cue that its names are kinds of."""
    method: str = "combined"
    """combined = the mean of plain and conditioned; plain = prompts of the background alone; conditioned = prompts of
    the class on the background, less those of the class alone; standardised = conditioned, scaled within each class;
    surroundings = combined, for what lies around the animal; or one that an installed package adds."""
    animals: Annotated[str, marks.NAMED] = ""
    """What says where the animals are: CSV of boxes or masks, JSON of MegaDetector, or a folder of masks,
    PHOTO_ID.png. Their size and place in the frame become covariates, and `surroundings` looks past them. Empty, and
    for photos that it does not list: they are not known, and for `surroundings` what lies along the frame's edges
    counts as around the animal."""
    max_elsewhere: Fraction = 1.0
    """None of these: a photo gets no name where more than this share of 180 phrases of other places, and of photos
    without any, suits it better than its name, e.g. 0.1; 1 = every photo has a name."""
    min_margin: float = Field(default=0.0, ge=0.0)
    """Photos with a smaller margin abstain; `counterset calibrate` finds it for a stated precision."""

    @field_validator("method")
    @classmethod
    def _is_method(cls, name: str) -> str:
        return _registered(name, ANNOTATORS)


class GroupConfig(Section):
    """How background groups are formed within each class (FAISS k-means)."""

    num_clusters: int = Field(default=0, ge=0)
    """0 = by agreement: half to three times the vocabulary's size, at most one per `min_photos` photos."""
    min_purity: Fraction = 0.6
    """Clusters whose most frequent background has a smaller share are dissolved."""
    min_photos: int = Field(default=10, ge=1)
    """Clusters with fewer photos are dissolved."""
    clear_quantile: Fraction = 0.1
    """A photo keeps a name that its cluster does not share when its margin is at least this
    quantile of the margins of the photos that agree with their cluster."""
    max_distance: float = Field(default=5.0, gt=0)
    """Photos that are this many spreads further from their centre than the median photo abstain."""


class EvaluateConfig(Section):
    """Zero-shot classification."""

    label_space: Annotated[str, marks.NAMED] = "imagenet1k"
    """imagenet1k = all 1000 ImageNet names; classes = the class list's own names; or a text file of names."""
    templates: Annotated[Literal["paper", "openai80"], marks.PROMPTS] = "paper"
    """The prompts around each label: the paper's one, or OpenAI's 80."""
    compare_templates: Annotated[tuple[Literal["paper", "openai80"], ...], marks.PROMPTS] = ("paper", "openai80")
    """The selectors' drops are stated under these prompts too; 80 prompts for 1000 labels take some minutes
    on a GPU and most of an hour on two cores, once per selector. Empty = only `templates`."""


class SelectConfig(Section):
    """How each class's pair is chosen and tested."""

    mode: Annotated[Literal["split", "paper"], marks.AFTER_MEMBERS] = "split"
    """split = chosen on one half of the observers, tested with the choice repeated; paper = the published rule."""
    salt: str = "counterset"
    """Put before the observer id when halves are drawn."""
    min_photos: Annotated[int, marks.AFTER_MEMBERS] = Field(default=10, ge=1)
    """A group needs at least this many photos on each half."""
    min_units: Annotated[int, marks.AFTER_MEMBERS] = Field(default=3, ge=2)
    """A group needs at least this many independent units on each half: observers, joined where they share a place."""
    max_q_value: Annotated[float, marks.AFTER_MEMBERS] = Field(default=0.05, ge=1e-6, le=0.5)
    """Expected share of the confirmed classes that are so by chance; well below the power of 0.8 that plans assume."""
    min_drop: Annotated[Fraction, marks.AFTER_MEMBERS] = 0.05
    """Paper mode keeps classes whose accuracies differ by more than this."""
    num_permutations: Annotated[int, marks.AFTER_MEMBERS] = Field(default=20_000, ge=100)
    """Permutations of observers in each class's test."""
    fragile_share: Annotated[Fraction, marks.AFTER_MEMBERS] = 0.1
    """Pairs that this share of outcome-dependent mislabels would explain are marked fragile."""


class NamingConfig(Section):
    """How far groups' names have to be right, by labels made without seeing them."""

    min_precision: Fraction = 0.8
    """A pair's naming is audited where both names are right more often, and failed where one is right less often, each
    by the ends of the 95 % interval."""
    half_width: Annotated[float, marks.SAMPLED] = Field(default=0.1, ge=0.01, le=0.5)
    """Audit samples are as large as makes the interval of a name that is right nine times out of ten reach so far to
    either side."""


class PublishConfig(Section):
    """What the release says of itself, and what may stop it."""

    version: str = ""
    """Version of the release, as 1.2.0; empty = computed from what changed since the last release."""
    title: str = ""
    """Title on the release's card; empty = the name."""
    author: str = ""
    """Who is named as the creator on the card and in the metadata. In CITATION.cff a name with a comma is a person,
    `Family, Given`, any other a group; several are separated by `;`."""
    homepage: str = ""
    """Web page of the benchmark, named on the card and in the metadata."""
    doi: str = Field(default="", pattern=r"^(10\.\d{4,9}/\S+)?$")
    """Digital object identifier of the benchmark, as 10.5281/zenodo.123, for CITATION.cff; empty = none."""
    with_images: bool = False
    """Whether photos are bundled into the release, where their licences allow it."""
    mirrors: tuple[str, ...] = Field(default=(), max_length=10)
    """Web addresses that hold the photos too, for whoever loads the release when a photo's own address fails: each with
    `{photo_id}`, `{sha256}` or `{path}` in it, or one whose files are named by sha256."""
    thumbnails_per_group: int = Field(default=8, ge=0)
    """Small photos per group in the report; 0 = none."""
    min_confirmed: int = Field(default=0, ge=0)
    """The gate: a release with fewer confirmed classes is refused."""
    max_removed_share: Fraction = 1.0
    """The gate: refused when a larger share of the last release's photos would be removed."""
    max_drop_change: float = Field(default=2.0, ge=0.0)
    """The gate: refused when a class's drop moved by more since the last release; 2 = never."""

    @field_validator("mirrors")
    @classmethod
    def _are_web_addresses(cls, mirrors: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(web_address(mirror) for mirror in mirrors)


class NotifyConfig(Section):
    """Whom a scheduled rebuild tells, and where its releases can be looked at. Never part of a release."""

    webhook: SecretStr = SecretStr("")
    """Address that gets a JSON message when a rebuild fails or a gate refuses it. A secret, because
    whoever knows it can write there; the environment variable COUNTERSET_WEBHOOK takes precedence."""
    releases_url: str = ""
    """Address under which the folder `releases` is served, for links to reports."""

    @field_validator("webhook", "releases_url")
    @classmethod
    def _isweb_address(cls, value: SecretStr | str) -> SecretStr | str:
        web_address(value.get_secret_value() if isinstance(value, SecretStr) else value)
        return value


class Config(Section):
    """One build."""

    name: Annotated[str, marks.TITLE] = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=200)
    """Name of the release: lower-case letters, digits and hyphens."""
    workspace: Annotated[str, marks.PLACE] = "workspace"
    """Folder or s3:// address of the unfinished work; may be shared by several configs."""
    releases: Annotated[str, marks.PLACE] = "releases"
    """Folder or s3:// address of the finished releases."""
    seed: Annotated[int, marks.NO_DRAW] = 0
    """Seed of every random choice; another seed gives another sample of photos."""
    runner: Annotated[str, marks.RUNNER] = "threads"
    """Where shards are worked on; the release is the same. threads = in this process; processes = in others beside it;
    ray = a local cluster, or the one at $RAY_ADDRESS; or one that an installed package adds."""
    max_failed_share: Annotated[Fraction, marks.STOP] = 0.05
    """Shards that fail three times are set aside; a build with a larger share of its photos in such shards stops."""
    classes: ClassesConfig
    source: SerializeAsAny[SourceConfig] = Field(default_factory=lambda: source_config({}))
    download: DownloadConfig = DownloadConfig()
    curate: CurateConfig = CurateConfig()
    models: ModelsConfig
    annotate: AnnotateConfig = AnnotateConfig()
    group: GroupConfig = GroupConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    select: SelectConfig = SelectConfig()
    naming: NamingConfig = NamingConfig()
    publish: PublishConfig = PublishConfig()
    notify: NotifyConfig = NotifyConfig()

    @field_validator("source", mode="before")
    @classmethod
    def _is_of_its_kind(cls, value: object) -> object:
        return source_config(value) if isinstance(value, dict) else value

    @field_validator("runner")
    @classmethod
    def _is_runner(cls, name: str) -> str:
        return _registered(name, RUNNERS)

    @model_validator(mode="after")
    def _roles_differ(self) -> Config:
        if self.models.annotator in self.models.selectors and not self.models.allow_circular:
            raise ValueError(
                f"models.annotator {self.models.annotator!r} is also a selector, so its errors would choose the pairs; "
                "name another annotator, or set models.allow_circular = true"
            )
        return self
