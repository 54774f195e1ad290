"""A build's place in its series: what the newest release of its name says of the looks before it."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from counterset.classes import ClassSpec
from counterset.release.publish.series import SeriesInputs
from counterset.release.versions.followed import Followed
from counterset.schemas import MEMBERS
from counterset.statistics.halves import identity
from counterset.statistics.schemas import LOOKS
from counterset.statistics.series import Series, after, begin
from counterset.steps.keys import Build
from counterset.tables import TableRef, read_table, table_of


def class_identity(spec: ClassSpec) -> str:
    """What a class is, whatever its id and its common name are."""
    return identity(spec.taxon_ids, spec.scientific_name or spec.name)


class Place(NamedTuple):
    """Where a build stands in its series.

    Attributes:
        series: what its look knows of those before it.
        inputs: the same for the release.
    """

    series: Series
    inputs: SeriesInputs


def place_in_series(build: Build, members: TableRef) -> Place:
    """The look that a build takes. It is the last release's own where its photos are the same.

    A series is a source with its classes. Where the newest release of the name has none of the classes, or no photo of
    the source, a new series begins. One of before series counts as its first look.

    Args:
        build: the build.
        members: its members.
    """
    follows = build.follows
    if follows is None:
        return Place(begin(), SeriesInputs(follows=""))
    own = read_table(members.path, MEMBERS, ["photo_id"])["photo_id"].to_pylist()
    last = follows.table("all_photos")
    names = _names_now(build, follows)
    if last is None or not names or not _sources(own) & _sources(last["photo_id"].to_pylist()):
        return Place(begin(), SeriesInputs(follows=follows.sums_sha256))
    looks = _looks(follows, names)
    series = after(looks, is_same_look=set(own) == set(last["photo_id"].to_pylist()))
    days = looks.filter(pc.equal(looks["look"], series.look))["day"].to_pylist()
    seen = pa.table({"photo_id": last["photo_id"], "unit_since": pc.fill_null(last["unit_since"], 1)})
    earlier = looks.filter(pc.less(looks["look"], series.look))
    return Place(series, SeriesInputs(series.look, earlier, days[0] if days else "", seen, follows.sums_sha256))


def _names_now(build: Build, follows: Followed) -> dict[str, str]:
    """The id of each class of the last release that is a class of this build, and its id here."""
    own = {class_identity(spec): spec.class_id for spec in build.specs}
    names = {}
    for spec in follows.metadata["classes"]:
        known = identity(spec.get("taxon_ids", ()), spec.get("scientific_name") or spec["name"])
        if known in own:
            names[spec["class_id"]] = own[known]
    return names


def _sources(photo_ids: list[str]) -> set[str]:
    return {photo_id.partition("-")[0] for photo_id in photo_ids}


def _looks(follows: Followed, names: dict[str, str]) -> pa.Table:
    """The looks of the last release, under today's class ids."""
    table = follows.table("looks")
    if table is None:
        pairs = follows.table("pairs")
        select = follows.metadata["config"].get("select", {})
        constant = {"look": 1, "day": follows.metadata["source_snapshot"], "level": select.get("max_q_value", 0.05)}
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
