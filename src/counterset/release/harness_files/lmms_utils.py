"""What lmms-eval asks of a task: the photo, the prompt, and what an answer is worth."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

_LOADER = SourceFileLoader("counterset_reading", str(Path(__file__).with_name("reading.py")))
_READING = ModuleType(_LOADER.name)  # lmms-eval reads this file from its place, so `import reading` would not find it
_LOADER.exec_module(_READING)


def photo(question: Mapping[str, Any]) -> list[Image.Image]:
    """The photo of a question, in RGB."""
    with Image.open(Path(__file__).parent / question["photo"]) as image:
        return [image.convert("RGB")]


def prompt(question: Mapping[str, Any]) -> str:
    """The question with its lettered options, one per line."""
    options = zip(string.ascii_uppercase, question["options"], strict=False)
    lines = [question["question"], *(f"{letter}. {option}" for letter, option in options)]
    return "\n".join([*lines, "Answer with the letter of one option only."])


def results(question: Mapping[str, Any], answers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """One answer's row for every metric that counts it.

    The clustered standard error of lmms-eval is that of a mean over photos, so only rows of the photo averages have the
    `score` from which it is computed.
    """
    chosen = _READING.letter_of(answers[0], question["options"])
    row = {name: question[name] for name in ("split", "class_id", "unit")}
    row["is_correct"] = chosen == question["answer"]
    scored = row | {"score": float(row["is_correct"])}
    split = question["split"]
    return {split: row, f"photo_average_{split}": scored, "drop": row, "drop_stderr": row}
