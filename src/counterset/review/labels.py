"""Labels that were made elsewhere: CSV files, and what Label Studio and FiftyOne export.

Every file is read to its end, and each of its photos is a label, or counted as one that its reviewer was unsure of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from counterset.classes import normal_name, tidy_name
from counterset.errors import ReviewError
from counterset.manifests import read_csv
from counterset.review.schemas import Origin

MAX_BYTES = 500_000_000
"""Of a file of labels."""
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif"})
UNSURE = frozenset({"", "x", "?"})
"""What is said by who cannot tell."""
NO_NAME = "none"
"""What is said where no background can be named."""
BETWEEN = "|"
"""Stands between names that are right alike."""


@dataclass(frozen=True)
class Label:
    """What one reviewer says of one photo.

    Attributes:
        photo_id: as in a build's tables.
        said: the background's name, several with `|`; None = none can be named.
        class_id: None = as the build has it.
        reviewer: a pseudonym; "" = the file names none.
        probability: with which the photo was drawn; None = unknown.
    """

    photo_id: str
    said: str | None
    class_id: str | None = None
    reviewer: str = ""
    probability: float | None = None


@dataclass(frozen=True)
class LabelFile:
    """A file's labels.

    Attributes:
        origin: whose file it is.
        labels: in its order.
        num_unsure: photos that it names, but says nothing of.
        num_guessed: photos that their reviewers saw with a model's guess.
    """

    origin: Origin
    labels: tuple[Label, ...]
    num_unsure: int
    num_guessed: int = 0


def read_label_file(path: Path) -> LabelFile:
    """Read a CSV file (columns photo_id and background; class_id, reviewer and probability where it has them), the JSON
    of Label Studio's tasks, or FiftyOne's `samples.json` or `labels.json`.

    Raises:
        ReviewError: it is none of these, or a photo in it has no id.
        ConfigError: a CSV file cannot be read.
    """
    if path.suffix.lower() != ".json":
        return _of_rows(Origin.CSV, list(_csv_labels(path)))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        said = json.loads(content) if len(content) <= MAX_BYTES else None
    except OSError as error:
        raise ReviewError(f"the labels {path} cannot be read ({error.strerror}); give a file of labels") from error
    except (ValueError, RecursionError) as error:
        raise ReviewError(f"the labels {path} are no JSON ({str(error)[:100]}); export them again") from error
    if isinstance(said, list):
        tasks = [task for task in said if isinstance(task, dict)]
        num_guessed = sum(bool(task.get("predictions")) for task in tasks)
        return _of_rows(Origin.LABEL_STUDIO, [label for task in tasks for label in _task(task, path)], num_guessed)
    if isinstance(said, dict) and isinstance(said.get("samples"), list):
        samples = [sample for sample in said["samples"] if isinstance(sample, dict)]
        return _of_rows(Origin.FIFTYONE, [_sample(sample) for sample in samples])
    if isinstance(said, dict) and isinstance(said.get("labels"), dict):
        return _of_rows(Origin.FIFTYONE, list(_classified(said)))
    raise ReviewError(
        f"{path} holds no labels that are known; give a CSV file, Label Studio's JSON, or FiftyOne's samples.json or "
        "labels.json"
    )


def _of_rows(origin: Origin, labels: list[Label | None], num_guessed: int = 0) -> LabelFile:
    """The file; None among the labels is a photo that nothing was said of."""
    sure = tuple(label for label in labels if label is not None)
    return LabelFile(origin, sure, len(labels) - len(sure), num_guessed)


def _label(photo_id: str, names: Iterator[str] | list[str], **more: Any) -> Label | None:
    """A label by the names that were said; None where the reviewer was unsure."""
    tidy = [tidy_name(name) for name in names]
    if not tidy or any(normal_name(name) in UNSURE for name in tidy):
        return None
    kept = [name for name in tidy if normal_name(name) != NO_NAME]
    return Label(photo_id, BETWEEN.join(kept) or None, **more)


def _csv_labels(path: Path) -> Iterator[Label | None]:
    rows = read_csv(path, "the labels", "give a CSV file")
    if not rows or not {"photo_id", "background"} <= rows[0].keys():
        raise ReviewError(f"the labels {path} need the columns photo_id and background, and at least one row")
    for row in rows:
        photo_id = row["photo_id"].strip()
        if not photo_id:
            raise ReviewError(f"a row of the labels {path} has no photo_id; give each row one")
        yield _label(
            photo_id,
            row["background"].split(BETWEEN),
            class_id=row.get("class_id", "").strip() or None,
            reviewer=row.get("reviewer", "").strip(),
            probability=_probability(row.get("probability", "").strip(), path),
        )


def _probability(text: str, path: Path) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise ReviewError(
            f"the probability {text[:50]!r} in {path} is no number; write it as 0.25, or leave it empty"
        ) from None


def _task(task: dict[str, Any], path: Path) -> Iterator[Label | None]:
    """The labels of one of Label Studio's tasks: one for each annotation that was not cancelled."""
    shown = task.get("data")
    photo_id = shown.get("photo_id") if isinstance(shown, dict) else None
    if not isinstance(photo_id, str) or not photo_id:
        raise ReviewError(f"a task in {path} has no photo_id in its data; import tasks into Label Studio with one")
    annotations = [one for one in task.get("annotations") or () if isinstance(one, dict)]
    for annotation in annotations:
        results = [one for one in annotation.get("result") or () if isinstance(one, dict)]
        names = [
            str(name)
            for result in results
            if result.get("type") == "choices" and isinstance(result.get("value"), dict)
            for name in result["value"].get("choices") or ()
        ]
        is_given = not annotation.get("was_cancelled")
        yield _label(photo_id, names if is_given else [], reviewer=_annotator(annotation.get("completed_by")))


def _annotator(completed_by: object) -> str:
    """A pseudonym for one of Label Studio's users, without their e-mail address."""
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("id") or completed_by.get("email")
    if isinstance(completed_by, int):
        return f"annotator {completed_by}"
    return f"annotator {hashlib.sha256(completed_by.encode()).hexdigest()[:8]}" if isinstance(completed_by, str) else ""


def _sample(sample: dict[str, Any]) -> Label | None:
    """The label of one of FiftyOne's samples: its first classification, in the order of the fields' names."""
    found = [
        value["label"]
        for _, value in sorted(sample.items())
        if isinstance(value, dict) and value.get("_cls") == "Classification" and isinstance(value.get("label"), str)
    ]
    own = sample.get("photo_id")
    return _label(own if isinstance(own, str) and own else _stem(sample.get("filepath")), found[:1])


def _classified(said: dict[str, Any]) -> Iterator[Label | None]:
    """FiftyOne's labels.json: file names without their ending, each with a name or the number of one."""
    classes = said.get("classes")
    for name, value in said["labels"].items():
        if isinstance(value, int) and isinstance(classes, list) and 0 <= value < len(classes):
            value = classes[value]
        yield _label(_stem(name), [value] if isinstance(value, str) else [])


def _stem(filepath: object) -> str:
    path = PurePosixPath(str(filepath or "").replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in PICTURES else path.name
    if not stem:
        raise ReviewError("a sample has neither a photo_id nor a file path; export it with one")
    return stem
