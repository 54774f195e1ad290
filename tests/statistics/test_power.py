"""The drop that a class confirms: the power it promises in simulated normal classes."""

from __future__ import annotations

import numpy as np
import pytest

from counterset.config import SelectConfig
from counterset.statistics.power import detectable_drop, deviations


def test_deviations_hold_in_a_plain_simulation() -> None:
    critical, drop = deviations(6, 0.01, None), deviations(6, 0.01, 0.8)
    rng = np.random.default_rng(7)
    truth = np.zeros(6)

    def statistics(gap: float) -> np.ndarray:
        truth[0], truth[5] = gap / 2, -gap / 2
        first, second = truth + rng.standard_normal((2, 40_000, 6))
        rows, common, counter = np.arange(40_000), first.argmax(axis=1), first.argmin(axis=1)
        both = (first + second) / 2
        return np.asarray(both[rows, common] - both[rows, counter])

    assert np.mean(statistics(0.0) >= critical) == pytest.approx(0.01, abs=0.002)
    assert np.mean(statistics(drop) >= critical) == pytest.approx(0.8, abs=0.015)


def test_detectable_drop_shrinks_with_photos_and_never_passes_one() -> None:
    drops = [detectable_drop(1.7, 0.7, photos, photos, 1.0, 6, 0.001) for photos in (1.0, 50.0, 500.0)]
    assert drops[0] == 1.0
    assert drops[1] > drops[2] > 0
    assert drops[1] == pytest.approx(drops[2] * np.sqrt(10))


@pytest.mark.parametrize("max_q_value", [1e-6, 0.5])
def test_every_q_value_that_a_config_may_ask_for_has_a_drop(max_q_value: float) -> None:
    SelectConfig(max_q_value=max_q_value)
    for num_classes in (1, 1000):
        assert 0 < detectable_drop(1.7, 0.7, 500.0, 500.0, 1.0, 6, max_q_value / num_classes) < 1
