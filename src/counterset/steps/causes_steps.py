"""What photos look like as a whole and where their animals are, shard by shard: read once, when a release is made."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from counterset.causes.appearance import appearance
from counterset.causes.schemas import ANIMALS, APPEARANCE
from counterset.photo_rows import Rows
from counterset.pictures import DECODER_VERSION
from counterset.places import PLACES
from counterset.schemas import IMAGES, PHOTOS, TableSchema
from counterset.steps.keys import Build
from counterset.tables import read_table, table_of, write_table
from counterset.workspace import digest, versions

REVISION = 1
"""Raised by whoever changes what `measure_shard` makes of the same photos."""
PACKAGES = ("pillow", "numpy")


def appearance_key(build: Build) -> str:
    """Of the appearance of photos: nothing of the config decides it but what decides the photos' bytes."""
    return digest("appearance", REVISION, versions(*PACKAGES), APPEARANCE.version, DECODER_VERSION, build.photos_key)


def animals_key(build: Build) -> str:
    """Of where animals are: what the config's boxes or masks say decides it, and which photos there are."""
    said = PLACES, build.animals.digest
    return digest("animals", *said, versions(*PACKAGES), ANIMALS.version, DECODER_VERSION, build.photos_key)


def measure_shard(build: Build, key: str, shard: str) -> pa.Table:
    """The appearance of a shard's photos that decode, measured unless it lies there already."""
    path = build.workspace.file("appearance", key, shard)
    if not path.is_file():
        images = read_table(build.workspace.file("images", build.pool_key, shard), IMAGES)
        readable, rows = set(_readable(build, shard)), []
        for batch in images.to_batches(max_chunksize=256):
            for photo_id, content in zip(batch["photo_id"].to_pylist(), batch["image"].to_pylist(), strict=True):
                if photo_id in readable:
                    rows.append({"photo_id": photo_id} | appearance(content))
        write_table(table_of(APPEARANCE, rows), APPEARANCE, path)
    return read_table(path, APPEARANCE)


def measured(build: Build, shards: Iterable[str], folder: Path) -> Rows:
    """The appearance of all photos of some shards; of a photo in several shards that of the last one comes first.

    `folder` is for a file, which must stay.
    """
    return _in_order(APPEARANCE, map(functools.partial(measure_shard, build, appearance_key(build)), shards), folder)


def locate_shard(build: Build, key: str, shard: str) -> pa.Table:
    """Where the animals of a shard's photos are, read unless it lies there already; photos of which nothing is said
    have no row.

    Raises:
        ConfigError: a mask is no picture.
    """
    path = build.workspace.file("animals", key, shard)
    if not path.is_file():
        found = {photo_id: build.animals.extent(photo_id) for photo_id in _readable(build, shard)}
        rows = [
            {"photo_id": photo_id, "animal_share": of.share, "animal_offset": of.offset, "num_animals": of.number}
            for photo_id, of in found.items()
            if of is not None
        ]
        write_table(table_of(ANIMALS, rows), ANIMALS, path)
    return read_table(path, ANIMALS)


def located(build: Build, shards: Iterable[str], folder: Path) -> Rows:
    """Where the animals of all photos of some shards are, as `measured`; no shard is read where no file says so."""
    shards = shards if build.animals.boxes or build.animals.masks else ()
    return _in_order(ANIMALS, map(functools.partial(locate_shard, build, animals_key(build)), shards), folder)


def _readable(build: Build, shard: str) -> list[str]:
    photos = read_table(build.workspace.file("photos", build.photos_key, shard), PHOTOS, ["photo_id"])
    return [str(photo_id) for photo_id in photos["photo_id"].to_pylist()]


def _in_order(schema: TableSchema, tables: Iterable[pa.Table], folder: Path) -> Rows:
    numbered = (table.append_column("shard", pa.repeat(number, len(table))) for number, table in enumerate(tables))
    columns = schema.arrow().append(pa.field("shard", pa.int64()))
    return Rows.sorted(numbered, columns, folder / f"{schema.name}.arrow", ("shard", "descending"))
