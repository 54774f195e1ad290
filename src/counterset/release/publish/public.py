"""What a release calls the things of the machine it was built on: never by a path.

A model, a list or a vocabulary that lies in a file is named by the file's own name and the first
digits of its content's digest, so that the same content has the same name wherever it lies, and
another content another one. A photo of a folder is named by its path below the source's root.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.compute as pc

from counterset.config import Config
from counterset.errors import ReleaseError
from counterset.release.publish.inputs import ReleaseInputs
from counterset.schemas import PREDICTIONS

DIGITS = 8
"""Hex digits of a digest in a name."""

NOT_PUBLISHED = {"workspace", "releases", "notify", "runner", "max_failed_share"}
"""Settings that say how a build runs, not what it gives."""

_LOCAL = {"localhost", "127.0.0.1", "::1"}
_FOLDER = "local-dir:"
_CHECKPOINT = re.compile(r"[^:@]+@(?=.)")
"""The start of ARCHITECTURE@CHECKPOINT."""
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+\Z")
_PATH = re.compile(r"(?<![\w:/.<])(?:file://)?/(?:[^/,;:'\"\n]+/)+[^\s,;:'\"]*")
"""An absolute path in a sentence, not the path of an http address."""


class PublicNames:
    """The public names of one build's models, files and photos.

    Args:
        weights: sha256 of each model's weights by its name in the config; "" = unknown.
        files: sha256 of each file that the config names, by its path there.
        config: the build's config.

    Raises:
        ReleaseError: two models would have one name.
    """

    def __init__(self, weights: Mapping[str, str], files: Mapping[str, str], config: Config) -> None:
        self._weights = weights
        self._files = files
        self._photos = tuple(config.source.paths.values())
        roots = {*self._photos, config.workspace, config.releases} - {"", "/", "."}
        self._roots = sorted((root.rstrip("/") for root in roots), key=len, reverse=True)
        known = {name: self.model(name) for name in weights}
        if len(set(known.values())) < len(known):
            one, other = next((a, b) for a in sorted(known) for b in sorted(known) if a < b and known[a] == known[b])
            raise ReleaseError(
                f"the models {one!r} and {other!r} have the same name and the same weights; name each model once"
            )

    def model(self, name: str) -> str:
        """`local-dir:/home/a/ours` -> `local-dir:ours@1a2b3c4d`; a name that holds no path stays."""
        digest = self._weights.get(name, "")
        before, folder, path = name.partition(_FOLDER)
        if folder:
            return before + folder + _named(path, digest)
        checkpoint = _CHECKPOINT.match(name)
        if checkpoint:
            return checkpoint[0] + _named(name[checkpoint.end() :], digest)
        return _named(name, digest) if name.startswith(("/", "~", "file:")) else name

    def text(self, value: str) -> str:
        """A setting: a model, a file, an address without secrets and local ports, or what it is."""
        if value in self._files or value.startswith(("/", "~", "file:")):
            return _named(value, self._files.get(value, ""))
        if value in self._weights or _FOLDER in value:
            return self.model(value)
        if _ADDRESS.match(value):
            return _address(value)
        host, _, port = value.rpartition(":")
        return host if host in _LOCAL and port.isdigit() else value

    def url(self, address: str) -> str:
        """Where a photo lies; a local one by its path below the source's own."""
        if not address.startswith("file:"):
            return address
        path = PurePosixPath(unquote(urlsplit(address).path))
        root = next((root for root in self._photos if path.is_relative_to(root)), None)
        return path.relative_to(root).as_posix() if root else path.name

    def sentence(self, text: str) -> str:
        """A sentence without the machine's folders: paths below them stay, others are cut to their last part."""
        for root in self._roots:
            text = text.replace(f"file://{root}/", "").replace(f"{root}/", "")
        return _PATH.sub(lambda match: PurePosixPath(match[0]).name, text)

    def config(self, config: Config) -> dict[str, Any]:
        """The config as JSON values, without folders, contact, or the ports of local servers."""
        settings: dict[str, Any] = config.model_dump(mode="json", exclude=NOT_PUBLISHED)
        settings["source"].pop("contact")
        settings["publish"].pop("version")
        models = settings["models"]
        settings["models"] = models | {"annotator": self.model(models["annotator"])}
        for role in ("selectors", "evaluators"):
            settings["models"][role] = [self.model(name) for name in models[role]]
        for key, path in config.source.paths.items():
            if path not in self._files:
                settings["source"][key] = ""  # a folder's name says nothing of the photos, which have digests
        said = {name: settings["publish"].pop(name) for name in ("title", "author")}  # words, whatever they look like
        cleaned: dict[str, Any] = {key: self._cleaned(value) for key, value in settings.items()}
        cleaned["publish"] |= said
        return cleaned

    def _cleaned(self, value: object) -> object:
        if isinstance(value, dict):
            return {key: self._cleaned(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._cleaned(item) for item in value]
        return self.text(value) if isinstance(value, str) else value


def public_inputs(inputs: ReleaseInputs) -> tuple[ReleaseInputs, PublicNames]:
    """The inputs without the machine's paths, in every table and model; and the names, for the config.

    Photos of the folder source are read with `load(..., mirrors=("<folder>/{path}",))`.

    Raises:
        ReleaseError: two models would have one name.
    """
    names = PublicNames({model.name: model.weights_sha256 for model in inputs.models}, inputs.files, inputs.config)
    models = tuple(
        replace(
            model,
            name=names.model(model.name),
            lineage={key: names.sentence(value) for key, value in model.lineage.items()},
        )
        for model in inputs.models
    )
    model, text, sentence = (functools.cache(change) for change in (names.model, names.text, names.sentence))

    def answers(part: pa.Table) -> pa.Table:
        return _mapped(_mapped(part, "model", model), "label_space", text)

    def offered(part: pa.Table) -> pa.Table:
        if "url" in part.column_names and pc.any(pc.starts_with(part["url"], "file:")).as_py():
            return _mapped(part, "url", names.url)
        return part

    changed: dict[str, Any] = {
        "predictions": inputs.rows("predictions").reordered(PREDICTIONS.key, answers),
        "candidates": inputs.rows("candidates").changed(offered),
        "rejects": inputs.rows("rejects").changed(lambda part: _mapped(part, "detail", sentence)),
        "group_accuracy": _mapped(inputs.group_accuracy, "model", model),
        "sensitivity": _mapped(_mapped(inputs.sensitivity, "model", model), "templates", text),
    }
    return replace(inputs, models=models, **changed), names


def _named(path: str, digest: str) -> str:
    name = PurePosixPath(path.rstrip("/")).name
    return f"{name}@{digest[:DIGITS]}" if digest else name


def _address(address: str) -> str:
    """An address without user, password, a local server's port, or an S3 address's options."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme in ("http", "https") and host in _LOCAL:
        return f"{parts.scheme}://{host}"
    place = parts.netloc.rpartition("@")[2]
    query = parts.query if parts.scheme in ("http", "https") else ""
    return urlunsplit((parts.scheme, place, parts.path, query, ""))


def _mapped(table: pa.Table, column: str, change: Callable[[str], str]) -> pa.Table:
    """`table` with `change` applied to each distinct value of a text column, where it has the column."""
    if column not in table.column_names:
        return table
    encoded = table[column].combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    changed = [change(value) for value in values]
    if changed == values:
        return table
    mapped = pa.array(changed, pa.string()).take(encoded.indices)
    return table.set_column(table.column_names.index(column), table.field(column), mapped)
