"""What a model is asked about a photo in words, and which label its words mean."""

from __future__ import annotations

import re
from collections.abc import Sequence

from counterset.release.harness_files.reading import answered, label_of, letter_of
from counterset.release.questions import LETTERS, QUESTION

OPEN_QUESTION = "What does this photo show? Answer with the name of its main subject alone."

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
    """The option that an answer to `choice_question` means, or None, by the rule that lmms-eval is given too."""
    letter = letter_of(answer, options)
    return None if letter is None else options[LETTERS.index(letter)]


def named(answer: str, labels: Sequence[str]) -> str | None:
    """The label that an answer to `OPEN_QUESTION` names, or None."""
    return label_of(answered(answer), labels)


def refuses(answer: str) -> bool:
    """Whether an answer that means no option says that there will be none."""
    return _REFUSALS.search(answer) is not None
