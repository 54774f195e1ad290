"""Phrases in texts: the fast walk against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterset.sources.matching import Phrases, words_of


def plain_loop(phrases: list[str], texts: list[list[str]]) -> list[tuple[int, int]]:
    """(text, phrase) of each place where the words of a phrase stand, the first of equal phrases."""
    words = [words_of(phrase) for phrase in phrases]
    found = []
    for number, parts in enumerate(texts):
        for part in map(words_of, parts):
            for phrase, own in enumerate(words):
                is_first = words.index(own) == phrase
                places = range(len(part) - len(own) + 1)
                found += [(number, phrase) for at in places if own and is_first and part[at : at + len(own)] == own]
    return sorted(found)


WORD = st.sampled_from(["a", "b", "c", "A", "-", ",", "b\u0301", "\u00df", "ss", " "])
TEXT = st.lists(WORD, max_size=9).map(" ".join)


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(phrases=st.lists(TEXT, max_size=8), texts=st.lists(st.lists(TEXT, max_size=3), max_size=6))
def test_the_walk_finds_what_a_plain_loop_finds(phrases: list[str], texts: list[list[str]]) -> None:
    found = Phrases(phrases).find(texts)
    assert sorted(zip(found.text.tolist(), found.phrase.tolist(), strict=True)) == plain_loop(phrases, texts)
    order = list(zip(found.text.tolist(), found.start.tolist(), found.end.tolist(), strict=True))
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The red-fox's den!", ["the", "red", "fox", "s", "den"]),
        ("RED_FOX", ["red", "fox"]),
        ("Wei\u00dfstorch \u2019s", ["weissstorch", "s"]),
        ("e\u0301land \u00e9land", ["\u00e9land", "\u00e9land"]),
        ("sea\u00adlion, sea\u200blion", ["sealion", "sealion"]),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", ["\u0939\u093f\u0928\u094d\u0926\u0940"]),  # marks are in the word
        ("\uff32\uff45\uff44 fox", ["red", "fox"]),
        ("\ud800 fox", ["fox"]),
        (" - ", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_no_phrases_and_no_texts() -> None:
    assert len(Phrases([]).find([["a fox"]]).text) == 0
    assert len(Phrases(["fox", "-"]).find([]).text) == 0
    np.testing.assert_array_equal(Phrases(["fox", "-", "Fox", "red fox"]).is_first, [True, False, False, True])
