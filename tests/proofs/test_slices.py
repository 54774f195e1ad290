"""A small sample of the worlds of proposed slices."""

from __future__ import annotations

import pytest

from .slices import DROP, LEVEL, Kind, run, summary


@pytest.mark.parametrize("kind", [Kind(10, num_units=400), Kind(50, is_adaptive=True, num_units=400)])
def test_slices_of_nothing_are_rarely_confirmed(kind: Kind) -> None:
    found = summary(kind, [run(kind, seed, num_deals=199) for seed in range(60)])
    assert found["false"] <= LEVEL + 2 * found["error"]


def test_a_planted_slice_is_confirmed() -> None:
    kind = Kind(20, drop=2 * DROP)
    found = summary(kind, [run(kind, seed, num_deals=199) for seed in range(8)])
    assert found["planted"] >= 0.5
