"""A build's place in its series: which release its look stands on, and what that says of the looks before.

A build stands on the newest release of its name, unless that release was made from the same photos: then the build is
the same look once more, and stands on what that release stood on. So a build that is run again with nothing new, or
that was killed after its release, finds the same files under the same keys, and nothing to do.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from counterset.classes import ClassSpec
from counterset.content import content
from counterset.parquet_sql import fill, sorted_rows, spilling
from counterset.photo_rows import Rows
from counterset.release.publish.series import SEEN, SeriesInputs
from counterset.release.versions.followed import Followed, earlier_release
from counterset.schemas import MEMBERS, PHOTOS
from counterset.statistics.halves import identity
from counterset.statistics.schemas import LOOKS
from counterset.statistics.series import Series, after, begin
from counterset.steps.keys import Build, parts_of
from counterset.steps.shard_steps import candidate_parts
from counterset.storage import place
from counterset.tables import TableRef, table_of

_OFFERED = ["photo_id", "class_id", "source", "observation_id", "observer_id", "place"]
"""What curation is told of a photo beside its bytes."""
_UNITS = ["class_id", "photo_id", "observer", "unit", "half"]
"""What curation is told of the photos of the release before."""


def class_identity(spec: ClassSpec) -> str:
    """What a class is, whatever its id and its common name are."""
    return identity(spec.taxon_ids, spec.scientific_name or spec.name)


@dataclass(frozen=True)
class Basis:
    """What a look stands on.

    Attributes:
        made_from: digest of the photos that it chooses members from, and of how; "" = unknown.
        release: the release before it in its series; None = it is the first.
        newest: sha256 of the SHA256SUMS of the newest release when the build began; "" = there was none.
    """

    made_from: str = ""
    release: Followed | None = None
    newest: str = ""

    @property
    def units(self) -> Iterator[pa.Table] | None:
        """The units and halves of the photos of the release before, which stay, in parts."""
        return self.release.parts("all_photos", _UNITS) if self.release else None

    @functools.cached_property
    def units_digest(self) -> str:
        """A digest of these; "" without any."""
        return "" if self.units is None else _digest_of(self.units)


def basis_of(build: Build, crawls: list[TableRef], photos: list[TableRef]) -> Basis:
    """What the look of a build stands on.

    Args:
        build: the build.
        crawls: candidates, one file per class.
        photos: inspected photos, one file per shard.

    Raises:
        ReleaseError: the release that it stands on is damaged.
    """
    made_from = _made_from(build, crawls, photos)
    newest = build.newest_release
    if newest is None:
        return Basis(made_from)
    release: Followed | None = newest
    said = newest.metadata.get("series") or {}
    if said.get("made_from") == made_from:
        base = said["base"]
        if base is None:
            release = None
        else:  # where it was moved away, the release of the same photos serves as well: it has its units and looks
            home = place(build.config.releases) / build.config.name
            release = earlier_release(home, base["version"], base["sha256sums"]) or newest
    return Basis(made_from, release, newest.sums_sha256)


def _made_from(build: Build, crawls: list[TableRef], photos: list[TableRef]) -> str:
    """A digest of what decides members but for the release before: the same on every machine and in whatever shards."""
    config = build.config
    asked = {name: content(getattr(config, name), "members") for name in ("curate", "select")}
    asked["source"] = {"photos_per_observation": config.source.photos_per_observation}
    if config.curate.max_similarity < 1:
        asked["annotator"] = {"features": build.features_of(config.models.annotator)}
    asked["classes"] = {spec.class_id: class_identity(spec) for spec in build.specs}
    with spilling() as connection:
        fill(connection, "candidates", candidate_parts(build, crawls, _OFFERED))
        fill(connection, "inspected", parts_of(photos, PHOTOS, ["photo_id", "sha256"]))
        connection.execute("CREATE TABLE offered AS FROM candidates JOIN inspected USING (photo_id)")
        # Which photos share a place, not where it is: who knows all else of a photo could try all places.
        connection.execute("""CREATE TABLE shared AS
            SELECT place, row_number() OVER (ORDER BY first) - 1 AS number FROM (
                SELECT place, min(photo_id) AS first FROM offered WHERE place IS NOT NULL GROUP BY place)""")
        query = """SELECT photo_id, class_id, source, observation_id, observer_id, number AS place, sha256
            FROM offered LEFT JOIN shared USING (place)"""
        return _digest_of(sorted_rows(connection, query, ["photo_id"]), json.dumps(asked, sort_keys=True))


def _digest_of(parts: Iterable[pa.Table], beside: str = "") -> str:
    """A digest of rows in order of their photos, and of a text beside them."""
    state = hashlib.sha256(beside.encode())
    for batch in (batch for part in parts for batch in part.to_batches()):
        columns = [pc.cast(column, pa.string()) for column in batch.columns]
        rows = pc.binary_join_element_wise(*columns, "\x1f", null_handling="replace", null_replacement="\x00")
        # Texts of one array lie one after the other, so these are "\x1e" + row for every row
        marked = pc.binary_join_element_wise("", rows, "\x1e")
        if len(marked):
            state.update(marked.buffers()[2].slice(0, pc.sum(pc.binary_length(marked)).as_py()))
    return state.hexdigest()


class Place(NamedTuple):
    """Where a build stands in its series.

    Attributes:
        series: what its look knows of those before it.
        inputs: the same for the release.
    """

    series: Series
    inputs: SeriesInputs


def place_in_series(build: Build, members: TableRef, basis: Basis) -> Place:
    """The look that a build takes. It is that of the release before where its photos are the same.

    A series is a source with its classes. Where the release before has none of the classes, or no photo of the source,
    a new series begins. A release that is older than series counts as its first look.

    Args:
        build: the build.
        members: its members.
        basis: what they stand on.
    """
    before = basis.release
    said = SeriesInputs(made_from=basis.made_from, newest=basis.newest, base=_named(before))
    if before is None:
        return Place(begin(), said)
    names = _names_now(build, before)
    own, last = map(_ids, (parts_of([members], MEMBERS, ["photo_id"]), before.parts("all_photos", ["photo_id"])))
    if not names or not own.sources & last.sources:
        return Place(begin(), said)
    looks = _looks(before, names)
    series = after(looks, is_same_look=own.digest == last.digest)
    days = looks.filter(pc.equal(looks["look"], series.look))["day"].to_pylist()
    earlier = looks.filter(pc.less(looks["look"], series.look))
    return Place(series, said.at(series.look, earlier, days[0] if days else "", _seen(before)))


def _named(release: Followed | None) -> dict[str, str] | None:
    return None if release is None else {"version": release.folder.name, "sha256sums": release.sums_sha256}


def _names_now(build: Build, before: Followed) -> dict[str, str]:
    """The id of each class of the release before that is a class of this build, and its id here."""
    own = {class_identity(spec): spec.class_id for spec in build.specs}
    names = {}
    for spec in before.metadata["classes"]:
        known = identity(spec.get("taxon_ids", ()), spec.get("scientific_name") or spec["name"])
        if known in own:
            names[spec["class_id"]] = own[known]
    return names


class _Ids(NamedTuple):
    """What is to be known of the ids of many photos: what their sources call themselves there, and a digest of all."""

    sources: set[str]
    digest: str


def _ids(parts: Iterable[pa.Table]) -> _Ids:
    """Of photos in their order."""
    sources: set[str] = set()

    def looked_at() -> Iterator[pa.Table]:
        for part in parts:
            words = pc.split_pattern(part["photo_id"], "-", max_splits=1)
            sources.update(pc.list_element(words, 0).unique().to_pylist())
            yield part

    return _Ids(digest=_digest_of(looked_at()), sources=sources)


def _seen(before: Followed) -> Rows:
    """The photos of a release with the look that first saw their unit."""

    def read(columns: Sequence[str] | None) -> Iterator[pa.Table]:
        for part in before.parts("all_photos", SEEN.names):
            known = pa.table({"photo_id": part["photo_id"], "unit_since": pc.fill_null(part["unit_since"], 1)})
            yield known if columns is None else known.select(list(columns))

    return Rows(SEEN, read)


def _looks(before: Followed, names: dict[str, str]) -> pa.Table:
    """The looks of the release before, under today's class ids."""
    table = before.table("looks")
    if table is None:
        pairs = before.table("pairs")
        select = before.metadata["config"].get("select", {})
        constant = {"look": 1, "day": before.metadata["source_snapshot"], "level": select.get("max_q_value", 0.05)}
        rows = [] if pairs is None else [row | constant for row in pairs.to_pylist() if row["q_value"] is not None]
    else:
        rows = table.to_pylist()
    columns = LOOKS.arrow().names
    return table_of(
        LOOKS,
        [
            {name: row[name] for name in columns} | {"class_id": names[row["class_id"]]}
            for row in rows
            if row["class_id"] in names
        ],
    )
