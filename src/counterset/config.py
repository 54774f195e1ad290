"""The build config: a TOML file read into frozen models.

Paths in the file are relative to the file. Errors name the key and the remedy.
"""

from __future__ import annotations

import difflib
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from counterset import marks
from counterset.errors import ConfigError
from counterset.fetching.addresses import key_with_user
from counterset.licenses import LICENSES

OPEN_LICENSES = ("cc0", "cc-by", "cc-by-sa", "cc-by-nc", "cc-by-nc-sa")
"""Accepted by default: no-derivatives licences forbid the crops that models see."""

QUALITY_GRADES = ("research", "needs_id", "casual")
"""Of iNaturalist's observations."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _known(what: str, names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError(f"nothing is named; name {what} of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is not {what}; use some of {', '.join(known)}")
    return names


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("not a web address; write it as https://host/path, or leave it empty")
    return text


class ClassesConfig(_Section):
    """Which classes: a class list (packaged name or CSV path) and, optionally, a subset."""

    list: Annotated[str, marks.NAMED]
    only: Annotated[tuple[str, ...], marks.NAMED] = ()


class SourceConfig(_Section):
    """Where candidates come from, and how many."""

    kind: Literal["inaturalist", "open_data", "url_list", "folder"] = "inaturalist"
    api_url: str = "https://api.inaturalist.org/v1"
    photo_url: Annotated[str, marks.MIRROR] = ""
    """Replaces the host of every photo URL, e.g. a mirror; empty = as the source says."""
    path: Annotated[str, marks.OFFERED] = ""
    """The tables, list or folder of the sources that read files."""
    contact: Annotated[str, marks.CALLER] = ""
    """Web page or e-mail put into the User-Agent; required for real hosts."""
    allowed_hosts: Annotated[tuple[str, ...], marks.ANSWERS] = ()
    """More hosts that photos may come from (also the only way to allow a private address)."""
    photos_per_class: Annotated[int, marks.CHOSEN] = Field(default=300, ge=1)
    order: Annotated[Literal["sample", "latest"], marks.OFFERED] = "sample"
    """sample = seeded hash of the observation's id; latest = newest first, as the paper did."""
    licenses: Annotated[tuple[str, ...], marks.OFFERED] = OPEN_LICENSES
    quality_grades: Annotated[tuple[str, ...], marks.OFFERED] = ("research",)
    include_captive: Annotated[bool, marks.OFFERED] = False
    photo_size: Annotated[Literal["small", "medium", "large", "original"], marks.ANSWERS] = "medium"
    observed_from: Annotated[str, marks.OFFERED] = ""
    observed_to: Annotated[str, marks.OFFERED] = ""
    photos_per_observer_day: Annotated[int, marks.CHOSEN] = Field(default=3, ge=1)
    """At most so many photos of one class by one observer on one day."""
    photos_per_observation: Annotated[int, marks.CHOSEN] = Field(default=1, ge=1)
    """At most so many photos of one observation, those of the lowest positions."""
    requests_per_minute: Annotated[int, marks.TIRELESS] = Field(default=60, ge=1)
    requests_per_day: Annotated[int, marks.TIRELESS] = Field(default=10_000, ge=1)
    timeout_s: Annotated[float, marks.TIRELESS] = Field(default=30.0, gt=0)

    @field_validator("licenses")
    @classmethod
    def _are_licenses(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        return _known("a licence", codes, tuple(LICENSES))

    @field_validator("quality_grades")
    @classmethod
    def _are_grades(cls, grades: tuple[str, ...]) -> tuple[str, ...]:
        return _known("a quality grade", grades, QUALITY_GRADES)

    @field_validator("observed_from", "observed_to")
    @classmethod
    def _is_day(cls, text: str, info: ValidationInfo) -> str:
        try:
            is_day = not text or date.fromisoformat(text).isoformat() == text
        except ValueError:
            is_day = False
        if not is_day:
            raise ValueError("not a day; write it as 2024-12-31, or leave it empty")
        first = info.data.get("observed_from", "") if info.field_name == "observed_to" else ""
        if text and text < first:
            raise ValueError(f"before observed_from {first}, so no photo is between them; exchange them")
        return text

    @field_validator("api_url", "photo_url")
    @classmethod
    def _is_web_address(cls, text: str) -> str:
        return _web_address(text)


class DownloadConfig(_Section):
    """How photos are downloaded (img2dataset)."""

    threads: Annotated[int, marks.TIRELESS] = Field(default=16, ge=1)
    timeout_s: Annotated[int, marks.TIRELESS] = Field(default=20, ge=1)
    retries: Annotated[int, marks.TIRELESS] = Field(default=2, ge=0)
    max_size_bytes: int = Field(default=20_000_000, ge=1)
    shard_size: int = Field(default=2_000, ge=1)
    """Photos in a shard, the unit of all work."""


class CurateConfig(_Section):
    """Which downloaded photos are kept; never decided by a measured model."""

    min_side_px: int = Field(default=100, ge=1)
    max_pixels: int = Field(default=50_000_000, ge=1, le=50_000_000)
    max_aspect_ratio: float = Field(default=4.0, ge=1.0, le=20.0)
    near_duplicate_bits: int = Field(default=4, ge=-1, le=32)
    """Photos whose 64-bit perceptual hashes differ in so few bits are one; -1 = off."""
    max_similarity: float = Field(default=1.0, gt=0.0, le=1.0)
    """Photos of a greater cosine under the annotator are one, e.g. 0.98; 1 = off."""


class ModelsConfig(_Section):
    """Three roles, three models. A model is an open_clip tag (`ViT-B-32/laion400m_e31`),
    `local-dir:PATH`, `hf-hub:NAME` or `demo:NAME`."""

    annotator: Annotated[str, marks.ROLE]
    selectors: Annotated[tuple[str, ...], marks.ROLE] = Field(min_length=1)
    evaluators: Annotated[tuple[str, ...], marks.ROLE] = ()
    allow_circular: Annotated[bool, marks.LEAVE] = False
    batch_size: int = Field(default=64, ge=1)
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


class AnnotateConfig(_Section):
    """How backgrounds are named."""

    vocabulary: Annotated[str, marks.NAMED] = "counteranimal"
    method: Literal["combined", "plain", "conditioned", "standardised"] = "combined"
    min_margin: float = Field(default=0.0, ge=0.0)
    """Photos with a smaller margin abstain; `counterset calibrate` finds it for a stated precision."""


class GroupConfig(_Section):
    """How background groups are formed within each class (FAISS k-means)."""

    num_clusters: int = Field(default=0, ge=0)
    """0 = by agreement: half to three times the vocabulary's size, at most one a `min_photos` photos."""
    min_purity: Fraction = 0.6
    """Clusters whose most frequent background has a smaller share are dissolved."""
    min_photos: int = Field(default=10, ge=1)
    """Clusters with fewer photos are dissolved."""
    clear_quantile: Fraction = 0.1
    """A photo keeps a name that its cluster does not share when its margin is at least this
    quantile of the margins of the photos that agree with their cluster."""
    max_distance: float = Field(default=5.0, gt=0)
    """Photos further from their centre than the median by so many spreads abstain."""


class EvaluateConfig(_Section):
    """Zero-shot classification."""

    label_space: Annotated[str, marks.NAMED] = "imagenet1k"
    """imagenet1k = all 1000 ImageNet names; classes = the class list's own names; or a text file of names."""
    templates: Annotated[Literal["paper", "openai80"], marks.PROMPTS] = "paper"
    compare_templates: Annotated[tuple[Literal["paper", "openai80"], ...], marks.PROMPTS] = ("paper", "openai80")
    """The selectors' drops are stated under these prompts too; 80 prompts for 1000 labels take some minutes
    on a GPU and most of an hour on two cores, once a selector. Empty = only `templates`."""


class SelectConfig(_Section):
    """How each class's pair is chosen and tested."""

    mode: Annotated[Literal["split", "paper"], marks.AFTER_MEMBERS] = "split"
    salt: str = "counterset"
    """Put before the observer id when halves are drawn."""
    min_photos: Annotated[int, marks.AFTER_MEMBERS] = Field(default=20, ge=1)
    """A group needs so many photos on each half."""
    min_observers: Annotated[int, marks.AFTER_MEMBERS] = Field(default=10, ge=2)
    """A group needs so many observers on each half."""
    max_q_value: Annotated[float, marks.AFTER_MEMBERS] = Field(default=0.05, ge=1e-6, le=0.5)
    """Share of the confirmed classes that may be so by chance. Well below the power of 0.8 that plans are made for."""
    min_drop: Annotated[Fraction, marks.AFTER_MEMBERS] = 0.05
    """Paper mode keeps classes whose accuracies differ by more than this."""
    num_permutations: Annotated[int, marks.AFTER_MEMBERS] = Field(default=20_000, ge=100)
    fragile_share: Annotated[Fraction, marks.AFTER_MEMBERS] = 0.1
    """Pairs that this share of outcome-dependent mislabels would explain are marked fragile."""


class PublishConfig(_Section):
    """What the release says of itself, and what may stop it."""

    version: str = ""
    """Empty = computed from the difference to the last release."""
    title: str = ""
    author: str = ""
    homepage: str = ""
    with_images: bool = False
    thumbnails_per_group: int = Field(default=8, ge=0)
    min_confirmed: int = Field(default=0, ge=0)
    """The gate: a release with fewer confirmed classes is refused."""
    max_removed_share: Fraction = 1.0
    """The gate: refused when a larger share of the last release's photos would be removed."""
    max_drop_change: float = Field(default=2.0, ge=0.0)
    """The gate: refused when a class's drop moved by more since the last release; 2 = never."""


class NotifyConfig(_Section):
    """Whom a scheduled rebuild tells, and where its releases can be looked at. Never part of a release."""

    webhook: SecretStr = SecretStr("")
    """Address that gets a JSON message when a rebuild fails or a gate refuses it. A secret, for it
    lets anyone write there; the environment variable COUNTERSET_WEBHOOK goes before it."""
    releases_url: str = ""
    """Address under which the folder `releases` is served, for links to reports."""

    @field_validator("webhook", "releases_url")
    @classmethod
    def _is_web_address(cls, value: SecretStr | str) -> SecretStr | str:
        _web_address(value.get_secret_value() if isinstance(value, SecretStr) else value)
        return value


class Config(_Section):
    """One build."""

    name: Annotated[str, marks.TITLE] = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=200)
    workspace: Annotated[str, marks.PLACE] = "workspace"
    releases: Annotated[str, marks.PLACE] = "releases"
    seed: Annotated[int, marks.NO_DRAW] = 0
    runner: Annotated[Literal["threads", "processes", "ray"], marks.RUNNER] = "threads"
    """Where shards are worked on; the release is the same. ray = a local cluster, or the one at $RAY_ADDRESS."""
    max_failed_share: Annotated[Fraction, marks.STOP] = 0.05
    """Shards that fail three times are set aside; a build with a larger share of its photos in such shards stops."""
    classes: ClassesConfig
    source: SourceConfig = SourceConfig()
    download: DownloadConfig = DownloadConfig()
    curate: CurateConfig = CurateConfig()
    models: ModelsConfig
    annotate: AnnotateConfig = AnnotateConfig()
    group: GroupConfig = GroupConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    select: SelectConfig = SelectConfig()
    publish: PublishConfig = PublishConfig()
    notify: NotifyConfig = NotifyConfig()

    @model_validator(mode="after")
    def _roles_differ(self) -> Config:
        if self.models.annotator in self.models.selectors and not self.models.allow_circular:
            raise ValueError(
                f"models.annotator {self.models.annotator!r} is also a selector, so its errors would choose the pairs; "
                "name another annotator, or set models.allow_circular = true"
            )
        return self


def load_config(path: str | Path) -> Config:
    """Read a config file.

    Relative `workspace`, `releases`, `source.path` and path-like class lists are
    taken from the config file's folder.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, or a value out of range.
    """
    path = Path(path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error.strerror}; give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return parse_config(raw, base=path.parent, origin=str(path))


def parse_config(raw: dict[str, object], base: Path, origin: str = "config") -> Config:
    """Check a parsed config and resolve its paths against `base`.

    Raises:
        ConfigError: as `load_config`.
    """
    if key := key_with_user(raw):
        raise ConfigError(f"{origin}: key {key!r} holds a user name or password, which would be printed; leave it out")
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(error)}") from None
    return _resolve(config, base)


def _resolve(config: Config, base: Path) -> Config:
    def against(value: str) -> str:
        if not value or "://" in value:
            return value
        try:
            return str((base / Path(value).expanduser()).resolve())
        except (OSError, RuntimeError, ValueError) as error:  # no such user's home, links in a loop, a null character
            raise ConfigError(f"cannot use the path {value!r}: {error}; write another path in the config") from error

    def model(value: str) -> str:
        prefix = "local-dir:"
        return prefix + against(value[len(prefix) :]) if value.startswith(prefix) else value

    def data(value: str, suffixes: tuple[str, ...]) -> str:
        return against(value) if value.endswith(suffixes) else value

    models = config.models
    return config.model_copy(
        update={
            "workspace": against(config.workspace),
            "releases": against(config.releases),
            "classes": config.classes.model_copy(update={"list": data(config.classes.list, (".csv",))}),
            "source": config.source.model_copy(update={"path": against(config.source.path)}),
            "models": models.model_copy(
                update={
                    "annotator": model(models.annotator),
                    "selectors": tuple(model(name) for name in models.selectors),
                    "evaluators": tuple(model(name) for name in models.evaluators),
                }
            ),
            "annotate": config.annotate.model_copy(
                update={"vocabulary": data(config.annotate.vocabulary, (".csv", ".toml"))}
            ),
            "evaluate": config.evaluate.model_copy(
                update={"label_space": data(config.evaluate.label_space, (".txt",))}
            ),
        }
    )


def _explain(error: ValidationError) -> str:
    """One sentence about one problem, with the key and the remedy.

    An unknown key goes first: it may be one that is missing, misspelt.
    """
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _known_keys(location[:-1]), n=1)
        return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else "remove it") + more
    if first["type"] == "missing":
        return f"key {key!r} is missing; add it" + more
    message = str(first["msg"]).removeprefix("Value error, ")
    return (
        (f"key {key!r}: " if key else "")
        + message[0].lower()
        + message[1:]
        # An address may hold a secret.
        + f" (got {first['input']!r})" * (bool(key) and "notify" not in key and "_url" not in key)
        + more
    )


def _known_keys(location: list[str]) -> list[str]:
    model: type[BaseModel] = Config
    for part in location:
        field = model.model_fields.get(part)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return list(model.model_fields)
