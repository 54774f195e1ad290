"""Embed: a shard's photos to unit-length image features under one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from counterset.schemas import embeddings
from counterset.tables import table_of


class ImageEncoder(Protocol):
    """What this stage needs of a model."""

    name: str
    embedding_dim: int

    def encode_images(self, images: Sequence[bytes], batch_size: int) -> npt.NDArray[np.float32]:
        """(N, D) unit-length features of N encoded photos."""
        ...


def embed_photos(images: pa.Table, photos: pa.Table, encoder: ImageEncoder, *, batch_size: int) -> pa.Table:
    """One embedding row a photo of the shard (embeddings schema).

    Args:
        images: the shard's bytes (images schema).
        photos: the shard's photos that decode (photos schema); others are not embedded.
        encoder: the model.
        batch_size: photos in one forward pass.
    """
    wanted = set(photos["photo_id"].to_pylist())
    ids, contents = [], []
    for photo_id, content in zip(images["photo_id"].to_pylist(), images["image"].to_pylist(), strict=True):
        if photo_id in wanted:
            ids.append(photo_id)
            contents.append(content)
    features = encoder.encode_images(contents, batch_size)
    # (N, D) -> N lists of D
    column = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1), pa.float32()), encoder.embedding_dim)
    return table_of(
        embeddings(encoder.embedding_dim),
        {"photo_id": ids, "model": [encoder.name] * len(ids), "embedding": column},
    )
