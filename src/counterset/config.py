"""The build config: a TOML file read into frozen models.

Paths in the file are relative to the file. Errors name the key and the remedy.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

from counterset.config_sections import (
    DEFAULT_SOURCE,
    OPEN_LICENSES,
    SOURCES,
    AnnotateConfig,
    ClassesConfig,
    Config,
    CurateConfig,
    DownloadConfig,
    EvaluateConfig,
    GroupConfig,
    ModelsConfig,
    NotifyConfig,
    PublishConfig,
    SelectConfig,
    SourceConfig,
    section_of,
    source_config,
)
from counterset.deprecation import RENAMED_KEYS, with_new_keys
from counterset.errors import ConfigError, ExtensionError
from counterset.fetching.addresses import key_with_user

__all__ = [
    "OPEN_LICENSES",
    "AnnotateConfig",
    "ClassesConfig",
    "Config",
    "CurateConfig",
    "DownloadConfig",
    "EvaluateConfig",
    "GroupConfig",
    "ModelsConfig",
    "NotifyConfig",
    "PublishConfig",
    "SelectConfig",
    "SourceConfig",
    "load_config",
    "parse_config",
    "source_config",
]


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
        config = Config.model_validate(with_new_keys(raw, RENAMED_KEYS, origin))
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(error, raw)}") from None
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
        kind, found, folder = value.partition("local-dir:")
        return kind + found + against(folder) if found and kind in ("", "timm:") else value

    def data(value: str, suffixes: tuple[str, ...]) -> str:
        return against(value) if value.endswith(suffixes) else value

    models = config.models
    return config.model_copy(
        update={
            "workspace": against(config.workspace),
            "releases": against(config.releases),
            "classes": config.classes.model_copy(update={"list": data(config.classes.list, (".csv",))}),
            "source": config.source.model_copy(
                update={name: against(path) for name, path in config.source.paths.items()}
            ),
            "models": models.model_copy(
                update={
                    "annotator": model(models.annotator),
                    "selectors": tuple(model(name) for name in models.selectors),
                    "evaluators": tuple(model(name) for name in models.evaluators),
                }
            ),
            "annotate": config.annotate.model_copy(
                update={
                    "vocabulary": data(config.annotate.vocabulary, (".csv", ".toml")),
                    "animals": against(config.annotate.animals),
                }
            ),
            "evaluate": config.evaluate.model_copy(
                update={"label_space": data(config.evaluate.label_space, (".txt",))}
            ),
        }
    )


def _explain(error: ValidationError, raw: Mapping[str, object]) -> str:
    """One sentence about one problem, with the key and the remedy.

    An unknown key goes first: it may be one that is missing, misspelt.
    """
    first = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        if location[0] == "source" and (owners := _kinds_with(location[-1])):
            kind = _source(raw).get("kind", DEFAULT_SOURCE)
            is_of = f"is no key of source.kind = {kind!r} but of {owners}"
            return f"{key!r} {is_of}; remove it, or change source.kind" + more
        near = difflib.get_close_matches(location[-1], _known_keys(location[:-1], raw), n=1)
        return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else "remove it") + more
    if first["type"] == "missing":
        return f"key {key!r} is missing; add it" + more
    message = str(first["msg"]).removeprefix("Value error, ")
    is_shown = bool(key) and "notify" not in key and "_url" not in key  # an address may hold a secret
    got = f" (got {first['input']!r})" if is_shown else ""
    return (f"key {key!r}: " if key else "") + message[0].lower() + message[1:] + got + more


def _kinds_with(key: str) -> str:
    """The kinds of sources that have a key, in words; "" = none."""
    kinds = []
    for kind in SOURCES:
        with suppress(ExtensionError):  # another kind's package, which this config does not need
            kinds += [repr(kind)] * (key in SOURCES[kind].settings.model_fields)
    return " and ".join(kinds)


def _source(raw: Mapping[str, object]) -> dict[str, object]:
    section = raw.get("source")
    return section if isinstance(section, dict) else {}


def _known_keys(location: list[str], raw: Mapping[str, object]) -> list[str]:
    if location == ["source"]:
        return list(section_of(_source(raw)).model_fields)
    model: type[BaseModel] = Config
    for part in location:
        field = model.model_fields.get(part)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return list(model.model_fields)
