"""The drop that labels correct: exact where everything is labelled, wide where little is."""

from __future__ import annotations

import numpy as np
import pytest

from counterset.statistics.intervals import drop_interval
from counterset.statistics.label_errors import Groups, Labels, corrected_drop

RNG = np.random.default_rng(0)


def world(num_labels: int, seed: int) -> tuple[Groups, Labels, float]:
    """1,000 photos of each of three true groups, half of the third's wrong ones moved to counter; and the true drop."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(3), 1_000)
    outcome = (rng.random(3_000) < np.array([0.8, 0.6, 0.7])[truth]).astype(np.float64)
    named = np.where((truth == 2) & (outcome == 0) & (rng.random(3_000) < 0.5), 1, truth)
    number = np.bincount(named).astype(np.float64)
    accuracy = np.bincount(named, outcome) / number
    low, high = drop_interval(accuracy[0], number[0], accuracy[1], number[1])
    chosen = np.concatenate([rng.permutation(np.flatnonzero(named == g))[:num_labels] for g in range(3)])
    weight = (number / np.minimum(number, num_labels))[named[chosen]]
    labels = Labels(named[chosen], np.eye(3)[truth[chosen]], outcome[chosen], weight, np.arange(len(chosen)))
    true = outcome[truth == 0].mean() - outcome[truth == 1].mean()
    return Groups(number, accuracy, low, high), labels, float(true)


def test_all_labels_give_the_true_drop() -> None:
    groups, labels, true = world(10_000, 1)
    corrected = corrected_drop(groups, labels, (0.0, 0.0), np.random.default_rng(0))
    assert corrected is not None and corrected.drop == pytest.approx(true, abs=0.003)
    assert groups.accuracy[0] - groups.accuracy[1] > true + 0.05, "the world has nothing to correct"
    width = groups.high - groups.low
    assert corrected.high - corrected.low == pytest.approx(width, rel=0.2)


def test_few_labels_cover_the_true_drop_and_say_how_little_they_know() -> None:
    inside, widths = 0, []
    for seed in range(100):
        groups, labels, _ = world(60, seed)
        corrected = corrected_drop(groups, labels, (0.0, 0.0), np.random.default_rng(seed))
        assert corrected is not None
        inside += corrected.low <= 0.2 <= corrected.high
        widths.append(corrected.high - corrected.low)
    assert inside >= 88, "95 % less two standard errors and a half"
    groups, _, _ = world(60, 0)
    assert np.mean(widths) > 1.2 * (groups.high - groups.low)


def test_a_group_without_labels_leaves_the_drop_unknown() -> None:
    groups, labels, _ = world(60, 2)
    kept = labels.group != 2
    fewer = Labels(*(getattr(labels, name)[kept] for name in ("group", "truth", "outcome", "weight", "unit")))
    assert corrected_drop(groups, fewer, (0.0, 0.0), RNG) is None


def test_the_interval_of_the_drop_itself_comes_back() -> None:
    low, high = drop_interval(0.8, 120, 0.6, 60)
    sizes = Groups(np.array([400.0, 200.0]), np.array([0.8, 0.6]), low, high).sizes()
    assert sizes == pytest.approx([120, 60], rel=1e-3)
