"""An open_clip model as the door gives it: read only when something is to be computed."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import open_clip
from huggingface_hub.constants import HF_HUB_CACHE

from counterset.models import open_clip_encoder
from counterset.models.held import held
from counterset.models.lineage import address_of, data_of_folder, data_of_tag
from counterset.models.open_clip_encoder import (
    WEIGHT_SUFFIXES,
    OpenClipEncoder,
    embedding_dim,
    features_id,
    read_encoder,
    texts_id,
    weights_sha256,
)
from counterset.models.precision import Backend, Features


class ImageTextModel:
    """A `counterset.models.door.TextModel`: `MODEL/TAG` of open_clip, which other kinds differ from in some things.

    It stands for the files as they are when it is first used.
    """

    family = "CLIP"

    def __init__(self, name: str, backend: Backend = "torch") -> None:
        self.name = name
        self.backend = backend

    @property
    def origin(self) -> str:
        """The hub's repository or the address that its weights come from."""
        return address_of(self.name)

    @property
    def trained_on(self) -> frozenset[str]:
        """The data sets that its tag tells."""
        return data_of_tag(self.name.rpartition("/")[2])

    @property
    def cached(self) -> Path | None:
        """A file of its weights on this machine."""
        known = open_clip.get_pretrained_cfg(*self.name.split("/", 1)) or {}
        repository = str(known.get("hf_hub", "")).rpartition("/")[0]
        return in_hub_cache(repository) if repository else None

    @property
    def weight_files(self) -> list[Path]:
        """The files of its weights, which are fetched for it."""
        return open_clip_encoder.weight_files(self.name)

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
        return texts_id(self.name, self.backend)

    @property
    def encoder(self) -> OpenClipEncoder:
        """The loaded model; it is not kept here, so that no more are in memory than `held` allows."""
        key = (self.name, self.features_id, self.texts_id)
        return held(key, lambda: read_encoder(self.name, self.backend))

    @property
    def embedding_dim(self) -> int:
        """D of its features, as its config says; its weights are not read for it."""
        return embedding_dim(self.name)

    def encode_images(self, images: Sequence[bytes], batch_size: int) -> Features:
        """(N, D) unit-length image features."""
        return self.encoder.encode_images(images, batch_size)

    def encode_whole(
        self, images: Sequence[bytes], weights: Sequence[Features], batch_size: int
    ) -> tuple[Features, Features]:
        """(N, D) unit-length features of whole frames, and (N, D) of places in them."""
        return self.encoder.encode_whole(images, weights, batch_size)

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length text features."""
        return self.encoder.encode_texts(texts)

    @property
    def texts_are_independent(self) -> bool:
        """Whether a text has the same bits whichever texts it is encoded with."""
        return self.encoder.texts_are_independent


class FolderModel(ImageTextModel):
    """An open_clip model in a folder."""

    def __init__(self, name: str, backend: Backend, folder: Path) -> None:
        super().__init__(name, backend)
        self._folder = folder

    @property
    def origin(self) -> str:
        """The folder's path."""
        return str(self._folder.resolve())

    @property
    def trained_on(self) -> frozenset[str]:
        """The data sets that its recipe names."""
        return data_of_folder(self._folder)

    @property
    def cached(self) -> Path | None:
        """A file of its weights."""
        return first_weights(self._folder.glob("*"))


def in_hub_cache(repository: str) -> Path | None:
    """A file of weights of a repository in the hub's cache, or None."""
    folder = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return first_weights(folder.glob("*/*"))


def first_weights(paths: Iterable[Path]) -> Path | None:
    """The first of them, by name, that is a file of weights, or None."""
    return next((path for path in sorted(paths) if path.suffix in WEIGHT_SUFFIXES and path.is_file()), None)
