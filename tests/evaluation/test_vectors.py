"""What is kept is never computed again, and an interruption costs less than one shard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from counterset.errors import WorkspaceError
from counterset.evaluation.vectors import VectorStore

KEYS = [f"{number:064x}" for number in range(23)]


class Counting:
    """Makes a vector of each key, notes what it was asked, and breaks when told to."""

    def __init__(self, breaks_after: int = 10**9) -> None:
        self.asked: list[str] = []
        self.breaks_after = breaks_after

    def __call__(self, keys: Sequence[str]) -> np.ndarray:
        self.asked += keys
        if len(self.asked) > self.breaks_after:
            raise KeyboardInterrupt
        return np.array([[int(key, 16), len(keys)] for key in keys], np.float32)


def test_only_what_is_missing_is_computed(tmp_path: Path) -> None:
    store, first, second = VectorStore(tmp_path, 5), Counting(), Counting()
    seen: list[tuple[int, int]] = []
    assert store.fill(KEYS[:12], first, lambda done, total: seen.append((done, total))) == 12
    assert seen == [(0, 12), (5, 12), (10, 12), (12, 12)]
    assert store.fill(KEYS, second) == 11
    assert sorted(second.asked) == KEYS[12:]
    assert store.fill(KEYS, second) == 0
    twice = [KEYS[20], KEYS[3], KEYS[20]]
    np.testing.assert_array_equal(store.read(twice)[:, 0], [20, 3, 20])


def test_an_interrupted_fill_goes_on_with_the_same_shards(tmp_path: Path) -> None:
    whole = VectorStore(tmp_path / "whole", 5)
    whole.fill(KEYS, Counting())
    broken, second = VectorStore(tmp_path / "broken", 5), Counting()
    with pytest.raises(KeyboardInterrupt):
        broken.fill(KEYS, Counting(breaks_after=12))
    broken.fill(KEYS, second)
    assert len(second.asked) == len(KEYS) - 10, "two shards were finished"
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "broken" / path.name).read_bytes()
    assert len(list((tmp_path / "broken").iterdir())) == 5


def test_lost_vectors_are_said(tmp_path: Path) -> None:
    store = VectorStore(tmp_path, 5)
    store.fill(KEYS, Counting())
    next(tmp_path.glob("*.parquet")).unlink()
    with pytest.raises(WorkspaceError, match="lost some"):
        store.read(KEYS)
