"""`hf-hub:REPOSITORY`: an open_clip model of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from counterset.models.image_text import ImageTextModel, in_hub_cache
from counterset.models.lineage import data_of_repository


class HubModel(ImageTextModel):
    """An open_clip model of a repository."""

    @property
    def origin(self) -> str:
        """The repository."""
        return self.name.removeprefix("hf-hub:")

    @property
    def trained_on(self) -> frozenset[str]:
        """Of the tag that open_clip has for the repository, or by its name."""
        return data_of_repository(self.origin)

    @property
    def cached(self) -> Path | None:
        """A file of its weights on this machine."""
        return in_hub_cache(self.origin)


open_model = HubModel
