"""A Hugging Face data set that is a benchmark of its community evaluations."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counterset.licenses import may_share
from counterset.release.exporting import Exported, Notes, Photos, check_any, new_folder
from counterset.release.exports.hub import card_with
from counterset.release.publish.files import BYTES_PER_PART
from counterset.release.questions import Candidates, Question, Questions, with_photos
from counterset.release.schemas import SPLITS

COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("photo_id", "split", "class_id", "unit", "question")]
    + [("options", pa.list_(pa.string()))]
    + [(name, pa.string()) for name in ("answer", "license", "attribution", "image")]
)
"""`image` is a data URI, as Inspect takes pictures from a table."""

CONFIGS = """\
configs:
- config_name: questions
  default: true
  data_files:
  - split: common
    path: questions/common.parquet
  - split: counter
    path: questions/counter.parquet
"""

BENCHMARK = """\
name: {name}
description: >
  Multiple choice: what a photo shows. One task holds the photos of the common side, the other those of the counter
  side of the same classes. A score is the share of right answers over the photos of its task; the benchmark is about
  the drop between the two.
evaluation_framework: inspect-ai
tasks:
{tasks}"""

TASK = """\
  - id: {split}
    config: questions
    split: {split}
    field_spec:
      input: question
      input_image: image
      choices: options
      target: answer
      metadata: [photo_id, class_id, unit]
    solvers:
      - name: multiple_choice
    scorers:
      - name: choice
"""


def export(release: Photos, folder: str | Path, candidates: Mapping[str, Candidates] | None = None) -> Exported:
    """`eval.yaml` with the tasks common and counter, the card, and both splits' questions with their photos.

    `inspect eval hf/USER/NAME` runs both. Photos are held only where their licence allows passing them on; the others
    are `missing`.
    """
    notes = Notes()
    with new_folder(folder) as target:
        asked = Questions(release, candidates)
        (target / "questions").mkdir()
        count = 0
        for split in SPLITS:
            rows = _rows(release, (one for one in asked if one.split == split), notes)
            count += _write(rows, target / "questions" / f"{split}.parquet")
        check_any(count, release, notes.missing)
        tasks = "".join(TASK.format(split=split) for split in SPLITS)
        text = BENCHMARK.format(name=f"{release.name} {release.metadata['version']}", tasks=tasks)
        (target / "eval.yaml").write_text(text, encoding="utf-8")
        (target / "README.md").write_text(card_with(release, CONFIGS), encoding="utf-8")
    return notes.exported(folder, count)


def _rows(release: Photos, asked: Iterable[Question], notes: Notes) -> Iterator[dict[str, Any]]:
    for question, content, suffix in with_photos(release, _shared(asked, notes), notes):
        kind = "jpeg" if suffix == "jpg" else suffix
        yield question.fields() | {"image": f"data:image/{kind};base64,{base64.b64encode(content).decode()}"}


def _shared(asked: Iterable[Question], notes: Notes) -> Iterator[Question]:
    """The questions about photos that may be passed on; the others are missing."""
    for one in asked:
        if may_share(one.row["license"], one.row["attribution"]):
            yield one
        else:
            notes.missing[one.photo_id] = "its licence does not allow passing it on"


def _write(rows: Iterator[dict[str, Any]], path: Path) -> int:
    """Write the rows in groups of bounded size, for a text column has 32-bit offsets; returns how many."""
    count, num_bytes = 0, 0
    part: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, COLUMNS, compression="zstd") as writer:
        for row in rows:
            part.append(row)
            num_bytes += len(row["image"])
            count += 1
            if num_bytes > BYTES_PER_PART:
                writer.write_table(pa.Table.from_pylist(part, COLUMNS))
                part, num_bytes = [], 0
        if part:
            writer.write_table(pa.Table.from_pylist(part, COLUMNS))
    return count
