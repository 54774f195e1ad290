"""The iNaturalist API as a source: small builds, with annotations and the licences of the day."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from counterset.classes import ClassSpec
from counterset.errors import SourceUnavailable
from counterset.schemas import REJECTS, RejectReason
from counterset.sources import Crawl, Foresight
from counterset.sources.budget import Budget
from counterset.sources.inaturalist.acceptance import Accepting, accept, by_id, crawl_from, standing
from counterset.sources.inaturalist.client import ApiClient, RetryPolicy
from counterset.sources.inaturalist.observations import PHOTO_ID_PREFIX, Offer, observation_id_of, offers_of, refusal
from counterset.sources.inaturalist.pages import PageStore, Window, Without
from counterset.sources.inaturalist.service import ServiceSource
from counterset.sources.inaturalist.settings import INaturalistConfig, ServiceConfig
from counterset.sources.inaturalist.taxa import MAX_IDS, TaxonResolver
from counterset.tables import table_of, write_bytes

logger = logging.getLogger(__name__)

PAGE_SIZE = 200
IDS_PER_REQUEST = 200
"""As many as the API answers of."""
UUIDS_PER_REQUEST = 100
"""Fewer, for each is 37 characters of an address."""
INDEX_LAG = timedelta(days=1)
"""A rebuild asks for changes since a day before the last crawl began, because the search index lags."""

OnProgress = Callable[[str, int], None]


class INaturalistSource(ServiceSource):
    """Candidates from `GET /observations`, by windows of ids.

    Each page is kept in `state`, so a killed crawl goes on after its last page, and a
    finished one that is looked at again requests only what is new or changed.

    Args:
        state: folder of pages and budget; one per build.
        seed: of the choice among acceptable photos.
        on_progress: called after each page with the class and the observations read so far.
        budget: shared by several sources; one in `state` by default.
        look: number of the look at the source; what was asked in it is not asked again. 0 = always look again.

    Raises:
        ConfigError: a real host and no contact.
    """

    settings = INaturalistConfig

    def __init__(
        self,
        config: ServiceConfig,
        state: Path,
        seed: int = 0,
        *,
        on_progress: OnProgress | None = None,
        budget: Budget | None = None,
        retry: RetryPolicy | None = None,
        look: int = 0,
    ) -> None:
        super().__init__(config, state, seed)
        self._state = state
        self._look = look
        self._on_progress = on_progress
        self._client = ApiClient(
            config.api_url,
            contact=config.contact,
            budget=budget or self.budget_in(state, config),
            timeout_s=config.timeout_s,
            retry=retry,
            seed=seed,
        )

    def check(self, specs: tuple[ClassSpec, ...]) -> None:
        """Resolve every class's taxa and remember them for `crawl`.

        Raises:
            SourceError: a taxon is unknown, inactive, or another than listed.
            SourceUnavailable: the service does not answer.
        """
        unknown = tuple(spec for spec in specs if not self._look or self._known(spec).get("look") != self._look)
        resolved = TaxonResolver(self._client).resolve(unknown) if unknown else {}
        for spec in unknown:
            record = {"class": _signature(spec), "taxon_ids": resolved[spec.class_id], "look": self._look}
            write_bytes(json.dumps(record).encode(), self._taxa_path(spec))

    def requests(self, num_classes: int, photos: int) -> int:
        pages = num_classes * math.ceil(photos / max(num_classes, 1) / PAGE_SIZE)
        return math.ceil(num_classes / MAX_IDS) + pages + math.ceil(photos / IDS_PER_REQUEST)

    def ask(self, specs: tuple[ClassSpec, ...]) -> Foresight:
        """How many observations match each class: a crawl in the order `sample` reads them all.

        Raises:
            SourceError, SourceUnavailable: as `check`.
        """
        known = self.foresee(specs)
        self.check(specs)
        totals = {}
        for spec in specs:
            answer = self._client.get("/observations", self._query(self.taxon_ids(spec)) | {"per_page": "1"})
            totals[spec.class_id] = int(answer.get("total_results") or 0)
        if self.config.order == "latest":
            return known._replace(photos=totals)
        photos = sum(min(total, self.config.photos_per_class) for total in totals.values())
        pages = sum(math.ceil(total / PAGE_SIZE) for total in totals.values())
        asked = math.ceil(len(specs) / MAX_IDS) + pages + math.ceil(photos / IDS_PER_REQUEST)
        return known._replace(photos=totals, requests=asked)

    def crawl(self, spec: ClassSpec) -> Crawl:
        """The candidates of one class; pages that are on disk already are not requested again.

        Raises:
            SourceError, SourceUnavailable: as `check`.
        """
        taxon_ids = self.taxon_ids(spec)
        query = self._query(taxon_ids)
        store = PageStore(self._state / spec.class_id, query)
        windows = store.windows()
        while not (windows and windows[-1].is_done and self._look and windows[-1].look >= self._look):
            self._read(spec, taxon_ids, query, store, windows)
            if not self._look:
                break
        if len(windows) == 1:
            return self._choose(spec, store, query, windows[0])
        # What earlier runs told may no longer be true, and no later run mentions what was deleted.
        is_sample = self.config.order == "sample"
        accepting = Accepting(store if is_sample else (), taxon_ids, self.config, self.seed)

        def choose(gone: Collection[str]) -> Crawl:
            if is_sample:
                return crawl_from(spec, accepting.without(gone), self.config, self.name)
            return self._choose(spec, store, query, windows[0], gone)  # asks for more where some are gone

        return self.stands(standing(choose, lambda table: self.recheck(table, (spec,))))

    def _read(
        self,
        spec: ClassSpec,
        taxon_ids: tuple[int, ...],
        query: dict[str, str],
        store: PageStore,
        windows: list[Window],
    ) -> None:
        """Read the run that was broken off to its end, or else a new one."""
        if not windows or windows[-1].is_done:
            since = ""
            if windows:
                since = (datetime.fromisoformat(windows[-1].started) - INDEX_LAG).date().isoformat()
            started = datetime.now(UTC).isoformat(timespec="seconds")
            windows.append(Window(self._upper(query, since), started, since, look=self._look))
            store.save(windows)
        run, window = len(windows) - 1, windows[-1]
        num_read = 0
        for records in self._pages(query, window, store.last_ids(run)):
            offers = [offer for record in records for offer in offers_of(record, self.config.place_km)]
            store.write(run, records[-1]["id"], offers)
            num_read += len(records)
            logger.info("%s: %d observations read", spec.class_id, num_read)
            if self._on_progress is not None:
                self._on_progress(spec.class_id, num_read)
            if self.config.order == "latest" and self._is_enough(store, taxon_ids, records[-1]["id"]):
                break
        windows[-1] = replace(window, is_done=True)
        store.save(windows)

    def _choose(
        self, spec: ClassSpec, store: PageStore, query: dict[str, str], first: Window, gone: Collection[str] = ()
    ) -> Crawl:
        """The choice among all photos known but those that are `gone`; a first run that stopped early goes on."""
        taxon_ids = self.taxon_ids(spec)
        offers = Without(store, gone)
        acceptance = accept(offers, taxon_ids, self.config, self.seed)
        if self.config.order == "latest" and gone:
            for records in self._pages(query, first, store.last_ids(0)):
                if len(acceptance.taken) >= self.config.photos_per_class:
                    break
                store.write(
                    0,
                    records[-1]["id"],
                    [offer for record in records for offer in offers_of(record, self.config.place_km)],
                )
                acceptance = accept(offers, taxon_ids, self.config, self.seed)
        return crawl_from(spec, acceptance, self.config, self.name)

    def recheck(self, candidates: pa.Table, specs: Iterable[ClassSpec]) -> pa.Table:
        """The candidates that may no longer be published, as rejects of the stage `publish`.

        Asks for each observation by id, so the answer is of now and not of the
        search index: deleted, re-identified out of its class, re-graded, hidden, or
        its photo's licence closed. What `crawl` has just asked about is not asked again.

        Raises:
            SourceError, SourceUnavailable: as `check`.
        """
        return self.withdrawn(self.unasked(candidates), {spec.class_id: self.taxon_ids(spec) for spec in specs})

    def withdrawn(self, candidates: pa.Table, taxon_ids: Mapping[str, Sequence[int]]) -> pa.Table:
        """As `recheck`, with the taxa of each class given."""
        rows = candidates.select(["photo_id", "class_id", "observation_id"]).to_pylist()
        now = self.offers_by_observation(sorted({row["observation_id"] for row in rows}))
        rejects = []
        for row in rows:
            detail = self._withdrawal(row, now.get(row["observation_id"]), taxon_ids[row["class_id"]])
            if detail:
                reason = {"stage": "publish", "reason": RejectReason.WITHDRAWN, "detail": detail}
                rejects.append({"photo_id": row["photo_id"], "class_id": row["class_id"], **reason})
        return table_of(REJECTS, rejects)

    def offers_by_observation(self, observation_ids: list[str]) -> dict[str, list[Offer]]:
        """The photos of observations as they are now, by integer id or UUID; what is deleted is missing.

        An answer may be short, so an observation is missing only when a second, whole answer, to the question for what
        the first did not have and for one that is there, does not have it either.

        Raises:
            SourceError: as `check`.
            SourceUnavailable: as `check`, or no answer is whole.
        """
        answered: dict[str, list[Offer]] = {}
        for is_uuid in (False, True):
            wanted = [part for part in observation_ids if ("-" in part) == is_uuid]
            most = UUIDS_PER_REQUEST if is_uuid else IDS_PER_REQUEST
            for start in range(0, len(wanted), most):
                answered |= self._told_of(wanted[start : start + most], is_uuid)[0]
            missing = [part for part in wanted if part not in answered]
            witness = [part for part in wanted if part in answered][:1] or (self._any(is_uuid) if missing else [])
            most -= len(witness)
            for start in range(0, len(missing), most):
                answered |= self._confirmed(missing[start : start + most], witness, is_uuid)
        return answered

    def _confirmed(self, missing: list[str], witness: list[str], is_uuid: bool) -> dict[str, list[Offer]]:
        """What is there after all of observations that were not in an answer; `witness` is one that was."""
        answered: dict[str, list[Offer]] = {}
        while missing:
            told, is_whole = self._told_of([*witness, *missing], is_uuid)
            answered |= told
            num_missing = len(missing)
            missing = [part for part in missing if part not in told]
            if len(missing) == num_missing:
                if not is_whole or any(part not in told for part in witness):
                    raise SourceUnavailable(
                        f"{self.config.api_url} gives short answers, so what was deleted cannot be told from what it "
                        "leaves out; run the same command again later"
                    )
                break
        return answered

    def _any(self, is_uuid: bool) -> list[str]:
        """The id of an observation that is there, whichever."""
        rows = self._client.get("/observations", {"per_page": 1})["results"]
        return [str(row.get("uuid" if is_uuid else "id")) for row in rows]

    def _told_of(self, observation_ids: list[str], is_uuid: bool) -> tuple[dict[str, list[Offer]], bool]:
        """One answer about observations, and whether it has as many as it says."""
        batch = ",".join(observation_ids)
        if is_uuid:
            answer = self._client.get("/observations", {"uuid": batch, "per_page": PAGE_SIZE})
        else:
            answer = self._client.get(f"/observations/{batch}")
        told = {
            str(record.get("uuid" if is_uuid else "id")): offers_of(record, self.config.place_km)
            for record in answer["results"]
        }
        wanted = {part: told[part] for part in observation_ids if part in told}
        return wanted, answer.get("total_results") == len(answer["results"])

    def taxon_ids(self, spec: ClassSpec) -> tuple[int, ...]:
        """The active taxa of a class, as `check` found them; asked for now if it did not run."""
        for _ in range(2):
            if record := self._known(spec):
                return tuple(record["taxon_ids"])
            self.check((spec,))
        raise AssertionError("check() keeps what it finds")

    def _known(self, spec: ClassSpec) -> dict[str, Any]:
        """What `check` kept of a class; empty where it did not run, or the class had other taxa."""
        path = self._taxa_path(spec)
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return record if record.get("class") == _signature(spec) else {}

    def _query(self, taxon_ids: tuple[int, ...]) -> dict[str, str]:
        config = self.config
        query = {
            "taxon_id": ",".join(map(str, sorted(taxon_ids))),
            "quality_grade": ",".join(sorted(config.quality_grades)),
            "photo_license": ",".join(sorted(config.licenses)),
            "photos": "true",
            "order_by": "id",
            "order": "desc" if config.order == "latest" else "asc",
            "per_page": str(PAGE_SIZE),
        }
        if not config.include_captive:
            query["captive"] = "false"
        if config.observed_from:
            query["d1"] = config.observed_from
        if config.observed_to:
            query["d2"] = config.observed_to
        return query

    def _upper(self, query: dict[str, str], since: str) -> int:
        """The id above all that match now: new uploads must not extend the crawl for ever."""
        rows = self._ask(query | _changed(since) | {"order": "desc", "per_page": "1"})
        return rows[0]["id"] + 1 if rows else 0

    def _pages(self, query: dict[str, str], window: Window, known: list[int]) -> Iterator[list[dict[str, Any]]]:
        """Pages of records by id, from the last one known to the window's end.

        Only an empty page ends it: a short one may be cut, and totals change.
        """
        is_down = self.config.order == "latest"
        low, high = (0, min([*known, window.upper])) if is_down else (max([*known, 0]), window.upper)
        while low < high - 1:
            bounds = {"id_above": str(low), "id_below": str(high)}
            records = self._ask(query | _changed(window.since) | bounds)
            if not records:
                return
            ids = [record["id"] for record in records]
            if not all(low < number < high for number in ids) or ids != sorted(set(ids), reverse=is_down):
                raise SourceUnavailable(
                    f"{self.config.api_url} does not keep to id_above, id_below and order_by=id; check source.api_url"
                )
            yield records
            low, high = (low, ids[-1]) if is_down else (ids[-1], high)

    def _ask(self, query: dict[str, str]) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = self._client.get("/observations", query)["results"]
        for record in records:
            observation_id_of(record)
        return records

    def _is_enough(self, store: PageStore, taxon_ids: tuple[int, ...], last_id: int) -> bool:
        """Whether all newest photos are known: nothing below the last id read could still be among them."""
        acceptance = accept(store, taxon_ids, self.config, self.seed)
        oldest = min((by_id(offer) for offer in acceptance.taken.values()), default=0)
        return len(acceptance.taken) >= self.config.photos_per_class and oldest >= last_id

    def _withdrawal(self, row: dict[str, Any], offers: list[Offer] | None, taxon_ids: Sequence[int]) -> str:
        """Why a candidate may no longer be published; "" = it may."""
        if offers is None:
            return "the observation was deleted"
        photo_id = row["photo_id"].removeprefix(PHOTO_ID_PREFIX)
        offer = next((offer for offer in offers if str(offer["photo_id"]) == photo_id), None)
        if offer is None:
            return "the photo was removed from its observation"
        reason = refusal(offer, taxon_ids, self.config)
        return f"now {reason[0].value.replace('_', ' ')}: {reason[1]}" if reason else ""

    def _taxa_path(self, spec: ClassSpec) -> Path:
        return self._state / spec.class_id / "taxa.json"


def _changed(since: str) -> dict[str, str]:
    return {"updated_since": since} if since else {}


def _signature(spec: ClassSpec) -> list[object]:
    return [list(spec.taxon_ids), spec.scientific_name, spec.rank]
