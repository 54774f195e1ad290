"""The one place that knows all sources: `source.kind` chooses, and the rest of the build does not know."""

from __future__ import annotations

from pathlib import Path

from counterset.config import SourceConfig
from counterset.sources import Source
from counterset.sources.budget import Budget
from counterset.sources.folder import FolderSource
from counterset.sources.inaturalist.api import INaturalistSource, OnProgress
from counterset.sources.inaturalist.open_data import OpenDataSource
from counterset.sources.url_list import UrlListSource


def make_source(
    config: SourceConfig,
    state: Path,
    seed: int,
    on_progress: OnProgress | None = None,
    budget: Budget | None = None,
    look: int = 0,
) -> Source:
    """The source that `config.kind` names.

    Args:
        state: folder of resume state and budget, for the sources that ask a service.
        seed: of the choice among acceptable photos.
        on_progress: called with a class and the observations read so far.
        budget: of all requests; one in `state` by default. Builds with several
            states share one by `inaturalist.build_budget(config, folder)`.
        look: number of the look at the source; what was asked in it is not asked again. 0 = always look again.

    Raises:
        ConfigError: the config lacks what this source needs.
    """
    match config.kind:
        case "inaturalist":
            return INaturalistSource(config, state, seed, on_progress=on_progress, budget=budget, look=look)
        case "open_data":
            return OpenDataSource(config, state, seed, on_progress=on_progress, budget=budget, look=look)
        case "url_list":
            return UrlListSource(config, seed)
        case "folder":
            return FolderSource(config, seed)


def input_files(config: SourceConfig) -> list[Path]:
    """The visible local files that a source reads, all below `source.path`: a changed one is to be read anew.

    Those of the Open Data tables are not among them: that source knows another snapshot by itself.
    """
    path = Path(config.path)
    if not config.path or config.kind == "open_data" or not path.exists():
        return []
    if not path.is_dir():
        return [path]
    files = [file for file in path.rglob("*") if file.is_file()]
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts))
