"""Which acceptable photos are taken: one per photo id, few per observation, few per observer and day, N per class."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

from counterset.classes import ClassSpec
from counterset.config import SourceConfig
from counterset.schemas import CANDIDATES, REJECTS, RejectReason
from counterset.sources import Crawl
from counterset.tables import table_of

STAGE = "crawl"


class Item(NamedTuple):
    """What the choice depends on.

    `observation` is the id that the lot is drawn by (the UUID where there is one, so
    that the API and the bulk tables choose alike); `recency` is larger for what is newer.
    """

    photo_id: str
    observation: str
    position: int
    observer_id: str
    observed_on: date | None
    recency: int


class Chosen(NamedTuple):
    """The photo ids taken, and the others with their reasons."""

    photo_ids: set[str]
    rejects: dict[str, tuple[RejectReason, str]]


def draw(observation: str, seed: int) -> str:
    """The lot of an observation: a hash of seed and id, so that it does not depend on the order of arrival."""
    return hashlib.sha256(f"{seed}:{observation}".encode()).hexdigest()


def choose(items: Sequence[Item], config: SourceConfig, seed: int) -> Chosen:
    """Choose among acceptable photos; each `photo_id` must be there once.

    In the order `sample`, observations come by their lot; in `latest`, newest first. A
    photo added later changes the choice of others only by taking their place.
    """
    rejects: dict[str, tuple[RejectReason, str]] = {}
    taken_of: Counter[str] = Counter()
    kept = []
    for item in sorted(items, key=lambda item: (item.observation, item.position, item.photo_id)):
        taken_of[item.observation] += 1
        if taken_of[item.observation] > config.photos_per_observation:
            rejects[item.photo_id] = (
                RejectReason.SAME_OBSERVATION,
                f"photo {item.position + 1} of observation {item.observation}",
            )
        else:
            kept.append(item)
    if config.order == "latest":
        kept.sort(key=lambda item: (-item.recency, item.observation, item.position, item.photo_id))
    else:
        kept.sort(key=lambda item: (draw(item.observation, seed), item.position, item.photo_id))
    photos_on: Counter[tuple[str, date | None]] = Counter()
    photo_ids: set[str] = set()
    for item in kept:
        photos_on[item.observer_id, item.observed_on] += 1
        if photos_on[item.observer_id, item.observed_on] > config.photos_per_observer_day:
            day = item.observed_on.isoformat() if item.observed_on else "an unknown day"
            rejects[item.photo_id] = (
                RejectReason.OBSERVER_DAY_CAP,
                f"observer has {config.photos_per_observer_day} photos of {day}",
            )
        elif len(photo_ids) >= config.photos_per_class:
            rejects[item.photo_id] = RejectReason.NOT_SAMPLED, f"{config.photos_per_class} others were chosen"
        else:
            photo_ids.add(item.photo_id)
    return Chosen(photo_ids, rejects)


def crawl_of(
    spec: ClassSpec, candidates: Sequence[dict[str, object]], rejects: Mapping[str, tuple[RejectReason, str]]
) -> Crawl:
    """The two tables of one class; `rejects` gives reason and detail by photo id."""
    columns = {
        "photo_id": list(rejects),
        "class_id": [spec.class_id] * len(rejects),
        "stage": [STAGE] * len(rejects),
        "reason": [reason.value for reason, _ in rejects.values()],
        "detail": [detail for _, detail in rejects.values()],
    }
    return Crawl(table_of(CANDIDATES, list(candidates)), table_of(REJECTS, columns))
