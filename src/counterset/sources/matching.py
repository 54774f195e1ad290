"""Phrases in texts, at word boundaries, for any number of phrases.

The phrases are a tree of words, held as arrays; all words of many texts walk down it at once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class _Plain(dict[int, str]):
    """Code point -> what of it counts: letters, digits and their marks; nothing of what is invisible; else a space."""

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        self[code] = chr(code) if category[0] in "LNM" else "" if category == "Cf" else " "
        return self[code]


_PLAIN = _Plain()


def words_of(text: str) -> list[str]:
    """A text's words as they are compared: `The red-fox's den!` has the, red, fox, s, den.

    Unicode's compatibility form and full case folding; whatever is no letter, digit or mark parts words. A script that
    writes no spaces gives one word per run of letters.
    """
    if text.isascii():
        return text.lower().translate(_PLAIN).split()
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_PLAIN)
    return unicodedata.normalize("NFKC", folded).split()


class Found(NamedTuple):
    """Where phrases stand, a row each, sorted by text, start and end.

    Attributes:
        text: (N,) position of the text.
        phrase: (N,) position of the phrase.
        start: (N,) its first word, counted over all texts, and `end`: the word behind its last one.
    """

    text: Ints
    phrase: Ints
    start: Ints
    end: Ints


class Phrases:
    """Phrases to look for. Of several that have the same words, the first is the one that is found.

    Args:
        phrases: texts; one without a word is never found.

    Attributes:
        is_first: (phrases,) whether it has words, and no phrase before it has the same.
    """

    def __init__(self, phrases: Sequence[str]) -> None:
        number: dict[str, int] = {}
        rows = [[number.setdefault(word, len(number)) for word in words_of(phrase)] for phrase in phrases]
        self._number = number
        length = np.array([len(row) for row in rows], np.int64)
        starts = np.cumsum(length) - length
        words = np.array([word for row in rows for word in row], np.int64)
        # A node is the place of its edge, plus 1; the root is 0. An edge is its parent and its word as one number, and
        # parents come in the order of their depth, so the edges of all depths together are sorted.
        node, edges, num_nodes = np.zeros(len(rows), np.int64), [], 1
        for depth in range(int(length.max(initial=0))):
            on = np.flatnonzero(length > depth)
            level, place = np.unique(node[on] * len(number) + words[starts[on] + depth], return_inverse=True)
            node[on] = num_nodes + place
            edges.append(level)
            num_nodes += len(level)
        self._edges = np.concatenate([*edges, [np.iinfo(np.int64).max]])
        self._phrase = np.full(num_nodes, -1, np.int64)
        self._phrase[node[::-1]] = np.arange(len(rows))[::-1]  # the first of equal ones is written last
        self._phrase[0] = -1
        self.is_first = self._phrase[node] == np.arange(len(rows))

    def find(self, texts: Iterable[Iterable[str]]) -> Found:
        """All phrases in texts, also those within or across others.

        Args:
            texts: each as a few parts, none of which a phrase crosses.
        """
        number, lengths = self._number.get, []
        words: list[int] = []
        for parts in texts:
            before = len(words)
            for part in parts:
                words += [number(word, -1) for word in words_of(part)]
                words.append(-1)
            lengths.append(len(words) - before)
        word = np.array(words, np.int64)
        start = at = np.arange(len(word))
        node = np.zeros(len(word), np.int64)
        found = [np.zeros((3, 0), np.int64)]
        while len(at):
            is_known = word[at] >= 0  # no text ends, and no part, without an unknown word
            start, at, node = start[is_known], at[is_known], node[is_known]
            wanted = node * len(self._number) + word[at]
            edge = np.searchsorted(self._edges, wanted)
            goes_on = self._edges[edge] == wanted
            start, at, node = start[goes_on], at[goes_on] + 1, edge[goes_on] + 1
            phrase = self._phrase[node]
            ends = phrase >= 0
            found.append(np.stack([phrase[ends], start[ends], at[ends]]))
        phrase, start, end = np.concatenate(found, axis=1)
        order = np.argsort(start, kind="stable")  # of one start, shorter phrases were found first
        text = np.repeat(np.arange(len(lengths)), lengths)
        return Found(text[start[order]], phrase[order], start[order], end[order])
