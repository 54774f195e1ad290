"""What both sources of iNaturalist's photos say of themselves: hosts, limits, and photos' pages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from counterset.classes import ClassSpec
from counterset.sources import BYTES_PER_PIXEL, Crawl, Foresight, Source
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
        self._standing: list[pa.Array] = []

    def stands(self, crawl: Crawl) -> Crawl:
        """The same; its candidates were asked about one by one just now, so `recheck` of this run need not."""
        self._standing.append(_named(crawl.candidates))
        return crawl

    def unasked(self, candidates: pa.Table) -> pa.Table:
        """Those of some candidates of which nothing was said in this run."""
        if not self._standing:
            return candidates
        return candidates.filter(pc.invert(pc.is_in(_named(candidates), pa.concat_arrays(self._standing))))

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


def _named(candidates: pa.Table) -> pa.Array:
    """(N,) each candidate as a photo of its class, for a photo may stand in one class and not in another."""
    columns = (candidates[name].combine_chunks() for name in ("class_id", "photo_id"))
    return pc.binary_join_element_wise(*columns, "/")
