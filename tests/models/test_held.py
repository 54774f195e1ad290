"""Each model is read once, whoever asks, and no more than the stated number is in memory."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from counterset.models import open_clip_encoder
from counterset.models.held import MAX_HELD, held, let_go, num_held
from counterset.models.open_clip_encoder import load_encoder


@pytest.fixture(autouse=True)
def _none_before_and_after() -> object:
    let_go()
    yield
    let_go()


def test_all_ways_to_ask_share_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build embedded under a backend and asked for text features under none: two copies of each model."""
    read, create = Counter[str](), open_clip_encoder._create
    monkeypatch.setattr(open_clip_encoder, "_create", lambda name: (read.update([name]), create(name))[1])
    with ThreadPoolExecutor(4) as pool:
        asked = ["torch", "torch", "torch-float32", "torch"]
        found = list(pool.map(lambda backend: load_encoder("demo:weak", backend), asked))  # type: ignore[arg-type]
    assert all(model is load_encoder("demo:weak") for model in found)
    assert read == {"demo:weak": 1}


def test_callers_at_the_same_time_wait_for_one_reading() -> None:
    read: list[int] = []

    def load() -> object:
        read.append(threading.get_ident())
        time.sleep(0.1)
        return object()

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: held("one", load), range(8)))
    assert len(found) == len(read) == 1


def test_the_model_asked_for_longest_ago_makes_room() -> None:
    read = Counter[int]()

    def ask(number: int) -> None:
        held(number, lambda: read.update([number]) or number + 1)
        assert num_held() <= MAX_HELD

    for number in (*range(MAX_HELD), 0, MAX_HELD, 0, 1):
        ask(number)
    assert read == Counter(range(MAX_HELD + 1)) + Counter([1]), "0 was used again, so 1 made room"


def test_a_failed_reading_is_tried_again() -> None:
    def fail() -> str:
        raise OSError("no network")

    with pytest.raises(OSError, match="no network"):
        held("one", fail)
    assert num_held() == 0
    assert held("one", lambda: "read") == "read"
    assert num_held() == 1
