"""Exact cosine similarity search, tile by tile, with a coarse pass in half precision.

A coarse pass multiplies vectors rounded to bfloat16 (several times faster than float32 where the
processor has it). Its error is bounded, pair by pair, from what rounding took away from each
vector (Cauchy-Schwarz), so a pair that it puts below the bound cannot be one that is looked
for. The few others are multiplied again in float64. The result is therefore exact, and the
same whatever the tiles, the threads and the precision of the coarse pass:

    similarity(a, b) = float32(sum of a_i * b_i in float64), a and b of length 1 in float32
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BLOCK_ROWS = 4_096
"""Rows and columns of scores that are in memory at a time."""
LARGE_BLOCK_ROWS = 32_768
"""Vectors in a block, where all are compared with each other: two blocks of them are in memory."""
_LANES = 64
"""Columns whose largest score is looked at before each is."""
_MAX_PAIRS = 65_536
"""Candidates in memory at a time."""
_IN_CACHE = 256
"""Pairs multiplied in float64 at a time."""
_MAX_BLOCKS = 65_536
_DIMS = 32
"""Dimensions are filled up with zeros to a multiple of this, which matrix multiplication likes."""
_SPARE = 3
"""Dimensions that carry a threshold as a sum of three numbers of the coarse precision."""


class Nearest(NamedTuple):
    """For each of Q queries its k most similar vectors, most similar first, ties by position.

    Attributes:
        position: (Q, k) row in the order of the tiles; -1 where there are fewer than k.
        similarity: (Q, k); -inf there.
    """

    position: Ints
    similarity: Floats32


class Exceeding(NamedTuple):
    """For each of B vectors the query that it exceeds by most.

    Attributes:
        query: (B,) index, ties to the lowest; -1 where it exceeds none.
        similarity: (B,) to that query; NaN there.
    """

    query: Ints
    similarity: Floats32


class Pairs(NamedTuple):
    """Pairs of rows: (P,) row of the first, (P,) row of the second, (P,) similarity."""

    first: Ints
    second: Ints
    similarity: Floats32


@functools.cache
def fastest_precision() -> torch.dtype:
    """bfloat16 or float32, whichever multiplies faster here, by a few milliseconds' measurement."""
    seconds = {}
    for precision in (torch.bfloat16, torch.float32):
        left, right = torch.zeros(512, 512, dtype=precision), torch.zeros(1024, 512, dtype=precision)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            torch.mm(left, right.T)
            times.append(time.perf_counter() - started)
        seconds[precision] = min(times)
    return min(seconds, key=lambda precision: seconds[precision])


@dataclass(frozen=True)
class Prepared:
    """Vectors with their coarse copies.

    Attributes:
        exact: (N, D) float32.
        coarse: (N, D + spare dimensions) in the coarse precision.
        lost: (N,) length of what rounding took away.
    """

    exact: torch.Tensor
    coarse: torch.Tensor
    lost: torch.Tensor

    @classmethod
    def of(cls, vectors: Floats32, precision: torch.dtype, thresholds: torch.Tensor | None = None) -> Prepared:
        """(N, D) unit vectors; `thresholds` (N,) are taken off every score of their row's vector."""
        exact = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
        num_rows, dim = exact.shape
        coarse = torch.zeros(num_rows, -(-(dim + _SPARE) // _DIMS) * _DIMS, dtype=precision)
        coarse[:, :dim] = exact
        lost = torch.linalg.vector_norm(exact - coarse[:, :dim].float(), dim=1)
        if thresholds is None:
            coarse[:, dim : dim + _SPARE] = 1
        else:
            rest = -thresholds.double()
            for column in range(dim, dim + _SPARE):
                coarse[:, column] = rest
                rest = rest - coarse[:, column].double()
        return cls(exact, coarse, lost)

    def without_thresholds(self) -> torch.Tensor:
        """(N, D + spare): the coarse vectors with zeros in the dimensions of thresholds."""
        plain = self.coarse.clone()
        plain[:, self.exact.shape[1] :] = 0
        return plain


def _slack(left: Prepared, right: Prepared) -> torch.Tensor:
    """(rows of left,): how far a sum of the coarse pass may lie from the true one.

    |a.b - a'.b'| <= |a - a'| |b| + |a'| |b - b'|, with both lengths at most 1 and the bits of
    float32 sums (D additions, and a threshold of at most 1 beside) on top.
    """
    additions = left.coarse.shape[1] * 2.0**-23 * 4
    farthest = float(right.lost.max()) if len(right.lost) else 0.0
    return (left.lost + (1 + left.lost) * farthest) * 1.001 + additions + 1e-6


def _rounding(precision: torch.dtype) -> float:
    """How much of a coarse score its own rounding may be."""
    return 2.0**-8 if precision == torch.bfloat16 else 2.0**-22


def nearest(
    queries: Floats32, tiles: Iterable[Floats32], k: int = 1, *, precision: torch.dtype | None = None
) -> Nearest:
    """The k most similar of all tiles' vectors for each query.

    Args:
        queries: (Q, D) of length 1.
        tiles: (B, D) each, of length 1, read once.
        k: how many.
        precision: of the coarse pass; None = the fastest here. The result does not depend on it.
    """
    precision = precision or fastest_precision()
    left = Prepared.of(queries, precision)
    plain = left.without_thresholds()
    best = Nearest(np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32))
    scores = torch.empty(0, dtype=precision)
    offset = 0
    blocks = (tile[first : first + BLOCK_ROWS] for tile in tiles for first in range(0, len(tile), BLOCK_ROWS))
    for block in blocks:
        right = Prepared.of(block, precision)
        slack = _slack(left, right)
        for start in range(0, len(queries), BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, len(queries)))
            # (R, D) @ (D, B) -> (R, B)
            scores = _multiply(plain[rows], right.coarse, scores)
            known = torch.from_numpy(best.similarity[rows, -1])
            asked = (scores.amax(1) >= _rounded(known - slack[rows], precision)).nonzero()[:, 0]
            if not len(asked):
                continue
            kept = scores if len(asked) == len(scores) else scores[asked]
            reached = kept.amax(1) if k == 1 else kept.topk(min(k, kept.shape[1]), dim=1).values[:, -1]
            bound = _at_least(reached, slack[rows][asked]) if k <= kept.shape[1] else known[asked]
            limits = _rounded(torch.maximum(known[asked], bound) - slack[rows][asked], precision)
            for hits, columns in _candidates(kept, limits):
                pairs = asked[hits] + start
                keep_best(best, pairs.numpy(), columns.numpy() + offset, _exact(left, pairs, right, columns))
        offset += len(block)
    return best


def exceeding(
    vectors: Floats32, queries: Floats32, thresholds: Floats32, *, precision: torch.dtype | None = None
) -> Exceeding:
    """For each vector the query whose threshold it exceeds by most: similarity > threshold.

    Args:
        vectors: (B, D) of length 1.
        queries: (Q, D) of length 1.
        thresholds: (Q,) in [-1, 1].
        precision: as in `nearest`.
    """
    precision = precision or fastest_precision()
    left = Prepared.of(vectors, precision)
    best = np.full(len(vectors), -1, np.int64)
    excess = np.zeros(len(vectors))
    similarity = np.full(len(vectors), np.nan, np.float32)
    scores = torch.empty(0, dtype=precision)
    for first in range(0, len(queries), BLOCK_ROWS):
        limits32 = torch.from_numpy(np.ascontiguousarray(thresholds[first : first + BLOCK_ROWS], np.float32))
        right = Prepared.of(queries[first : first + BLOCK_ROWS], precision, limits32)
        slack = _slack(left, right)
        for start in range(0, len(vectors), BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, len(vectors)))
            # (R, D) @ (D, Q) -> (R, Q): similarity minus threshold, rounded where it is near zero
            scores = _multiply(left.coarse[rows], right.coarse, scores)
            top = scores.amax(1)
            asked = (top >= _rounded(-slack[rows], precision)).nonzero()[:, 0]
            if not len(asked):
                continue
            bound = _at_least(top[asked], slack[rows][asked]).clamp(min=0)
            for hits, columns in _candidates(scores[asked], _rounded(bound - slack[rows][asked], precision)):
                pairs, which = (asked[hits] + start).numpy(), columns.numpy() + first
                values = _exact(left, asked[hits] + start, right, columns)
                over = values.astype(np.float64) - thresholds[which]
                order = np.lexsort((which, -over, pairs))
                one_each, heads = np.unique(pairs[order], return_index=True)
                chosen = order[heads]
                is_tied = (over[chosen] == excess[one_each]) & (which[chosen] < best[one_each])
                better = chosen[(over[chosen] > excess[one_each]) | is_tied]
                excess[pairs[better]], best[pairs[better]] = over[better], which[better]
                similarity[pairs[better]] = values[better]
    return Exceeding(best, similarity)


def pairs_above(
    left: Floats32, right: Floats32, threshold: float, *, precision: torch.dtype | None = None
) -> Iterator[Pairs]:
    """Every pair of a row of `left` and a row of `right` with similarity > threshold, in parts.

    Args:
        left: (N, D) of length 1.
        right: (M, D) of length 1.
        threshold: in [-1, 1].
        precision: as in `nearest`.
    """
    precision = precision or fastest_precision()
    ours = Prepared.of(left, precision)
    plain = ours.without_thresholds()
    limit = np.float32(threshold)
    scores = torch.empty(0, dtype=precision)
    for first in range(0, len(right), BLOCK_ROWS):
        theirs = Prepared.of(right[first : first + BLOCK_ROWS], precision)
        slack = _slack(ours, theirs)
        for start in range(0, len(left), BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, len(left)))
            scores = _multiply(plain[rows], theirs.coarse, scores)
            limits = _rounded(float(limit) - slack[rows], precision)
            asked = (scores.amax(1) >= limits).nonzero()[:, 0]
            for hits, columns in _candidates(scores[asked], limits[asked]):
                pairs = asked[hits] + start
                values = _exact(ours, pairs, theirs, columns)
                over = values > limit
                yield Pairs(pairs.numpy()[over], columns.numpy()[over] + first, values[over])


def pairs_within(parts: Iterable[Floats32], threshold: float) -> Iterator[Pairs]:
    """Every pair of vectors with similarity > threshold, once, in parts. The vectors lie in a file meanwhile.

    Args:
        parts: (B, D) each, of any length but 0; rows are counted on from part to part.
        threshold: in [-1, 1].
    """
    with tempfile.TemporaryFile(prefix="counterset-") as file:
        num_rows = width = 0
        for part in parts:
            file.write((part / np.linalg.norm(part, axis=1, keepdims=True)).tobytes())
            num_rows, width = num_rows + len(part), part.shape[1]

        def block(start: int) -> Floats32:
            file.seek(start * width * np.float32().nbytes)
            return np.fromfile(file, np.float32, LARGE_BLOCK_ROWS * width).reshape(-1, width)

        for low in range(0, num_rows, LARGE_BLOCK_ROWS):
            left = block(low)
            for high in range(low, num_rows, LARGE_BLOCK_ROWS):
                for found in pairs_above(left, left if high == low else block(high), threshold):
                    first, second = found.first + low, found.second + high
                    is_once = first < second
                    yield Pairs(first[is_once], second[is_once], found.similarity[is_once])


def _multiply(left: torch.Tensor, right: torch.Tensor, buffer: torch.Tensor) -> torch.Tensor:
    """left @ right.T, into the buffer where it fits."""
    shape = (left.shape[0], right.shape[0])
    if buffer.shape == shape:
        return torch.mm(left, right.T, out=buffer)
    return torch.mm(left, right.T)


def _rounded(limits: torch.Tensor, precision: torch.dtype) -> torch.Tensor:
    """Limits as the coarse pass would have rounded them: rounding keeps order, so a sum that is
    not below a limit is not below the rounded one after its own rounding."""
    return limits.to(precision)


def _at_least(scores: torch.Tensor, slack: torch.Tensor) -> torch.Tensor:
    """What the true similarity behind each coarse score is at least."""
    values = scores.float()
    return values - values.abs() * _rounding(scores.dtype) - slack


def _candidates(scores: torch.Tensor, limits: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(row, column) of the scores (R, C) that reach their row's limit (R,), a bounded number at a time."""
    whole = scores.shape[1] // _LANES * _LANES
    for offset, lanes, view in ((0, _LANES, scores[:, :whole]), (whole, 1, scores[:, whole:])):
        strides = view.shape[1] // lanes
        if not strides:
            continue
        cube = view.view(len(view), lanes, strides)
        # (R, lanes, strides) -> (R, strides): most of the matrix is passed over once, and no more
        rows, columns = (cube.amax(1) >= limits[:, None]).nonzero(as_tuple=True)
        for start in range(0, len(rows), _MAX_BLOCKS):
            some, stride = rows[start : start + _MAX_BLOCKS], columns[start : start + _MAX_BLOCKS]
            block, lane = (cube[some, :, stride] >= limits[some][:, None]).nonzero(as_tuple=True)
            for first in range(0, len(block), _MAX_PAIRS):
                part = block[first : first + _MAX_PAIRS]
                yield some[part], lane[first : first + _MAX_PAIRS] * strides + stride[part] + offset


def _exact(left: Prepared, rows: torch.Tensor, right: Prepared, columns: torch.Tensor) -> Floats32:
    return exact_pairs(left.exact.numpy(), rows.numpy(), right.exact.numpy(), columns.numpy())


def exact_pairs(left: Floats32, rows: Ints, right: Floats32, columns: Ints) -> Floats32:
    """(P,) similarities, by the definition above, of left[rows] and right[columns]."""
    similarity = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _IN_CACHE):  # a few at a time: three times as fast
        part = slice(start, start + _IN_CACHE)
        products = left[rows[part]].astype(np.float64) * right[columns[part]].astype(np.float64)
        similarity[part] = products.sum(axis=1)
    return similarity


def keep_best(best: Nearest, rows: Ints, positions: Ints, similarity: Floats32) -> None:
    """Put pairs among the best of their rows, in place."""
    touched, local = np.unique(rows, return_inverse=True)
    k = best.position.shape[1]
    all_rows = np.concatenate([np.repeat(np.arange(len(touched)), k), local])
    all_positions = np.concatenate([best.position[touched].reshape(-1), positions])
    all_values = np.concatenate([best.similarity[touched].reshape(-1), similarity])
    order = np.lexsort((all_positions, -all_values, all_rows))
    starts = np.searchsorted(all_rows[order], np.arange(len(touched)))
    chosen = order[starts[:, None] + np.arange(k)]  # (touched, k): each row begins with its k best
    best.position[touched] = all_positions[chosen]
    best.similarity[touched] = all_values[chosen]
