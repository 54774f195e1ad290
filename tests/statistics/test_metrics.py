"""Classes and draws of observers against plain loops; intervals on worlds of known truth."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from counterset.manifests import manifest_path
from counterset.statistics.intervals import drawn_interval, drop_interval, few_observers_factor, jeffreys
from counterset.statistics.metrics import (
    COMMON,
    COUNTER,
    Outcomes,
    class_metrics,
    draw_observers,
)
from counterset.statistics.observers import Results, estimate_dispersion

from ..proofs.worlds import Crowd, Geometric, draw_world


def world(num_classes: int, photos: int, rng: np.random.Generator, rho: float = 0.2) -> tuple[Outcomes, np.ndarray]:
    """A world whose common accuracy is 0.8 and counter accuracy 0.6 in the mean, and the truth by class and side."""
    truth = np.clip(np.array([0.8, 0.6]) + rng.normal(0, 0.05, (num_classes, 2)), 0.05, 0.95)
    drawn = draw_world(rng, truth, photos, Crowd(rho=rho, sizes=Geometric(), crossing=0.2))
    names = tuple(f"c{index}" for index in range(num_classes))
    return Outcomes(names, ("m",), drawn.class_index, drawn.group, drawn.observer, drawn.margin > 0), truth


def test_classes_have_their_plain_means() -> None:
    outcomes = uneven()
    classes = {(r["model"], r["class_id"], r["side"]): r for r in class_metrics(outcomes).to_pylist()}
    chosen = (outcomes.class_index == 1) & (outcomes.side == COUNTER)
    assert classes["n", "b", "counter"]["accuracy"] == pytest.approx(outcomes.is_correct[chosen, 1].mean())
    assert classes["n", "b", "counter"]["num_photos"] == chosen.sum()


def test_intervals_of_classes_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(6):
        outcomes, truth = world(60, 60, rng)
        for row in class_metrics(outcomes).to_pylist():
            common, counter = truth[int(row["class_id"][1:])]
            wanted = {"common": common, "counter": counter, "drop": common - counter}
            inside.append(row["low"] <= wanted[row["side"]] <= row["high"])
    assert 0.93 <= np.mean(inside) <= 0.97


def test_published_class_balanced_means_are_the_published_models() -> None:
    """Means over classes of the class-wise table equal the models' table (one printed mean is off by 0.05)."""

    def read(name: str) -> list[dict[str, str]]:
        with manifest_path(f"published/{name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    classwise, models = read("classwise_1v1000"), read("models_1v1000")
    found = 0
    for name in {row["model"] for row in classwise}:
        backbone = name.removeprefix("CLIP-LAION400M-")
        (model,) = [r for r in models if r["backbone"] == backbone and r["pretrain_dataset"] == "LAION400M"]
        rows = [row for row in classwise if row["model"] == name]
        assert len(rows) == 45
        for side in ("common_accuracy", "counter_accuracy"):
            assert np.mean([float(row[side]) for row in rows]) == pytest.approx(float(model[side]), abs=0.06)
            found += 1
    assert found == 6


def uneven() -> Outcomes:
    """Two classes of other sizes, observers with photos on both sides and in both classes, two models, top 5."""
    rng = np.random.default_rng(4)
    sizes = {(0, COMMON): 30, (0, COUNTER): 12, (1, COMMON): 6, (1, COUNTER): 20}
    class_index = np.concatenate([np.full(size, index) for (index, _), size in sizes.items()])
    side = np.concatenate([np.full(size, number) for (_, number), size in sizes.items()])
    observer = rng.integers(0, 14, len(side))
    luck = rng.random(14)[observer]
    is_correct = np.column_stack([luck < 0.75 - 0.25 * side, rng.random(len(side)) < 0.3 + 0.4 * class_index])
    is_top5 = is_correct | (rng.random(is_correct.shape) < 0.4)
    return Outcomes(("a", "b"), ("m", "n"), class_index, side, observer, is_correct, is_top5)


def test_draws_are_sums_with_one_exponential_weight_per_observer() -> None:
    """All classes, sides and models share a draw's weights; draw 0 weighs all alike."""
    outcomes = uneven()
    assert outcomes.is_top5 is not None
    weights = np.vstack([np.ones(14), np.random.default_rng(9).standard_exponential((14, 30)).T])
    for index, draws in enumerate(draw_observers(outcomes, seed=9, num_draws=30)):
        assert draws.class_ids == ("a", "b") and draws.photos.shape == (31, 2, 2) and draws.top5 is not None
        for number in range(2):
            for side in (COMMON, COUNTER):
                rows = (outcomes.class_index == number) & (outcomes.side == side)
                worth = weights[:, outcomes.unit[rows]]  # (31, photos)
                right, near = outcomes.is_correct[rows, index], outcomes.is_top5[rows, index]
                np.testing.assert_allclose(draws.photos[:, number, side], worth.sum(axis=1))
                np.testing.assert_allclose(draws.correct[:, number, side], worth @ right)
                np.testing.assert_allclose(draws.top5[:, number, side], worth @ near)
                np.testing.assert_allclose(draws.accuracy[:, number, side], np.average(worth * right / worth, 1, worth))
        np.testing.assert_allclose(draws.balanced, draws.accuracy.mean(axis=1))


def test_draws_say_how_much_wider_few_observers_make_an_interval() -> None:
    outcomes = uneven()
    photos, cells = [], []
    for number, (index, side) in enumerate((index, side) for index in range(2) for side in (COMMON, COUNTER)):
        rows = (outcomes.class_index == index) & (outcomes.side == side)
        _, counts = np.unique(outcomes.unit[rows], return_counts=True)
        photos += counts.tolist()
        cells += [number] * len(counts)
    expected = few_observers_factor(np.array(photos, float), np.array(cells))
    assert expected > 1.1
    assert [draws.widening for draws in draw_observers(outcomes, seed=0, num_draws=2)] == pytest.approx([expected] * 2)


@pytest.mark.parametrize("num_classes", [3, 10])
def test_twelve_observers_with_heavy_tails_are_covered(num_classes: int) -> None:
    """Plain draws covered 86 to 92 %: the prolific few stood for all."""
    rng, inside = np.random.default_rng(5), []
    for seed in range(150):
        sizes = np.minimum(rng.zipf(2.0, num_classes * 24), 20)
        side = np.tile(np.repeat([COMMON, COUNTER], 12), num_classes)
        chance = np.where(side == COMMON, 0.8, 0.6)
        luck = rng.beta(9 * chance, 9 * (1 - chance))
        of = np.repeat(np.arange(len(sizes)), sizes)
        correct = (rng.random(len(of)) < luck[of])[:, None]
        names = tuple(f"c{number}" for number in range(num_classes))
        [draws] = draw_observers(Outcomes(names, ("m",), of // 24, side[of], of, correct), seed=seed, num_draws=300)
        low, high = drawn_interval(draws.balanced[1:, COMMON] - draws.balanced[1:, COUNTER], draws.widening)
        inside.append(low <= 0.2 <= high)
    assert 0.92 <= np.mean(inside) <= 0.99


def test_two_thousand_draws_unless_told_otherwise_and_no_top5_without_ranks() -> None:
    found = list(draw_observers(replace(uneven(), is_top5=None), seed=0))
    assert [draws.top5 for draws in found] == [None, None] and found[0].correct.shape == (2_001, 2, 2)


def test_classes_have_the_interval_of_as_many_photos_as_they_are_worth() -> None:
    """An observer's n photos count n times in a plain mean: it varies as one of (sum n)^2 / sum n (1 + (n - 1) rho)."""
    outcomes = uneven()
    rows = {(row["model"], row["class_id"], row["side"]): row for row in class_metrics(outcomes).to_pylist()}
    assert len(rows) == 2 * 2 * 3
    for index, model in enumerate(outcomes.models):
        counted = []  # by class: (side, observer) -> photos, right ones
        for number in range(2):
            cells: dict[tuple[int, int], list[float]] = {}
            for row in np.flatnonzero(outcomes.class_index == number):
                cell = cells.setdefault((int(outcomes.side[row]), int(outcomes.unit[row])), [0.0, 0.0])
                cell[0] += 1
                cell[1] += float(outcomes.is_correct[row, index])
            counted.append(cells)
        as_results = []
        for cells in counted:
            side, observer = np.array(list(cells)).T
            photos, correct = np.array(list(cells.values())).T
            as_results.append(Results(2, side, np.zeros_like(side), observer, photos, correct, correct))
        dispersion = estimate_dispersion(as_results)
        rho = dispersion.observer_correlation
        assert (rho > 0.3) if model == "m" else (rho < 0.3)
        for class_id, cells in zip(outcomes.class_ids, counted, strict=True):
            size, worth, accuracy = {}, {}, {}
            for side in (COMMON, COUNTER):
                numbers = [photos for (at, _), (photos, _) in cells.items() if at == side]
                size[side] = sum(numbers)
                worth[side] = size[side] ** 2 / sum(n * (1 + (n - 1) * rho) for n in numbers)
                accuracy[side] = sum(right for (at, _), (_, right) in cells.items() if at == side) / size[side]
            # covariance of two means of photos by the same observers: sum n_a n_b across / (N_a N_b), over deviations
            both = sum(
                photos * cells[COUNTER, observer][0]
                for (at, observer), (photos, _) in cells.items()
                if at == COMMON and (COUNTER, observer) in cells
            )
            share = both / (size[COMMON] * size[COUNTER]) * np.sqrt(worth[COMMON] * worth[COUNTER])
            shared = dispersion.across_groups * share
            gap = drop_interval(accuracy[COMMON], worth[COMMON], accuracy[COUNTER], worth[COUNTER], shared)
            expected = {
                "common": (size[COMMON], accuracy[COMMON], *jeffreys(accuracy[COMMON], worth[COMMON])),
                "counter": (size[COUNTER], accuracy[COUNTER], *jeffreys(accuracy[COUNTER], worth[COUNTER])),
                "drop": (size[COMMON] + size[COUNTER], accuracy[COMMON] - accuracy[COUNTER], *gap),
            }
            for side_name, values in expected.items():
                row = rows[model, class_id, side_name]
                assert (row["num_photos"], row["accuracy"], row["low"], row["high"]) == pytest.approx(values)
