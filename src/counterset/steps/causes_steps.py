"""What photos look like as a whole, shard by shard: read once from their bytes, when a release is made."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from counterset.causes.appearance import appearance
from counterset.causes.schemas import APPEARANCE
from counterset.pictures import DECODER_VERSION
from counterset.schemas import IMAGES, PHOTOS
from counterset.steps.keys import Build
from counterset.tables import conform, read_table, table_of, write_table
from counterset.workspace import digest, versions

REVISION = 1
"""Raised by whoever changes what `measure_shard` makes of the same photos."""
PACKAGES = ("pillow", "numpy")


def appearance_key(build: Build) -> str:
    """Of the appearance of photos: nothing of the config decides it but what decides the photos' bytes."""
    return digest("appearance", REVISION, versions(*PACKAGES), APPEARANCE.version, DECODER_VERSION, build.photos_key)


def measure_shard(build: Build, shard: str) -> pa.Table:
    """The appearance of a shard's photos that decode, measured unless it lies there already."""
    path = build.workspace.file("appearance", appearance_key(build), shard)
    if not path.is_file():
        images = read_table(build.workspace.file("images", build.pool_key, shard), IMAGES)
        photos = read_table(build.workspace.file("photos", build.photos_key, shard), PHOTOS, ["photo_id"])
        readable, rows = set(photos["photo_id"].to_pylist()), []
        for batch in images.to_batches(max_chunksize=256):
            for photo_id, content in zip(batch["photo_id"].to_pylist(), batch["image"].to_pylist(), strict=True):
                if photo_id in readable:
                    rows.append({"photo_id": photo_id} | appearance(content))
        write_table(table_of(APPEARANCE, rows), APPEARANCE, path)
    return read_table(path, APPEARANCE)


def measured(build: Build, shards: Iterable[str]) -> pa.Table:
    """The appearance of all photos of some shards; of a photo in several shards that of the last one."""
    table = pa.concat_tables([APPEARANCE.arrow().empty_table(), *(measure_shard(build, shard) for shard in shards)])
    numbered = pa.table({"photo_id": table["photo_id"], "row": np.arange(len(table))})
    last = numbered.group_by("photo_id").aggregate([("row", "max")])["row_max"]
    return conform(table.take(last), APPEARANCE)
