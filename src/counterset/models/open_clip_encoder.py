"""Image-text encoders of open_clip: names, loading, and unit-length features.

A model's name is an open_clip tag (`ViT-B-32/laion400m_e31`), a folder
(`local-dir:PATH`), a hub id (`hf-hub:NAME`), or one of the demo's own (`demo:selector`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import io
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError

from counterset.errors import ModelError
from counterset.tables import sha256_of

Features = npt.NDArray[np.float32]

DEMO_WEIGHTS = Path(__file__).resolve().parents[1] / "demo" / "weights"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
DECODE_THREADS = 2
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Options of glibc's mallopt(3)."""
LOAD_ERRORS = (OSError, RuntimeError, ValueError, KeyError, SafetensorError)
"""What open_clip and the hub raise for files that are missing, foreign or out of reach."""


class OpenClipEncoder:
    """One loaded model. Use `load_encoder`, which loads each model once a process.

    Attributes:
        name: as in the config.
        weights_sha256: of the checkpoint file.
        embedding_dim: D of the features.
    """

    def __init__(self, name: str, weights_sha256: str, model: Any, preprocess: Any, tokenizer: Any) -> None:
        self.name = name
        self.weights_sha256 = weights_sha256
        self._model = model
        self._preprocess = preprocess
        self._tokenizer = tokenizer
        self._device = next(model.parameters()).device
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
        with self._lock, torch.inference_mode(), ThreadPoolExecutor(DECODE_THREADS) as pool:
            starts = range(0, len(images), batch_size)
            # Decoding the next batch overlaps with the model's work on this one.
            batches = [pool.submit(self._decode, images[start : start + batch_size]) for start in starts[:2]]
            for index, _ in enumerate(starts):
                if index + 2 < len(starts):
                    batches.append(pool.submit(self._decode, images[starts[index + 2] :][:batch_size]))
                # (B, 3, H, W) -> (B, D)
                pixels = batches[index].result().to(self._device)
                batches[index] = None  # type: ignore[call-overload]
                encoded = self._model.encode_image(pixels, normalize=True)
                features.append(encoded.float().cpu().numpy())
        return np.concatenate(features)

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length text features, in order."""
        features = []
        with self._lock, torch.inference_mode():
            for start in range(0, len(texts), 256):
                tokens = self._tokenizer(list(texts[start : start + 256])).to(self._device)
                features.append(self._model.encode_text(tokens, normalize=True).float().cpu().numpy())
        return np.concatenate(features)

    def _decode(self, images: Sequence[bytes]) -> torch.Tensor:
        return torch.stack([self._preprocess(_rgb(image)) for image in images])


def _rgb(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    return ImageOps.exif_transpose(image).convert("RGB")


@functools.cache
def _keep_freed_memory() -> None:
    """Let glibc keep what is freed: each batch's activations are otherwise given back and
    faulted in again, which took half of the embedding time on small machines."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL("libc.so.6")
        for option, size in ((M_TRIM_THRESHOLD, 1 << 30), (M_TOP_PAD, 256 << 20), (M_MMAP_THRESHOLD, 1 << 30)):
            libc.mallopt(option, size)


@functools.lru_cache(maxsize=4)
def load_encoder(name: str) -> OpenClipEncoder:
    """Load a model by its config name, onto a GPU where there is one.

    Raises:
        ModelError: no such model, or its weights cannot be had or do not fit.
    """
    _keep_freed_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model_name, pretrained = _resolve(name)
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            model_name, pretrained=pretrained, device=device, weights_only=True
        )
        tokenizer = open_clip.get_tokenizer(model_name)
    except LOAD_ERRORS as error:
        raise _cannot_load(name, error) from error
    model.eval()
    return OpenClipEncoder(name, weights_sha256(name), model, preprocess, tokenizer)


@functools.lru_cache(maxsize=64)
def weights_sha256(name: str) -> str:
    """The SHA-256 of a model's checkpoint (of the digests of all weight files, for a folder).

    A checkpoint that is not in the cache is downloaded.

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
            return hashlib.sha256("".join(sha256_of(path) for path in files).encode()).hexdigest()
        if pretrained is None:
            return sha256_of(open_clip.download_pretrained_from_hf(model_name.removeprefix("hf-hub:")))
        return sha256_of(open_clip.download_pretrained(open_clip.get_pretrained_cfg(model_name, pretrained)))
    except LOAD_ERRORS as error:
        raise _cannot_load(name, error) from error


def _cannot_load(name: str, error: BaseException) -> ModelError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
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
    model_name, _, pretrained = name.partition("/")
    if not pretrained or pretrained not in open_clip.list_pretrained_tags_by_model(model_name):
        raise ModelError(
            f"open_clip knows no pretrained model {name!r}; write MODEL/TAG as in open_clip.list_pretrained(), "
            "e.g. ViT-B-32/laion400m_e31"
        )
    return model_name, pretrained
