"""The one place that knows all sources: `source.kind` chooses, and the rest of the build does not know."""

from __future__ import annotations

from pathlib import Path

from counterset.config import SourceConfig
from counterset.sources import Source
from counterset.sources.inaturalist import INaturalistSource, OnProgress


def make_source(config: SourceConfig, state: Path, seed: int, on_progress: OnProgress | None = None) -> Source:
    """The source that `config.kind` names; `state` is its folder for resume state and budget.

    Raises:
        ConfigError: the config lacks what this source needs.
    """
    return INaturalistSource(config, state, seed, on_progress=on_progress)
