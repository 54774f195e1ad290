"""A small sample of the worlds with a confounder: what is claimed plainly and what once it is out."""

from __future__ import annotations

import math

from .causes import CAUSES, Cause, run, summary

BY_NAME = {cause.name: cause for cause in CAUSES}


def small(cause: Cause) -> dict[str, float]:
    return summary(cause, [run(cause, seed, num_permutations=300, num_classes=4) for seed in range(3)])


def test_a_confounder_alone_is_claimed_plainly_and_not_once_it_is_out() -> None:
    found = small(BY_NAME["a confounder alone, 400 photos"])
    assert found["false_plain"] == 1.0 and found["false"] == 0.0
    assert found["covered"] >= 0.75 > found["covered_plain"]
    assert abs(found["bias"]) < 5 < found["bias_plain"]


def test_a_background_that_acts_beside_it_is_still_found() -> None:
    found = small(BY_NAME["both, a number, 20 points, 400 photos"])
    assert found["claimed"] >= 0.7 and found["best"] >= 0.7
    assert found["false"] == 0.0 and not math.isnan(found["covered"])


def test_rows_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(CAUSES)
