"""Balanced sampling of texts over the entries that they name, as MetaCLIP does it (arXiv 2309.16671, Algorithm 1).

An entry that `count` texts name has the probability p = t / max(count, t). A text is kept if the draw of one of its
entries succeeds, so with the probability 1 - prod(1 - p) over its entries. Here a draw is a hash of the text's id, the
entry and a seed: the texts that are kept depend on no order of files or rows, and a larger t keeps all that a smaller
one keeps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

SCALE_BITS = 64
"""A draw is a whole number below 2 to this power."""


def hashes(texts: Iterable[str], seed: int) -> Hashes:
    """(N,) one number per text, of 64 bits."""
    start = hashlib.blake2b(digest_size=8, key=str(seed).encode())
    found = bytearray()
    for text in texts:
        one = start.copy()
        one.update(text.encode("utf-8", "replace"))
        found += one.digest()
    return np.frombuffer(bytes(found), np.dtype("<u8")).astype(np.uint64)


def draws(text: Hashes, entry: Hashes) -> Hashes:
    """(N,) the draws of texts with entries, uniform below 2 ** 64 and independent for different pairs.

    The two numbers are joined and mixed by splitmix64's last steps (Steele, Lea and Flood 2014).
    """
    mixed = text ^ entry
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


class Balance:
    """Which texts are kept, from how many texts name each entry.

    Args:
        counts: (entries,) texts that name each.
        t: texts that an entry may have before it is thinned, at least 1.
        entry: (entries,) hashes of the entries.

    Attributes:
        probability: (entries,) t / max(count, t).
    """

    def __init__(self, counts: Ints, t: int, entry: Hashes) -> None:
        self.probability = t / np.maximum(counts, t)
        self._entry = entry
        self._is_sure = counts <= t
        bounds = [(t << SCALE_BITS) // count if count > t else 0 for count in counts.tolist()]
        self._bound = np.array(bounds, np.uint64)

    def kept(self, text: Ints, entry: Ints, ids: Hashes) -> npt.NDArray[np.bool_]:
        """(texts,) whether each text is kept.

        Args:
            text: (N,) position of a text, and `entry`: of an entry that it names; each pair once.
            ids: (texts,) hashes of the texts' ids.
        """
        succeeds = self._is_sure[entry] | (draws(ids[text], self._entry[entry]) < self._bound[entry])
        return np.bincount(text[succeeds], minlength=len(ids)) > 0

    def expected(self, text: Ints, entry: Ints, num_texts: int) -> npt.NDArray[np.float64]:
        """(texts,) the probability that each text is kept, over all seeds."""
        with np.errstate(divide="ignore"):
            misses = np.log1p(-self.probability[entry])  # -inf where an entry is sure
        return -np.expm1(np.bincount(text, misses, num_texts))
