"""Background vocabularies: the names a photo's background can have, and how prompts say them.

A vocabulary is a CSV: `background` (the name), `phrases` (ways to say it after "a photo of
a bear", separated by |), `excludes` (phrases for what looks like it but is not meant,
separated by |: a photo for which one of them is likelier than every background abstains).
The prompts around the phrases are data too: `data_manifests/backgrounds/templates.csv`. A vocabulary of another cue
than the background (light, weather, season) has prompts of its own beside it, in `<its name>.prompts.csv`, which also
say what the cue is called.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from counterset.classes import normal_name, tidy_name
from counterset.errors import ConfigError
from counterset.manifests import manifest_path, read_csv

BACKGROUND = "background"
"""The cue that a vocabulary without prompts of its own names."""

_PLACES_IN = {"place": ("phrase",), "scene": ("animal", "phrase"), "animal": ("animal",)}
"""Use of a prompt -> what stands in it in braces."""


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
    path = _vocabulary_path(source)
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


def prompts_path(source: str) -> Path:
    """Where a vocabulary (packaged name or CSV path) has prompts of its own, if it has any."""
    path = _vocabulary_path(source)
    return path.with_name(f"{path.stem}.prompts.csv")


def load_cue(source: str) -> str:
    """What the names of a vocabulary are kinds of: `background`, unless its own prompts say otherwise.

    Raises:
        ConfigError: they cannot be read.
    """
    own = _own_prompts(source)
    return own["cue"][0] if own else BACKGROUND


def load_elsewhere(source: str = "") -> tuple[str, ...]:
    """Phrases of many other places, and of photos without any, that a photo's name is compared with.

    A vocabulary with prompts of its own has those that they give, or none.

    Raises:
        ConfigError: its prompts cannot be read.
    """
    if source and (own := _own_prompts(source)):
        return own["elsewhere"]
    path = manifest_path("backgrounds/elsewhere.csv")
    return tuple(row["phrase"] for row in read_csv(path, "the other places", "install counterset again"))


def excluded_phrases(vocabulary: Sequence[Background]) -> tuple[str, ...]:
    """Every phrase that some background excludes, once each, in the vocabulary's order."""
    return tuple(dict.fromkeys(phrase for background in vocabulary for phrase in background.excludes))


def load_templates(source: str = "") -> Templates:
    """The prompts of a vocabulary: those beside it, or else the packaged ones.

    Raises:
        ConfigError: its own cannot be read.
    """
    by_use = _own_prompts(source) if source else {}
    by_use = by_use or _by_use(manifest_path("backgrounds/templates.csv"))
    return Templates(**{use: by_use[use] for use in _PLACES_IN})


def _own_prompts(source: str) -> dict[str, tuple[str, ...]]:
    """Use -> texts, of a vocabulary that has prompts of its own; empty where it has none."""
    path = prompts_path(source)
    if not path.is_file():
        return {}
    by_use = _by_use(path)
    for use, wanted in _PLACES_IN.items():
        for template in by_use[use]:
            found = tuple(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)
            if set(found) != set(wanted):
                said = " and ".join(f"{{{name}}}" for name in wanted)
                raise ConfigError(f"the prompt {template!r} of {path} must have {said} and nothing else in braces")
    if not by_use["place"] or not by_use["scene"] or len(by_use["animal"]) != len(by_use["scene"]):
        raise ConfigError(f"{path} needs prompts of the use place and scene, and one of the use animal for each scene")
    if len(by_use["cue"]) != 1:
        raise ConfigError(f"{path} needs one row of the use cue: what its names are kinds of, such as light")
    return by_use


def _by_use(path: Path) -> dict[str, tuple[str, ...]]:
    rows = read_csv(path, "the prompts", "put the file beside its vocabulary")
    uses = (*_PLACES_IN, "cue", "elsewhere")
    if unknown := next((row.get("use") for row in rows if row.get("use") not in uses), None) if rows else None:
        raise ConfigError(f"{path} has a row of the use {unknown!r}; use one of {', '.join(uses)}")
    texts = [(row.get("use"), tidy_name(row.get("template") or "")) for row in rows]
    return {use: tuple(text for of, text in texts if of == use and text) for use in uses}


def _vocabulary_path(source: str) -> Path:
    return Path(source) if source.endswith(".csv") else manifest_path(f"backgrounds/{source}.csv")


def _parts(text: str | None) -> tuple[str, ...]:
    return tuple(tidy_name(part) for part in (text or "").split("|") if part.strip())
