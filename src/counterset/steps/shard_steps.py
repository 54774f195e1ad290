"""The steps of a build that go class by class and shard by shard, from files to files.

No Prefect here. Every step asks what is missing, does that, and returns references;
the stages themselves are pure and know nothing of files.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.classes import ClassSpec
from counterset.download.photos import MAX_ATTEMPTS, MAY_HEAL, download_photos
from counterset.errors import ConfigError, SourceError
from counterset.fetching.gate import user_agent
from counterset.models.door import identity, open_model
from counterset.parquet_sql import fill, rows_of, spilling
from counterset.schemas import (
    CANDIDATES,
    IMAGES,
    PHOTOS,
    REJECTS,
    RejectReason,
    embeddings,
)
from counterset.sources.budget import MEDIA_BYTES
from counterset.stages import curate, embed
from counterset.steps.keys import Build, parts_of, read_all, without
from counterset.steps.rejects import of_several_classes
from counterset.storage import Place
from counterset.tables import TableRef, conform, read_metadata, read_table, write_bytes, write_table
from counterset.wide_rows import by_number
from counterset.workspace import digest

Places: TypeAlias = npt.NDArray[Any]
"""Of rows in a table."""

RETRY = "-retry"
"""Ends the name of a shard whose photos failed in an earlier one."""


def crawl_class(build: Build, spec: ClassSpec) -> TableRef:
    """Candidates of one class, crawled unless they lie there already."""
    name = build.crawl_name(spec)
    if not build.is_done("crawl", build.crawl_key, name):
        crawl = build.source.crawl(spec)
        build.workspace.keep_scratch("crawl_state", build.requests_key)
        write_table(crawl.rejects, REJECTS, build.workspace.file("crawl_rejects", build.crawl_key, name))
        build.write(crawl.candidates, CANDIDATES, "crawl", build.crawl_key, name)
    return build.ref("crawl", build.crawl_key, name)


def recheck(build: Build, crawls: list[TableRef]) -> TableRef:
    """The photos that may no longer be published, asked for by id; empty right after a first crawl."""
    key, name = build.crawl_key, build.snapshot_name
    if not build.is_done("withdrawn", key, name):
        rejects = REJECTS.arrow().empty_table()
        if build.snapshot > 1:
            rejects = build.source.recheck(read_all(crawls, CANDIDATES), build.specs)
        write_table(rejects, REJECTS, build.workspace.file("withdrawn", key, name))
    build.end_look()
    return build.ref("withdrawn", key, name)


def candidate_parts(build: Build, crawls: Iterable[TableRef], columns: list[str] | None = None) -> Iterator[pa.Table]:
    """All candidates that were not withdrawn and are of one class alone, in parts, the first of which is empty.

    `columns` = photo_id and more; None = all.
    """
    withdrawn = read_table(build.workspace.file("withdrawn", build.crawl_key, build.snapshot_name), REJECTS)
    gone = pa.chunked_array([*withdrawn["photo_id"].chunks, *of_several_classes(build)["photo_id"].chunks], pa.string())
    for part in parts_of(crawls, CANDIDATES, columns):
        yield without(part, gone.combine_chunks())


def plan_shards(build: Build, crawls: Iterable[TableRef]) -> list[str]:
    """Cut the candidates that are in no shard yet into shards; give the names of those that matter.

    Shards are only ever added, in one order, so a killed plan goes on where it stopped. A name is a
    number and a digest of the photos: what was downloaded under it is theirs, also when a lost list
    is planned anew. A refresh puts photos whose download failed, and may not fail again, into new
    shards: a photo was asked for as often as there are shards that hold it. Photos that moved
    before their shard was downloaded are looked for where they are now.

    Raises:
        SourceError: there is no photo at all.
    """
    with spilling() as connection:
        return _planned(build, list(crawls), connection)


def _planned(build: Build, crawls: list[TableRef], connection: duckdb.DuckDBPyConnection) -> list[str]:
    """`plan_shards`: texts lie in DuckDB's tables, and here a photo is the number of its candidate."""
    file, key = build.workspace.file, build.pool_key
    num_photos = _number(connection, candidate_parts(build, crawls, ["photo_id", "url"]))
    if not num_photos:
        raise SourceError(
            f"no photo of the {len(build.specs)} classes is left; look at the source, its filters and the class list"
        )
    names = build.workspace.names("shards", key)
    paths = [file("shards", key, name) for name in names]
    columns = ["photo_id", "url"]
    listed = (part.append_column("shard", _repeated(number, part)) for number, part in _each(paths, columns))
    empty = CANDIDATES.arrow().empty_table().select(columns)
    fill(connection, "listed", itertools.chain([empty.append_column("shard", _repeated(0, empty))], listed))
    connection.execute("""CREATE TABLE found AS SELECT row, shard, listed.url <> numbered.url AS is_elsewhere
        FROM listed JOIN numbered USING (photo_id); DROP TABLE listed""")
    is_in, is_moved = (
        {number for (number,) in connection.sql(f"SELECT DISTINCT shard FROM found WHERE {which}").fetchall()}
        for which in ("true", "is_elsewhere")
    )
    moved = [number for number in is_moved if not build.is_done("images", key, names[number])]
    fill(connection, "moved", [pa.table({"shard": pa.array(moved, pa.int32())})])
    there = connection.sql("SELECT row, shard FROM found SEMI JOIN moved USING (shard)").to_arrow_table()
    for number, now in _chosen(build, crawls, there) if len(there) else ():
        others = without(read_table(paths[number], CANDIDATES), now["photo_id"].combine_chunks())
        write_table(pa.concat_tables([conform(now, CANDIDATES), others]), CANDIDATES, paths[number])
    # (N,) of the candidates: the last shard that holds each, and whether that has another address of it
    last, has_moved = np.full(num_photos, -1, np.int32), np.zeros(num_photos, np.bool_)
    for part in rows_of(connection, "FROM found ORDER BY shard"):
        photo, shard_of, is_elsewhere = (column.to_numpy() for column in part.columns)
        last[photo], has_moved[photo] = shard_of, is_elsewhere
    relevant = [names[number] for number in is_in]

    used = {int(name[:6]) for name in names}
    free = (number for number in itertools.count() if number not in used)

    def add_shards(todo: Places, suffix: str = "") -> None:
        if not len(todo):
            return
        for _, part in _chosen(build, crawls, _shards(connection, todo, build.config.download.shard_size)):
            name = f"{next(free):06d}-{digest(sorted(part['photo_id'].to_pylist()))[:8]}{suffix}"
            write_table(part, CANDIDATES, file("shards", key, name))
            relevant.append(name)

    add_shards(np.flatnonzero(last < 0).astype(np.int32))
    planned = build.workspace.folder("retries", key) / f"{build.crawl_key}-{build.snapshot_name}.txt"
    if build.snapshot > 1 and not planned.is_file():
        failed = _has_failed(build, connection, names, last, has_moved)
        given_up = f"SELECT row FROM found GROUP BY row HAVING count(*) >= {MAX_ATTEMPTS}"
        failed[connection.sql(given_up).to_arrow_table()["row"].to_numpy()] = False
        failed = np.flatnonzero(failed).astype(np.int32)
        add_shards(failed, RETRY)
        write_bytes(f"{len(failed)}\n".encode(), planned)
    return sorted(relevant)


def _number(connection: duckdb.DuckDBPyConnection, parts: Iterable[pa.Table]) -> int:
    """Fill the table `numbered` with the candidates and their numbers; how many there are."""
    size = 0

    def numbered() -> Iterator[pa.Table]:
        nonlocal size
        for part in parts:
            yield part.append_column("row", pa.array(np.arange(size, size + len(part), dtype=np.int32)))
            size += len(part)

    fill(connection, "numbered", numbered())
    return size


def _each(paths: list[Place], columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
    """The rows of several lists of candidates, each with the number of its list."""
    return ((number, read_table(path, CANDIDATES, columns)) for number, path in enumerate(paths))


def _repeated(number: int, rows: pa.Table) -> pa.Array:
    return pa.repeat(pa.scalar(number, pa.int32()), len(rows))


def _shards(connection: duckdb.DuckDBPyConnection, todo: Places, size: int) -> pa.Table:
    """Some rows, with the number of the new shard of each: by a hash of its photo, which mixes the classes."""
    fill(connection, "todo", [pa.table({"row": pa.array(todo)})])
    lots = (
        pa.table({"row": part["row"], "lot": pa.array([int(digest(own), 16) for own in ids], pa.uint64())})
        for part in rows_of(connection, "SELECT row, photo_id FROM numbered JOIN todo USING (row)")
        for ids in [part["photo_id"].to_pylist()]
    )
    fill(connection, "lots", lots)
    parts = rows_of(connection, "SELECT row FROM lots ORDER BY lot, row")
    row = np.concatenate([np.zeros(0, np.int32), *(part["row"].to_numpy() for part in parts)])
    connection.execute("DROP TABLE todo; DROP TABLE lots")
    return pa.table({"row": row, "shard": np.arange(len(row), dtype=np.int32) // np.int32(size)})


def _chosen(build: Build, crawls: list[TableRef], chosen: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Shard by shard the whole candidates of some rows, of which `chosen` tells the shard, or several."""
    order = np.argsort(chosen["row"].to_numpy(), kind="stable")
    row, shard = (chosen[name].to_numpy()[order] for name in ("row", "shard"))

    start, schema = 0, pa.schema([*CANDIDATES.arrow(), pa.field("shard", pa.int32())])
    with by_number(schema, "shard", int(shard.max(initial=-1)) + 1) as shards:
        for part in candidate_parts(build, crawls):
            own = slice(*np.searchsorted(row, [start, start + len(part)]))
            shards.add(part.take(pa.array(row[own] - start)).append_column("shard", pa.array(shard[own])))
            start += len(part)
        yield from shards.read()


def _has_failed(
    build: Build,
    connection: duckdb.DuckDBPyConnection,
    names: list[str],
    last: Places,
    has_moved: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """(N,) which photos failed in their last shard for a reason that may heal, or were gone and have moved since.

    A shard that is not finished is asked for anyway.
    """
    failed = np.zeros(len(last), np.bool_)
    files = [("images", "download_rejects", build.pool_key), ("photos", "photos_rejects", build.photos_key)]
    reasons = pa.array([RejectReason(reason).value for reason in MAY_HEAL])
    for stage, rejects, key in files:
        done = set(build.workspace.names(stage, key))
        told = [
            pa.table(
                {
                    "photo_id": pa.array([], pa.string()),
                    "shard": pa.array([], pa.int32()),
                    "may_heal": pa.array([], pa.bool_()),
                    "is_gone": pa.array([], pa.bool_()),
                }
            )
        ]
        for number in np.unique(last[last >= 0]).tolist():
            if names[number] in done:
                rows = read_table(build.workspace.file(rejects, key, names[number]), REJECTS, ["photo_id", "reason"])
                kinds = pc.is_in(rows["reason"], reasons), pc.equal(rows["reason"], RejectReason.GONE.value)
                told.append(pa.table([rows["photo_id"], _repeated(number, rows), *kinds], told[0].column_names))
        fill(connection, "told", [pa.concat_tables(told)])
        query = "SELECT row, shard, may_heal, is_gone FROM told JOIN numbered USING (photo_id)"
        photo, shard_of, may_heal, is_gone = (
            column.to_numpy() for column in connection.sql(query).to_arrow_table().columns
        )
        connection.execute("DROP TABLE told")
        failed[photo[(last[photo] == shard_of) & (may_heal | (is_gone & has_moved[photo]))]] = True
    return failed


def download_shard(build: Build, shard: str, on_progress: Callable[[int], None] | None = None) -> TableRef:
    """A shard's images, downloaded within the budget of bytes unless they lie there already."""
    workspace, key = build.workspace, build.pool_key
    if not build.is_done("images", key, shard):
        candidates = read_table(workspace.file("shards", key, shard), CANDIDATES)
        taken_over = _taken_over(build, candidates)
        source = build.config.source
        # Before, or each run after the budget is spent would fetch one more.
        build.budget.await_room(MEDIA_BYTES, lambda: on_progress(0) if on_progress else None)
        scratch = workspace.scratch("download_scratch", key) / shard
        result = download_photos(
            without(candidates, taken_over["photo_id"].combine_chunks()),
            scratch,
            build.config.download,
            user_agent=user_agent(source.contact),
            photo_hosts=(source.photo_url,) if isinstance(source.photo_url, str) else source.photo_url,
            allowed_hosts=build.source_kind.photo_hosts(source),
            is_retry=shard.endswith(RETRY),
            on_progress=on_progress,
            on_bytes=lambda count: build.budget.spend(MEDIA_BYTES, count),
        )
        write_table(result.rejects, REJECTS, workspace.file("download_rejects", key, shard))
        build.write(pa.concat_tables([taken_over, result.images]), IMAGES, "images", key, shard)
        shutil.rmtree(scratch, ignore_errors=True)
    return build.ref("images", key, shard)


def _taken_over(build: Build, candidates: pa.Table) -> pa.Table:
    """The candidates' images (images schema) that came from the same address for other settings, and fit these."""
    url_of = dict(zip(candidates["photo_id"].to_pylist(), candidates["url"].to_pylist(), strict=True))
    places = {build.fetched[url] for url in url_of.values() if url in build.fetched and not url.startswith("file:")}
    tables = [IMAGES.arrow().empty_table()]
    missing = pa.array(sorted(url_of), pa.string())
    for pool, shard in sorted(places):
        listed = read_table(build.workspace.file("shards", pool, shard), CANDIDATES, ["photo_id", "url"]).to_pylist()
        same = pa.array([row["photo_id"] for row in listed if url_of.get(row["photo_id"]) == row["url"]], pa.string())
        table = read_table(build.workspace.file("images", pool, shard), IMAGES).cast(IMAGES.arrow())
        fits = pc.less_equal(pc.binary_length(table["image"]), build.config.download.max_size_bytes)
        tables.append(
            table.filter(
                pc.and_(fits, pc.and_(pc.is_in(table["photo_id"], same), pc.is_in(table["photo_id"], missing)))
            )
        )
        missing = missing.filter(pc.invert(pc.is_in(missing, tables[-1]["photo_id"].combine_chunks())))
    return pa.concat_tables(tables)


def inspect_shard(build: Build, shard: str) -> TableRef:
    """A shard's photos that decode and fit."""
    workspace, key = build.workspace, build.photos_key
    if not build.is_done("photos", key, shard):
        images = read_table(workspace.file("images", build.pool_key, shard), IMAGES)
        candidates = read_table(workspace.file("shards", build.pool_key, shard), CANDIDATES)
        result = curate.inspect_photos(images, candidates, curate.BOUNDS, shard=shard)
        write_table(result.rejects, REJECTS, workspace.file("photos_rejects", key, shard))
        build.write(result.photos, PHOTOS, "photos", key, shard)
    return build.ref("photos", key, shard)


def embed_shard(build: Build, shard: str, model: str) -> TableRef:
    """A shard's image features under one model."""
    key = build.embed_key(model)
    if not build.is_done("embeddings", key, shard):
        images = read_table(build.workspace.file("images", build.pool_key, shard), IMAGES)
        photos = read_table(build.workspace.file("photos", build.photos_key, shard), PHOTOS, ["photo_id"])
        encoder = open_model(model, build.config.models.backend)
        if identity(encoder) != build.features_of(model):
            raise ConfigError(
                f"the features of {model} are not the same on every machine of this build: packages, processors or "
                "weights differ; make them alike, or set models.backend = 'torch-float32' if only processors do"
            )
        places = build.places if model == build.config.models.annotator else None
        table = embed.embed_photos(
            images,
            photos,
            encoder,
            batch_size=build.config.models.batch_size,
            places=places.weights if places else None,
        )
        schema = embeddings(encoder.embedding_dim, with_surroundings=places is not None)
        build.write(table, schema, "embeddings", key, shard)
    return build.ref("embeddings", key, shard)


def shard_size(build: Build, shard: str) -> int:
    """The number of candidates in a shard."""
    return int(read_metadata(build.workspace.file("shards", build.pool_key, shard)).num_rows)
