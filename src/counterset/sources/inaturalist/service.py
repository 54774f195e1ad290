"""What both sources of iNaturalist's photos say of themselves: hosts, limits, and photos' pages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from counterset.classes import ClassSpec
from counterset.sources import BYTES_PER_PIXEL, Foresight, Source
from counterset.sources.budget import Budget, Limit, request_limits
from counterset.sources.inaturalist.client import REQUESTS
from counterset.sources.inaturalist.observations import page_url
from counterset.sources.inaturalist.settings import ServiceConfig
from counterset.sources.inaturalist.taxa import check_have_taxa

SIDE_PX = {"small": 240, "medium": 500, "large": 1024, "original": 2048}
"""The longer side of a photo, by `source.photo_size`."""


class ServiceSource(Source):
    """A source of iNaturalist's photos."""

    hosts = ("*",)
    is_by_taxon = True
    config: ServiceConfig

    @abstractmethod
    def __init__(
        self, config: ServiceConfig, state: Path, seed: int = 0, *, budget: Budget | None = None, look: int = 0
    ) -> None:
        super().__init__(config, seed)

    @classmethod
    def open(cls, config: ServiceConfig, *, state: Path, seed: int, budget: Budget, look: int) -> Self:
        return cls(config, state, seed, budget=budget, look=look)

    def foresee(self, specs: tuple[ClassSpec, ...]) -> Foresight:
        """Nothing but that each class names a taxon: how many photos there are only the service knows.

        Raises:
            SourceError: one does not.
        """
        check_have_taxa(specs)
        photos = self.config.photos_per_class * len(specs)
        pixels = SIDE_PX[self.config.photo_size] ** 2 * 3 / 4
        return Foresight({}, BYTES_PER_PIXEL * pixels, self.requests(len(specs), photos))

    @abstractmethod
    def requests(self, num_classes: int, photos: int) -> int:
        """The requests that so many photos take at the least; each is asked for once more before it is published."""

    @classmethod
    def page_url(cls, photo_id: str, url: str) -> str | None:
        return page_url(photo_id)

    @classmethod
    def limits(cls, config: ServiceConfig) -> Mapping[str, tuple[Limit, ...]]:
        asked = request_limits(config.requests_per_minute, config.requests_per_day)
        return {REQUESTS: asked, **super().limits(config)}
