"""`timm:NAME`, `timm:ARCHITECTURE@CHECKPOINT` or `timm:local-dir:FOLDER`: a classifier of timm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm

from counterset.models.fixed_classes import FixedClassModel, FolderOfClassifier
from counterset.models.image_text import in_hub_cache
from counterset.models.lineage import data_of_tag
from counterset.models.precision import Backend

TAG_DATA = {"in1k": ("ImageNet-1K",), **dict.fromkeys(("in12k", "in21k", "in22k"), ("ImageNet-21K",))}
"""What a part of a timm tag says of the data."""


class TimmModel(FixedClassModel):
    """A classifier with weights of timm."""

    @property
    def trained_on(self) -> frozenset[str]:
        """As timm's tags say: `augreg_in21k_ft_in1k` saw ImageNet-21K, then ImageNet-1K."""
        tag = (self._pretrained.tag if self._pretrained else "") or ""
        return frozenset(data for part in tag.split("_") for data in TAG_DATA.get(part, ())) | data_of_tag(tag)

    @property
    def cached(self) -> Path | None:
        """A file of its weights on this machine."""
        repository = self._pretrained.hf_hub_id if self._pretrained else None
        return in_hub_cache(repository) if repository else None

    @property
    def _pretrained(self) -> Any:
        return timm.get_pretrained_cfg(self.name.removeprefix("timm:"), allow_unregistered=True)


class TimmCheckpoint(FixedClassModel):
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


def open_model(name: str, backend: Backend) -> FixedClassModel:
    """The classifier of a folder, a checkpoint or a name of timm."""
    _, is_folder, folder = name.partition("local-dir:")
    if is_folder:
        return FolderOfClassifier(name, Path(folder))
    return TimmCheckpoint(name) if "@" in name else TimmModel(name)
