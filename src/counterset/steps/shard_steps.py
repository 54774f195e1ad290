"""The steps of a build that go class by class and shard by shard, from files to files.

No Prefect here. Every step asks what is missing, does that, and returns references;
the stages themselves are pure and know nothing of files.
"""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterable

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
from counterset.steps.keys import Build, read_all, without
from counterset.steps.rejects import of_several_classes
from counterset.tables import TableRef, read_metadata, read_table, write_bytes, write_table
from counterset.workspace import digest

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
    withdrawn = read_table(build.workspace.file("withdrawn", build.crawl_key, build.snapshot_name), REJECTS)
    table = without(read_all(crawls, CANDIDATES, columns), withdrawn["photo_id"].combine_chunks())
    return without(table, of_several_classes(build)["photo_id"].combine_chunks())


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
    url_of = dict(zip(table["photo_id"].to_pylist(), table["url"].to_pylist(), strict=True))
    wanted = set(url_of)
    attempts: Counter[str] = Counter()
    last: dict[str, str] = {}
    moved: set[str] = set()
    relevant = []
    names = build.workspace.names("shards", build.pool_key)
    for name in names:
        path = build.workspace.file("shards", build.pool_key, name)
        listed = read_table(path, CANDIDATES, ["photo_id", "url"])
        urls = dict(zip(listed["photo_id"].to_pylist(), listed["url"].to_pylist(), strict=True))
        ids = urls.keys() & wanted
        elsewhere = {photo_id for photo_id in ids if urls[photo_id] != url_of[photo_id]}
        moved = (moved - ids) | elsewhere
        if elsewhere and not build.is_done("images", build.pool_key, name):
            photo_ids = pa.array(sorted(ids))
            now = table.filter(pc.is_in(table["photo_id"], photo_ids))
            write_table(pa.concat_tables([now, without(read_table(path, CANDIDATES), photo_ids)]), CANDIDATES, path)
        attempts.update(ids)
        last |= dict.fromkeys(ids, name)
        if ids:
            relevant.append(name)

    used = {int(name[:6]) for name in names}
    free = (number for number in itertools.count() if number not in used)

    def add(todo: list[str], suffix: str = "") -> None:
        size = build.config.download.shard_size
        for start in range(0, len(todo), size):
            photo_ids = sorted(todo[start : start + size])
            name = f"{next(free):06d}-{digest(photo_ids)[:8]}{suffix}"
            part = table.filter(pc.is_in(table["photo_id"], pa.array(photo_ids)))
            write_table(part, CANDIDATES, build.workspace.file("shards", build.pool_key, name))
            relevant.append(name)

    add(sorted(wanted - attempts.keys(), key=digest))  # a hash order mixes the classes
    planned = build.workspace.folder("retries", build.pool_key) / f"{build.crawl_key}-{build.snapshot_name}.txt"
    if build.snapshot > 1 and not planned.is_file():
        failed = [photo_id for photo_id in _failed(build, last, moved) if attempts[photo_id] < MAX_ATTEMPTS]
        add(sorted(failed, key=digest), RETRY)
        write_bytes(f"{len(failed)}\n".encode(), planned)
    return sorted(relevant)


def _failed(build: Build, last: dict[str, str], moved: set[str]) -> set[str]:
    """The photos that failed in their last shard for a reason that may heal, or were gone and have moved since.

    A shard that is not finished is asked for anyway.
    """
    failed: set[str] = set()
    places = [("images", "download_rejects", build.pool_key), ("photos", "photos_rejects", build.photos_key)]
    for files, rejects, key in places:
        for shard in set(build.workspace.names(files, key)) & set(last.values()):
            table = read_table(build.workspace.file(rejects, key, shard), REJECTS, ["photo_id", "reason"])
            rows = zip(table["photo_id"].to_pylist(), table["reason"].to_pylist(), strict=True)
            failed |= {
                photo_id
                for photo_id, reason in rows
                if last.get(photo_id) == shard
                and (reason in MAY_HEAL or (reason == RejectReason.GONE and photo_id in moved))
            }
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
