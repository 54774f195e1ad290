"""A release beside the published CounterAnimal: the same pair or not, drops here and there, accuracies by model.

Classes meet by their ImageNet-1K index, models by the registry's published names. What is
published was measured on other photos, chosen and labelled by people (arXiv 2403.11497).
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from counterset.classes import normal_name
from counterset.errors import ReleaseError
from counterset.evaluation.record import CLASS_METRICS_FILE, read_part, read_record
from counterset.evaluation.schemas import COMPARED_MODELS, COMPARISON
from counterset.load import Release
from counterset.manifests import manifest_path
from counterset.models.registry import load_registry
from counterset.schemas import Half
from counterset.spreadsheet import safe_cell
from counterset.statistics.schemas import CLASS_METRICS
from counterset.tables import table_of, write_bytes, write_table

PUBLISHED_SELECTOR = "CLIP-LAION400M-ViT/B/32"
"""The model that chose the published pairs; its drop is the published drop of a class."""


@dataclass(frozen=True)
class Comparison:
    """A release beside the paper.

    Attributes:
        classes: one row per class of both (comparison schema).
        models: one row per class and model (compared_models schema).
        num_published: classes of the paper.
    """

    classes: pa.Table
    models: pa.Table
    num_published: int

    @property
    def drop_correlation(self) -> float | None:
        """Pearson's correlation of the drops here and there; None with fewer than 3 classes."""
        rows = [row for row in self.classes.to_pylist() if row["drop"] is not None]
        drops = np.array([(row["drop"], row["published_drop"]) for row in rows])
        if len(rows) < 3 or not drops.std(axis=0).all():
            return None
        return float(np.corrcoef(drops.T)[0, 1])

    def write(self, folder: Path) -> list[Path]:
        """Write both tables as Parquet and as CSV."""
        paths = []
        for table, schema in ((self.classes, COMPARISON), (self.models, COMPARED_MODELS)):
            path = folder / f"{schema.name}.parquet"
            write_table(table, schema, path)
            write_bytes(_csv(table).encode(), path.with_suffix(".csv"))
            paths += [path, path.with_suffix(".csv")]
        return paths


def compare(release: Release, evaluation: Path | None = None) -> Comparison:
    """Put a release's classes beside the published ones.

    Args:
        release: any release whose classes have ImageNet indices.
        evaluation: folder of an evaluation of it, for the accuracies of more models.

    Raises:
        ReleaseError: no class of it is published, or the evaluation is of another release.
    """
    there = _published_classes()
    here = {row["class_id"]: row["imagenet_index"] for row in release.metadata["classes"]}
    shared = {class_id: index for class_id, index in here.items() if index in there}
    if not shared:
        raise ReleaseError(
            f"{release.name} {release.version} shares no class with the published ones; "
            "give imagenet_index in its class list, or compare another release"
        )
    accuracies = _of_groups(release) | (_of_evaluation(release, evaluation) if evaluation else {})
    names = {f"CLIP-{m.pretrain_dataset}-{m.backbone}": m.name for m in load_registry() if m.family == "CLIP"}
    classes, models = [], []
    for pair in release.pairs.to_pylist():
        class_id = pair["class_id"]
        if class_id not in shared:
            continue
        published = there[shared[class_id]]
        classes.append(
            {
                "class_id": class_id,
                "imagenet_index": shared[class_id],
                "pair": _kind(pair["common"], pair["counter"], published["common"], published["counter"]),
                "published_common": published["common"],
                "published_counter": published["counter"],
                "published_drop": published["drop"],
                **{name: pair[name] for name in ("verdict", "common", "counter", "drop", "drop_low", "drop_high")},
            }
        )
        rows = {model: both for (class_of, model), both in accuracies.items() if class_of == class_id}
        published_rows = {names[model]: both for model, both in published["models"].items()}
        for model in sorted({*rows, *published_rows}):
            models.append(
                {
                    "class_id": class_id,
                    "model": model,
                    **_sides("", rows.get(model)),
                    **_sides("published_", published_rows.get(model)),
                }
            )
    if len({row["class_id"] for row in classes}) < len(classes):
        raise ReleaseError(
            f"{release.name} {release.version} states the pair of a class twice; do not use this release"
        )
    return Comparison(table_of(COMPARISON, classes), table_of(COMPARED_MODELS, models), len(there))


def _published_classes() -> dict[int, dict[str, Any]]:
    """ImageNet index -> published backgrounds, drop, and model -> (common, counter) accuracies."""
    classes: dict[str, dict[str, Any]] = {}
    for row in _rows("pairs.csv"):
        pair = {"common": row["common_background"], "counter": row["counter_background"]}
        classes[row["class_id"]] = pair | {"imagenet_index": int(row["imagenet_index"]), "models": {}}
    for row in _rows("classwise_1v1000.csv"):
        both = float(row["common_accuracy"]) / 100, float(row["counter_accuracy"]) / 100
        classes[row["class_id"]]["models"][row["model"]] = both
    for entry in classes.values():
        # Recomputed: a few printed drops are not the difference of the printed accuracies.
        common, counter = entry["models"][PUBLISHED_SELECTOR]
        entry["drop"] = common - counter
    return {entry["imagenet_index"]: entry for entry in classes.values()}


def _rows(name: str) -> list[dict[str, str]]:
    with manifest_path(f"published/{name}").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _kind(common: str | None, counter: str | None, there_common: str, there_counter: str) -> str:
    """How the pair here stands to the published one."""
    if common is None or counter is None:
        return "none"
    here, there = tuple(map(normal_name, (common, counter))), tuple(map(normal_name, (there_common, there_counter)))
    if here == there:
        return "same"
    if here == there[::-1]:
        return "swapped"
    return "one" if set(here) & set(there) else "other"


def _of_groups(release: Release) -> dict[tuple[str, str], tuple[float, float]]:
    """(class_id, model) -> accuracies on common and counter, as the release's build measured them."""
    groups = release.groups.to_pylist()
    half = Half.CONFIRM if any(row["half"] == Half.CONFIRM for row in groups) else Half.ALL
    sides: dict[tuple[str, str], dict[str, float]] = {}
    for row in groups:
        if row["split"] and row["half"] == half:
            sides.setdefault((row["class_id"], row["model"]), {})[row["split"]] = row["accuracy"]
    return {key: (both["common"], both["counter"]) for key, both in sides.items() if len(both) == 2}


def _of_evaluation(release: Release, folder: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """The same, of an evaluation."""
    of = read_record(folder)["release"]
    if (of["name"], of["version"]) != (release.name, release.version):
        raise ReleaseError(
            f"{folder} is an evaluation of {of['name']} {of['version']}, not of {release.name} {release.version}; "
            "give one of the same release"
        )
    sides: dict[tuple[str, str], dict[str, float]] = {}
    for row in read_part(folder, CLASS_METRICS_FILE, CLASS_METRICS).to_pylist():
        sides.setdefault((row["class_id"], row["model"]), {})[row["side"]] = row["accuracy"]
    complete = {key: both for key, both in sides.items() if {"common", "counter"} <= both.keys()}
    return {key: (both["common"], both["counter"]) for key, both in complete.items()}


def _sides(prefix: str, both: tuple[float, float] | None) -> dict[str, float | None]:
    common, counter = both or (None, None)
    drop = None if common is None or counter is None else common - counter
    return {f"{prefix}common": common, f"{prefix}counter": counter, f"{prefix}drop": drop}


def _csv(table: pa.Table) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    for row in table.to_pylist():
        values = (safe_cell(value) for value in row.values())
        writer.writerow(["" if v is None else round(v, 6) if isinstance(v, float) else v for v in values])
    return text.getvalue()
