"""The iNaturalist Open Data tables as a source: bulk builds, with the API asked only about what was drawn."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Collection, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from counterset.classes import ClassSpec
from counterset.errors import SourceError
from counterset.schemas import REJECTS, RejectReason
from counterset.sources import Crawl
from counterset.sources.budget import Budget
from counterset.sources.inaturalist.acceptance import Acceptance, accept, by_day, crawl_from, standing
from counterset.sources.inaturalist.api import UUIDS_PER_REQUEST, INaturalistSource, OnProgress
from counterset.sources.inaturalist.bulk_tables import OPEN_DATA_URL, BulkTables, connect
from counterset.sources.inaturalist.client import RetryPolicy
from counterset.sources.inaturalist.observations import Offer, offered_license, photo_id_of
from counterset.sources.inaturalist.schemas import OFFERS
from counterset.sources.inaturalist.service import ServiceSource
from counterset.sources.inaturalist.settings import OpenDataConfig
from counterset.sources.inaturalist.taxa import check_have_taxa
from counterset.sources.places import with_places
from counterset.sources.selection import draw
from counterset.tables import read_table, table_of, write_bytes, write_table

logger = logging.getLogger(__name__)

SURPLUS = 4
"""Observations drawn for each photo wanted: caps, annotations and closed licences cost some."""
MIN_DRAWN = 1_000


class OpenDataSource(ServiceSource):
    """Candidates from the bulk tables.

    One pass over observations and photos serves all classes that `check` named: it
    keeps, for each class, the observations of the smallest lots (the same lots as
    the API source draws), so its memory does not depend on the tables' size. Then
    the API is asked about the drawn observations in batches until a class has its
    photos. With `source.api_url = ""` it is not asked, and captive, dead and
    other-evidence photos are not recognised.

    Args:
        state: folder of what was drawn and asked, and of the budget.
        seed: of the lots.
        look: number of the look at the source. From the second on, what was chosen is asked about again, and what
            is withdrawn gives its place to another.

    Raises:
        ConfigError: a real host and no contact.
    """

    settings = OpenDataConfig
    config: OpenDataConfig
    _look = 0

    def __init__(
        self,
        config: OpenDataConfig,
        state: Path,
        seed: int = 0,
        *,
        on_progress: OnProgress | None = None,
        budget: Budget | None = None,
        retry: RetryPolicy | None = None,
        look: int = 0,
    ) -> None:
        super().__init__(config, state, seed)
        self._look = look
        self._on_progress = on_progress
        self._scratch = state / "scratch"
        self.tables = BulkTables(config.path, self._scratch, contact=config.contact, timeout_s=config.timeout_s)
        self._api = INaturalistSource(config, state, seed, budget=budget, retry=retry) if config.api_url else None
        self._state = state
        self._specs: dict[str, ClassSpec] = {}

    @property
    def snapshot(self) -> str:
        """The day of the tables, ISO 8601."""
        return self.tables.snapshot().isoformat()

    @classmethod
    def input_digests(cls, config: OpenDataConfig) -> list[list[str]]:
        """None: it knows another snapshot by itself."""
        return []

    def check(self, specs: tuple[ClassSpec, ...]) -> None:
        """Find every class's taxa in the taxa table, and note which classes one pass is to serve.

        Raises:
            SourceError: a taxon is not there, inactive, or another than listed; a table is missing.
            SourceUnavailable: a remote table cannot be read.
        """
        check_have_taxa(specs)
        wanted = {spec.class_id: spec.listed_taxa() for spec in specs}
        ids = sorted({taxon.taxon_id for taxa in wanted.values() for taxon in taxa if taxon.taxon_id is not None})
        names = sorted({taxon.name for taxa in wanted.values() for taxon in taxa if taxon.taxon_id is None})
        with connect(self._scratch) as connection, self.tables.scan(connection, "taxa") as taxa_table:
            rows = connection.execute(
                f"SELECT taxon_id, name, rank, active = 'true' FROM {taxa_table} "
                "WHERE list_contains($ids, taxon_id) OR list_contains($names, name)",
                {"ids": ids, "names": names},
            ).fetchall()
        by_id = {row[0]: row for row in rows}
        for spec in specs:
            taxon_ids = []
            for taxon in wanted[spec.class_id]:
                listed = (taxon.name, taxon.rank)
                if taxon.taxon_id is None:
                    matches = [row for row in rows if row[3] and (row[1], row[2] if taxon.rank else "") == listed]
                else:
                    matches = [by_id[taxon.taxon_id]] if taxon.taxon_id in by_id else []
                self._check_taxon(spec, taxon.taxon_id or taxon.name, listed, matches)
                taxon_ids.append(matches[0][0])
            write_bytes(json.dumps(taxon_ids).encode(), self._taxa_path(spec))
            self._specs[spec.class_id] = spec

    def requests(self, num_classes: int, photos: int) -> int:
        drawn = max(SURPLUS * photos, MIN_DRAWN * num_classes)
        return math.ceil((drawn + photos) / UUIDS_PER_REQUEST) if self._api is not None else 0

    def crawl(self, spec: ClassSpec) -> Crawl:
        """The candidates of one class.

        Raises:
            SourceError, SourceUnavailable: as `check`.
        """
        if self._specs.get(spec.class_id) != spec:
            self.check((spec,))
        if self._look > 1 and self._api is not None:  # what the API told in an earlier look may no longer be true
            return self.stands(standing(partial(self._choose, spec), partial(self.recheck, specs=(spec,))))
        return self._choose(spec)

    def _choose(self, spec: ClassSpec, gone: Collection[str] = ()) -> Crawl:
        """The choice among all photos but those that are `gone`."""
        num_drawn = max(SURPLUS * self.config.photos_per_class, MIN_DRAWN)
        while True:
            drawn, num_matching = self._drawn(spec, num_drawn)
            acceptance = self._accept(spec, drawn, gone)
            if len(acceptance.taken) >= self.config.photos_per_class or num_matching <= num_drawn:
                return crawl_from(spec, acceptance, self.config, self.name)
            num_drawn *= SURPLUS  # caps and annotations cost more than the surplus: draw more

    def recheck(self, candidates: pa.Table, specs: Sequence[ClassSpec]) -> pa.Table:
        """As `INaturalistSource.recheck`; nothing where the API is not to be asked."""
        if self._api is None:
            logger.warning("without source.api_url no photo can be checked for withdrawal")
            return table_of(REJECTS, [])
        return self._api.withdrawn(self.unasked(candidates), {spec.class_id: self._taxon_ids(spec) for spec in specs})

    # --- the pass over the tables -----------------------------------------------------

    def _drawn(self, spec: ClassSpec, num_drawn: int) -> tuple[list[Offer], int]:
        """The photos of the class's first `num_drawn` observations by lot, and how many match in all."""
        if not self._drawn_path(spec, num_drawn).exists():
            missing = [
                other
                for other in self._specs.values()
                if other == spec or not any(self._drawn_folder(other).glob("*.parquet"))
            ]
            self._draw(missing, num_drawn)
        path = self._drawn_path(spec, num_drawn)
        num_matching = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return read_table(path, OFFERS).to_pylist(), int(num_matching)

    def _draw(self, specs: Sequence[ClassSpec], num_drawn: int) -> None:
        """One pass over the tables for some classes, kept in `state`."""
        targets = pa.table(
            {
                "class_id": [spec.class_id for spec in specs for _ in self._taxon_ids(spec)],
                "target": [str(taxon_id) for spec in specs for taxon_id in self._taxon_ids(spec)],
            }
        )
        try:
            with connect(self._scratch) as connection:
                connection.register("targets", targets)
                self._find_taxa(connection)
                counts = self._draw_observations(connection, num_drawn)
                self._find_photos(connection)
                for spec in specs:
                    offers = self._offers(connection, spec)
                    path = self._drawn_path(spec, num_drawn)
                    write_bytes(json.dumps(counts.get(spec.class_id, 0)).encode(), path.with_suffix(".json"))
                    write_table(offers, OFFERS, path)
        except duckdb.Error as error:
            raise SourceError(
                f"the tables at {self.tables.path} cannot be read ({str(error)[:300]}); download them again"
            ) from error

    def _find_taxa(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Table `wanted`: each class with its taxa and all their descendants, by whole segments of the ancestry."""
        with self.tables.scan(connection, "taxa") as taxa:
            connection.execute(
                f"""
                CREATE TABLE wanted AS
                WITH lineage AS (
                    SELECT taxon_id, name, coalesce(ancestry, '') AS ancestry,
                           unnest(string_split(concat_ws('/', ancestry, taxon_id), '/')) AS segment
                    FROM {taxa}
                )
                SELECT DISTINCT class_id, taxon_id, name, ancestry FROM lineage JOIN targets ON segment = target
                """
            )

    def _draw_observations(self, connection: duckdb.DuckDBPyConnection, num_drawn: int) -> dict[str, int]:
        """Table `drawn`: each class's first observations. A bounded heap per class, whatever the table's size."""
        config = self.config
        # Two observations of one lot cannot be: the hash is of the id. The newest day comes first by its distance.
        lot = (
            "sha256(concat($seed, ':', observation_uuid))"
            if config.order == "sample"
            else "concat(lpad((3000000 - date_diff('day', DATE '0001-01-01', coalesce(observed_on, DATE '0001-01-01')))"
            "::VARCHAR, 8, '0'), observation_uuid)"
        )
        row = "{'uuid': observation_uuid, 'observer_id': observer_id, 'taxon_id': o.taxon_id, 'day': observed_on, " \
              "'grade': quality_grade, 'point': [try_cast(part AS DOUBLE) FOR part IN " \
              "[latitude, longitude, positional_accuracy]]}"  # fmt: skip
        conditions = ["list_contains($grades, quality_grade)"]
        values: dict[str, Any] = {"num": num_drawn, "grades": list(config.quality_grades)}
        if config.order == "sample":
            values["seed"] = str(self.seed)
        for key, sign in (("observed_from", ">="), ("observed_to", "<=")):
            if getattr(config, key):
                conditions.append(f"observed_on {sign} ${key}::DATE")
                values[key] = getattr(config, key)
        with self.tables.scan(connection, "observations") as observations:
            connection.execute(
                f"""
                CREATE TABLE heaps AS
                SELECT class_id, arg_min({row}, {lot}, $num) AS first, count(*) AS num_matching
                FROM {observations} AS o JOIN wanted ON o.taxon_id = wanted.taxon_id
                WHERE {" AND ".join(conditions)}
                GROUP BY class_id
                """,
                values,
            )
        connection.execute("CREATE TABLE drawn AS SELECT class_id, unnest(first, recursive := true) FROM heaps")
        return dict(connection.execute("SELECT class_id, num_matching FROM heaps").fetchall())

    def _find_photos(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Tables `pictures` and `names`: photos and observers of what was drawn."""
        with self.tables.scan(connection, "photos") as photos:
            connection.execute(
                f"""
                CREATE TABLE pictures AS SELECT DISTINCT photo_id, observation_uuid, extension, license, position
                FROM {photos} AS p WHERE observation_uuid IN (SELECT uuid FROM drawn)
                """
            )
        with self.tables.scan(connection, "observers") as observers:
            connection.execute(
                f"""
                CREATE TABLE names AS
                SELECT observer_id, any_value(coalesce(nullif(name, 'None'), login)) AS observer_name
                FROM {observers} WHERE observer_id IN (SELECT observer_id FROM drawn) GROUP BY observer_id
                """
            )

    def _offers(self, connection: duckdb.DuckDBPyConnection, spec: ClassSpec) -> pa.Table:
        """The drawn photos of one class in the shape of the API's; what the tables do not tell is empty."""
        table = connection.sql(
            """
            SELECT NULL::BIGINT AS observation_id, uuid,
                   (row_number() OVER (PARTITION BY uuid ORDER BY position, photo_id) - 1)::INTEGER AS position,
                   photo_id, license,
                   concat($base, '/photos/', photo_id, '/original.', extension) AS url, NULL::VARCHAR AS attribution,
                   false AS is_hidden, NULL::BIGINT AS hour,
                   coalesce(d.observer_id::VARCHAR, concat('unknown-', uuid)) AS observer_id,
                   coalesce(observer_name, d.observer_id::VARCHAR, '') AS observer_name, day AS observed_on, d.taxon_id,
                   w.name AS taxon_name,
                   list_transform(string_split(concat_ws('/', w.ancestry, d.taxon_id), '/'), lambda part: part::BIGINT)
                       AS ancestor_ids,
                   grade AS quality_grade, false AS is_captive, []::VARCHAR[] AS annotations,
                   NULL::VARCHAR AS title, NULL::VARCHAR AS description, []::VARCHAR[] AS tags, point
            FROM pictures JOIN drawn AS d ON uuid = observation_uuid
            JOIN wanted AS w ON w.class_id = d.class_id AND w.taxon_id = d.taxon_id
            LEFT JOIN names ON names.observer_id = d.observer_id
            WHERE d.class_id = $class_id
            """,
            params={"class_id": spec.class_id, "base": OPEN_DATA_URL},
        ).to_arrow_table()
        table = with_places(table, self.config.place_km)
        index = table.schema.get_field_index("license")
        codes = pa.array(map(offered_license, table["license"].to_pylist()), pa.string())
        return table.set_column(index, "license", codes)

    def _accept(self, spec: ClassSpec, drawn: list[Offer], gone: Collection[str] = ()) -> Acceptance:
        """The choice among the drawn photos but those `gone`, asking the API for as many observations as it takes."""
        config, taxon_ids = self.config, self._taxon_ids(spec)
        if self._api is None:
            return accept(drawn, taxon_ids, config, self.seed, by_day)
        usable = {offer["uuid"]: offer for offer in drawn if offer["license"] in config.licenses}
        uuids = sorted(usable, key=lambda uuid: self._lot(usable[uuid]))
        known = self._answers(spec)
        told: list[Offer] = []
        num_asked = 0
        acceptance = accept([], taxon_ids, config, self.seed, by_day)
        while num_asked < len(uuids) and len(acceptance.taken) < config.photos_per_class:
            batch = uuids[num_asked : num_asked + UUIDS_PER_REQUEST]
            known |= self._ask(spec, [uuid for uuid in batch if uuid not in known])
            told += [offer for uuid in batch for offer in known[uuid] if photo_id_of(offer) not in gone]
            num_asked += len(batch)
            acceptance = accept(told, taxon_ids, config, self.seed, by_day)
            if self._on_progress is not None:
                self._on_progress(spec.class_id, num_asked)
        asked = set(uuids[:num_asked])
        for offer in drawn:
            photo_id = photo_id_of(offer)
            if not (photo_id in acceptance.taken or photo_id in acceptance.rejects or photo_id in gone):
                acceptance.rejects[photo_id] = self._untold(offer, asked)
        return acceptance

    def _untold(self, offer: Offer, asked: set[str]) -> tuple[RejectReason, str]:
        """Why a photo of the tables is not among those that the API told of."""
        if offer["license"] not in self.config.licenses:
            return RejectReason.LICENSE, offer["license"] or "no licence"
        if offer["uuid"] in asked:
            return RejectReason.WITHDRAWN, f"no longer there, though in the tables of {self.snapshot}"
        return RejectReason.NOT_SAMPLED, f"{self.config.photos_per_class} others were chosen"

    def _ask(self, spec: ClassSpec, uuids: list[str]) -> dict[str, list[Offer]]:
        """What the API says of some observations, kept on disk under what was asked; nothing of deleted ones."""
        if not uuids:
            return {}
        assert self._api is not None
        answer = self._api.offers_by_observation(uuids)
        name = hashlib.sha256(",".join(uuids).encode()).hexdigest()[:16]
        path = self._drawn_folder(spec) / "told" / f"{name}.parquet"
        write_table(table_of(OFFERS, [offer for uuid in sorted(answer) for offer in answer[uuid]]), OFFERS, path)
        write_bytes(json.dumps(uuids).encode(), path.with_suffix(".json"))
        return {uuid: answer.get(uuid, []) for uuid in uuids}

    def _answers(self, spec: ClassSpec) -> dict[str, list[Offer]]:
        """The photos of every observation that the API was asked about, by UUID."""
        answers: dict[str, list[Offer]] = {}
        for asked in sorted((self._drawn_folder(spec) / "told").glob("*.json")):
            answers |= {uuid: [] for uuid in json.loads(asked.read_text(encoding="utf-8"))}
            for offer in read_table(asked.with_suffix(".parquet"), OFFERS).to_pylist():
                answers[offer["uuid"]].append(offer)
        return answers

    def _lot(self, offer: Offer) -> tuple[object, ...]:
        """The order of the drawing, as `_draw_observations` has it."""
        if self.config.order == "sample":
            return (draw(offer["uuid"], self.seed),)
        return (-by_day(offer), offer["uuid"])

    # --- where things lie -----------------------------------------------------------------

    @cached_property
    def _identity(self) -> str:
        return self.tables.identity()

    def _taxa_path(self, spec: ClassSpec) -> Path:
        return self._state / spec.class_id / f"bulk-taxa-{self._identity}.json"

    def _taxon_ids(self, spec: ClassSpec) -> tuple[int, ...]:
        if self._specs.get(spec.class_id) != spec:
            self.check((spec,))
        return tuple(json.loads(self._taxa_path(spec).read_text(encoding="utf-8")))

    def _drawn_folder(self, spec: ClassSpec) -> Path:
        config = self.config
        parts = [
            self._identity, self._taxon_ids(spec), self.seed, config.order, sorted(config.quality_grades),
            sorted(config.licenses), config.observed_from, config.observed_to,
        ]  # fmt: skip
        return self._state / spec.class_id / f"drawn-{hashlib.sha256(repr(parts).encode()).hexdigest()[:12]}"

    def _drawn_path(self, spec: ClassSpec, num_drawn: int) -> Path:
        return self._drawn_folder(spec) / f"{num_drawn}.parquet"

    def _check_taxon(
        self, spec: ClassSpec, wanted: int | str, listed: tuple[str, str], rows: list[tuple[Any, ...]]
    ) -> None:
        where = f"class {spec.class_id!r}: the tables of {self.snapshot}"
        if len(rows) != 1:
            count = "no" if not rows else str(len(rows))
            raise SourceError(
                f"{where} have {count} taxon {wanted}; look up {spec.name!r} and put its id into the class list"
            )
        _, name, rank, is_active = rows[0]
        if not is_active:
            raise SourceError(
                f"{where} have taxon {wanted} ({name}) as inactive; look up its successor and put its id into the "
                "class list"
            )
        if listed[0] and (name, rank if listed[1] else "") != listed:
            raise SourceError(
                f"{where} have taxon {wanted} as the {rank} {name}, not the {listed[1]} {listed[0]}; fix taxon_ids or "
                "scientific_name in the class list"
            )
