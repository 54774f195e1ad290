"""Every photo that a build turned away, gathered from all stages."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.parquet_sql import fill, spilling
from counterset.schemas import CANDIDATES, REJECTS, RejectReason
from counterset.steps import failures
from counterset.steps.keys import Build, parts_of, without
from counterset.storage import Place, place
from counterset.tables import TableRef, conform, read_table, table_of

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
    crawls, turned_away = (
        tuple(build.ref(stage, build.crawl_key, build.crawl_name(spec)) for spec in build.specs)
        for stage in ("crawl", "crawl_rejects")
    )
    return _of_several(crawls, turned_away, tuple(spec.class_id for spec in build.specs))


@functools.lru_cache(maxsize=2)  # every step that reads candidates asks
def _of_several(
    crawls: tuple[TableRef, ...], turned_away: tuple[TableRef, ...], class_ids: tuple[str, ...]
) -> pa.Table:
    columns = ["photo_id", "class_id"]
    reasons = pa.array([reason.value for reason in OF_ITS_CLASS])
    rejected = parts_of(turned_away, REJECTS, [*columns, "reason"])
    offered = (part.filter(pc.is_in(part["reason"], reasons)).select(columns) for part in rejected)
    with spilling() as connection:
        fill(connection, "offered", itertools.chain(parts_of(crawls, CANDIDATES, columns), offered))
        several = "SELECT photo_id FROM offered GROUP BY photo_id HAVING min(class_id) <> max(class_id)"
        found = connection.sql(
            f"SELECT DISTINCT photo_id, class_id FROM offered WHERE photo_id IN ({several})"
        ).fetchall()
    order = {class_id: number for number, class_id in enumerate(class_ids)}
    classes: dict[str, list[str]] = {}
    for photo_id, class_id in sorted(found):
        classes.setdefault(photo_id, []).append(class_id)
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
    offered = [of_several_classes(build), *(read_table(path, REJECTS) for path in _of_crawl(build, "crawl_rejects"))]
    files = [
        workspace.file("withdrawn", build.crawl_key, build.snapshot_name),
        workspace.file("members_rejects", place(members.path).parent.name, "all"),
    ]
    table = pa.concat_tables(
        [
            without(pa.concat_tables(offered), wanted["photo_id"].combine_chunks()),
            *(read_table(path, REJECTS) for path in files),
            *_of_shards(build, shards, wanted),
        ]
    )
    rows = table.select(["photo_id", "stage"]).append_column("row", pa.array(np.arange(len(table))))
    first = rows.group_by(["photo_id", "stage"]).aggregate([("row", "min")])["row_min"].to_numpy()
    return conform(table.take(np.sort(first)), REJECTS)


def _of_shards(build: Build, shards: list[str], wanted: pa.Table) -> list[pa.Table]:
    """What the shards turned away, each photo's as the last shard that holds it has it, and under the class that holds
    the photo now: it may have moved since it was downloaded.
    """
    shards = sorted(shards)
    offered = [
        read_table(build.workspace.file("shards", build.pool_key, shard), CANDIDATES, ["photo_id"]) for shard in shards
    ]
    # All at once, for every question makes its own index of the photos
    photo, shard_of = places_of(offered, wanted)
    last = np.full(len(wanted), -1)
    last[photo[photo >= 0]] = shard_of[photo >= 0]
    turned_away = [pa.concat_tables(_shard_rejects(build, shard)) for shard in shards]
    photo, shard_of = places_of(turned_away, wanted)
    counts = np.flatnonzero(photo >= 0)
    counts = counts[last[photo[counts]] == shard_of[counts]]
    table = pa.concat_tables([REJECTS.arrow().empty_table(), *turned_away]).take(counts)
    index = table.schema.get_field_index("class_id")
    tables = [table.set_column(index, table.schema.field(index), wanted["class_id"].take(photo[counts]))]
    unfinished, is_told = failures.unfinished(build, shards), np.zeros(len(wanted), np.bool_)
    is_told[photo[counts]] = True
    for number, shard in enumerate(shards):
        if shard in unfinished:
            lost = wanted.select(["photo_id", "class_id"]).take(np.flatnonzero((last == number) & ~is_told))
            tables.append(_set_aside(build, shard, unfinished[shard], lost))
    return tables


def places_of(tables: list[pa.Table], wanted: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Of each row of some tables: the place of its photo in `wanted`, -1 = it is not there; and its table's number."""
    photo_ids = pa.chunked_array([chunk for table in tables for chunk in table["photo_id"].chunks], pa.string())
    photo = pc.fill_null(pc.index_in(photo_ids, wanted["photo_id"].combine_chunks()), -1).to_numpy()
    return photo, np.repeat(np.arange(len(tables)), np.array([len(table) for table in tables], np.int64))


def _shard_rejects(build: Build, shard: str) -> list[pa.Table]:
    places = [("images", "download_rejects", build.pool_key), ("photos", "photos_rejects", build.photos_key)]
    done = [(rejects, key) for files, rejects, key in places if build.is_done(files, key, shard)]
    empty = REJECTS.arrow().empty_table()
    return [empty, *(read_table(build.workspace.file(rejects, key, shard), REJECTS) for rejects, key in done)]


def _set_aside(build: Build, shard: str, missing: list[tuple[str, str]], photos: pa.Table) -> pa.Table:
    """One reject for each of a shard's photos (photo_id, class_id) that nothing else is known of."""
    records = [failures.find(build, stage, shard, model) for stage, model in missing]
    known = [record for record in records if record]
    constant = {
        "stage": REJECT_STAGE[known[0].stage if known else missing[0][0]],
        "reason": RejectReason.SHARD_FAILED.value,
        "detail": known[0].reason if known else f"shard {shard} was set aside",
    }
    for name, value in constant.items():
        photos = photos.append_column(name, pa.repeat(value, len(photos)))
    return conform(photos, REJECTS)
