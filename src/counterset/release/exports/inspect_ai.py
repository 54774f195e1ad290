"""A task of Inspect, the UK AI Security Institute's harness."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from counterset.release.exporting import Exported, Notes, Photos, new_folder
from counterset.release.questions import Candidates, Questions, copy_file, write_questions


def export(release: Photos, folder: str | Path, candidates: Mapping[str, Candidates] | None = None) -> Exported:
    """`task.py`, `questions.jsonl` and `photos`: `inspect eval task.py --model MODEL` in the folder."""
    notes = Notes()
    with new_folder(folder) as target:
        count = write_questions(release, Questions(release, candidates), target, notes)
        copy_file("inspect_task.py", target / "task.py")
        copy_file("figures.py", target / "figures.py")
    return notes.exported(folder, count)
