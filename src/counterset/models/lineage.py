"""What each model was trained on, so that circular roles can be refused.

`data_manifests/models/lineage.csv` lists open_clip's pretrained tags by prefix; a model
folder may say so itself in `recipe.json` under `pretraining_data`.
"""

from __future__ import annotations

import csv
import functools
import json
from pathlib import Path

import open_clip

from counterset.config import ModelsConfig
from counterset.errors import ConfigError
from counterset.manifests import manifest_path
from counterset.models.open_clip_encoder import DEMO_WEIGHTS
from counterset.models.shared_weights import check_weights, origin


@functools.cache
def _tags() -> tuple[tuple[str, frozenset[str]], ...]:
    with manifest_path("models/lineage.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["tag_prefix"], frozenset(row["pretraining_data"].split(";"))) for row in csv.DictReader(file)]
    return tuple(sorted(rows, key=lambda row: -len(row[0])))  # the longest prefix speaks


@functools.cache
def _tag_of_repository() -> dict[str, str]:
    """The hub's repository of each of open_clip's pretrained tags."""
    return {origin(f"{model}/{tag}"): tag for model, tag in open_clip.list_pretrained()}


def pretraining_data(name: str) -> frozenset[str]:
    """The data sets a model was trained on, as far as known; empty = unknown."""
    if name.startswith(("demo:", "local-dir:")):
        kind, _, path = name.partition(":")
        recipe = (DEMO_WEIGHTS / path if kind == "demo" else Path(path)) / "recipe.json"
        if not recipe.is_file():
            return frozenset()
        return frozenset(json.loads(recipe.read_text(encoding="utf-8")).get("pretraining_data", ()))
    tag = name.rpartition("/")[2]
    if name.startswith("hf-hub:"):
        tag = _tag_of_repository().get(name.removeprefix("hf-hub:"), tag)
    return next((data for prefix, data in _tags() if tag.startswith(prefix)), frozenset())


def check_roles(models: ModelsConfig) -> None:
    """Refuse an annotator that shares weights or pre-training data with a selector, and a selector that is there twice.

    Its errors would then be the selector's errors, and make drops of them. Weights are compared where the config
    names their files; `shared_weights.check_weights` compares all, once they are fetched.

    Raises:
        ConfigError: it does, and `allow_circular` is not set.
        ModelError: the weights of a folder or file cannot be read.
    """
    for selector in () if models.allow_circular else models.selectors:
        shared = pretraining_data(models.annotator) & pretraining_data(selector)
        if shared:
            raise ConfigError(
                f"models.annotator {models.annotator!r} and the selector {selector!r} were both trained on "
                f"{', '.join(sorted(shared))}; choose an annotator with other data, or set models.allow_circular = true"
            )
    check_weights(models)
