"""Image-text encoders of open_clip: names, loading, and unit-length features.

A model's name is an open_clip tag (`ViT-B-32/laion400m_e31`), a folder
(`local-dir:PATH`), a hub id (`hf-hub:NAME`), a checkpoint of an architecture
(`ViT-B-32@PATH`), or one of the demo's own (`demo:selector`).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.pretrained import download_pretrained_from_hf
from open_clip.transform import PreprocessCfg
from safetensors import SafetensorError
from torch.nn import functional

from counterset.errors import ModelError
from counterset.machine.ways import check_way, device, way_suffix
from counterset.models import ahead
from counterset.models.batches import in_batches, keep_freed_memory
from counterset.models.decoding import PixelDecoder
from counterset.models.held import held
from counterset.models.locations import features_and_places
from counterset.models.model_config import CONFIG_FILE, described, tokenizer_options
from counterset.models.openvino_tower import OpenVinoTower, check_installed
from counterset.models.packed import REVISION as PACKED_REVISION
from counterset.models.precision import LARGE_BYTES, PROBE_LABELS, Backend, Features, agrees, native_half
from counterset.models.text_tower import REVISION, ShortTexts, are_independent, text_tower
from counterset.models.towers import ImageTower, PlainTower, TorchTower, probe_features
from counterset.pictures import DECODER_VERSION
from counterset.tables import sha256_of
from counterset.workspace import digest, versions

DEMO_WEIGHTS = Path(__file__).resolve().parents[1] / "demo" / "weights"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
LOAD_ERRORS = (
    *(OSError, RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError),
    *(UnpicklingError, SafetensorError),
)
"""What open_clip and the hub raise for files that are missing, foreign, of another shape, or out of reach."""
UNREACHABLE = ("Hub and we cannot find", "offline mode is enabled", "urlopen error")
"""Parts of what they say where there is no network."""


PACKAGES = ("torch", "torchvision", "open-clip-torch", "timm", "pillow", "numpy")
"""Decode, prepare and compute: another version of one may give other features."""
INT8_PACKAGES = ("openvino", "nncf")
TEXT_PACKAGES = ("transformers", "tokenizers", "ftfy")
NEW_NS = 2_000_000_000
"""A file that changed so recently may be written again without its time of change moving on."""
TOKENIZER_SUFFIXES = (".json", ".txt", ".model")
"""Files of a model's folder that its tokenizer may read."""


class OpenClipEncoder:
    """One loaded model. Use `load_encoder`, which loads each model once per process.

    Attributes:
        name: as in the config.
        weights_sha256: of the checkpoint file.
        precision: what its image tower computes in: float32, bfloat16, float16 or int8.
        texts: computes its texts.
        embedding_dim: D of the features.
    """

    def __init__(self, name: str, weights_sha256: str, model: Any, tokenizer: Any, tower: ImageTower) -> None:
        self.name = name
        self.weights_sha256 = weights_sha256
        self.precision = tower.precision
        self._model = model
        self._tower = tower
        self._device = model.logit_scale.device
        self._lock = threading.Lock() if tower.is_serial else contextlib.nullcontext()
        self.texts = text_tower(model, tokenizer)
        self.embedding_dim = int(self.encode_texts(["a photo"]).shape[1])

    def encode_images(self, images: Sequence[bytes], batch_size: int) -> Features:
        """(N, D) unit-length image features of encoded photos, in order.

        Batches are cut the same way whenever the same photos are asked for, and each is one thread's work,
        so the same call gives the same bits on one machine, whatever its number of threads.

        Args:
            images: JPEG, PNG, GIF or WebP files' bytes that decode.
            batch_size: photos in one forward pass.
        """

        def encode(batch: Sequence[bytes]) -> Features:
            # B x (3, H, W) -> (B, 3, H, W) -> (B, D)
            pixels = torch.stack([self._tower.decode(image) for image in batch])
            with self._lock:
                encoded = functional.normalize(self._tower.encode(pixels), dim=-1)
            return np.asarray(encoded.cpu().numpy(), np.float32)

        if self._device.type == "cuda" and len(images) > batch_size:
            return self.encode_ahead(images, batch_size)
        empty = np.empty((0, self.embedding_dim), np.float32)
        return np.concatenate([empty, *in_batches(images, batch_size, encode)])

    def encode_ahead(self, images: Sequence[bytes], batch_size: int) -> Features:
        """The same features, on a device that does not wait for photos to be decoded."""
        with self._lock:
            encoded = torch.cat(ahead.encode(images, batch_size, self._tower.decode, self._tower.encode))
        return np.asarray(functional.normalize(encoded, dim=-1).cpu().numpy(), np.float32)

    def encode_whole(
        self, images: Sequence[bytes], weights: Sequence[Features], batch_size: int
    ) -> tuple[Features, Features]:
        """(N, D) unit-length features of whole frames, and (N, D) of places in them, in order, from one pass.

        A frame is brought to the model's size whatever its shape, and nothing is cut off. The tower's last map is
        pooled as the tower does, and with the given weights (`counterset.models.locations`).

        Args:
            images: as for `encode_images`.
            weights: N arrays (S, S) over an even grid of the frame; places of weight 0 have no part.
            batch_size: photos in one forward pass.

        Raises:
            ModelError: the tower has no places that can be read.
        """
        visual = self._model.visual
        dtype = getattr(torch, self.precision if self.precision != "int8" else "float32")
        frames = PixelDecoder(PreprocessCfg(**(visual.preprocess_cfg | {"resize_mode": "squash"})))

        def encode(batch: Sequence[tuple[bytes, Features]]) -> Features:
            # B x (3, H, W) -> (B, 3, H, W) -> 2 x (B, D) -> (B, 2, D)
            pixels = frames.stack([image for image, _ in batch]).to(self._device)
            grids = torch.from_numpy(np.stack([grid for _, grid in batch])).to(self._device)
            with self._lock:
                both = torch.stack(features_and_places(visual, frames.normalise(pixels, dtype), grids), dim=1)
            return np.asarray(functional.normalize(both.float(), dim=-1).cpu().numpy(), np.float32)

        empty = np.empty((0, 2, self.embedding_dim), np.float32)
        parts = in_batches(list(zip(images, weights, strict=True)), batch_size, encode)
        features, places = np.concatenate([empty, *parts]).transpose(1, 0, 2)
        return features, places

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length text features, in order; of a large model in what its image tower computes in."""
        return self.texts.encode(texts)

    @functools.cached_property
    def texts_are_independent(self) -> bool:
        """Whether a text has the same bits whichever texts it is encoded with, which is tried."""
        return are_independent(self.name, self.texts)


def load_encoder(name: str, backend: Backend = "torch") -> OpenClipEncoder:
    """Load a model by its config name, onto a GPU where there is one; once per process, unless its files change.

    Two backends that compute the same features are one model.

    A large model's image tower computes in what `precision` says, if its features of the
    probe images are float32's within the limits of `counterset.models.precision`; else in float32
    (a tower in int8 gives way to `torch` first).

    Raises:
        ModelError: no such model, or its weights cannot be read or do not fit.
    """
    key = (name, features_id(name, backend), texts_id(name, backend))
    return held(key, lambda: read_encoder(name, backend))


def read_encoder(name: str, backend: Backend) -> OpenClipEncoder:
    """Read a model's weights, whether it is held or not.

    Raises:
        ModelError: as `load_encoder`.
    """
    keep_freed_memory()
    model_name, pretrained = _resolve(name)
    model, preprocess = _create(name)
    try:
        tokenizer = open_clip.get_tokenizer(model_name, **tokenizer_options(described(model_name, pretrained)))
    except LOAD_ERRORS as error:
        raise cannot_load(name, error) from error
    wanted = precision(name, backend)
    if wanted == "float32" or not PixelDecoder.covers(PreprocessCfg(**model.visual.preprocess_cfg)):
        return OpenClipEncoder(name, weights_sha256(name), model, tokenizer, PlainTower(model, preprocess))
    check_way()
    exact = TorchTower(model, torch.float32)
    reference = probe_features(exact, exact.pixels.size)
    tower = OpenVinoTower(model) if wanted == "int8" else TorchTower(model, getattr(torch, wanted))
    encoder = OpenClipEncoder(name, weights_sha256(name), model, tokenizer, tower)
    ours = probe_features(tower, exact.pixels.size)
    labels = encoder.encode_texts(PROBE_LABELS)
    if agrees(name, wanted, ours, reference, labels):
        if ShortTexts.covers(model):
            short = ShortTexts(model, tokenizer, native_half() or torch.float32)
            if agrees(name, f"{short.precision} for texts", short.encode(PROBE_LABELS), labels, reference):
                encoder.texts = short
        return encoder
    if wanted == "int8":
        return load_encoder(name)
    model, preprocess = _create(name)  # the weights were rounded in place
    return OpenClipEncoder(name, weights_sha256(name), model, tokenizer, PlainTower(model, preprocess))


def precision(name: str, backend: Backend = "torch") -> str:
    """What a model's image tower is to compute in on this machine, before any check.

    It follows from the machine and the size of the checkpoint alone, and the check from these
    and the weights: so equal answers on one machine mean equal features.

    Raises:
        ModelError: as `load_encoder`.
    """
    half = native_half()
    if backend == "openvino":
        check_installed()
    elif backend == "torch-float32" or half is None:
        return "float32"
    is_large = sum(path.stat().st_size for path in weight_files(name)) >= LARGE_BYTES
    if not is_large:
        return "float32"
    return "int8" if backend == "openvino" else str(half).removeprefix("torch.")


def features_id(name: str, backend: Backend = "torch") -> str:
    """Names all that decides a model's image features: weights, architecture, preprocessing, precision, packages.

    Raises:
        ModelError: as `load_encoder`.
    """
    kind = precision(name, backend)
    identity = digest(_config(name), weights_sha256(name), device(), DECODER_VERSION, versions(*PACKAGES))
    if kind == "int8":  # OpenVINO shares products out among threads of its own
        return f"{identity}-{kind}-{digest(versions(*INT8_PACKAGES), len(os.sched_getaffinity(0)))}"
    return identity if kind == "float32" else f"{identity}-{kind}{way_suffix()}-{PACKED_REVISION}"


def texts_id(name: str, backend: Backend = "torch") -> str:
    """Names all that decides a model's text features: weights, architecture, tokenizer, precision, packages.

    Raises:
        ModelError: as `load_encoder`.
    """
    model_name, _ = _resolve(name)
    files: list[list[str]] = []
    if model_name.startswith("local-dir:"):
        folder = Path(model_name.removeprefix("local-dir:"))
        paths = sorted(path for path in folder.iterdir() if path.suffix in TOKENIZER_SUFFIXES and path.is_file())
        files = [[path.name, sha256_of(path)] for path in paths if path.name not in (CONFIG_FILE, "recipe.json")]
    packages = versions(*PACKAGES, *TEXT_PACKAGES)
    identity = digest(REVISION, _config(name), weights_sha256(name), files, device(), packages)
    if precision(name, backend) == "float32":
        return identity
    return f"{identity}-{str(native_half() or torch.float32).removeprefix('torch.')}{way_suffix()}-{PACKED_REVISION}"


def _config(name: str) -> dict[str, Any]:
    """What a model is besides its weights.

    Raises:
        ModelError: as `load_encoder`.
    """
    try:
        return described(*_resolve(name))
    except LOAD_ERRORS as error:
        raise cannot_load(name, error) from error


def embedding_dim(name: str) -> int:
    """D of a model's features.

    Raises:
        ModelError: as `load_encoder`.
    """
    try:
        return int(_config(name)["model_cfg"]["embed_dim"])
    except LOAD_ERRORS as error:
        raise cannot_load(name, error) from error


def _create(name: str) -> tuple[Any, Any]:
    """The model, ready to use, and its preprocessing.

    Raises:
        ModelError: as `load_encoder`.
    """
    model_name, pretrained = _resolve(name)
    tokenizer_options(_config(name))  # no questions on the terminal by text models either
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            model_name, pretrained=pretrained, device=device(), weights_only=True, require_pretrained=True
        )
    except LOAD_ERRORS as error:
        raise cannot_load(name, error) from error
    return model.eval(), preprocess


def weights_sha256(name: str) -> str:
    """The SHA-256 of a model's checkpoint (of the digests of all weight files, for a folder).

    A checkpoint that is not in the cache is downloaded.

    Raises:
        ModelError: as `load_encoder`.
    """
    digests = [digest_of(path) for path in weight_files(name)]
    is_folder = _resolve(name)[0].startswith("local-dir:")
    return hashlib.sha256("".join(digests).encode()).hexdigest() if is_folder else digests[0]


def digest_of(path: Path) -> str:
    """A file's SHA-256. It is read once a process, and again when it was written since.

    The time of change, which no program can set, tells that, unless it is too recent to tell two writes apart.
    """
    status = path.stat()
    mark = (path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    if time.time_ns() - status.st_ctime_ns < NEW_NS:
        return sha256_of(path)
    return _kept_digest(mark)


@functools.lru_cache(maxsize=64)
def _kept_digest(mark: tuple[Path, int, int, int, int]) -> str:
    return sha256_of(mark[0])


def weight_files(name: str) -> list[Path]:
    """The files of a model's checkpoint, downloaded where they are not in the cache.

    Raises:
        ModelError: as `load_encoder`.
    """
    model_name, pretrained = _resolve(name)
    try:
        if model_name.startswith("local-dir:"):
            folder = Path(model_name.removeprefix("local-dir:"))
            files = sorted(path for suffix in WEIGHT_SUFFIXES for path in folder.glob(f"*{suffix}"))
            if not files:
                raise FileNotFoundError(f"no weights in {folder}")
            return files
        if pretrained is not None and "@" in name:
            return [Path(pretrained)]
        return [_downloaded(model_name, pretrained)]
    except LOAD_ERRORS as error:
        raise cannot_load(name, error) from error


@functools.lru_cache(maxsize=64)
def _downloaded(model_name: str, pretrained: str | None) -> Path:
    """The hub is asked once a process."""
    if pretrained is None:
        return Path(download_pretrained_from_hf(model_name.removeprefix("hf-hub:")))
    return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(model_name, pretrained)))


def cannot_load(name: str, error: BaseException) -> ModelError:
    """One sentence about why a model could not be loaded."""
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    if any(sign in str(error) for sign in UNREACHABLE):
        reason = "its weights are not on this machine and the hub cannot be reached"
    return ModelError(f"the model {name!r} cannot be loaded: {reason}; check its name, its files or the network")


def _resolve(name: str) -> tuple[str, str | None]:
    """open_clip's (model name, pretrained tag) of a config name.

    Raises:
        ModelError: open_clip knows no such tag, or the folder holds no model.
    """
    if name.startswith("demo:"):
        name = f"local-dir:{DEMO_WEIGHTS / name.removeprefix('demo:')}"
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if not (folder / "open_clip_config.json").is_file():
            raise ModelError(f"{folder} holds no open_clip_config.json; give the folder of an open_clip model")
        return name, None
    if name.startswith("hf-hub:"):
        return name, None
    if "@" in name:
        model_name, _, checkpoint = name.partition("@")
        if model_name not in open_clip.list_models() or not Path(checkpoint).is_file():
            raise ModelError(
                f"{name!r} is not ARCHITECTURE@CHECKPOINT: give one of open_clip.list_models() and a file that is there"
            )
        return model_name, checkpoint
    model_name, _, pretrained = name.partition("/")
    if not pretrained or pretrained not in open_clip.list_pretrained_tags_by_model(model_name):
        raise ModelError(
            f"open_clip knows no pretrained model {name!r}; write MODEL/TAG as in open_clip.list_pretrained(), "
            "e.g. ViT-B-32/laion400m_e31"
        )
    return model_name, pretrained
