"""Image-text encoders of open_clip: names, loading, and unit-length features.

A model's name is an open_clip tag (`ViT-B-32/laion400m_e31`), a folder
(`local-dir:PATH`), a hub id (`hf-hub:NAME`), a checkpoint of an architecture
(`ViT-B-32@PATH`), or one of the demo's own (`demo:selector`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
from counterset.models.decoding import PixelDecoder
from counterset.models.openvino_tower import OpenVinoTower, check_installed
from counterset.models.precision import LARGE_BYTES, PROBE_LABELS, Backend, Features, agrees, native_half
from counterset.models.towers import ImageTower, PlainTower, TorchTower, probe_features
from counterset.tables import sha256_of

DEMO_WEIGHTS = Path(__file__).resolve().parents[1] / "demo" / "weights"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
MAX_DECODE_THREADS = 8
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Options of glibc's mallopt(3)."""
LOAD_ERRORS = (OSError, RuntimeError, ValueError, KeyError, AssertionError, UnpicklingError, SafetensorError)
"""What open_clip and the hub raise for files that are missing, foreign, of another shape, or out of reach."""
UNREACHABLE = ("Hub and we cannot find", "offline mode is enabled", "urlopen error")
"""Parts of what they say where there is no network."""


class OpenClipEncoder:
    """One loaded model. Use `load_encoder`, which loads each model once a process.

    Attributes:
        name: as in the config.
        weights_sha256: of the checkpoint file.
        precision: what its image tower computes in: float32, bfloat16, float16 or int8.
        embedding_dim: D of the features.
    """

    def __init__(self, name: str, weights_sha256: str, model: Any, tokenizer: Any, tower: ImageTower) -> None:
        self.name = name
        self.weights_sha256 = weights_sha256
        self.precision = tower.precision
        self._model = model
        self._tokenizer = tokenizer
        self._tower = tower
        self._device = model.logit_scale.device
        self._lock = threading.Lock()
        self.embedding_dim = int(self.encode_texts(["a photo"]).shape[1])

    def encode_images(self, images: Sequence[bytes], batch_size: int) -> Features:
        """(N, D) unit-length image features of encoded photos, in order.

        Batches are cut the same way whenever the same photos are asked for, so the
        same call gives the same bits on one machine.

        Args:
            images: JPEG, PNG, GIF or WebP files' bytes that decode.
            batch_size: photos in one forward pass.
        """
        features = [np.empty((0, self.embedding_dim), np.float32)]
        with self._lock, torch.inference_mode(), ThreadPoolExecutor(num_threads()) as pool:
            starts = range(0, len(images), batch_size)
            # Photos are decoded one batch ahead of the model.
            ahead = [self._decode(pool, images[start : start + batch_size]) for start in starts[:1]]
            for start in starts:
                batch = ahead.pop(0)
                if start + batch_size < len(images):
                    ahead.append(self._decode(pool, images[start + batch_size :][:batch_size]))
                # B x (3, H, W) -> (B, 3, H, W) -> (B, D)
                pixels = torch.stack([photo.result() for photo in batch])
                encoded = functional.normalize(self._tower.encode(pixels), dim=-1)
                features.append(encoded.cpu().numpy())
        return np.concatenate(features)

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length text features, in order; in float32, for they are few."""
        features = []
        with self._lock, torch.inference_mode():
            for start in range(0, len(texts), 256):
                tokens = self._tokenizer(list(texts[start : start + 256])).to(self._device)
                features.append(self._model.encode_text(tokens, normalize=True).float().cpu().numpy())
        return np.concatenate(features)

    def _decode(self, pool: ThreadPoolExecutor, images: Sequence[bytes]) -> list[Future[torch.Tensor]]:
        return [pool.submit(self._tower.decode, image) for image in images]


@functools.cache
def _keep_freed_memory() -> None:
    """Let glibc keep what is freed: each batch's activations are otherwise given back and
    faulted in again, which took half of the embedding time on small machines."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL("libc.so.6")
        for option, size in ((M_TRIM_THRESHOLD, 1 << 30), (M_TOP_PAD, 256 << 20), (M_MMAP_THRESHOLD, 1 << 30)):
            libc.mallopt(option, size)


@functools.lru_cache(maxsize=4)
def load_encoder(name: str, backend: Backend = "torch") -> OpenClipEncoder:
    """Load a model by its config name, onto a GPU where there is one.

    A large model's image tower computes in what `precision` says, if its features of the
    probe images are float32's within the limits of `counterset.models.precision`; else in float32
    (a tower in int8 gives way to `torch` first).

    Raises:
        ModelError: no such model, or its weights cannot be had or do not fit.
    """
    _keep_freed_memory()
    model_name, _ = _resolve(name)
    model, preprocess = _create(name)
    try:
        tokenizer = open_clip.get_tokenizer(model_name)
    except LOAD_ERRORS as error:
        raise cannot_load(name, error) from error
    wanted = precision(name, backend)
    if wanted == "float32" or not PixelDecoder.covers(PreprocessCfg(**model.visual.preprocess_cfg)):
        return OpenClipEncoder(name, weights_sha256(name), model, tokenizer, PlainTower(model, preprocess))
    exact = TorchTower(model, torch.float32)
    reference = probe_features(exact, exact.pixels.size)
    tower = OpenVinoTower(model) if wanted == "int8" else TorchTower(model, getattr(torch, wanted))
    encoder = OpenClipEncoder(name, weights_sha256(name), model, tokenizer, tower)
    ours = probe_features(tower, exact.pixels.size)
    if agrees(name, wanted, ours, reference, encoder.encode_texts(PROBE_LABELS)):
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
    is_large = sum(path.stat().st_size for path in _weight_files(name)) >= LARGE_BYTES
    if not is_large:
        return "float32"
    return "int8" if backend == "openvino" else str(half).removeprefix("torch.")


@functools.lru_cache(maxsize=64)
def features_id(name: str, backend: Backend = "torch") -> str:
    """Names all that decides a model's image features: its weights and, unless it is float32, the precision.

    Raises:
        ModelError: as `load_encoder`.
    """
    kind = precision(name, backend)
    return weights_sha256(name) if kind == "float32" else f"{weights_sha256(name)}-{kind}"


def _create(name: str) -> tuple[Any, Any]:
    """The model, ready to use, and its preprocessing.

    Raises:
        ModelError: as `load_encoder`.
    """
    model_name, pretrained = _resolve(name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            model_name, pretrained=pretrained, device=device, weights_only=True
        )
    except LOAD_ERRORS as error:
        raise cannot_load(name, error) from error
    return model.eval(), preprocess


def num_threads() -> int:
    """Threads that decode photos: one a processor that this process may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, MAX_DECODE_THREADS)


@functools.lru_cache(maxsize=64)
def weights_sha256(name: str) -> str:
    """The SHA-256 of a model's checkpoint (of the digests of all weight files, for a folder).

    A checkpoint that is not in the cache is downloaded.

    Raises:
        ModelError: as `load_encoder`.
    """
    digests = [sha256_of(path) for path in _weight_files(name)]
    is_folder = _resolve(name)[0].startswith("local-dir:")
    return hashlib.sha256("".join(digests).encode()).hexdigest() if is_folder else digests[0]


def _weight_files(name: str) -> list[Path]:
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
        if pretrained is None:
            return [Path(download_pretrained_from_hf(model_name.removeprefix("hf-hub:")))]
        return [Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(model_name, pretrained)))]
    except LOAD_ERRORS as error:
        raise cannot_load(name, error) from error


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
