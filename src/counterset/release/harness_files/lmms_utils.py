"""What lmms-eval asks of a task: the photo, the prompt, and what an answer is worth."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image


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
    chosen = letter_of(answers[0], question["options"])
    row = {name: question[name] for name in ("split", "class_id", "unit")}
    row["is_correct"] = chosen == question["answer"]
    scored = row | {"score": float(row["is_correct"])}
    split = question["split"]
    return {split: row, f"photo_average_{split}": scored, "drop": row, "drop_stderr": row}


def letter_of(answer: str, options: Sequence[str]) -> str | None:
    """The letter that an answer gives, or None.

    It is, in this order: the answer as a whole, apart from punctuation; the last letter that follows "answer is" or
    "answer:"; the letter that the answer begins with, if a dot, bracket or colon follows; the letter of the only option
    whose name the answer holds as whole words (of a name within another name, only the longer counts).
    """
    letters = string.ascii_uppercase[: len(options)]
    whole = re.fullmatch(r"[\W_]*([A-Za-z])[\W_]*", answer)
    said = re.findall(r"(?i:answer(?:\s+is)?)\s*:?[\s*_(]*([A-Z])\b(?![\w'-])", answer)
    first = re.match(r"[\s*_(]*([A-Z])[).:*]", answer)
    for letter in (whole and whole[1].upper(), said[-1] if said else None, first and first[1]):
        if letter:
            return letter if letter in letters else None
    text = f" {_words(answer)} "
    named = [option for option in options if f" {_words(option)} " in text]
    longest = [one for one in named if not any(one != other and _words(one) in _words(other) for other in named)]
    return letters[list(options).index(longest[0])] if len(longest) == 1 else None


def _words(text: str) -> str:
    return " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())
