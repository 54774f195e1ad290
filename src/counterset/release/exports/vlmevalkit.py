"""A table of VLMEvalKit, with the photos in it."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from counterset.errors import ReleaseError
from counterset.release.exporting import Exported, Notes, Photos, check_any, new_folder
from counterset.release.questions import LETTERS, Candidates, Questions, task_name, with_photos

MOST_OPTIONS = 25
"""VLMEvalKit writes Z for an answer that it cannot read, so no option may be Z."""

NO_TEXT = {
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
}
"""What pandas, by which the table is read, takes for an empty cell: such an option would not be shown."""

OTHER_RULES = ("mmbench", "ccbench", "circular", "mmcr", "mmt", "mmsci", "mmmu", "mmvp", "lego", "blink", "wemath")
"""A table with one of these in its name is judged by that benchmark's own rule."""


def export(release: Photos, folder: str | Path, candidates: Mapping[str, Candidates] | None = None) -> Exported:
    """`<name>.tsv`, one row per photo: `LMUData=FOLDER python run.py --data <name> --model MODEL`.

    It is read as a table of multiple-choice questions; accuracies are given by `split` (common, counter) and by
    `category` (class) in each.
    """
    notes = Notes()
    count = 0
    with new_folder(folder) as target:
        asked = Questions(release, candidates, MOST_OPTIONS)
        _check_labels(label for of in asked.candidates.values() for label in of.labels)
        letters = LETTERS[: max((len(of.labels) for of in asked.candidates.values()), default=0)]
        columns = ["index", "photo_id", "split", "category", "unit", "question", *letters, "answer", "image"]
        with (target / f"{_table_name(release)}.tsv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, delimiter="\t", lineterminator="\n")
            writer.writeheader()
            for question, content, _ in with_photos(release, asked, notes):
                row = question.fields()
                row = {name: row.get(name) for name in columns} | dict(zip(letters, question.options, strict=False))
                image = base64.b64encode(content).decode()
                writer.writerow(row | {"index": count, "category": question.row["class_id"], "image": image})
                count += 1
        check_any(count, release, notes.missing)
    return notes.exported(folder, count)


def _check_labels(options: Iterable[str]) -> None:
    """Raises:
    ReleaseError: an option would be read as an empty cell.
    """
    for option in sorted({*options}):
        if option.strip() in NO_TEXT:
            raise ReleaseError(
                f"VLMEvalKit would read the label {option!r} as an empty cell; give the class another name"
            )


def _table_name(release: Photos) -> str:
    name = task_name(release)
    if any(word in name.casefold() for word in OTHER_RULES):
        return f"counterset_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name
