"""What a build will cost, before anything is downloaded: requests, bytes, hours, disk. Estimates, by stated rates."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from counterset.models.operations import operations_of
from counterset.sources import Foresight
from counterset.sources.budget import MEDIA_BYTES, Limit
from counterset.sources.inaturalist.client import REQUESTS
from counterset.steps.keys import Build

MS_PER_GIGA_OPERATION = (24.0 / 8.7, 105.7 / 8.7)
"""Milliseconds of one core, decoding included: in bfloat16 where the processor multiplies it, and in float32. Measured
with ViT-B/32, whose photo takes 8.7 billion operations (docs/speed.md); other models are taken to do as well."""
GPU_SHARE = 0.3
"""Of a GPU's peak in half precision that is taken to be reached. Assumed, not measured."""
DECODE_MS = 1.0
"""Milliseconds of one core per photo and model, before its pixels are at a GPU (docs/speed.md)."""
TABLE_BYTES = 2_000
"""Per photo, of all tables but photos and vectors."""


@dataclass(frozen=True)
class Costs:
    """What one build from nothing takes.

    Attributes:
        photos: that are downloaded.
        requests: to the source, at the least.
        media_bytes: of the photos.
        ask_hours, download_hours: at the least, within the source's limits.
        embed_hours: on this machine's processors: with bfloat16, and without.
        unknown_models: whose time cannot be told from their name.
        disk_bytes: of the workspace and one release.
        processors: of this machine.
        gpu_hours: embedding with a GPU: what takes longer, decoding or multiplying; None = no GPU was named.
    """

    photos: int
    requests: int
    media_bytes: float
    ask_hours: float
    download_hours: float
    embed_hours: tuple[float, float]
    unknown_models: tuple[str, ...]
    disk_bytes: float
    processors: int
    gpu_hours: float | None = None

    def money(self, price_per_hour: float) -> float:
        """What a rented machine costs that asks, downloads and embeds, each at the least time that it takes."""
        embed = self.embed_hours[0] if self.gpu_hours is None else self.gpu_hours
        return price_per_hour * (self.ask_hours + self.download_hours + embed)


def costs_of(build: Build, offered: Foresight, processors: int | None = None, gpu_tflops: float | None = None) -> Costs:
    """The costs of a first build.

    Args:
        build: its config.
        offered: what its source offers.
        processors: of the machine; None = those of this one.
        gpu_tflops: a GPU's peak in half precision, in 1e12 operations per second; None = no GPU.
    """
    config = build.config
    wanted = config.source.photos_per_class
    photos = sum(min(offered.photos.get(spec.class_id, wanted), wanted) for spec in build.specs)
    media = photos * offered.photo_bytes
    limits = build.source_kind.limits(config.source)
    costs = {model: operations_of(model) for model in build.model_names}
    known = [cost for cost in costs.values() if cost is not None]
    processors = processors or len(os.sched_getaffinity(0))
    giga = photos * sum(cost.giga_operations for cost in known)
    quick, slow = (giga * ms / 1e3 / 3600 / processors for ms in MS_PER_GIGA_OPERATION)
    gpu_hours = None
    if gpu_tflops is not None:
        decode_s = photos * len(costs) * DECODE_MS / 1e3 / processors
        gpu_hours = max(decode_s, giga / (gpu_tflops * 1e3 * GPU_SHARE)) / 3600
    vectors = photos * 4 * sum(cost.embedding_dim for cost in known)
    copies = 2 if config.publish.with_images else 1
    return Costs(
        photos,
        offered.requests,
        media,
        _hours(offered.requests, limits.get(REQUESTS, ())),
        0.0 if offered.is_local else _hours(media, limits.get(MEDIA_BYTES, ())),
        (quick, slow),
        tuple(model for model, cost in costs.items() if cost is None),
        copies * media + vectors + photos * TABLE_BYTES,
        processors,
        gpu_hours,
    )


def _hours(amount: float, limits: Sequence[Limit]) -> float:
    """The hours that an amount takes at the least: the first limit paces, a longer one makes whole windows wait."""
    if not limits or not amount:
        return 0.0
    first, *longer = limits
    waits = [(math.ceil(amount / limit.amount) - 1) * limit.window_s for limit in longer]
    return max(amount / first.amount * first.window_s, *waits, 0.0) / 3600
