"""Curate: which downloaded photos are kept, by what each is alone.

`inspect_photos` looks at each photo, shard by shard, and says what it is; `fitting` keeps those whose sides fit the
config. `members` looks across photos then. None ever asks whether a model is right about a photo.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from counterset.config import CurateConfig
from counterset.errors import PictureError
from counterset.pictures import MAX_ASPECT_RATIO, MAX_PIXELS, Picture
from counterset.schemas import PHOTOS, REJECTS, RejectReason
from counterset.tables import table_of

STAGE = "curate"
BOUNDS = CurateConfig(min_side_px=1, max_pixels=MAX_PIXELS, max_aspect_ratio=MAX_ASPECT_RATIO)
"""Which photos are looked at and embedded, whatever a config keeps of them: another limit embeds none anew."""


class Inspection(NamedTuple):
    """Photos that decode and fit (photos schema), and the others (rejects schema)."""

    photos: pa.Table
    rejects: pa.Table


def inspect_photos(images: pa.Table, candidates: pa.Table, config: CurateConfig, *, shard: str) -> Inspection:
    """One photo row for each image that decodes whole and fits the config, one reject for each other.

    Args:
        images: the shard's bytes (images schema).
        candidates: gives the class of each photo (photo_id, class_id are read).
        config: caps on sides, pixels and aspect ratio.
        shard: name put into the rows.
    """
    class_ids = dict(zip(candidates["photo_id"].to_pylist(), candidates["class_id"].to_pylist(), strict=True))
    photos, rejects = [], []
    for batch in images.to_batches(max_chunksize=256):
        for photo_id, content in zip(batch["photo_id"].to_pylist(), batch["image"].to_pylist(), strict=True):
            try:
                photos.append({"photo_id": photo_id, "shard": shard} | _inspect(content, config))
            except PictureError as refused:
                rejects.append(_reject(photo_id, class_ids[photo_id], refused.reason, str(refused)))
    return Inspection(table_of(PHOTOS, photos), table_of(REJECTS, rejects))


def _inspect(content: bytes, config: CurateConfig) -> dict[str, object]:
    picture = Picture.read(content)
    width, height = picture.width_px, picture.height_px
    if (reason := _misfit(width, height, config)) is not None:
        raise PictureError(reason, f"{width} x {height} pixels")
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "width_px": width,
        "height_px": height,
        "size_bytes": len(content),
        "phash": picture.phash(),
    }


def fitting(photos: pa.Table, candidates: pa.Table, config: CurateConfig) -> Inspection:
    """The inspected photos whose sides fit the config, and one reject for each other.

    Args:
        photos: inspected photos (photos schema), within BOUNDS.
        candidates: gives the class of each photo (photo_id, class_id are read).
        config: caps on sides, pixels and aspect ratio.
    """
    reasons = [
        _misfit(width, height, config)
        for batch in photos.select(["width_px", "height_px"]).to_batches()
        for width, height in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    ]
    fits = pa.array([reason is None for reason in reasons], pa.bool_())
    misfits = photos.filter(pc.invert(fits))
    places = pc.index_in(misfits["photo_id"], candidates["photo_id"].combine_chunks())
    class_ids = candidates["class_id"].take(places).to_pylist()
    rejects = [
        _reject(row["photo_id"], class_id, reason, f"{row['width_px']} x {row['height_px']} pixels")
        for row, class_id, reason in zip(misfits.to_pylist(), class_ids, filter(None, reasons), strict=True)
    ]
    return Inspection(photos.filter(fits), table_of(REJECTS, rejects))


def _misfit(width: int, height: int, config: CurateConfig) -> RejectReason | None:
    """Why a photo of these sides is turned away."""
    if width * height > config.max_pixels:
        return RejectReason.TOO_LARGE
    if min(width, height) < config.min_side_px:
        return RejectReason.TOO_SMALL
    return RejectReason.ASPECT_RATIO if max(width, height) > config.max_aspect_ratio * min(width, height) else None


def _reject(photo_id: str, class_id: str, reason: str, detail: str) -> dict[str, str]:
    return {"photo_id": photo_id, "class_id": class_id, "stage": STAGE, "reason": reason, "detail": detail}
