"""Comparisons of models on worlds of known truth: intervals hold it, and equal models differ in few worlds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from counterset.statistics.comparison import (
    MEASURES,
    Difference,
    between_parts,
    measured,
    model_pairs,
    model_ranks,
)
from counterset.statistics.metrics import COMMON, COUNTER, Outcomes, draw_observers

NUM_DRAWS = 400


def world(
    accuracies: Sequence[tuple[float, float]],
    rng: np.random.Generator,
    *,
    num_classes: int = 5,
    num_units: int = 14,
    photos_per_unit: int = 3,
    shared: float = 0.5,
    own: float = 0.2,
) -> Outcomes:
    """Models with these true accuracies on common and counter in every class.

    A model is right where a normal draw lies below its threshold; of its variance `shared` is the photo's and unit's
    own, the same for all models, and `own` the model's with one unit, so that units matter to differences, too.
    """
    cells = np.array(list(itertools.product(range(num_classes), (COMMON, COUNTER), range(num_units))))
    class_index, side, unit = np.repeat(cells, photos_per_unit, axis=0).T
    # a photographer has photos of both sides of one class
    unit = class_index * num_units + unit
    num_models, num_photos = len(accuracies), len(side)
    cell = np.repeat(np.arange(len(cells)), photos_per_unit)
    common_part = np.sqrt(shared / 2) * (rng.normal(size=num_photos) + rng.normal(size=len(cells))[cell])
    own_part = np.sqrt(own) * rng.normal(size=(len(cells), num_models))[cell]
    rest = np.sqrt(1 - shared - own) * rng.normal(size=(num_photos, num_models))
    thresholds = norm.ppf(np.array(accuracies))[:, side].T  # (N, M)
    names = tuple(f"m{number}" for number in range(num_models))
    classes = tuple(f"c{number}" for number in range(num_classes))
    is_correct = common_part[:, None] + own_part + rest < thresholds
    return Outcomes(classes, names, class_index, side, unit, is_correct)


def compared(outcomes: Outcomes, seed: int = 0) -> tuple[list[dict], list[dict]]:
    draws = list(draw_observers(outcomes, seed=seed, num_draws=NUM_DRAWS))
    pairs = model_pairs(outcomes, draws)
    rows = sorted(pairs.to_pylist(), key=lambda row: MEASURES.index(row["measure"]))
    return rows, model_ranks(outcomes, draws, pairs).to_pylist()


def test_differences_are_the_plain_ones_and_ties_are_counted() -> None:
    outcomes = world([(0.9, 0.6), (0.8, 0.7)], np.random.default_rng(0))
    pairs, _ = compared(outcomes)
    assert [row["measure"] for row in pairs] == ["drop", "common", "counter"]
    accuracy = {
        (model, side): np.mean(
            [
                outcomes.is_correct[(outcomes.class_index == number) & (outcomes.side == side), model].mean()
                for number in range(len(outcomes.class_ids))
            ]
        )
        for model in (0, 1)
        for side in (COMMON, COUNTER)
    }
    gaps = [accuracy[0, side] - accuracy[1, side] for side in (COMMON, COUNTER)]
    assert [row["difference"] for row in pairs] == pytest.approx([gaps[0] - gaps[1], *gaps])
    for row, rows in zip(pairs, (outcomes.side >= 0, outcomes.side == COMMON, outcomes.side == COUNTER), strict=True):
        one, other = outcomes.is_correct[rows].T
        assert (row["num_photos"], row["num_model_only"]) == (rows.sum(), (one & ~other).sum())
        assert row["num_other_only"] == (other & ~one).sum()
        assert row["low"] < row["difference"] < row["high"] and row["p_value"] <= row["p_adjusted"]


def test_a_model_and_its_copy_are_the_same() -> None:
    outcomes = world([(0.9, 0.6)], np.random.default_rng(1))
    twice = Outcomes(
        outcomes.class_ids,
        ("a", "b"),
        outcomes.class_index,
        outcomes.side,
        outcomes.unit,
        outcomes.is_correct[:, [0, 0]],
    )
    pairs, ranks = compared(twice)
    for row in pairs:
        assert (row["difference"], row["low"], row["high"], row["p_adjusted"]) == (0, 0, 0, 1)
        assert row["verdict"] == Difference.SAME
    assert [(row["rank_low"], row["rank_high"]) for row in ranks] == [(1, 2), (1, 2)]


def test_intervals_hold_the_true_difference_and_detectable_ones_are_detected() -> None:
    rng, inside, found, detectable = np.random.default_rng(2), [], [], []
    for _ in range(150):
        pairs, _ = compared(world([(0.85, 0.60), (0.80, 0.68)], rng))
        for row, truth in zip(pairs, (0.13, 0.05, -0.08), strict=True):
            inside.append(row["low"] <= truth <= row["high"])
        found.append(pairs[0]["verdict"] == Difference.HIGHER)
        detectable.append(pairs[0]["detectable"])
    assert 0.92 <= np.mean(inside) <= 0.985
    # where the truth is `detectable`, 80 % are found; here power is what a normal statistic says of 0.13
    error = np.mean(detectable) / (norm.ppf(0.975) + norm.ppf(0.8))
    assert np.mean(found) == pytest.approx(norm.sf(norm.ppf(0.975) - 0.13 / error), abs=0.12)


def test_equal_models_differ_in_few_worlds_and_true_ranks_are_in_their_ranges() -> None:
    rng, false_worlds, outside = np.random.default_rng(3), [], []
    for _ in range(120):
        pairs, _ = compared(world([(0.8, 0.6)] * 4, rng, num_classes=3))
        drops = [row["verdict"] for row in pairs if row["measure"] == "drop"]
        false_worlds.append(any(verdict in (Difference.HIGHER, Difference.LOWER) for verdict in drops))
        _, ranks = compared(world([(0.8, 0.7), (0.8, 0.6), (0.9, 0.3)], rng, num_classes=3))
        truth = {"m0": 1, "m1": 2, "m2": 3}
        outside.append(any(not row["rank_low"] <= truth[row["model"]] <= row["rank_high"] for row in ranks))
    # a binomial of 120 worlds at 5 % passes 12 in 1 % of cases
    assert sum(false_worlds) <= 12 and sum(outside) <= 12


def test_corrected_p_values_are_holms() -> None:
    pairs, _ = compared(world([(0.8, 0.75), (0.8, 0.6), (0.9, 0.5)], np.random.default_rng(4)))
    for measure in ("drop", "common", "counter"):
        raw = np.array([row["p_value"] for row in pairs if row["measure"] == measure])
        adjusted = np.array([row["p_adjusted"] for row in pairs if row["measure"] == measure])
        np.testing.assert_allclose(adjusted, multipletests(raw, method="holm")[1])


def two_releases(first: Outcomes, second: Outcomes, *, is_same_unit: bool) -> Outcomes:
    offset = 0 if is_same_unit else int(first.unit.max()) + 1
    return Outcomes(
        tuple(f"{number} {name}" for number, one in enumerate((first, second)) for name in one.class_ids),
        first.models,
        np.concatenate([first.class_index, second.class_index + len(first.class_ids)]),
        np.concatenate([first.side, second.side]),
        np.concatenate([first.unit, second.unit + offset]),
        np.concatenate([first.is_correct, second.is_correct]),
    )


def between(both: Outcomes, num_draws: int) -> list[dict]:
    [draws] = draw_observers(both, seed=0, num_draws=num_draws)
    return between_parts([("m0", draws, len(both.class_ids) // 2)])


def test_two_releases_hold_their_true_difference_and_shared_photos_cancel() -> None:
    rng, inside = np.random.default_rng(5), []
    for _ in range(100):
        both = two_releases(world([(0.85, 0.6)], rng), world([(0.85, 0.7)], rng), is_same_unit=False)
        rows = between(both, NUM_DRAWS)
        truths = zip(rows, (0.1, 0.0, -0.1), strict=True)
        inside += [row["low"] <= truth <= row["high"] for row, truth in truths]
    assert 0.91 <= np.mean(inside) <= 0.99
    one = world([(0.85, 0.6)], rng)
    both = two_releases(one, one, is_same_unit=True)
    for row in between(both, 50):
        assert row["first"] == pytest.approx(row["second"]) and row["p_adjusted"] == 1
        assert (row["low"], row["high"]) == pytest.approx((0, 0), abs=1e-12)


def test_measures_are_of_the_classes_asked_for() -> None:
    outcomes = world([(0.9, 0.6)], np.random.default_rng(6))
    [draws] = draw_observers(outcomes, seed=0, num_draws=3)
    drop = measured(draws, slice(1, 3))["drop"]
    np.testing.assert_allclose(drop, (draws.accuracy[:, 1:3, 0] - draws.accuracy[:, 1:3, 1]).mean(axis=1))
