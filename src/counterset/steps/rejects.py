"""Every photo that a build turned away, gathered from all stages."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from counterset.schemas import CANDIDATES, REJECTS, RejectReason
from counterset.steps import failures
from counterset.steps.keys import Build, without
from counterset.storage import Place, place
from counterset.tables import TableRef, read_table, table_of

REJECT_STAGE = {"download": "download", "inspect": "curate", "embed": "embed"}
"""The stage that the rejects of a set-aside shard name, by the stage that failed."""


OF_ITS_CLASS = (
    RejectReason.LICENSE,
    RejectReason.UNCREDITED,
    RejectReason.URL_REFUSED,
    RejectReason.SAME_OBSERVATION,
    RejectReason.OBSERVER_DAY_CAP,
    RejectReason.NOT_SAMPLED,
)
"""Why a class turns away a photo that is of it nevertheless."""


def of_several_classes(build: Build) -> pa.Table:
    """The photos that are of several classes, so that nothing is known of their class: a reject each class.

    The first class's row has the photo's id, the others' the class's name behind it.
    """
    columns = ["photo_id", "class_id"]
    offered = [read_table(path, CANDIDATES, columns) for path in _of_crawl(build, "crawl")]
    reasons = pa.array([reason.value for reason in OF_ITS_CLASS])
    for path in _of_crawl(build, "crawl_rejects"):
        table = read_table(path, REJECTS, [*columns, "reason"])
        offered.append(table.filter(pc.is_in(table["reason"], reasons)).select(columns))
    table = (
        pa.concat_tables([CANDIDATES.arrow().empty_table().select(columns), *offered]).group_by(columns).aggregate([])
    )
    counts = table.group_by("photo_id").aggregate([("class_id", "count")])
    several = counts.filter(pc.greater(counts["class_id_count"], 1))["photo_id"].combine_chunks()
    order = {spec.class_id: number for number, spec in enumerate(build.specs)}
    classes: dict[str, list[str]] = {}
    for row in table.filter(pc.is_in(table["photo_id"], several)).to_pylist():
        classes.setdefault(row["photo_id"], []).append(row["class_id"])
    rows = []
    for photo_id, own in classes.items():
        own.sort(key=lambda class_id: order[class_id])
        constant = {
            "stage": "crawl",
            "reason": RejectReason.DUPLICATE_ID,
            "detail": f"offered for {' and '.join(own)}, so its class is unknown",
        }
        ids = [photo_id, *(f"{photo_id}-{class_id}" for class_id in own[1:])]
        rows += [{"photo_id": each, "class_id": name} | constant for each, name in zip(ids, own, strict=True)]
    return table_of(REJECTS, rows)


def _of_crawl(build: Build, stage: str) -> list[Place]:
    return [build.workspace.file(stage, build.crawl_key, build.crawl_name(spec)) for spec in build.specs]


def all_rejects(build: Build, members: TableRef, shards: list[str], wanted: pa.Table) -> pa.Table:
    """The rejects of every stage (rejects schema), once a photo and stage.

    A photo that was asked for in several shards, because its download failed before,
    has the rejects of the last one only. One that a class turned away and another took
    is no reject; one that several turned away is the first one's, unless it is of several.

    Args:
        build: the build.
        members: its members file.
        shards: names of the shards that hold its candidates, set aside or not.
        wanted: its candidates.
    """
    workspace = build.workspace
    taken = wanted["photo_id"].combine_chunks()
    tables = [of_several_classes(build), *(read_table(path, REJECTS) for path in _of_crawl(build, "crawl_rejects"))]
    tables = [without(table, taken) for table in tables]
    files = [
        workspace.file("withdrawn", build.crawl_key, build.snapshot_name),
        workspace.file("members_rejects", place(members.path).parent.name, "all"),
    ]
    tables += [read_table(path, REJECTS) for path in files]
    class_of = dict(zip(wanted["photo_id"].to_pylist(), wanted["class_id"].to_pylist(), strict=True))
    left = set(class_of)
    unfinished = failures.unfinished(build, shards)
    for shard in sorted(shards, reverse=True):  # the last shard of a photo is the one that counts
        offered = read_table(workspace.file("shards", build.pool_key, shard), CANDIDATES, ["photo_id"])
        ids = left & set(offered["photo_id"].to_pylist())
        left -= ids
        own = [_of_class(table, class_of) for table in _shard_rejects(build, shard, ids)]
        tables += own
        if shard in unfinished:
            ids -= {photo_id for table in own for photo_id in table["photo_id"].to_pylist()}
            tables.append(_of_class(_set_aside(build, shard, unfinished[shard], sorted(ids)), class_of))
    table = pa.concat_tables(tables)
    rows = table.append_column("row", pa.array(range(table.num_rows), pa.int64()))
    first = rows.group_by(["photo_id", "stage"]).aggregate([("row", "min")])["row_min"]
    table = table.take(pa.array(sorted(first.to_pylist()), pa.int64()))
    return table_of(REJECTS, {name: table[name].combine_chunks() for name in table.column_names})


def _shard_rejects(build: Build, shard: str, ids: set[str]) -> list[pa.Table]:
    places = [("images", "download_rejects", build.pool_key), ("photos", "photos_rejects", build.photos_key)]
    return [
        _among(read_table(build.workspace.file(rejects, key, shard), REJECTS), ids)
        for files, rejects, key in places
        if build.is_done(files, key, shard)
    ]


def _set_aside(build: Build, shard: str, missing: list[tuple[str, str]], photo_ids: list[str]) -> pa.Table:
    records = [failures.find(build, stage, shard, model) for stage, model in missing]
    known = [record for record in records if record]
    constant = {
        "stage": REJECT_STAGE[known[0].stage if known else missing[0][0]],
        "reason": RejectReason.SHARD_FAILED.value,
        "detail": known[0].reason if known else f"shard {shard} was set aside",
    }
    columns = {"photo_id": photo_ids, "class_id": [""] * len(photo_ids)}
    return table_of(REJECTS, columns | {name: [value] * len(photo_ids) for name, value in constant.items()})


def _of_class(table: pa.Table, class_of: Mapping[str, str]) -> pa.Table:
    """The rows under the classes that hold the photos now: a photo may have moved since it was downloaded."""
    classes = pa.array([class_of[photo_id] for photo_id in table["photo_id"].to_pylist()], pa.string())
    index = table.schema.get_field_index("class_id")
    return table.set_column(index, table.schema.field(index), classes)


def _among(table: pa.Table, ids: set[str]) -> pa.Table:
    return table.filter(pc.is_in(table["photo_id"], pa.array(sorted(ids), pa.string())))
