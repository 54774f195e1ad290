"""Whether two models hold the same weights, whatever their files are called and however they were saved.

Tensors are compared by their shapes and by numbers at fixed places, within what 16 bits round away: so a copy
under another name, in another container, under other tensors' names or in half precision is found, and
few pages of a large file are read.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open

from counterset.config import ModelsConfig
from counterset.errors import ConfigError
from counterset.models.door import origin, weight_files
from counterset.models.open_clip_encoder import LOAD_ERRORS, cannot_load

NUM_PLACES = 64
"""Numbers compared of each tensor."""
MIN_SIZE = 1_024
"""Smaller tensors, and those of one value, may be equal by chance."""
RELATIVE, ABSOLUTE = 2.0**-7, 1e-3
"""bfloat16 keeps 8 bits; half precision rounds small numbers to a step, here in parts of the tensor's spread."""
SHARED, SAME = 0.1, 0.9
"""Parts of the smaller model's numbers: with SHARED one is partly the other; with SAME they are one model."""


class Sample(NamedTuple):
    """Numbers of a model's tensors of one shape.

    Attributes:
        values: (T, NUM_PLACES), one row per tensor.
        size: numbers in each.
    """

    values: npt.NDArray[np.float32]
    size: int


Fingerprint = Mapping[tuple[int, ...], Sample]


def check_weights(models: ModelsConfig, *, are_fetched: bool = False) -> None:
    """Refuse roles that share weights: one model's errors would then choose and excuse its own.

    Args:
        models: the roles.
        are_fetched: every model's weights are on this machine; else only files that the config names are read.

    Raises:
        ConfigError: an annotator and a selector share weights (unless `allow_circular`), or two selectors are one.
        ModelError: weights cannot be read.
    """
    for first, second in itertools.combinations(models.selectors, 2):
        if share(first, second, are_fetched=are_fetched) >= SAME:
            raise ConfigError(
                f"the selectors {first!r} and {second!r} hold the same weights and would count one model twice; "
                "name it once"
            )
    if models.allow_circular:
        return
    for selector in models.selectors:
        if (shared := share(models.annotator, selector, are_fetched=are_fetched)) >= SHARED:
            raise ConfigError(
                f"models.annotator {models.annotator!r} and the selector {selector!r} share {shared:.0%} of their "
                "weights, so its errors would choose the pairs; name another annotator, or set "
                "models.allow_circular = true"
            )


def share(first: str, second: str, *, are_fetched: bool = True) -> float:
    """The part of the smaller model's numbers that the other holds too, in [0, 1].

    Raises:
        ModelError: weights cannot be read.
    """
    if origin(first) == origin(second):
        return 1.0
    if not are_fetched and not (_is_file(first) and _is_file(second)):
        return 0.0
    one, other = fingerprint(first), fingerprint(second)
    common = sum(_matches(one[shape].values, other[shape].values) * one[shape].size for shape in one.keys() & other)
    smaller = min(sum(len(part.values) * part.size for part in parts.values()) for parts in (one, other))
    return common / smaller if smaller else 0.0


def fingerprint(name: str) -> Fingerprint:
    """A model's tensors by shape; none where its kind shows no files.

    Raises:
        ModelError: its weights cannot be read.
    """
    try:
        files = weight_files(name)
        return _fingerprint(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files))
    except LOAD_ERRORS as error:
        raise cannot_load(name, error) from error


@functools.lru_cache(maxsize=16)
def _fingerprint(files: tuple[tuple[Path, int, int], ...]) -> Fingerprint:
    rows_of: dict[tuple[int, ...], dict[bytes, npt.NDArray[np.float32]]] = {}
    for path, _, _ in files:
        for tensor in _tensors(path):
            if tensor.numel() < MIN_SIZE or not tensor.is_floating_point():
                continue
            places = torch.linspace(0, tensor.numel() - 1, NUM_PLACES, dtype=torch.float64).long()
            values = tensor.reshape(-1)[places].float().numpy()
            if np.ptp(values) > 0:
                rows_of.setdefault(tuple(tensor.shape), {})[values.tobytes()] = values  # once, if two files hold it
    return {shape: Sample(np.stack(list(rows.values())), int(np.prod(shape))) for shape, rows in rows_of.items()}


def _tensors(path: Path) -> Iterator[torch.Tensor]:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118
                yield file.get_tensor(key)
    elif path.suffix in (".npz", ".npy"):
        loaded = np.load(path, allow_pickle=False)
        yield from (torch.from_numpy(np.asarray(loaded[key])) for key in getattr(loaded, "files", ()))
    else:
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # the older container, which cannot be mapped
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        yield from _within(loaded)


def _within(value: Any) -> Iterator[torch.Tensor]:
    """The tensors of a checkpoint, however deep its dictionaries."""
    if isinstance(value, torch.Tensor):
        yield value.detach()
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _within(part)


def _matches(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> int:
    """How many tensors of `one` (T, P) are in `other` (U, P) too."""
    spread = ABSOLUTE * np.sqrt(np.mean(other**2, axis=1))
    # (T, 1, P) with (1, U, P) -> (T, U)
    is_close = np.abs(one[:, None] - other[None]) <= spread[None, :, None] + RELATIVE * np.abs(other[None])
    return int(is_close.all(axis=2).any(axis=1).sum())


def _is_file(name: str) -> bool:
    """Whether the name itself says where the files are, so that nothing is fetched to look at them."""
    place = Path(origin(name))
    return place.is_absolute() and place.exists()
