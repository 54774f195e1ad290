"""`release.json`: everything needed to repeat a build, and nothing of the machine it ran on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.backgrounds import BACKGROUND
from counterset.photo_rows import Rows
from counterset.release.publish.inputs import BY_PHOTO, ReleaseInputs
from counterset.release.publish.public import PublicNames
from counterset.release.publish.summary import Estimate, Summary
from counterset.release.stated import FORMAT
from counterset.release.versions.diff import ReleaseDiff
from counterset.schemas import SCHEMA_VERSION
from counterset.tables import in_groups
from counterset.version import __version__

INPUT_TABLES = (
    "candidates",
    "photos",
    "members",
    "backgrounds",
    "predictions",
    "group_accuracy",
    "sensitivity",
    "pairs",
    "group_names",
    "rejects",
)
"""The tables of ReleaseInputs."""


DIGEST_ROWS = 250_000
"""Rows that are put in order and digested at a time."""
_KEYS = ("photo_id", "class_id", "model", "label_space", "templates", "stage", "group", "half")
"""Columns of which those that a table has tell its rows apart."""


def statement(
    inputs: ReleaseInputs, names: PublicNames, kind: str, default_verdicts: tuple[str, ...]
) -> dict[str, Any]:
    """What release.json says of what the release was made from: its config, classes, models and input tables.

    The same statement gives the same tables. The source's snapshot day is left out: a crawl that
    found nothing new is no reason for a new version.
    """
    reviewed = {} if inputs.review is None else {"review": dict(inputs.review)}
    empty = {} if inputs.empty_names is None else {"empty_names": dict(inputs.empty_names)}
    cue = {} if inputs.cue == BACKGROUND else {"cue": inputs.cue}
    said_of_names = reviewed | empty | cue
    return said_of_names | {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "counterset_version": __version__,
        "kind": kind,
        "default_verdicts": list(default_verdicts),
        "config": names.config(inputs.config),
        "classes": _classes(inputs),
        "models": _models(inputs),
        "inputs": {name: _digest_of(_rows(inputs, name)) for name in INPUT_TABLES},
    }


def build_digest(statement: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]) -> str:
    """One digest of all content: the statement, with the release's tables in place of the input tables."""
    content = {key: value for key, value in statement.items() if key != "inputs"}
    content["tables"] = {path: entry["sha256"] for path, entry in files.items()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def release_metadata(
    inputs: ReleaseInputs,
    statement: Mapping[str, Any],
    summary: Summary,
    version: str,
    digest: str,
    previous: dict[str, str] | None,
    diff: ReleaseDiff | None,
) -> dict[str, Any]:
    """The content of release.json but `files`, which are known last."""
    config = inputs.config
    return {
        **statement,
        "name": config.name,
        "version": version,
        "title": config.publish.title or config.name,
        "author": config.publish.author,
        "homepage": config.publish.homepage,
        "source_snapshot": inputs.source_snapshot,
        "build_digest": digest,
        "previous": previous,
        "series": inputs.series.stated,
        "changes": diff.counts if diff else None,
        "counts": {
            "photos": summary.num_photos,
            "common": summary.num_common,
            "counter": summary.num_counter,
            "observers": summary.num_observers,
            "units": summary.units.number,
        },
        "units": asdict(summary.units),
        "verdicts": summary.verdicts,
        "naming": summary.namings,
        "mean_drop": _estimate(summary.mean_drop),
        "mean_drop_confirmed": _estimate(summary.mean_drop_confirmed),
        "mean_drop_shrunken": summary.mean_drop_shrunken,
        "licenses": {code or "all rights reserved": count for code, count in summary.licenses.items()},
        "funnel": [{"step": step, "photos": count} for step, count in summary.funnel.items()],
        "rejects": [{"stage": stage, "reason": reason, "photos": count} for stage, reason, count in summary.rejects],
    }


def _rows(inputs: ReleaseInputs, name: str) -> Rows:
    """A table's rows in an order that does not depend on how they were given."""
    if name in BY_PHOTO:
        rows = inputs.rows(name)
        return rows.reordered([key for key in _KEYS if key in rows.schema.names])
    table: pa.Table = getattr(inputs, name)
    return Rows.of(table, [key for key in _KEYS if key in table.column_names])


def _digest_of(rows: Rows) -> str:
    """A digest of a table's rows."""
    told = [name for name in rows.schema.names if name != "place"]  # who knows all else could try all places
    state = hashlib.sha256(repr([(name, str(rows.schema.field(name).type)) for name in told]).encode())
    for part in in_groups(rows.read(told), DIGEST_ROWS):
        for column in part.combine_chunks().columns:
            _take_in(state, column.chunk(0))
    return state.hexdigest()


def _take_in(state: Any, values: pa.Array) -> None:
    """Digest a column: how many values there are, which are null, and what the others are."""
    state.update(np.array([len(values), values.null_count]))
    if values.null_count:
        state.update(np.packbits(pc.is_null(values).to_numpy(zero_copy_only=False)))
        values = values.drop_null()
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.uint8())
    start, end = values.offset, values.offset + len(values)  # of a part of what Arrow holds
    if pa.types.is_list(values.type):
        state.update(pc.list_value_length(values).to_numpy())
        _take_in(state, pc.list_flatten(values))
    elif pa.types.is_string(values.type):
        state.update(pc.binary_length(values).to_numpy())
        _, ends, texts = values.buffers()
        if len(values):  # one lies after the other
            first, *_, last = np.frombuffer(ends, np.int32)[start : end + 1 : len(values)]
            state.update(memoryview(texts or b"")[first:last])
    else:
        assert pa.types.is_primitive(values.type) or pa.types.is_fixed_size_binary(values.type)
        width = values.type.bit_width // 8
        state.update(memoryview(values.buffers()[1] or b"")[start * width : end * width])


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
