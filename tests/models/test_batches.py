"""Features are the same bits for any number of threads."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading

import numpy as np
import torch
from PIL import Image

from counterset.models.batches import in_batches
from counterset.models.open_clip_encoder import load_encoder
from counterset.models.timm_classifier import load_classifier


def photos(count: int = 24) -> list[bytes]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)).save(out, "JPEG")
        found.append(out.getvalue())
    return found


def digests() -> list[str]:
    encoder, classifier = load_encoder("demo:selector"), load_classifier("demo:plain")
    texts = [f"a photo of {number} bears" for number in range(300)]
    arrays = [
        encoder.encode_images(photos(), 8),
        encoder.encode_texts(texts),
        classifier.encode_images(photos(), 8),
    ]
    return [hashlib.sha256(array.tobytes()).hexdigest()[:16] for array in arrays]


def test_any_number_of_threads_gives_the_same_bits() -> None:
    """Set here, and of a process that was told at its start."""
    before = torch.get_num_threads()
    found = set()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.add(" ".join(digests()))
    finally:
        torch.set_num_threads(before)
    environment = os.environ | {"OMP_NUM_THREADS": "5", "MKL_DYNAMIC": "FALSE", "OMP_DYNAMIC": "FALSE"}
    program = f"import runpy; print(*runpy.run_path({__file__!r})['digests']())"
    run = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    found.add(run.stdout.strip())
    assert len(found) == 1 and len(found.pop().split()) == 3


def test_batches_are_in_order_and_one_thread_each() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        seen: set[tuple[str, int]] = set()

        def work(batch: list[int]) -> list[int]:
            assert torch.is_inference_mode_enabled()
            seen.add((threading.current_thread().name, torch.get_num_threads()))
            return [number * 2 for number in batch]

        assert in_batches(list(range(10)), 4, work) == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]
        assert {threads for _, threads in seen} == {1}
        assert torch.get_num_threads() == 3, "the caller's own number is as it was"
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [3], "and that of threads to come"
        assert in_batches([], 4, work) == []
    finally:
        torch.set_num_threads(before)
