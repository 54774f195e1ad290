"""Perceptual hashes that differ in few bits, without comparing every hash with every other.

Two 64-bit hashes that differ in at most r bits, cut into r + m blocks, agree in at least m of these, whatever bits
differ. So for each choice of m blocks the hashes are sorted by those blocks, and only hashes that agree in them are
compared. This is exact for every r. For 4 bits, 6 blocks, any 2 of which agree, leave 15 sorts and less than one
comparison per hash among a million random ones. More bits need more blocks and more sorts: 8 bits take 10 blocks and
45 sorts at a million, and at larger radii (16 bits at 200,000 hashes) the comparison of all pairs is the shortest way,
which is quadratic.

Real hashes are not random: many blank photos have much the same one. Equal hashes are one hash from the start, and
where too many hashes agree in the chosen blocks, the bits that are left are cut into blocks again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]
"""Of hashes and their sets."""

HASH_BITS = 64
MAX_RUN = 512
"""Hashes that agree in the chosen blocks are compared with each other up to this number, and cut again above it."""
_SORT_COST = 30
"""What sorting a hash costs, in comparisons of two hashes."""
_TILE = 128, 16_384
"""Rows and columns of all pairs that are in memory at a time."""
_MAX_PAIRS = 1_000_000
"""Near pairs in memory at a time, or one per hash where there are more hashes."""
_MAX_ROWS = 1 << 18
"""Sorted hashes that are compared at a time, and those that agree with the last of them."""
_CHUNK = 1 << 16
"""Hashes that are worked on at a time, so that what comes in between stays in the processor's cache."""


def connected(hashes: Hashes, max_bits: int) -> Numbers:
    """(N,) the number of the set that each hash is in: hashes that a chain of near ones connects are in one set.

    Args:
        hashes: (N,) 64-bit hashes; they may repeat.
        max_bits: two hashes that differ in at most this many bits are near.
    """
    # As np.unique, but of ten million hashes each column counts
    order = np.argsort(hashes)
    values = hashes[order]
    del hashes
    is_new = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=is_new[1:])
    place = np.empty(len(values), np.int32)
    place[order] = np.cumsum(is_new, dtype=np.int32) - np.int32(1)
    del order
    values = values[is_new]
    return _sets(values, HASH_BITS, max_bits)[place]


def first_of_sets(size: int, first: Numbers, second: Numbers) -> Numbers:
    """(size,) the lowest number that pairs connect with each number from 0 on; itself where none do.

    Args:
        size: how many numbers there are.
        first: (P,) one of each pair.
        second: (P,) the other.
    """
    lowest = np.arange(size, dtype=np.int32)
    if len(first):
        # Few are in a pair, so the graph is of these alone
        nodes, ends = np.unique(np.stack([first, second]), return_inverse=True)
        graph = coo_array((np.ones(len(first), np.int8), tuple(ends.reshape(2, -1))), shape=(len(nodes), len(nodes)))
        component = connected_components(graph, directed=False)[1]
        lowest[nodes] = nodes[np.unique(component, return_index=True)[1]][component]
    return lowest


def _sets(values: Hashes, width: int, max_bits: int, known: Numbers | None = None) -> Numbers:
    """The same of N different hashes of `width` bits in ascending order, of which it is known that some are in one set.

    Args:
        values: (N,) the hashes.
        width: bits of each.
        max_bits: as for `connected`.
        known: (N,) hashes of the same number are in one set; None = nothing is known.
    """
    if known is None:
        known = np.arange(len(values), dtype=np.int32)
    else:
        known = np.unique(known, return_inverse=True)[1].astype(np.int32)
    joined = _Joined(known)
    chosen = _cheapest(len(values), width, max_bits)
    if chosen is None:
        for first, second in _all_near(values, max_bits):
            joined.add(first, second)
    else:
        num_blocks, num_equal = chosen
        for equal in combinations(range(num_blocks), num_equal):
            _join_where_equal(joined, values, width, max_bits, _moves(width, num_blocks, equal), len(equal))
    return joined.sets()


def _cheapest(num_hashes: int, width: int, max_bits: int) -> tuple[int, int] | None:
    """How many blocks, and how many of them agree; None where comparing all pairs costs least."""
    all_pairs = num_hashes**2 / 2
    costs: dict[tuple[int, int] | None, float] = {None: all_pairs}
    for num_equal in range(1, width - max_bits + 1):
        num_blocks = max_bits + num_equal
        agreeing = num_equal * width / num_blocks  # bits
        costs[num_blocks, num_equal] = math.comb(num_blocks, num_equal) * (
            _SORT_COST * num_hashes + all_pairs / 2**agreeing
        )
    return min(costs, key=lambda choice: costs[choice])


class _Joined:
    """Which of N hashes are in one set, told pair by pair; only so many pairs are kept."""

    def __init__(self, set_of: Numbers) -> None:
        self._set_of = set_of
        self._pairs: list[Numbers] = []
        self._num_pairs = 0

    def add(self, first: Ints, second: Ints) -> None:
        """(P,) and (P,) positions of hashes that are near."""
        pairs = np.stack([self._set_of[first], self._set_of[second]])
        pairs = pairs[:, pairs[0] != pairs[1]]
        self._pairs.append(pairs)
        self._num_pairs += pairs.shape[1]
        if self._num_pairs > max(_MAX_PAIRS, len(self._set_of)):
            self.sets()

    def sets(self) -> Numbers:
        """(N,) the number of each hash's set."""
        if self._num_pairs:
            lowest = first_of_sets(len(self._set_of), *np.concatenate(self._pairs, axis=1))
            self._set_of = lowest[self._set_of]
        self._pairs, self._num_pairs = [], 0
        return self._set_of


def _all_near(values: Hashes, max_bits: int) -> Iterator[tuple[Ints, Ints]]:
    """Positions of near hashes, found by comparing all."""
    rows, columns = _TILE
    for start in range(0, len(values), rows):
        for left in range(start, len(values), columns):
            # (R, 1) ^ (1, C) -> (R, C)
            differing = values[start : start + rows, None] ^ values[None, left : left + columns]
            first, second = np.nonzero(np.bitwise_count(differing) <= max_bits)
            yield first + start, second + left


def _join_where_equal(
    joined: _Joined, values: Hashes, width: int, max_bits: int, moves: list[tuple[int, int, int]], num_equal: int
) -> None:
    """Join the near ones of the hashes that agree in the first `num_equal` of the blocks that are moved to the top."""
    left = width - sum(size for _, size, _ in moves[:num_equal])
    back = [(target, size, source) for source, size, target in moves]

    def positions(moved: Hashes) -> Ints:
        return np.searchsorted(values, _moved(moved, back))

    moved = _moved(values, moves)
    moved.sort()
    lowest = np.uint64(2**left - 1)
    # Some runs at a time, for what is known of all runs takes more memory than the hashes
    edges = [int(np.searchsorted(moved, moved[start] & ~lowest)) for start in range(0, len(moved), _MAX_ROWS)]
    for low, high in pairwise(sorted({*edges, len(moved)})):
        own = moved[low:high]
        # (R + 1,) whether each agrees with the one before it; there is none before the first and after the last
        goes_on = np.zeros(len(own) + 1, np.bool_)
        np.less_equal(own[1:] ^ own[:-1], lowest, out=goes_on[1:-1])
        # Runs of two and more
        starts = np.flatnonzero(goes_on[1:] > goes_on[:-1])
        lengths = np.flatnonzero(goes_on[1:] < goes_on[:-1]) + 1 - starts
        is_short = lengths <= MAX_RUN
        short = lengths[is_short]
        ends = (starts + lengths)[is_short]
        rows = np.arange(short.sum()) + np.repeat(ends - np.cumsum(short), short)
        ends = np.repeat(ends, short)
        for step in range(1, MAX_RUN):
            inside = rows + step < ends
            rows, ends = rows[inside], ends[inside]
            if not len(rows):
                break
            near = rows[np.bitwise_count(own[rows] ^ own[rows + step]) <= max_bits]
            if len(near):
                joined.add(positions(own[near]), positions(own[near + step]))

        for start, length in zip(starts[~is_short], lengths[~is_short], strict=True):
            run = own[start : start + length]
            place = positions(run)
            known = joined.sets()[place]
            if (known != known[0]).any():
                sets = _sets(run & lowest, left, max_bits, known)
                _, heads, inside = np.unique(sets, return_index=True, return_inverse=True)
                joined.add(place[heads][inside], place)


def _moves(width: int, num_blocks: int, equal: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Lowest bit, number of bits, and new lowest bit of each block; the blocks `equal` come to the top."""
    edges = [width * number // num_blocks for number in range(num_blocks + 1)]
    blocks = list(pairwise(edges))
    order = [*equal, *(number for number in range(num_blocks) if number not in equal)]
    moves, free = [], width
    for number in order:
        low, high = blocks[number]
        free -= high - low
        moves.append((low, high - low, free))
    return moves


def _moved(values: Hashes, moves: list[tuple[int, int, int]]) -> Hashes:
    """The hashes with their blocks of bits elsewhere."""
    moved = np.zeros_like(values)
    for start in range(0, len(values), _CHUNK):
        own = slice(start, start + _CHUNK)
        for source, size, target in moves:
            block = values[own] >> np.uint64(source)
            block &= np.uint64(2**size - 1)
            block <<= np.uint64(target)
            moved[own] |= block
    return moved
