"""What two release.json say differently of how their releases were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

_SETTINGS = ("config", "kind", "default_verdicts", "counterset_version", "schema_version")
"""Parts of release.json that say how a release was made, beside its classes and models."""


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> pa.Table:
    """setting, old, new: those that differ, as JSON; null = it is not said."""
    before, after = _flat(old), _flat(new)
    rows = [
        {"setting": key, "old": before.get(key), "new": after.get(key)}
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in ("setting", "old", "new")]))


def _flat(metadata: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, str] = {}

    def put(key: str, value: object) -> None:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                put(f"{key}.{name}", inner)
        else:
            flat[key] = json.dumps(value, sort_keys=True, ensure_ascii=False)

    for name in _SETTINGS:
        if name in metadata:
            put(name, metadata[name])
    for row in metadata.get("classes", []):
        put(f"classes.{row['class_id']}", {key: value for key, value in row.items() if key != "class_id"})
    for row in metadata.get("models", []):
        rest = {key: value for key, value in row.items() if key not in ("name", "role")}
        put(f"models.{row['role']}.{row['name']}", rest)
    return flat
