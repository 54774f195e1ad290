"""Every photo that a build turned away, gathered from all stages."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from counterset.parquet_sql import fill, sorted_rows, spilling
from counterset.photo_rows import Rows
from counterset.schemas import CANDIDATES, REJECTS, RejectReason
from counterset.steps import failures
from counterset.steps.keys import Build, parts_of
from counterset.storage import Place, place
from counterset.tables import TableRef, read_parts, table_of

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


_LAST = """
    CREATE TABLE last AS SELECT photo_id, max(shard) AS shard FROM listed SEMI JOIN (
        FROM (SELECT photo_id FROM turned_away) UNION ALL SELECT photo_id FROM listed SEMI JOIN unfinished USING (shard)
    ) USING (photo_id) GROUP BY photo_id"""
_COUNTED = """
    CREATE TABLE counted AS SELECT photo_id, wanted.class_id, stage, reason, detail, row
    FROM turned_away JOIN last USING (photo_id, shard) JOIN wanted USING (photo_id)"""
_SET_ASIDE = """
    SELECT photo_id, class_id, stage, reason, detail, 0 AS row
    FROM last JOIN unfinished USING (shard) JOIN wanted USING (photo_id) ANTI JOIN counted USING (photo_id)"""
_ONCE = """
    SELECT * EXCLUDE (row) FROM told
    QUALIFY row_number() OVER (PARTITION BY photo_id, stage ORDER BY row) = 1"""


def all_rejects(build: Build, members: TableRef, shards: list[str], wanted: Rows, folder: Path) -> Rows:
    """The rejects of every stage (rejects schema), once a photo and stage.

    A photo that was asked for in several shards, because its download failed before,
    has the rejects of the last one only. One that a class turned away and another took
    is no reject; one that several turned away is the first one's, unless it is of several.

    Args:
        build: the build.
        members: its members file.
        shards: names of the shards that hold its candidates, set aside or not.
        wanted: its candidates.
        folder: for a file, which must stay.
    """
    key = place(members.path).parent.name
    paths = [
        build.workspace.file("withdrawn", build.crawl_key, build.snapshot_name),
        build.workspace.file("members_rejects", key, "all"),
    ]
    offered = itertools.chain([of_several_classes(build)], _read(_of_crawl(build, "crawl_rejects")))
    with spilling() as connection:
        wanted.give(connection, "wanted", ["photo_id", "class_id"])
        number = itertools.count()  # of several rows of one photo and stage the first one stays
        fill(connection, "offered", _numbered(offered, number))
        fill(connection, "more", _numbered(_read(paths), number))
        connection.execute("CREATE TABLE told AS FROM offered ANTI JOIN wanted USING (photo_id)")
        connection.execute("INSERT INTO told BY NAME FROM more")
        _add_shards(build, sorted(shards), connection, number)
        once = sorted_rows(connection, _ONCE, ["photo_id", "stage"])
        return Rows.written(once, REJECTS.arrow(), folder / "rejects.arrow")


def _add_shards(build: Build, shards: list[str], connection: duckdb.DuckDBPyConnection, number: Iterator[int]) -> None:
    """Add what the shards turned away, each photo's as the last shard that holds it has it, and under the class that
    holds the photo now: it may have moved since it was downloaded.
    """
    turned_away = (
        part.append_column("shard", pa.repeat(pa.scalar(position, pa.int64()), len(part)))
        for position, shard in enumerate(shards)
        for part in _read(_shard_rejects(build, shard))
    )
    fill(connection, "turned_away", _numbered(turned_away, number, pa.field("shard", pa.int64())))
    fill(connection, "unfinished", [_set_aside(build, shards)])
    if not any(
        connection.sql(f"SELECT count(*) FROM {name}").fetchall()[0][0] for name in ("turned_away", "unfinished")
    ):
        return
    paths = [build.workspace.file("shards", build.pool_key, shard) for shard in shards]
    listed = (
        part.append_column("shard", pa.repeat(pa.scalar(position, pa.int64()), len(part)))
        for position, path in enumerate(paths)
        for part in read_parts(path, CANDIDATES, ["photo_id"])
    )
    fill(connection, "listed", listed)
    for sql in (_LAST, _COUNTED, "INSERT INTO told BY NAME FROM counted", f"INSERT INTO told BY NAME {_SET_ASIDE}"):
        connection.execute(sql)


def _read(paths: Iterable[Place]) -> Iterator[pa.Table]:
    return itertools.chain.from_iterable(read_parts(path, REJECTS) for path in paths)


def _numbered(parts: Iterable[pa.Table], number: Iterator[int], *more: pa.Field) -> Iterator[pa.Table]:
    """Rejects with the column `row`, in which they are counted on; an empty part comes first."""
    schema = pa.schema([*REJECTS.arrow(), *more, pa.field("row", pa.int64())])
    yield schema.empty_table()
    for part in parts:
        rows = pa.array(itertools.islice(number, len(part)), pa.int64())
        yield part.append_column("row", rows)


def _shard_rejects(build: Build, shard: str) -> list[Place]:
    places = [("images", "download_rejects", build.pool_key), ("photos", "photos_rejects", build.photos_key)]
    done = [(rejects, key) for files, rejects, key in places if build.is_done(files, key, shard)]
    return [build.workspace.file(rejects, key, shard) for rejects, key in done]


def _set_aside(build: Build, shards: list[str]) -> pa.Table:
    """What is said of those photos of each unfinished shard of which nothing else is known."""
    rows = []
    for shard, missing in failures.unfinished(build, shards).items():
        records = [failures.find(build, stage, shard, model) for stage, model in missing]
        known = [record for record in records if record]
        rows.append(
            {
                "shard": shards.index(shard),
                "stage": REJECT_STAGE[known[0].stage if known else missing[0][0]],
                "reason": RejectReason.SHARD_FAILED.value,
                "detail": known[0].reason if known else f"shard {shard} was set aside",
            }
        )
    texts = [pa.field(name, pa.string()) for name in ("stage", "reason", "detail")]
    return pa.Table.from_pylist(rows, pa.schema([pa.field("shard", pa.int64()), *texts]))
