"""From what the API told of a class's photos to its candidates and rejects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from counterset.classes import ClassSpec
from counterset.schemas import REJECTS, RejectReason
from counterset.sources import Crawl
from counterset.sources.inaturalist.observations import (
    LIFE_STAGE,
    LIFE_STAGES,
    SEX,
    SEXES,
    Offer,
    annotated,
    credit,
    photo_id_of,
    photo_url,
    refusal,
)
from counterset.sources.inaturalist.settings import ServiceConfig
from counterset.sources.selection import Item, choose, crawl_of
from counterset.tables import conform

Recency = Callable[[Offer], int]


class Acceptance(NamedTuple):
    """The photos taken, by photo id, and the others with their reasons."""

    taken: dict[str, Offer]
    rejects: dict[str, tuple[RejectReason, str]]


def by_id(offer: Offer) -> int:
    """Newer = the larger observation id, as the paper's "latest"."""
    return int(offer["observation_id"])


def by_day(offer: Offer) -> int:
    """Newer = observed later; bulk tables know no integer ids."""
    return offer["observed_on"].toordinal() if offer["observed_on"] else 0


def accept(
    offers: Iterable[Offer], taxon_ids: Sequence[int], config: ServiceConfig, seed: int, recency: Recency = by_id
) -> Acceptance:
    """Apply the rules to each photo, then choose.

    A photo of several observations counts once, with the first of them that makes it
    acceptable; being turned away as part of another does not matter then.

    Args:
        offers: gone through twice, so that only the photos taken are held whole.
    """
    acceptable: dict[str, tuple[int, Item]] = {}
    refused: dict[str, tuple[RejectReason, str]] = {}
    for offer in offers:
        photo_id = photo_id_of(offer)
        reason = refusal(offer, taxon_ids, config)
        if reason is not None:
            refused.setdefault(photo_id, reason)
            continue
        item = Item(
            photo_id, offer["uuid"], offer["position"], offer["observer_id"], offer["observed_on"], recency(offer)
        )
        order = offer["observation_id"] or 0
        if photo_id not in acceptable or (order, item.observation) < (
            acceptable[photo_id][0],
            acceptable[photo_id][1][1],
        ):
            acceptable[photo_id] = order, item
    choice = choose([item for _, item in acceptable.values()], config, seed)
    rejects = {photo_id: reason for photo_id, reason in refused.items() if photo_id not in acceptable}
    taken = {
        photo_id_of(offer): offer
        for offer in offers
        if photo_id_of(offer) in choice.photo_ids and acceptable[photo_id_of(offer)][1].observation == offer["uuid"]
    }
    return Acceptance(taken, rejects | choice.rejects)


def crawl_from(spec: ClassSpec, acceptance: Acceptance, config: ServiceConfig, source: str) -> Crawl:
    """The two tables of one class."""
    candidates = [candidate(spec, offer, config, source) for offer in acceptance.taken.values()]
    return crawl_of(spec, candidates, acceptance.rejects)


def standing(choose: Callable[[Collection[str]], Crawl], recheck: Callable[[pa.Table], pa.Table]) -> Crawl:
    """A choice in which every photo still stands: what is withdrawn gives its place to the next one.

    Args:
        choose: the choice among all photos but some, by photo id.
        recheck: of candidates, those that are withdrawn now (rejects schema).
    """
    withdrawn = REJECTS.arrow().empty_table()
    checked = pa.array([], pa.string())
    while True:
        crawl = choose(set(withdrawn["photo_id"].to_pylist()))
        ids = crawl.candidates["photo_id"].combine_chunks()
        unchecked = crawl.candidates.filter(pc.invert(pc.is_in(ids, checked)))
        if not unchecked.num_rows:
            return Crawl(crawl.candidates, conform(pa.concat_tables([crawl.rejects, withdrawn]), REJECTS))
        withdrawn = pa.concat_tables([withdrawn, recheck(unchecked)])
        checked = pa.concat_arrays([checked, unchecked["photo_id"].combine_chunks()])


def candidate(spec: ClassSpec, offer: Offer, config: ServiceConfig, source: str) -> dict[str, object]:
    """One row of the candidates table."""
    return {
        "photo_id": photo_id_of(offer),
        "class_id": spec.class_id,
        "source": source,
        "url": photo_url(offer["url"], config.photo_size),
        "license": offer["license"],
        "attribution": credit(offer["license"], offer["attribution"], offer["observer_name"]),
        "observation_id": str(offer["observation_id"] or offer["uuid"]),
        "observer_id": offer["observer_id"],
        "place": offer["place"],
        "observed_on": offer["observed_on"],
        "hour": offer["hour"],
        "taxon_id": offer["taxon_id"],
        "taxon_name": offer["taxon_name"],
        "life_stage": annotated(offer["annotations"], LIFE_STAGE, LIFE_STAGES),
        "sex": annotated(offer["annotations"], SEX, SEXES),
        "quality_grade": offer["quality_grade"],
        "title": offer["title"],
        "description": offer["description"],
        "tags": offer["tags"],
    }
