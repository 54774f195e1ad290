"""Background vocabularies: the names a photo's background can have, and how prompts say them.

A vocabulary is a CSV: `background` (the name), `phrases` (ways to say it after "a photo of
a bear", separated by |), `excludes` (phrases for what looks like it but is not meant,
separated by |: a photo for which one of them is likelier than every background abstains).
The prompts around the phrases are data too: `data_manifests/backgrounds/templates.csv`.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from counterset.classes import normal_name, tidy_name
from counterset.errors import ConfigError
from counterset.manifests import manifest_path, read_csv


@dataclass(frozen=True)
class Background:
    """One background: its name, the phrases that say it, and phrases for what it does not cover."""

    name: str
    phrases: tuple[str, ...]
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Templates:
    """Prompts around a phrase.

    Attributes:
        place: of a background alone, with {phrase}.
        scene: of an animal on it, with {animal} and {phrase}.
        animal: of the animal alone, with {animal}; one for each of `scene`.
    """

    place: tuple[str, ...]
    scene: tuple[str, ...]
    animal: tuple[str, ...]


def load_vocabulary(source: str) -> tuple[Background, ...]:
    """Read a vocabulary (packaged name or CSV path), in the file's order.

    Raises:
        ConfigError: no such vocabulary, not CSV in UTF-8, fewer than two names, or one without phrases.
    """
    path = Path(source) if source.endswith(".csv") else manifest_path(f"backgrounds/{source}.csv")
    rows = read_csv(path, "the vocabulary", "set annotate.vocabulary to a CSV or a packaged name")
    vocabulary = tuple(
        Background(tidy_name(row.get("background") or ""), _parts(row.get("phrases")), _parts(row.get("excludes")))
        for row in rows
    )
    names = [background.name for background in vocabulary]
    if len(names) < 2 or len({normal_name(name) for name in names}) < len(names):
        raise ConfigError(f"the vocabulary {path} needs at least two backgrounds, each named once")
    for background in vocabulary:
        if not background.name or not background.phrases:
            raise ConfigError(f"the vocabulary {path} has a background without a name or phrases; fill them in")
    return vocabulary


def load_elsewhere() -> tuple[str, ...]:
    """Phrases of many other places, and of photos without any, that a photo's name is compared with."""
    path = manifest_path("backgrounds/elsewhere.csv")
    return tuple(row["phrase"] for row in read_csv(path, "the other places", "install counterset again"))


def excluded_phrases(vocabulary: Sequence[Background]) -> tuple[str, ...]:
    """Every phrase that some background excludes, once each, in the vocabulary's order."""
    return tuple(dict.fromkeys(phrase for background in vocabulary for phrase in background.excludes))


def load_templates() -> Templates:
    """The packaged prompts."""
    with manifest_path("backgrounds/templates.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    by_use = {use: tuple(row["template"] for row in rows if row["use"] == use) for use in ("place", "scene", "animal")}
    return Templates(**by_use)


def _parts(text: str | None) -> tuple[str, ...]:
    return tuple(tidy_name(part) for part in (text or "").split("|") if part.strip())
