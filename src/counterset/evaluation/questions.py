"""What a model is asked about a photo in words, and which label its words mean."""

from __future__ import annotations

import re
from collections.abc import Sequence

from counterset.evaluation.answers import label_of
from counterset.release.questions import LETTERS, QUESTION

OPEN_QUESTION = "What does this photo show? Answer with the name of its main subject alone."

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_ALONE = re.compile(r"\W*(?:option|answer|boxed)?\W*([A-Z])\W*\Z", re.IGNORECASE)
_FIRST = re.compile(r"[\s*_(\[]*([A-Z])[\s*_]*(?:[).:\]](?=[\s*_]|\Z)|\n)")
_STATED = re.compile(r"\b(?i:answer|option|choice)(?i: is)?\s*[:=]?[\s*_(\[]*(?:\\boxed\{)?([A-Z])\b(?!['’])")
_REFUSALS = re.compile(
    r"\b(i am|i'm|i’m) (sorry|unable|not able)\b|\b(i|we) (cannot|can't|can’t|can not|won't|will not) "
    r"(assist|help|answer|identify|provide|comply|analy[sz]e|view|see|process)\b|\bas an ai\b",
    re.IGNORECASE,
)


def choice_question(options: Sequence[str]) -> str:
    """Which of these; at most as many as there are letters."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([QUESTION, *lines, "Answer with the letter of one option only."])


def chosen(answer: str, options: Sequence[str]) -> str | None:
    """The option that an answer to `choice_question` means, or None.

    What a model thought before it answered does not count. An answer means, by the first of these that it has: the
    letter that it is apart from punctuation; the letter that it begins with, where a dot, colon or bracket follows; the
    last letter that it calls its answer, option or choice; the one option that it names (`label_of`). Where it begins
    with a letter and names another option behind it, it means none.
    """
    said = _THOUGHT.sub("", answer).strip()
    if found := _ALONE.match(said):
        return _option(found[1], options)
    if found := _FIRST.match(said):
        option, named = _option(found[1], options), label_of(said[found.end() :], options)
        return option if named in (option, None) else None
    if stated := _STATED.findall(said):
        return _option(stated[-1], options)
    return label_of(said, options)


def named(answer: str, labels: Sequence[str]) -> str | None:
    """The label that an answer to `OPEN_QUESTION` names (`label_of`), or None."""
    return label_of(_THOUGHT.sub("", answer), labels)


def refuses(answer: str) -> bool:
    """Whether an answer that means no option says that there will be none."""
    return _REFUSALS.search(answer) is not None


def _option(letter: str, options: Sequence[str]) -> str | None:
    place = LETTERS.index(letter.upper())
    return options[place] if place < len(options) else None
