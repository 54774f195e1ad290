"""Which class a caption says, by phrases; a caption that says several, or what its class excludes, says none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from counterset.classes import ClassSpec
from counterset.errors import SourceError
from counterset.manifests import read_csv
from counterset.sources.matching import Phrases, words_of


class Said(NamedTuple):
    """What texts say: one class, and, where this cannot be told for sure, why not.

    Attributes:
        class_id: "" = no class at all. Of several classes, the first of the class list.
        doubt: "" = none.
    """

    class_id: str
    doubt: str = ""


class ClassPhrases:
    """The phrases by which texts say classes.

    A phrase within a longer one of another class does not count: `sea lion` does not say the class lion. An exclusion
    counts wherever it stands. Classes that are not built count too, so a photo's class does not depend on which are.

    Args:
        path: of a CSV with the columns class_id, phrases and excludes, the last two separated by |. A class without
            phrases is said by its name.
        specs: the classes to build.

    Raises:
        ConfigError: the file cannot be read.
        SourceError: it names a class twice, or a phrase of two classes.
    """

    def __init__(self, path: str, specs: Sequence[ClassSpec]) -> None:
        phrases = {spec.class_id: [spec.name] for spec in specs}
        excludes: dict[str, list[str]] = {}
        for row in read_csv(Path(path), "the phrases of classes", "set source.match to a CSV file"):
            class_id = (row.get("class_id") or "").strip()
            if not class_id or class_id in excludes:
                raise SourceError(f"{path} has {class_id!r} as a class_id twice or not at all; give one row per class")
            excludes[class_id] = _parts(row.get("excludes"))
            phrases[class_id] = _parts(row.get("phrases")) or phrases.get(class_id, [])
        self._rank = {class_id: place for place, class_id in enumerate(phrases)}
        self._built = {spec.class_id for spec in specs}
        self._says: dict[str, str] = {}
        self._excluding: dict[str, set[str]] = {}
        for class_id, named in phrases.items():
            for phrase in named:
                other = self._says.setdefault(_plain(phrase, path), class_id)
                if other != class_id:
                    raise SourceError(
                        f"{phrase!r} stands for the classes {other!r} and {class_id!r} in {path} and the class list; "
                        "give it to one of them, and the other phrases of its own"
                    )
        for class_id, named in excludes.items():
            for phrase in named:
                self._excluding.setdefault(_plain(phrase, path), set()).add(class_id)
        self._names = list(dict.fromkeys([*self._says, *self._excluding]))
        self._phrases = Phrases(self._names)

    def said(self, texts: Sequence[Sequence[str]]) -> list[Said]:
        """What each text says, given as its parts."""
        found = self._phrases.find(texts)
        spans: dict[int, list[tuple[str, int, int]]] = {}
        for text, phrase, start, end in zip(*(part.tolist() for part in found), strict=True):
            spans.setdefault(text, []).append((self._names[phrase], start, end))
        return [self._of(spans[place]) if place in spans else Said("") for place in range(len(texts))]

    def _of(self, spans: Sequence[tuple[str, int, int]]) -> Said:
        says = [(self._says[phrase], first, last) for phrase, first, last in spans if phrase in self._says]
        phrase_of: dict[str, str] = {}
        for phrase, start, end in spans:
            class_id = self._says.get(phrase)
            if class_id is not None and not any(
                first <= start and end <= last and last - first > end - start and other != class_id
                for other, first, last in says
            ):
                phrase_of.setdefault(class_id, phrase)
        unwanted = {
            class_id: phrase for phrase, _, _ in reversed(spans) for class_id in self._excluding.get(phrase, ())
        }
        clear = [class_id for class_id in phrase_of if class_id not in unwanted]
        named = sorted(clear or phrase_of, key=self._rank.__getitem__)
        first = next((class_id for class_id in named if class_id in self._built), "")
        if not first:
            return Said("")
        if len(named) > 1 and clear:
            return Said(first, "says " + " and ".join(f"{phrase_of[class_id]!r}" for class_id in named))
        if not clear:
            return Said(first, f"says {phrase_of[first]!r}, and {unwanted[first]!r}, which {first} excludes")
        return Said(first)


def _parts(text: str | None) -> list[str]:
    return [part for part in map(str.strip, (text or "").split("|")) if part]


def _plain(phrase: str, path: str) -> str:
    words = words_of(phrase)
    if not words:
        raise SourceError(f"{phrase!r} in {path} has no letter or digit; remove it, or write what captions say")
    return " ".join(words)
