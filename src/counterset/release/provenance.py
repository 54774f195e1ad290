"""`release.json`: everything needed to repeat a build, and nothing of the machine it ran on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePath, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from counterset import __version__
from counterset.config import Config
from counterset.errors import ReleaseError
from counterset.release.diff import ReleaseDiff
from counterset.release.inputs import ReleaseInputs
from counterset.release.stated import FORMAT
from counterset.release.summary import Estimate, Summary
from counterset.schemas import SCHEMA_VERSION

_LOCAL = {"localhost", "127.0.0.1", "::1"}


NOT_PUBLISHED = {"workspace", "releases", "notify", "runner", "max_failed_share"}
"""Settings that say how a build runs, not what it gives."""


def public_config(config: Config) -> dict[str, Any]:
    """The config as JSON values, without folders, contact, or the ports of local servers."""
    found: dict[str, Any] = config.model_dump(mode="json", exclude=NOT_PUBLISHED)
    found["source"].pop("contact")
    found["publish"].pop("version")
    cleaned = _without_machine(found)
    assert isinstance(cleaned, dict)
    return cleaned


def _without_machine(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_machine(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_machine(item) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith("local-dir:"):
        return "local-dir:" + PurePath(value.removeprefix("local-dir:")).name
    if value.startswith("/"):
        return PurePath(value).name
    if value.startswith(("http://", "https://")):
        address = urlsplit(value)
        return f"{address.scheme}://{address.hostname}" if address.hostname in _LOCAL else value
    host, _, port = value.rpartition(":")
    return host if host in _LOCAL and port.isdigit() else value


def without_local_paths(inputs: ReleaseInputs) -> ReleaseInputs:
    """The inputs without the machine's paths, in every table.

    Models in local folders are named by their folder alone; a photo of the folder source
    has the path below `source.path` for its URL (load with `mirrors=("<folder>/{path}",)`);
    paths in the rejects' details are cut to their last part.

    Raises:
        ReleaseError: two models would then have one name.
    """
    names = {model.name: str(_without_machine(model.name)) for model in inputs.models}
    if len(set(names.values())) < len(names):
        raise ReleaseError("two models lie in folders of the same name; rename one of the folders")

    def model_name(name: str) -> str:
        return names.get(name) or str(_without_machine(name))

    def url(address: str) -> str:
        if not address.startswith("file:"):
            return address
        path = PurePosixPath(unquote(urlsplit(address).path))
        root = inputs.config.source.path
        return path.relative_to(root).as_posix() if root and path.is_relative_to(root) else path.name

    def detail(text: str) -> str:
        return _PATH.sub(lambda match: PurePosixPath(match[0]).name, text)

    return replace(
        inputs,
        models=tuple(replace(model, name=names[model.name]) for model in inputs.models),
        predictions=_mapped(inputs.predictions, "model", model_name),
        group_accuracy=_mapped(inputs.group_accuracy, "model", model_name),
        candidates=_mapped(inputs.candidates, "url", url),
        rejects=_mapped(inputs.rejects, "detail", detail),
    )


_PATH = re.compile(r"(?<![\w:/.<])(?:file://)?/(?:[^\s/,;:'\"]+/)+[^\s,;:'\"]*")
"""An absolute path in a sentence, not the path of an http address."""


def _mapped(table: pa.Table, column: str, change: Callable[[str], str]) -> pa.Table:
    """`table` with `change` applied to each distinct value of a text column."""
    encoded = table[column].combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    changed = [change(value) for value in values]
    if changed == values:
        return table
    mapped = pa.array(changed, pa.string()).take(encoded.indices)
    return table.set_column(table.column_names.index(column), table.field(column), mapped)


def build_digest(inputs: ReleaseInputs, files: Mapping[str, Mapping[str, Any]]) -> str:
    """One digest of all content: tables, config, classes and models. Equal digests = nothing changed.

    The source's snapshot day and the stages' own digests are left out: a crawl that found
    nothing new is no reason for a new version.
    """
    content = {
        "counterset_version": __version__,
        "schema_version": SCHEMA_VERSION,
        "tables": {path: entry["sha256"] for path, entry in files.items()},
        "config": public_config(inputs.config),
        "classes": _classes(inputs),
        "models": _models(inputs),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def release_metadata(
    inputs: ReleaseInputs,
    summary: Summary,
    version: str,
    kind: str,
    default_verdicts: tuple[str, ...],
    digest: str,
    previous: dict[str, str] | None,
    diff: ReleaseDiff | None,
) -> dict[str, Any]:
    """The content of release.json but `files`, which is known last."""
    config = inputs.config
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "counterset_version": __version__,
        "name": config.name,
        "version": version,
        "kind": kind,
        "title": config.publish.title or config.name,
        "author": config.publish.author,
        "homepage": config.publish.homepage,
        "source_snapshot": inputs.source_snapshot,
        "default_verdicts": list(default_verdicts),
        "build_digest": digest,
        "previous": previous,
        "changes": diff.counts if diff else None,
        "config": public_config(config),
        "classes": _classes(inputs),
        "models": _models(inputs),
        "inputs": dict(sorted(inputs.digests.items())),
        "counts": {
            "photos": summary.num_photos,
            "common": summary.num_common,
            "counter": summary.num_counter,
            "observers": summary.num_observers,
        },
        "verdicts": summary.verdicts,
        "mean_drop": _estimate(summary.mean_drop),
        "mean_drop_confirmed": _estimate(summary.mean_drop_confirmed),
        "licenses": {code or "all rights reserved": count for code, count in summary.licenses.items()},
        "funnel": [{"step": step, "photos": count} for step, count in summary.funnel.items()],
        "rejects": [{"stage": stage, "reason": reason, "photos": count} for stage, reason, count in summary.rejects],
    }


def _classes(inputs: ReleaseInputs) -> list[dict[str, Any]]:
    return [
        {
            "class_id": spec.class_id,
            "name": spec.name,
            "imagenet_index": spec.imagenet_index,
            "taxon_ids": list(spec.taxon_ids),
            "scientific_name": spec.scientific_name,
        }
        for spec in inputs.classes
    ]


def _models(inputs: ReleaseInputs) -> list[dict[str, Any]]:
    return [
        {
            "name": model.name,
            "role": model.role,
            "family": model.family,
            "weights_sha256": model.weights_sha256,
            "lineage": dict(sorted(model.lineage.items())),
        }
        for model in inputs.models
    ]


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    has_interval = estimate.low == estimate.low
    return {
        "value": estimate.value,
        "low": estimate.low if has_interval else None,
        "high": estimate.high if has_interval else None,
        "num_classes": estimate.num_classes,
    }
