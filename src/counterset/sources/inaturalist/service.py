"""What both sources of iNaturalist's photos say of themselves: hosts, limits, and photos' pages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from counterset.sources import Source
from counterset.sources.budget import Budget, Limit, request_limits
from counterset.sources.inaturalist.client import REQUESTS
from counterset.sources.inaturalist.observations import page_url
from counterset.sources.inaturalist.settings import ServiceConfig


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

    @classmethod
    def page_url(cls, photo_id: str, url: str) -> str | None:
        return page_url(photo_id)

    @classmethod
    def limits(cls, config: ServiceConfig) -> Mapping[str, tuple[Limit, ...]]:
        asked = request_limits(config.requests_per_minute, config.requests_per_day)
        return {REQUESTS: asked, **super().limits(config)}
