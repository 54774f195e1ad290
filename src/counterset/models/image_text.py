"""An open_clip model as the door gives it: read only when something is to be computed."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from counterset.models.held import held
from counterset.models.open_clip_encoder import OpenClipEncoder, features_id, read_encoder, texts_id, weights_sha256
from counterset.models.precision import Backend, Features


class ImageTextModel:
    """A `counterset.models.door.TextModel`. It stands for the files as they are when it is first used."""

    family = "CLIP"

    def __init__(self, name: str, backend: Backend = "torch") -> None:
        self.name = name
        self.backend = backend

    @functools.cached_property
    def weights_sha256(self) -> str:
        """Of its checkpoint, which is fetched for it."""
        return weights_sha256(self.name)

    @functools.cached_property
    def features_id(self) -> str:
        """Names all that decides its image features."""
        return features_id(self.name, self.backend)

    @functools.cached_property
    def texts_id(self) -> str:
        """Names all that decides its text features."""
        return texts_id(self.name)

    @property
    def encoder(self) -> OpenClipEncoder:
        """The loaded model; it is not kept here, so that no more are in memory than `held` allows."""
        key = (self.name, self.features_id, self.texts_id)
        return held(key, lambda: read_encoder(self.name, self.backend))

    @property
    def embedding_dim(self) -> int:
        """D of its features."""
        return self.encoder.embedding_dim

    def encode_images(self, images: Sequence[bytes], batch_size: int) -> Features:
        """(N, D) unit-length image features."""
        return self.encoder.encode_images(images, batch_size)

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length text features."""
        return self.encoder.encode_texts(texts)
