"""The coin that draws halves: its share, and what it must not depend on."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from counterset.schemas import Half
from counterset.statistics.halves import DISCOVER_SHARE, half_of, identity

UNITS = [f"inaturalist\x00{number}" for number in range(8_000)]


def test_three_quarters_of_the_units_choose() -> None:
    share = np.mean([half_of("taxon:42069", unit) == Half.DISCOVER for unit in UNITS])
    assert share == pytest.approx(DISCOVER_SHARE, abs=4 * np.sqrt(0.75 * 0.25 / len(UNITS)))


def test_each_class_tosses_its_own_coin() -> None:
    first, second = (np.array([half_of(one, unit) == Half.CONFIRM for unit in UNITS]) for one in ("taxon:1", "taxon:2"))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(UNITS))


def test_the_halves_of_published_releases_stay() -> None:
    """Another hash would draw every half anew, and a release's units would flip."""
    found = "".join(half_of("taxon:42069", unit)[0] for unit in UNITS[:24])
    assert found == "cdddddddddddddcdddccdddd"


def test_nothing_that_a_user_may_choose_draws_again() -> None:
    assert list(inspect.signature(half_of).parameters) == ["class_identity", "unit"]
    assert identity([47219, 42069], "Red Fox") == identity([42069, 47219], "renamed") == "taxon:42069"
    assert identity([], "Arctic  Fox ") == identity([], "arctic fox")
    assert identity([], "arctic fox") != identity([], "red fox")
    assert identity([], "taxon:1") != identity([1], "")
