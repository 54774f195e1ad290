"""What models were trained on and where open_clip's come from, so that circular roles can be refused.

`data_manifests/models/lineage.csv` lists open_clip's pretrained tags by prefix; a model's folder may say so itself in
`recipe.json` under `pretraining_data`. `data_manifests/models/datasets.csv` has the end of the month in which the first
paper on each data set came out: no photo in it is newer.
"""

from __future__ import annotations

import csv
import functools
import json
from datetime import date
from pathlib import Path

import open_clip

from counterset.config import ModelsConfig
from counterset.errors import ConfigError
from counterset.manifests import manifest_path
from counterset.models.door import trained_on
from counterset.models.shared_weights import check_weights


def data_of_tag(tag: str) -> frozenset[str]:
    """The data sets behind an open_clip tag, as far as known; empty = unknown."""
    return next((data for prefix, data in _tags() if tag.startswith(prefix)), frozenset())


def data_of_repository(repository: str) -> frozenset[str]:
    """The same of a repository of the hub, which may be that of a tag."""
    return data_of_tag(_tag_of_repository().get(repository, repository.rpartition("/")[2]))


def data_of_folder(folder: Path) -> frozenset[str]:
    """The same of a model's folder, as its recipe says."""
    recipe = folder / "recipe.json"
    if not recipe.is_file():
        return frozenset()
    return frozenset(json.loads(recipe.read_text(encoding="utf-8")).get("pretraining_data", ()))


def trained_until(name: str) -> date | None:
    """A day after which no photo that a model was trained on was taken; None where one of its data sets has none."""
    days = [_published().get(data) for data in trained_on(name)]
    known = [day for day in days if day is not None]
    return max(known) if known and len(known) == len(days) else None


def address_of(name: str) -> str:
    """The hub's repository or the address from which open_clip fetches `MODEL/TAG`; the name itself if unknown."""
    model_name, _, tag = name.partition("/")
    known = open_clip.get_pretrained_cfg(model_name, tag) or {}
    return str(known.get("hf_hub") or known.get("url") or name).strip("/")


@functools.cache
def _tags() -> tuple[tuple[str, frozenset[str]], ...]:
    with manifest_path("models/lineage.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["tag_prefix"], frozenset(row["pretraining_data"].split(";"))) for row in csv.DictReader(file)]
    return tuple(sorted(rows, key=lambda row: -len(row[0])))  # the longest prefix speaks


@functools.cache
def _published() -> dict[str, date]:
    """Data set -> the day by which it was published."""
    with manifest_path("models/datasets.csv").open(encoding="utf-8", newline="") as file:
        return {row["dataset"]: date.fromisoformat(row["published"]) for row in csv.DictReader(file)}


@functools.cache
def _tag_of_repository() -> dict[str, str]:
    """The hub's repository of each of open_clip's pretrained tags."""
    return {address_of(f"{model}/{tag}"): tag for model, tag in open_clip.list_pretrained()}


def check_roles(models: ModelsConfig) -> None:
    """Refuse an annotator that shares weights or training data with a selector, and a selector that is named twice.

    Its errors would then be the selector's errors, and make drops of them. Weights are compared where the config
    names their files; `shared_weights.check_weights` compares all, once they are fetched.

    Raises:
        ConfigError: it does, and `allow_circular` is not set.
        ModelError: the weights of a folder or file cannot be read.
    """
    for selector in () if models.allow_circular else models.selectors:
        shared = trained_on(models.annotator) & trained_on(selector)
        if shared:
            raise ConfigError(
                f"models.annotator {models.annotator!r} and the selector {selector!r} were both trained on "
                f"{', '.join(sorted(shared))}; choose an annotator with other data, or set models.allow_circular = true"
            )
    check_weights(models)
