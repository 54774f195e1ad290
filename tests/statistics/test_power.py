"""The drop that a class confirms: the power it promises in simulated normal classes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from counterset.config import SelectConfig
from counterset.statistics.halves import DISCOVER_SHARE
from counterset.statistics.power import (
    LUCK,
    MEASURED_ERROR,
    critical_statistic,
    detectable_drop,
    deviations,
    rounded_gain,
)
from counterset.statistics.selector_margin import rank_per_accuracy

NUM_CLASSES = 40_000


def confirmed_share(drop: float, gain: float, p_value: float) -> float:
    """The share of simulated normal classes of six groups that are confirmed; `drop` in standard errors of answers."""
    rng = np.random.default_rng(7)
    truth = np.zeros(6)
    truth[0], truth[5] = drop / 2, -drop / 2
    sizes = np.array([DISCOVER_SHARE, 1 - DISCOVER_SHARE])
    # a group's rank errors on both halves, and answers that are the ranks' with noise of their own
    ranks = gain * truth + rng.standard_normal((2, NUM_CLASSES, 6)) / np.sqrt(2 * sizes)[:, None, None]
    noise = np.sqrt(1 - 1 / gain**2) * rng.standard_normal((NUM_CLASSES, 6)) / np.sqrt(2)
    both = (sizes[:, None, None] * ranks).sum(axis=0)
    answers = both / gain + noise
    rows, common, counter = np.arange(NUM_CLASSES), ranks[0].argmax(axis=1), ranks[0].argmin(axis=1)
    statistic, measured = (values[rows, common] - values[rows, counter] for values in (both, answers))
    least = max(norm.isf(p_value) + LUCK, MEASURED_ERROR * norm.ppf(0.975))
    return float(np.mean((statistic >= critical_statistic(6, 3 * p_value)) & (measured >= least)))


@pytest.mark.parametrize("gain", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("p_value", [0.001, 0.01])
def test_deviations_hold_in_a_plain_simulation(gain: float, p_value: float) -> None:
    assert confirmed_share(deviations(6, p_value, 0.8, gain), gain, p_value) == pytest.approx(0.8, abs=0.02)


def test_the_critical_statistic_pays_for_the_choice() -> None:
    rng = np.random.default_rng(3)
    errors = [
        rng.standard_normal((NUM_CLASSES, 6)) / np.sqrt(2 * share) for share in (DISCOVER_SHARE, 1 - DISCOVER_SHARE)
    ]
    rows, common, counter = np.arange(NUM_CLASSES), errors[0].argmax(axis=1), errors[0].argmin(axis=1)
    both = DISCOVER_SHARE * errors[0] + (1 - DISCOVER_SHARE) * errors[1]
    statistic = both[rows, common] - both[rows, counter]
    assert np.mean(statistic >= critical_statistic(6, 0.01)) == pytest.approx(0.01, abs=0.002)
    assert critical_statistic(6, 0.01) > norm.isf(0.01) + 0.5


def test_answers_bind_where_ranks_gain() -> None:
    """A drop that ranks show several times over must still be seen in answers, whose error is the larger one."""
    least = max(norm.isf(0.01) + LUCK, MEASURED_ERROR * norm.ppf(0.975)) + norm.isf(0.2)
    assert [deviations(6, 0.01, 0.8, gain) for gain in (2.5, 3.0)] == pytest.approx([least, least], abs=0.03)
    assert deviations(6, 0.001, 0.8, 1.3) > least


def test_detectable_drop_shrinks_with_photos_and_never_passes_one() -> None:
    errors = [np.sqrt(0.21 * 2 / photos) for photos in (1.0, 50.0, 500.0)]
    drops = [detectable_drop(3.9, 0.7, error, 0.64 * error, 6, 0.001) for error in errors]
    assert drops[0] == 1.0
    assert drops[1] > drops[2] > 0
    assert drops[1] == pytest.approx(drops[2] * np.sqrt(10))


def test_detectable_drop_follows_the_classs_own_critical_value() -> None:
    model = critical_statistic(6, 0.003)
    gain = rounded_gain(rank_per_accuracy(0.7) / 0.64)
    first, second = (detectable_drop(critical, 0.7, 0.05, 0.05 * 0.64, 6, 0.001) for critical in (model, model + 1))
    assert first == pytest.approx(deviations(6, 0.001, 0.8, gain) * 0.05)
    assert second == pytest.approx(first + 0.05 / gain)


def test_a_gain_is_rounded_and_bounded() -> None:
    assert [rounded_gain(gain) for gain in (0.4, 1.27, 9.0)] == pytest.approx([1.0, 1.25, 3.0])


@pytest.mark.parametrize("max_q_value", [1e-6, 0.5])
def test_every_q_value_that_a_config_may_ask_for_has_a_drop(max_q_value: float) -> None:
    SelectConfig(max_q_value=max_q_value)
    for num_classes in (1, 1000):
        assert 0 < detectable_drop(3.9, 0.7, 0.03, 0.02, 6, max_q_value / num_classes) < 1
