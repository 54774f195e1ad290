"""Embed: a shard's photos to unit-length image features under one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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


def embed_photos(images: pa.Table, photos: pa.Table, encoder: ImageEncoder, *, batch_size: int) -> pa.Table:
    """One embedding row per photo of the shard (embeddings schema).

    Args:
        images: the shard's bytes (images schema).
        photos: the shard's photos that decode (photos schema); others are not embedded.
        encoder: the model.
        batch_size: photos in one forward pass.
    """
    is_kept = pc.is_in(images["photo_id"], photos["photo_id"].combine_chunks())
    kept = images if pc.all(is_kept).as_py() else images.filter(is_kept)
    ids = kept["photo_id"].to_pylist()
    # A few batches at a time: a shard of large photos is gigabytes, and a copy of it as many again.
    step = batch_size * BATCHES_AT_ONCE
    parts = [np.empty((0, encoder.embedding_dim), np.float32)]
    for start in range(0, len(ids), step):
        parts.append(encoder.encode_images(kept["image"].slice(start, step).to_pylist(), batch_size))
    # (N, D) -> N lists of D
    features = np.concatenate(parts)
    column = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1), pa.float32()), encoder.embedding_dim)
    return table_of(
        embeddings(encoder.embedding_dim),
        {"photo_id": ids, "model": [encoder.name] * len(ids), "embedding": column},
    )
