"""The scoreboard of `benchmarks/causes.py`, on a pool whose answers are made up."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from counterset.demo.world.causes import CLASSES

from ..benchmark_files import load_benchmark

ANIMALS = 300


@pytest.fixture(scope="module")
def scoreboard() -> ModuleType:
    return load_benchmark("causes")


def pool(scoreboard: Any) -> Any:
    """Animals are known at home, less on the counter background, and hardly from far away, pasted or not."""
    rng = np.random.default_rng(5)
    shape = len(CLASSES), ANIMALS, 2, 2
    ease = rng.normal(1.2, 1, shape[:2])[..., None, None] - 2.4 * np.arange(2)  # from far away: less

    def seen(side: Any) -> Any:
        return ease - 1.6 * side + rng.normal(0, 0.5, shape)

    margin = seen(np.arange(2)[:, None])
    pasted = {name: seen(side) > 0 for name, side, *_ in scoreboard.causes_pool.PLACES}
    predicted = np.where(margin > 0, np.arange(len(CLASSES))[:, None, None, None], len(CLASSES))
    measured = dict.fromkeys(scoreboard.MEASURED, rng.normal(0, 1, shape))
    measured["animal_share"] = np.exp(rng.normal(-2, 0.2, shape) - 1.4 * np.arange(2))
    return scoreboard.Pool(margin, predicted, pasted, measured)


def test_what_is_planted_is_claimed_and_what_is_not_is_told_apart(scoreboard: Any) -> None:
    made = pool(scoreboard)
    claims = {
        cause: scoreboard.ask(scoreboard.world_of(cause, ANIMALS, 3), made, 3) for cause in ("background", "confounder")
    }
    whole = dict.fromkeys(CLASSES, 1)
    for method in ("paper's rule", "counterset", "interventions"):
        assert claims["background"][method] == whole, method
    assert len(claims["confounder"]["paper's rule"]) == len(CLASSES), "a distance passes for a background"
    assert not claims["confounder"]["controlled"] and not claims["confounder"]["interventions"]


def test_a_claim_is_false_where_there_is_no_effect_or_the_other_way(scoreboard: Any) -> None:
    truths = {"neither": dict.fromkeys(CLASSES, 0.0), "both": dict.fromkeys(CLASSES, 0.01) | {CLASSES[0]: 0.2}}
    records = [
        {"cause": "neither", "claims": {"rule": {CLASSES[0]: 1, CLASSES[1]: -1}}},
        {"cause": "neither", "claims": {"rule": {}}},
        {"cause": "both", "claims": {"rule": {CLASSES[0]: 1, CLASSES[1]: -1}}},
        {"cause": "both", "claims": {"rule": {CLASSES[0]: -1}}},
    ]
    assert scoreboard.summary(records, truths) == [
        ["rule", "neither", "2", "50.0 %", "1.00", ""],
        ["rule", "both", "2", "100.0 %", "1.00", "50 % of 1 classes"],
    ]


def test_truth_is_that_of_animals_drawn_on_both_backgrounds(scoreboard: Any) -> None:
    made = pool(scoreboard)
    truth = scoreboard.truth_of(made, "both")
    for number, class_id in enumerate(CLASSES):
        pairs = [made.margin[number, animal, :, far] > 0 for animal in range(ANIMALS) for far in (0, 1)]
        assert truth[class_id] == pytest.approx(np.mean([float(home) - float(counter) for home, counter in pairs]))
    assert set(scoreboard.truth_of(made, "confounder").values()) == {0.0}
