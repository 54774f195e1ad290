"""Photos for a GPU: other processes decode the next batches while it computes one.

A GPU computes faster than the threads of one interpreter prepare photos. Batches are cut as `batches` cuts them and
come back in order, so the features are the same.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import util
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from counterset.errors import PictureError

AHEAD = 2
"""Batches that each process decodes before they are asked for."""
MAX_QUEUED = 2
"""Batches that were handed to the GPU and that it has not finished: their pixels stay in pinned memory."""


class _Photos(Dataset[Any]):
    """Encoded photos as pixels; of one that does not decode, the error, for a worker's own would come as another."""

    def __init__(self, images: Sequence[bytes], decode: Callable[[bytes], torch.Tensor]) -> None:
        self._images, self._decode = images, decode

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> torch.Tensor | PictureError:
        try:
            return self._decode(self._images[index])
        except PictureError as error:
            return error


def _stacked(found: list[Any]) -> torch.Tensor | PictureError:
    return next((one for one in found if isinstance(one, PictureError)), None) or torch.stack(found)


def _end_without_handlers(_: int) -> None:
    """Have a worker end when what it decoded is handed over, and not run what this process does at its exit.

    Prefect's senders of a flow stop their threads there, which a fork does not have; they fail, and PyTorch takes a
    worker that ends with 1 for one that was lost.
    """
    util.Finalize(None, os._exit, args=(0,), exitpriority=-100)  # after those of its queues


def decoded(images: Sequence[bytes], size: int, decode: Callable[[bytes], torch.Tensor]) -> Iterator[torch.Tensor]:
    """(B, 3, H, W) pixels of each batch in order, pinned where there is a GPU.

    As many processes as PyTorch may use threads decode, each `AHEAD` batches ahead. They are forked, so photos are not
    copied to them, and use no GPU.

    Args:
        images: photos' bytes, cut into batches in order; the last one may be smaller.
        size: photos in a batch.
        decode: gives (3, H, W) pixels of one photo.

    Raises:
        PictureError: a photo does not decode.
    """
    batches = DataLoader(
        _Photos(images, decode),
        batch_size=size,
        collate_fn=_stacked,
        num_workers=max(torch.get_num_threads(), 1),
        prefetch_factor=AHEAD,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="fork",
        worker_init_fn=_end_without_handlers,
    )
    for pixels in batches:
        if isinstance(pixels, PictureError):
            raise pixels
        yield pixels


def encode(
    images: Sequence[bytes], size: int, decode: Callable[[bytes], torch.Tensor], work: Callable[[torch.Tensor], Any]
) -> list[Any]:
    """What `work` makes of each batch's pixels, in order, while other processes decode the next ones.

    Args:
        images: photos' bytes.
        size: photos in a batch.
        decode: gives (3, H, W) pixels of one photo.
        work: hands pixels to the device and does not wait for it; called in inference mode.
    """
    results: list[Any] = []
    queued: deque[Any] = deque()
    with torch.inference_mode():
        for pixels in decoded(images, size, decode):
            results.append(work(pixels))
            if torch.cuda.is_available():
                done: Any = torch.cuda.Event  # untyped in torch
                queued.append(done())
                queued[-1].record()
                if len(queued) > MAX_QUEUED:
                    queued.popleft().synchronize()
    return results
