"""Batches side by side, each computed by one thread.

A product of matrices may round differently when more threads share it, so a model whose batches are
shared out among threads may give other bits on another machine. Here each batch is one thread's work, and
more processors work on more batches: the bits are the same for any number of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

MAX_SIDE_BY_SIDE = 32
"""Each batch at work holds its activations, a few hundred megabytes for a large model."""
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Options of glibc's mallopt(3)."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_batches(items: Sequence[Item], size: int, work: Callable[[Sequence[Item]], Result]) -> list[Result]:
    """`work` of each batch of items, in order; as many side by side as PyTorch may use threads here.

    Args:
        items: cut into batches in order; the last one may be smaller.
        size: items in a batch.
        work: called in inference mode, from several threads.
    """
    starts = range(0, len(items), size)
    if not starts:
        return []
    threads = torch.get_num_threads()

    def one(start: int) -> Result:
        with torch.inference_mode():
            return work(items[start : start + size])

    workers = min(threads, len(starts), MAX_SIDE_BY_SIDE)
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(one, starts))
    finally:
        torch.set_num_threads(threads)  # a worker's setting is also that of threads to come


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep what is freed: each batch's activations are otherwise given back and
    faulted in again, which took half of the embedding time on small machines. And let PyTorch
    ask for large pages, in which products of matrices take a tenth less time."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read with its first tensor
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL("libc.so.6")
        for option, size in ((M_TRIM_THRESHOLD, 1 << 30), (M_TOP_PAD, 256 << 20), (M_MMAP_THRESHOLD, 1 << 30)):
            libc.mallopt(option, size)
