"""Every photo that a build turned away, gathered from all stages."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from counterset.schemas import CANDIDATES, REJECTS, RejectReason
from counterset.storage import place
from counterset.tables import TableRef, read_table, table_of
from counterset_flows import failures
from counterset_flows.context import Build

REJECT_STAGE = {"download": "download", "inspect": "curate", "embed": "embed"}
"""The stage that the rejects of a set-aside shard name, by the stage that failed."""


def all_rejects(build: Build, members: TableRef, shards: list[str], wanted: pa.Table) -> pa.Table:
    """The rejects of every stage (rejects schema).

    A photo that was asked for in several shards, because its download failed before,
    has the rejects of the last one only.

    Args:
        build: the build.
        members: its members file.
        shards: names of the shards that hold its candidates, set aside or not.
        wanted: its candidates.
    """
    workspace = build.workspace
    files = [
        *(workspace.file("crawl_rejects", build.crawl_key, build.crawl_name(spec)) for spec in build.specs),
        workspace.file("withdrawn", build.crawl_key, build.snapshot_name),
        workspace.file("members_rejects", place(members.path).parent.name, "all"),
    ]
    tables = [read_table(path, REJECTS) for path in files]
    left = set(wanted["photo_id"].to_pylist())
    unfinished = failures.unfinished(build, shards)
    for shard in sorted(shards, reverse=True):  # the last shard of a photo is the one that counts
        offered = read_table(workspace.file("shards", build.pool_key, shard), CANDIDATES, ["photo_id", "class_id"])
        ids = left & set(offered["photo_id"].to_pylist())
        left -= ids
        own = _shard_rejects(build, shard, ids)
        tables += own
        if shard in unfinished:
            ids -= {photo_id for table in own for photo_id in table["photo_id"].to_pylist()}
            tables.append(_set_aside(build, shard, unfinished[shard], _among(offered, ids)))
    table = pa.concat_tables(tables)
    return table_of(REJECTS, {name: table[name].combine_chunks() for name in table.column_names})


def _shard_rejects(build: Build, shard: str, ids: set[str]) -> list[pa.Table]:
    places = [("images", "download_rejects", build.pool_key), ("photos", "photos_rejects", build.photos_key)]
    return [
        _among(read_table(build.workspace.file(rejects, key, shard), REJECTS), ids)
        for files, rejects, key in places
        if build.is_done(files, key, shard)
    ]


def _set_aside(build: Build, shard: str, missing: list[tuple[str, str]], offered: pa.Table) -> pa.Table:
    records = [failures.find(build, stage, shard, model) for stage, model in missing]
    found = [record for record in records if record]
    constant = {
        "stage": REJECT_STAGE[found[0].stage if found else missing[0][0]],
        "reason": RejectReason.SHARD_FAILED.value,
        "detail": found[0].reason if found else f"shard {shard} was set aside",
    }
    columns = {name: offered[name].combine_chunks() for name in ("photo_id", "class_id")}
    return table_of(REJECTS, columns | {name: [value] * offered.num_rows for name, value in constant.items()})


def _among(table: pa.Table, ids: set[str]) -> pa.Table:
    return table.filter(pc.is_in(table["photo_id"], pa.array(sorted(ids), pa.string())))
