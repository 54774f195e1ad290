from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from counterset.similarity import near_hashes
from counterset.similarity.near_hashes import Hashes, Ints, connected


def naive(hashes: Hashes, max_bits: int) -> Ints:
    """Every hash compared with every other."""
    near = np.bitwise_count(hashes[:, None] ^ hashes[None, :]) <= max_bits
    return np.asarray(connected_components(coo_array(near), directed=False)[1], np.int64)


def is_same(one: Ints, other: Ints) -> bool:
    """Whether two numberings have the same sets."""
    together = np.unique(np.stack([one, other]), axis=1).shape[1]
    return len(np.unique(one)) == len(np.unique(other)) == together


def flipped(value: int, bits: Ints) -> int:
    return value ^ sum(1 << int(bit) for bit in bits)


def planted(max_bits: int, number: int, rng: np.random.Generator) -> Hashes:
    """Random hashes, each third with one that differs in about as many bits as are near, and chains of these."""
    hashes = [int(value) for value in rng.integers(0, 2**64, number, dtype=np.uint64)]
    for _ in range(number // 2):
        size = int(rng.integers(max(max_bits - 1, 0), max_bits + 2))
        hashes.append(flipped(hashes[int(rng.integers(len(hashes)))], rng.choice(64, size, replace=False)))
    return np.array(hashes, np.uint64)


@pytest.mark.parametrize("max_bits", [0, 1, 2, 4, 6, 8])
@pytest.mark.parametrize("num_equal", [1, 2, 3])
def test_sets_equal_those_of_comparing_all(max_bits: int, num_equal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_hashes, "_cheapest", lambda number, width, bits: (bits + num_equal, num_equal))
    hashes = planted(max_bits, 200, np.random.default_rng(max_bits))
    sets = connected(hashes, max_bits)
    assert is_same(sets, naive(hashes, max_bits))
    assert 100 < len(np.unique(sets)) < 300


@pytest.mark.parametrize("max_bits", [13, 32, 64])
def test_many_bits_are_near_too(max_bits: int) -> None:
    hashes = planted(max_bits if max_bits < 64 else 30, 150, np.random.default_rng(0))
    assert is_same(connected(hashes, max_bits), naive(hashes, max_bits))


@pytest.mark.parametrize(("max_run", "max_rows"), [(8, 1 << 18), (8, 7), (512, 7)])
@pytest.mark.parametrize("seed", range(4))
def test_blank_photos_have_much_the_same_hash(
    seed: int, max_run: int, max_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where many agree in the chosen blocks, the other bits are cut again, and again."""
    monkeypatch.setattr(near_hashes, "MAX_RUN", max_run)
    monkeypatch.setattr(near_hashes, "_MAX_ROWS", max_rows)
    rng = np.random.default_rng(seed)
    blank = 0x00FF_0000_F0F0_0000
    near = [flipped(blank, rng.choice(64, int(rng.integers(0, 9)), replace=False)) for _ in range(500)]
    in_few_bits = [int(value) << 17 for value in rng.integers(0, 2**14, 300)]
    hashes = np.concatenate(
        [np.array(near + in_few_bits, np.uint64), planted(4, 100, rng), np.full(50, blank, np.uint64)]
    )
    assert is_same(connected(hashes, 4), naive(hashes, 4))


def test_work_does_not_grow_with_the_square() -> None:
    """Comparing all of so many takes a hundred times as long as is allowed here."""
    hashes = np.random.default_rng(0).integers(0, 2**64, 300_000, dtype=np.uint64)
    begun = time.process_time()
    assert len(np.unique(connected(hashes, 4))) == len(hashes)
    assert time.process_time() - begun < 3


def test_no_hash_and_one() -> None:
    assert connected(np.zeros(0, np.uint64), 4).tolist() == []
    assert connected(np.array([5, 5], np.uint64), 0).tolist() == [0, 0]
