"""The steps of a build that go class by class and shard by shard, from files to files.

No Prefect here. Every step asks what is missing, does that, and returns references;
the stages themselves are pure and know nothing of files.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.classes import ClassSpec
from counterset.download.photos import MAX_ATTEMPTS, MAY_HEAL, download_photos
from counterset.errors import ConfigError, SourceError
from counterset.fetching.gate import user_agent
from counterset.models.door import identity, open_model
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
from counterset.steps.rejects import of_several_classes, places_of
from counterset.tables import TableRef, read_metadata, read_table, write_bytes, write_table
from counterset.workspace import digest

Places: TypeAlias = npt.NDArray[np.int64]
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


def candidates_of(build: Build, crawls: Iterable[TableRef], columns: list[str] | None = None) -> pa.Table:
    """All candidates that were not withdrawn and are of one class alone; `columns` = photo_id and more; None = all."""
    return pa.concat_tables(candidate_parts(build, crawls, columns))


def candidate_parts(build: Build, crawls: Iterable[TableRef], columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The same in parts, the first of which is empty."""
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
    table = candidates_of(build, crawls)
    if not table.num_rows:
        raise SourceError(
            f"no photo of the {len(build.specs)} classes is left; look at the source, its filters and the class list"
        )
    names = build.workspace.names("shards", build.pool_key)
    columns = ["photo_id", "url"]
    listed = [read_table(build.workspace.file("shards", build.pool_key, name), CANDIDATES, columns) for name in names]
    photo, shard_of = places_of(listed, table)
    known = np.flatnonzero(photo >= 0)
    photo, shard_of = photo[known], shard_of[known]
    urls = pa.chunked_array([chunk for part in listed for chunk in part["url"].chunks], pa.string())
    is_elsewhere = pc.not_equal(urls.take(known), table["url"].take(photo)).to_numpy()
    for number in np.unique(shard_of[is_elsewhere]):
        if not build.is_done("images", build.pool_key, names[number]):
            path = build.workspace.file("shards", build.pool_key, names[number])
            now = table.take(photo[shard_of == number])
            others = without(read_table(path, CANDIDATES), now["photo_id"].combine_chunks())
            write_table(pa.concat_tables([now, others]), CANDIDATES, path)
    # (N,) of the candidates: the last shard that holds each, and whether that has another address of it
    last, has_moved = np.full(len(table), -1), np.zeros(len(table), np.bool_)
    last[photo], has_moved[photo] = shard_of, is_elsewhere
    relevant = [names[number] for number in np.unique(shard_of)]

    used = {int(name[:6]) for name in names}
    free = (number for number in itertools.count() if number not in used)

    def add(todo: Places, suffix: str = "") -> None:
        photo_ids = table["photo_id"].take(todo).to_pylist()
        # A hash order mixes the classes
        rows = table.take(todo[sorted(range(len(todo)), key=lambda row: digest(photo_ids[row]))])
        size = build.config.download.shard_size
        for start in range(0, len(rows), size):
            part = rows.slice(start, size)
            name = f"{next(free):06d}-{digest(sorted(part['photo_id'].to_pylist()))[:8]}{suffix}"
            write_table(part, CANDIDATES, build.workspace.file("shards", build.pool_key, name))
            relevant.append(name)

    add(np.flatnonzero(last < 0))
    planned = build.workspace.folder("retries", build.pool_key) / f"{build.crawl_key}-{build.snapshot_name}.txt"
    if build.snapshot > 1 and not planned.is_file():
        attempts = np.bincount(photo, minlength=len(table))
        failed = np.flatnonzero(_has_failed(build, table, names, last, has_moved) & (attempts < MAX_ATTEMPTS))
        add(failed, RETRY)
        write_bytes(f"{len(failed)}\n".encode(), planned)
    return sorted(relevant)


def _has_failed(
    build: Build, table: pa.Table, names: list[str], last: Places, has_moved: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """(N,) which photos failed in their last shard for a reason that may heal, or were gone and have moved since.

    A shard that is not finished is asked for anyway.
    """
    failed = np.zeros(len(table), np.bool_)
    places = [("images", "download_rejects", build.pool_key), ("photos", "photos_rejects", build.photos_key)]
    for files, rejects, key in places:
        done = set(build.workspace.names(files, key))
        asked = [number for number in np.unique(last[last >= 0]).tolist() if names[number] in done]
        paths = [build.workspace.file(rejects, key, names[number]) for number in asked]
        told = [read_table(path, REJECTS, ["photo_id", "reason"]) for path in paths]
        photo, part = places_of(told, table)
        reasons = pa.chunked_array([chunk for rows in told for chunk in rows["reason"].chunks], pa.string())
        may_heal = pc.is_in(reasons, pa.array([RejectReason(reason).value for reason in MAY_HEAL])).to_numpy()
        is_gone = pc.equal(reasons, RejectReason.GONE.value).to_numpy()
        known = np.flatnonzero(photo >= 0)
        photo, shard_of = photo[known], np.array(asked, np.int64)[part[known]]
        counts = (last[photo] == shard_of) & (may_heal[known] | (is_gone[known] & has_moved[photo]))
        failed[photo[counts]] = True
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
            photo_host=source.photo_url,
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
