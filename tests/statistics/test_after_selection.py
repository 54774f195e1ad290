"""Drops and intervals of picked classes: what they promise, on simulated drops of known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from counterset.statistics.after_selection import GRID, WIDTHS, confidence_among, shrink
from counterset.statistics.observers import Bools, Floats

NUM_CLASSES = 45
WORLDS = {
    "a third has 20 points": lambda rng: np.where(np.arange(NUM_CLASSES) < 15, 0.2, 0.0),
    "every class has its own": lambda rng: np.abs(rng.normal(0, 0.12, NUM_CLASSES)),
    "few have many points": lambda rng: np.where(np.arange(NUM_CLASSES) < 4, 0.4, 0.0),
}


def picked_of(draws: int, world: str) -> tuple[Floats, Floats, Floats, Bools]:
    """(draws, K) true drops, estimates and errors; and those picked because their estimate is far above 0."""
    rng = np.random.default_rng(3)
    truth = np.stack([WORLDS[world](rng) for _ in range(draws)])
    errors = rng.uniform(0.06, 0.11, truth.shape)
    drops = truth + errors * rng.standard_normal(truth.shape)
    return truth, drops, errors, drops > 2.4 * errors


@pytest.mark.parametrize("world", WORLDS)
def test_shrunken_drops_of_picked_classes_are_not_too_large(world: str) -> None:
    truth, drops, errors, is_picked = picked_of(60, world)
    found = [shrink(*row) for row in zip(drops, errors, strict=True)]
    shrunken = np.stack([one.drop for one in found])
    bias, plain = (float((values - truth)[is_picked].mean()) for values in (shrunken, drops))
    assert plain > 0.015
    assert abs(bias) < 0.6 * plain
    low, high = np.stack([one.low for one in found]), np.stack([one.high for one in found])
    inside = (low - GRID[1] / 2 <= truth) & (truth <= high + GRID[1] / 2)
    assert inside[is_picked].mean() > 0.9
    assert ((shrunken - truth) ** 2).mean() < ((drops - truth) ** 2).mean()


@pytest.mark.parametrize("world", WORLDS)
def test_adjusted_intervals_hold_the_truth_of_picked_classes(world: str) -> None:
    truth, drops, errors, is_picked = picked_of(300, world)
    confidence = np.array([confidence_among(max(number, 1), NUM_CLASSES) for number in is_picked.sum(axis=1)])
    reach = norm.ppf((1 + confidence) / 2)[:, None] * errors
    missed = (np.abs(drops - truth) > reach) & is_picked
    assert (missed.sum(axis=1) / np.maximum(is_picked.sum(axis=1), 1)).mean() < 0.05
    plain = (np.abs(drops - truth) > norm.ppf(0.975) * errors) & is_picked
    assert plain.sum() > missed.sum()


def test_the_posterior_is_that_of_a_slow_one() -> None:
    """The mixture's shares settle where no step of EM moves them; with them the posterior is Bayes' theorem."""
    drops, errors = np.array([0.02, 0.3, -0.05, 0.28]), np.array([0.05, 0.08, 0.04, 0.05])
    laws = [[1.0] + [0.0] * (len(GRID) - 1)]
    laws += [[float(np.exp(-0.5 * (value / width) ** 2)) for value in GRID] for width in WIDTHS]
    laws = [[value / sum(law) for value in law] for law in laws]
    shares = [1 / len(laws)] * len(laws)

    def likelihood(drop: float, error: float, law: list[float]) -> float:
        return sum(
            chance * float(np.exp(-0.5 * ((drop - value) / error) ** 2))
            for chance, value in zip(law, GRID, strict=True)
            if chance
        )

    by_law = [[likelihood(drop, error, law) for law in laws] for drop, error in zip(drops, errors, strict=True)]
    for _ in range(500):
        counts = [1.0] + [0.0] * (len(laws) - 1)
        for row in by_law:
            total = sum(share * value for share, value in zip(shares, row, strict=True))
            for index, value in enumerate(row):
                counts[index] += shares[index] * value / total
        shares = [count / sum(counts) for count in counts]
    means = []
    for drop, error in zip(drops, errors, strict=True):
        prior = np.array(laws).T @ np.array(shares)
        posterior = prior * np.exp(-0.5 * ((drop - GRID) / error) ** 2)
        means.append(float((posterior * GRID).sum() / posterior.sum()))
    assert shrink(drops, errors).drop == pytest.approx(means, rel=1e-6)


def test_one_class_alone_is_shrunken_and_a_sure_one_is_not() -> None:
    alone = shrink(np.array([0.2]), np.array([0.08]))
    assert 0 < alone.drop[0] < 0.2
    sure = shrink(np.array([0.3, 0.05]), np.array([0.005, 0.005]))
    assert sure.drop == pytest.approx([0.3, 0.05], abs=0.003)
    assert sure.low[0] < 0.3 < sure.high[0]


def test_estimates_below_zero_and_above_one_stay_drops() -> None:
    found = shrink(np.array([-0.9, 1.0, 0.0]), np.array([0.01, 0.01, 1.0]))
    for values in found:
        assert ((values >= 0) & (values <= 1)).all()
    assert found.drop[0] < 0.001
    assert found.drop[1] > 0.95


def test_the_fewer_are_picked_the_wider_is_each_interval() -> None:
    assert confidence_among(45, 45) == pytest.approx(0.95)
    assert confidence_among(9, 45) == pytest.approx(0.99)
