"""`MODEL/TAG` as open_clip lists it, or `ARCHITECTURE@CHECKPOINT`: names without a prefix."""

from __future__ import annotations

from pathlib import Path

from counterset.models.image_text import ImageTextModel
from counterset.models.precision import Backend


class CheckpointModel(ImageTextModel):
    """A checkpoint of an architecture."""

    @property
    def origin(self) -> str:
        """The checkpoint's path."""
        return str(self._path.resolve())

    @property
    def cached(self) -> Path | None:
        """The checkpoint, if it is there."""
        return self._path if self._path.is_file() else None

    @property
    def _path(self) -> Path:
        return Path(self.name.partition("@")[2])


def open_model(name: str, backend: Backend) -> ImageTextModel:
    """The checkpoint, or the model of the tag."""
    return CheckpointModel(name, backend) if "@" in name else ImageTextModel(name, backend)
