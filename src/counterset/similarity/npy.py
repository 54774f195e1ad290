"""Arrays in .npy files, on disk or at s3://, read in part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from counterset.storage import Place

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def header(path: Place) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the array.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no array of numbers.
    """
    if isinstance(path, Path):
        array = _mapped(path)
        return array.shape, array.dtype
    with path.open() as file:
        return _header(file)


def rows(path: Place, start: int, stop: int) -> npt.NDArray[Any]:
    """The rows `start` to `stop` of the array, in memory.

    Raises:
        OSError, ValueError: as `header`.
    """
    if isinstance(path, Path):
        return np.array(_mapped(path)[start:stop])
    with path.open() as file:
        shape, dtype = _header(file)
        size = int(dtype.itemsize * np.prod(shape[1:], dtype=np.int64))
        file.seek(file.tell() + start * size)
        return _read(file, (stop - start, *shape[1:]), dtype)


def tiles(path: Place, num_rows: int) -> Iterator[npt.NDArray[Any]]:
    """The array in order, `num_rows` rows at a time.

    Raises:
        OSError, ValueError: as `header`.
    """
    if isinstance(path, Path):
        array = _mapped(path)
        for start in range(0, len(array), num_rows):
            yield array[start : start + num_rows]
        return
    with path.open() as file:
        shape, dtype = _header(file)
        for start in range(0, shape[0], num_rows):
            yield _read(file, (min(num_rows, shape[0] - start), *shape[1:]), dtype)


def _mapped(path: Path) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its format {version} is not known")
    shape, is_by_columns, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if is_by_columns and len(shape) > 1:
        raise ValueError("it is written by columns")
    return shape, dtype


def _read(file: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    content = file.read(int(dtype.itemsize * np.prod(shape, dtype=np.int64)))
    return np.frombuffer(content, dtype).reshape(shape)  # a ValueError where the file ends early
