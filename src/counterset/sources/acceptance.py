"""From what the API told of a class's photos to its candidates and rejects."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from counterset.classes import ClassSpec
from counterset.config import SourceConfig
from counterset.schemas import RejectReason
from counterset.sources import Crawl
from counterset.sources.observations import PHOTO_ID_PREFIX, Offer, credit, photo_url, refusal
from counterset.sources.selection import Chosen, Item, choose, crawl_of

logger = logging.getLogger(__name__)

Recency = Callable[[Offer], int]


class Acceptance(NamedTuple):
    """Acceptable photos by id, the choice among them, and the reasons of the others."""

    acceptable: dict[str, Offer]
    chosen: Chosen
    refused: dict[str, tuple[RejectReason, str]]


def by_id(offer: Offer) -> int:
    """Newer = the larger observation id, as the paper's "latest"."""
    return int(offer["observation_id"])


def by_day(offer: Offer) -> int:
    """Newer = observed later; bulk tables know no integer ids."""
    return offer["observed_on"].toordinal() if offer["observed_on"] else 0


def accept(
    offers: Sequence[Offer], taxon_ids: Sequence[int], config: SourceConfig, seed: int, recency: Recency = by_id
) -> Acceptance:
    """Apply the rules to each photo, then choose.

    A photo of several observations counts once, with the first acceptable of them;
    being turned away as part of another does not matter then.
    """
    acceptable: dict[str, Offer] = {}
    refused: dict[str, tuple[RejectReason, str]] = {}
    num_repeated = 0
    for offer in offers:
        photo_id = f"{PHOTO_ID_PREFIX}{offer['photo_id']}"
        reason = refusal(offer, taxon_ids, config)
        if reason is not None:
            refused.setdefault(photo_id, reason)
        elif photo_id in acceptable:
            num_repeated += 1
        else:
            acceptable[photo_id] = offer
    if num_repeated:
        logger.info("%d photos belong to several observations; each counts once", num_repeated)
    items = [
        Item(photo_id, offer["uuid"], offer["position"], offer["observer_id"], offer["observed_on"], recency(offer))
        for photo_id, offer in acceptable.items()
    ]
    others = {photo_id: reason for photo_id, reason in refused.items() if photo_id not in acceptable}
    return Acceptance(acceptable, choose(items, config, seed), others)


def crawl_from(spec: ClassSpec, found: Acceptance, config: SourceConfig, source: str) -> Crawl:
    """The two tables of one class."""
    candidates = [candidate(spec, found.acceptable[photo_id], config, source) for photo_id in found.chosen.photo_ids]
    rejects = found.refused | found.chosen.rejects
    return crawl_of(spec, candidates, ((photo_id, *reason) for photo_id, reason in rejects.items()))


def candidate(spec: ClassSpec, offer: Offer, config: SourceConfig, source: str) -> dict[str, object]:
    """One row of the candidates table."""
    return {
        "photo_id": f"{PHOTO_ID_PREFIX}{offer['photo_id']}",
        "class_id": spec.class_id,
        "source": source,
        "url": photo_url(offer["url"], config.photo_size, config.photo_url),
        "license": offer["license"],
        "attribution": credit(offer["license"], offer["attribution"], offer["observer_name"]),
        "observation_id": str(offer["observation_id"] or offer["uuid"]),
        "observer_id": offer["observer_id"],
        "observed_on": offer["observed_on"],
        "taxon_id": offer["taxon_id"],
        "taxon_name": offer["taxon_name"],
        "quality_grade": offer["quality_grade"],
        "title": offer["title"],
        "description": offer["description"],
        "tags": offer["tags"],
    }
