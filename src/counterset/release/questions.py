"""Multiple-choice questions about a release's photos, as harnesses for multimodal language models ask them.

The photos are those that the release's figures are read from, so a harness gives the figures that `evaluate` gives
for the same answers.
"""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from counterset.classes import normal_name
from counterset.errors import ReleaseError
from counterset.parquet_sql import fill, rows_of, spilling
from counterset.release.bundle import suffix_of
from counterset.release.exporting import Notes, Photos, check_any, photo_file, safe_name
from counterset.release.schemas import SPLITS
from counterset.schemas import Half

QUESTION = "Which of these does the photo show?"
LETTERS = string.ascii_uppercase
_COLUMNS = ("photo_id", "class_id", "half", "unit", "observer", "license", "attribution")


@dataclass(frozen=True)
class Candidates:
    """What the photos of one class are asked about.

    Attributes:
        labels: the candidates, the class's own among them, each once.
        truth: the class's own label.
    """

    labels: tuple[str, ...]
    truth: str


@dataclass(frozen=True)
class Question:
    """One photo and its options.

    Attributes:
        row: of the photo's row in its split what is asked for: its class, half, unit and observer, licence and credit.
        split: common or counter.
        unit: the independent unit of statistics; in releases without units, the observer.
        options: the candidates in the order in which they are shown; the first is A.
        answer: the letter of the right one.
    """

    row: Mapping[str, Any]
    split: str
    unit: str
    options: tuple[str, ...]
    answer: str

    @property
    def photo_id(self) -> str:
        return str(self.row["photo_id"])

    def fields(self) -> dict[str, Any]:
        """What every harness is given of it beside the photo."""
        return {
            "photo_id": self.photo_id,
            "split": self.split,
            "class_id": self.row["class_id"],
            "unit": self.unit,
            "question": QUESTION,
            "options": list(self.options),
            "answer": self.answer,
            "license": self.row["license"],
            "attribution": self.row["attribution"],
        }


def options_of(photo_id: str, labels: Iterable[str]) -> tuple[str, ...]:
    """The candidates in the order in which they are shown with a photo: by a hash of both.

    Two labels of one photo stand in the same order whatever others are among them.
    """
    return tuple(sorted(labels, key=lambda label: hashlib.sha256(f"{photo_id}\0{label}".encode()).digest()))


class Questions:
    """One question per photo that the release's figures are read from, in the order of a hash of the photo ids.

    Those are photos of the confirm half where there is one, of the classes with the release's verdicts that have photos
    on both sides, without uneven pairs. The first N are a sample of all. Each loop over them reads and sorts the
    release anew, so that no more than a few thousand are in memory.

    Args:
        release: whose photos.
        candidates: class_id -> its candidates; None = the names of all classes.
        most_options: how many options the harness can letter.

    Attributes:
        candidates: of the classes that are asked about.

    Raises:
        ReleaseError: there are more candidates than that, or none for a class.
    """

    def __init__(
        self, release: Photos, candidates: Mapping[str, Candidates] | None = None, most_options: int = len(LETTERS)
    ) -> None:
        self._release = release
        halves: dict[tuple[str, str], set[str]] = {}
        for split in SPLITS:
            for part in self._parts(split, ["class_id", "half"]):
                for row in part.group_by(["class_id", "half"]).aggregate([]).to_pylist():
                    halves.setdefault((row["class_id"], split), set()).add(row["half"])
        self._halves = {figure_half(half for own in halves.values() for half in own), Half.ALL.value}
        sides = {side for side, own in halves.items() if own & self._halves}
        class_ids = sorted({class_id for class_id, _ in sides if all((class_id, side) in sides for side in SPLITS)})
        asked = _classes(release) if candidates is None else candidates
        for class_id in class_ids:
            if class_id not in asked:
                raise ReleaseError(
                    f"the candidates say nothing of the class {class_id!r}; give an evaluation of {release.name} itself"
                )
            if (count := len(asked[class_id].labels)) > most_options:
                raise ReleaseError(
                    f"the harness letters at most {most_options} options and {class_id!r} has {count}; evaluate a "
                    "model with --label-space top20 (or top20:classes) first, and give that evaluation's folder as "
                    "--candidates"
                )
        self.candidates = {class_id: asked[class_id] for class_id in class_ids}

    def __iter__(self) -> Iterator[Question]:
        with spilling() as connection:
            fill(connection, "photos", (self._asked(part, split) for split in SPLITS for part in self._parts(split)))
            for part in rows_of(connection, "FROM photos ORDER BY sha256(photo_id)"):
                for row in part.to_pylist():
                    yield _question(row.pop("split"), row, self.candidates[row["class_id"]])

    def _parts(self, split: str, columns: Sequence[str] = _COLUMNS) -> Iterator[pa.Table]:
        """The photos of a split whose pair is not uneven."""
        return (even_pairs(self._release, part) for part in self._release.parts(split, columns))

    def _asked(self, part: pa.Table, split: str) -> pa.Table:
        is_asked = pc.and_(
            pc.is_in(part["half"], pa.array(self._halves)),
            pc.is_in(part["class_id"], pa.array(self.candidates, pa.string())),
        )
        kept = part.filter(is_asked)
        return kept.append_column("split", pa.repeat(split, len(kept)))


def even_pairs(release: Any, table: pa.Table) -> pa.Table:
    """The rows of a split whose pair is not uneven: those that figures may be read from."""
    if "is_uneven" not in release.pairs.column_names:  # releases of 0.1 do not say
        return table
    uneven = release.pairs.filter(pc.fill_null(release.pairs["is_uneven"], False))["class_id"]
    return table.filter(pc.invert(pc.is_in(table["class_id"], uneven.combine_chunks())))


def figure_half(halves: Iterable[str]) -> str:
    """`confirm` where some photos were kept out of the choice of pairs, else `all`."""
    return Half.CONFIRM.value if Half.CONFIRM.value in set(halves) else Half.ALL.value


def _classes(release: Photos) -> dict[str, Candidates]:
    """Every class is asked about the names of all; two classes of one name share its first spelling."""
    first: dict[str, str] = {}
    for name in release.class_names.values():
        first.setdefault(normal_name(name), name)
    labels = tuple(first.values())
    return {class_id: Candidates(labels, first[normal_name(name)]) for class_id, name in release.class_names.items()}


def _question(split: str, row: Mapping[str, Any], asked: Candidates) -> Question:
    options = options_of(row["photo_id"], asked.labels)
    unit = row["unit"] if row["unit"] is not None else row["observer"]
    return Question(row, split, str(unit), options, LETTERS[options.index(asked.truth)])


def with_photos(release: Photos, asked: Iterable[Question], notes: Notes) -> Iterator[tuple[Question, bytes, str]]:
    """Question, photo file and its suffix, of every photo that can be read; the others go to the notes."""
    for question in asked:
        content = photo_file(release, question.row, notes)
        if content is not None:
            yield question, content, suffix_of(content) or "jpg"


def write_questions(release: Photos, asked: Iterable[Question], folder: Path, notes: Notes) -> int:
    """`questions.jsonl`, one line per question, beside the folder `photos`; returns how many.

    Raises:
        ReleaseError: not one photo can be read.
    """
    (folder / "photos").mkdir()
    count = 0
    with (folder / "questions.jsonl").open("w", encoding="utf-8") as file:
        for question, content, suffix in with_photos(release, asked, notes):
            photo = f"photos/{safe_name(question.photo_id)}.{suffix}"
            (folder / photo).write_bytes(content)
            file.write(json.dumps(question.fields() | {"photo": photo}) + "\n")
            count += 1
    check_any(count, release, notes.missing)
    return count


def copy_file(name: str, target: Path) -> None:
    """Copy one of `harness_files` into an export."""
    target.write_bytes((Path(__file__).parent / "harness_files" / name).read_bytes())


def task_name(release: Photos) -> str:
    """The release's name as harnesses name tasks: letters, digits and underscores."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", release.name).strip("_")
    return plain if plain.startswith("counterset") else f"counterset_{plain}"
