"""Batches for a GPU: decoded ahead by other processes, in order, never more of them than are wanted."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from counterset.errors import PictureError
from counterset.models import ahead
from counterset.models.open_clip_encoder import load_encoder

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process:DeprecationWarning"
)  # Python 3.12, of forks beside threads


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """As on a machine with two processors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def photos(count: int) -> list[bytes]:
    found = []
    for seed in range(count):
        out = io.BytesIO()
        noise = np.random.default_rng(seed).integers(0, 255, (40, 50, 3), np.uint8)
        Image.fromarray(noise).save(out, "JPEG")
        found.append(out.getvalue())
    return found


def test_batches_come_in_order_whichever_is_ready_first() -> None:
    def decode(content: bytes) -> torch.Tensor:
        time.sleep(0.5 if content == b"\0" else 0)  # the first batch is ready after the second
        return torch.tensor([content[0], os.getpid()])

    batches = list(ahead.decoded([bytes([number]) for number in range(10)], 3, decode))
    assert [batch[:, 0].tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    processes = {int(batch[0, 1]) for batch in batches}
    assert len(processes) == 2 and os.getpid() not in processes


def test_a_worker_does_not_do_what_this_process_does_at_its_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a flow runs, Prefect ends its senders there, whose threads a fork does not have."""

    def fails() -> None:
        raise AssertionError

    monkeypatch.setattr(threading, "_threading_atexits", [fails])
    for _ in range(5):
        assert len(list(ahead.decoded([b"0"] * 10, 3, lambda _: torch.zeros(1)))) == 4


def test_no_more_is_decoded_ahead_than_is_wanted() -> None:
    count = torch.zeros(100, dtype=torch.int64).share_memory_()

    def decode(content: bytes) -> torch.Tensor:
        count[content[0]] = 1
        return torch.zeros(1)

    batches = ahead.decoded([bytes([number]) for number in range(100)], 1, decode)
    for taken in (1, 2):
        next(batches)
        time.sleep(0.5)
        assert int(count.sum()) == taken + 2 * ahead.AHEAD


def test_features_are_those_of_the_other_way() -> None:
    """With the processor for a GPU: other processes decode, and the batches are the same."""
    encoder, images = load_encoder("demo:selector"), photos(7)
    torch.set_num_threads(1)  # a processor rounds by the number of threads that share a product
    np.testing.assert_array_equal(encoder.encode_ahead(images, 3), encoder.encode_images(images, 3))


def test_a_photo_that_does_not_decode_is_said() -> None:
    with pytest.raises(PictureError):
        load_encoder("demo:selector").encode_ahead([*photos(2), b"no photo"], 1)
