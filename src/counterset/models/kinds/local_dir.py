"""`local-dir:FOLDER`: an open_clip model in a folder."""

from __future__ import annotations

from pathlib import Path

from counterset.models.image_text import FolderModel
from counterset.models.precision import Backend


def open_model(name: str, backend: Backend) -> FolderModel:
    """The model of the folder."""
    return FolderModel(name, backend, Path(name.removeprefix("local-dir:")))
