"""Background vocabularies: the names a photo's background can have, and how prompts say them.

A vocabulary is a CSV: `background` (the name), `phrases` (ways to say it after "a photo of
a bear", separated by |), `excludes` (names that it does not cover, separated by ;).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from counterset.errors import ConfigError
from counterset.manifests import manifest_path


@dataclass(frozen=True)
class Background:
    """One background: its name, the phrases that say it, and the names it does not cover."""

    name: str
    phrases: tuple[str, ...]
    excludes: tuple[str, ...] = ()


def load_vocabulary(source: str) -> tuple[Background, ...]:
    """Read a vocabulary (packaged name or CSV path), in the file's order.

    Raises:
        ConfigError: no such vocabulary, fewer than two names, or one without phrases.
    """
    path = Path(source) if source.endswith(".csv") else manifest_path(f"backgrounds/{source}.csv")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ConfigError(
            f"cannot read the vocabulary {path}: {error.strerror}; set annotate.vocabulary to a CSV or a packaged name"
        ) from error
    vocabulary = tuple(
        Background(
            name=(row.get("background") or "").strip(),
            phrases=tuple(part.strip() for part in (row.get("phrases") or "").split("|") if part.strip()),
            excludes=tuple(part.strip() for part in (row.get("excludes") or "").split(";") if part.strip()),
        )
        for row in rows
    )
    names = [background.name for background in vocabulary]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(f"the vocabulary {path} needs at least two backgrounds, each named once")
    for background in vocabulary:
        if not background.name or not background.phrases:
            raise ConfigError(f"the vocabulary {path} has a background without a name or phrases; fill them in")
    return vocabulary
