"""Embed: a shard's photos to unit-length image features under one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.schemas import embeddings
from counterset.tables import table_of

BATCHES_AT_ONCE = 16
"""Batches whose photos are in memory as bytes of their own."""


class ImageEncoder(Protocol):
    """What this stage needs of a model."""

    name: str
    embedding_dim: int

    def encode_images(self, images: Sequence[bytes], batch_size: int) -> npt.NDArray[np.float32]:
        """(N, D) unit-length features of N encoded photos."""
        ...


def embed_photos(
    images: pa.Table,
    photos: pa.Table,
    encoder: Any,
    *,
    batch_size: int,
    places: Callable[[str], npt.NDArray[np.float32]] | None = None,
) -> pa.Table:
    """One embedding row per photo of the shard (embeddings schema).

    Args:
        images: the shard's bytes (images schema).
        photos: the shard's photos that decode (photos schema); others are not embedded.
        encoder: an `ImageEncoder`, and where `places` are given one that has `encode_whole` too.
        batch_size: photos in one forward pass.
        places: of a photo_id gives weights (S, S) over an even grid of its frame. With them the photo is embedded as
            a whole frame, and these places of it beside that (`surroundings`).
    """
    is_kept = pc.is_in(images["photo_id"], photos["photo_id"].combine_chunks())
    kept = images if pc.all(is_kept).as_py() else images.filter(is_kept)
    ids = kept["photo_id"].to_pylist()
    # A few batches at a time: a shard of large photos is gigabytes, and a copy of it as many again.
    step = batch_size * BATCHES_AT_ONCE
    names = ("embedding",) if places is None else ("embedding", "surroundings")
    parts: list[tuple[npt.NDArray[np.float32], ...]] = [
        (np.empty((0, encoder.embedding_dim), np.float32),) * len(names)
    ]
    for start in range(0, len(ids), step):
        contents = kept["image"].slice(start, step).to_pylist()
        if places is None:
            parts.append((encoder.encode_images(contents, batch_size),))
        else:
            grids = [places(photo_id) for photo_id in ids[start : start + step]]
            parts.append(encoder.encode_whole(contents, grids, batch_size))
    columns: dict[str, Any] = {"photo_id": ids, "model": [encoder.name] * len(ids)}
    for name, pieces in zip(names, zip(*parts, strict=True), strict=True):
        # (N, D) -> N lists of D
        flat = pa.array(np.concatenate(pieces).reshape(-1), pa.float32())
        columns[name] = pa.FixedSizeListArray.from_arrays(flat, encoder.embedding_dim)
    return table_of(embeddings(encoder.embedding_dim, with_surroundings=places is not None), columns)
