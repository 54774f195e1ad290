"""What a model's words mean: one of the options that it was shown, or one of some labels, or none.

It needs the standard library alone.
"""

from __future__ import annotations

import functools
import re
import string
import unicodedata
from collections.abc import Mapping, Sequence

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_ALONE = re.compile(r"[\W_]*(?:(?:option|answer|boxed|text)[\W_]*)*([A-Z])[\W_]*\Z", re.IGNORECASE)
# a capital by itself, and not the first word of "I think"
_LETTER = (
    r"""["'\s*_(\[$]*(?:(?i:option)\s+)?[\s*_(\[]*(?:\\(?:boxed|text)\{)*([A-Z])(?![A-Za-z0-9_'’-])(?!(?<=I)\s+[a-z])"""
)
_ANSWER = re.compile(r"""(?:\b(?i:answer|letter)(?i:\s+is)?|答案(?:是|为)?)["'\s*_]*[:=]?""" + _LETTER)
_FIRST = re.compile(r"[\s*_(\[]*([A-Z])[\s*_]*(?:[).:\]](?=[\s*_]|\Z)|\n)")
_OPTION = re.compile(r"\b(?i:option|choice)(?i:\s+is)?\s*[:=]?" + _LETTER)
_ARTICLES = ("a", "an", "the")


def letter_of(answer: str, options: Sequence[str]) -> str | None:
    """The letter of the option that an answer means, or None; the first option is A.

    What a model thought before it answered does not count. An answer means, by the first of these that it has: the
    letter that it is apart from punctuation; the last letter that it calls its answer; the letter that it begins with,
    where a dot, colon, bracket or line break follows; the last letter that it calls its option or choice; the one
    option that it names (`label_of`). Where it begins with a letter and names another option behind it, it means none;
    of "the answer is A lion" the A is an article if lion is an option.
    """
    said = _TAG.sub(lambda tag: " " if tag[1] else " Answer: ", unicodedata.normalize("NFKC", answered(answer)))
    letters = string.ascii_uppercase[: len(options)]
    if found := _ALONE.match(said):
        letter = found[1].upper()
    elif found := _last(_ANSWER, said):
        letter = found[1]
        if letter == "A" and (named := _first_named(said[found.end(1) :], options)):
            letter = letters[list(options).index(named)]
    elif found := _FIRST.match(said):
        letter = found[1]
        named = label_of(said[found.end() :], options)
        if named is not None and named != (options[letters.index(letter)] if letter in letters else None):
            return None
    elif found := _last(_OPTION, said):
        letter = found[1]
    else:
        named = label_of(said, options)
        letter = "" if named is None else letters[list(options).index(named)]
    return letter if letter and letter in letters else None


def label_of(answer: str, labels: Sequence[str]) -> str | None:
    """The one label that an answer names, or None.

    Case, punctuation and a leading article do not count. An answer that is no label by itself names the one that stands
    in it as whole words; of a name within another name ("bear" in "brown bear") only the longer counts, and two
    different ones are no answer, nor is one that two labels share ("C" of "C+" and "C#").
    """
    exact, by_words = _read(tuple(labels))
    if (label := exact.get(_folded(answer))) is not None:
        return label
    said = words_of(answer)
    found = [words for words in by_words if _without_article(said) == words]
    if not found:
        named = [words for words in by_words if _holds(said, words)]
        found = [words for words in named if not any(words != other and _holds(other, words) for other in named)]
    meant = by_words[found[0]] if len(found) == 1 else ()
    return meant[0] if len(meant) == 1 else None


def answered(answer: str) -> str:
    """An answer without what the model thought before it."""
    return _THOUGHT.sub("", answer).strip()


def words_of(text: str) -> str:
    """A text's words as they are compared, a space between each two: `The red-fox's den!` has the, red, fox, s, den.

    Unicode's compatibility form and full case folding; whatever is no letter, digit or mark of a letter parts words.
    """
    kinds = ((char, unicodedata.category(char)) for char in _folded(text))
    return " ".join("".join(char if kind[0] in "LNM" else "" if kind == "Cf" else " " for char, kind in kinds).split())


def _folded(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


@functools.lru_cache(maxsize=64)
def _read(labels: tuple[str, ...]) -> tuple[Mapping[str, str], Mapping[str, tuple[str, ...]]]:
    """Labels as they are written, and those of the same words by these."""
    by_words: dict[str, tuple[str, ...]] = {}
    for label in labels:
        if words := _without_article(words_of(label)):
            by_words[words] = (*by_words.get(words, ()), label)
    return {_folded(label): label for label in labels if label.strip()}, by_words


def _without_article(words: str) -> str:
    first, _, rest = words.partition(" ")
    return rest if rest and first in _ARTICLES else words


def _holds(words: str, part: str) -> bool:
    return f" {part} " in f" {words} "


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(reversed(list(pattern.finditer(text))), None)


def _first_named(text: str, labels: Sequence[str]) -> str | None:
    """The longest label with whose words a text begins right away."""
    words = f"{words_of(text)} "
    begins = [label for label in labels if text[:1] == " " and words.startswith(f"{words_of(label)} ")]
    return max(begins, key=len, default=None)
