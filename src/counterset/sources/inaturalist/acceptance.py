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
    return Accepting(offers, taxon_ids, config, seed, recency).without(())


class Accepting:
    """`accept`, for a choice that is made again without some photos: the rules are applied to each photo once.

    Args:
        offers: gone through once now, and again for photos that are taken and were not before.
    """

    def __init__(
        self,
        offers: Iterable[Offer],
        taxon_ids: Sequence[int],
        config: ServiceConfig,
        seed: int,
        recency: Recency = by_id,
    ) -> None:
        self._offers, self._config, self._seed = offers, config, seed
        self._acceptable: dict[str, tuple[int, Item]] = {}
        self._refused: dict[str, tuple[RejectReason, str]] = {}
        self._taken: dict[str, Offer] = {}
        for offer in offers:
            photo_id = photo_id_of(offer)
            reason = refusal(offer, taxon_ids, config)
            if reason is not None:
                self._refused.setdefault(photo_id, reason)
                continue
            item = Item(
                photo_id, offer["uuid"], offer["position"], offer["observer_id"], offer["observed_on"], recency(offer)
            )
            order, known = offer["observation_id"] or 0, self._acceptable.get(photo_id)
            if known is None or (order, item.observation) < (known[0], known[1].observation):
                self._acceptable[photo_id] = order, item

    def without(self, gone: Collection[str]) -> Acceptance:
        """The choice among all photos but those that are `gone`, by photo id, which are in neither table."""
        items = [item for photo_id, (_, item) in self._acceptable.items() if photo_id not in gone]
        choice = choose(items, self._config, self._seed)
        left = {photo_id: reason for photo_id, reason in self._refused.items() if photo_id not in gone}
        rejects = {photo_id: reason for photo_id, reason in left.items() if photo_id not in self._acceptable}
        if missing := choice.photo_ids - self._taken.keys():
            for offer in self._offers:
                photo_id = photo_id_of(offer)
                if photo_id in missing and self._acceptable[photo_id][1].observation == offer["uuid"]:
                    self._taken[photo_id] = offer
        taken = {photo_id: offer for photo_id, offer in self._taken.items() if photo_id in choice.photo_ids}
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
        found = recheck(unchecked) if unchecked.num_rows else REJECTS.arrow().empty_table()
        if not found.num_rows:
            return Crawl(crawl.candidates, conform(pa.concat_tables([crawl.rejects, withdrawn]), REJECTS))
        withdrawn = pa.concat_tables([withdrawn, found])
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
