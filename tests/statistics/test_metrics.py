"""Metrics against plain loops and the published tables; intervals on worlds of known truth."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from counterset.manifests import manifest_path
from counterset.statistics.intervals import drop_interval, jeffreys
from counterset.statistics.metrics import (
    COMMON,
    COUNTER,
    Metric,
    Outcomes,
    class_metrics,
    draw_metrics,
    model_metrics,
)
from counterset.statistics.observers import Results, estimate_dispersion
from counterset.statistics.simulate import Design, simulate_class


def world(num_classes: int, photos: int, rng: np.random.Generator, rho: float = 0.2) -> tuple[Outcomes, np.ndarray]:
    """A world whose common accuracy is 0.8 and counter accuracy 0.6 in the mean, and the truth by class and side."""
    truth = np.clip(np.array([0.8, 0.6]) + rng.normal(0, 0.05, (num_classes, 2)), 0.05, 0.95)
    parts, offset = [], 0
    for index, accuracy in enumerate(truth):
        found = simulate_class(accuracy, Design(photos, observer_correlation=rho), rng)
        parts.append((np.full(len(found.group), index), found.group, found.observer + offset, found.is_correct))
        offset += int(found.observer.max()) + 1
    class_index, side, observer, correct = (np.concatenate(column) for column in zip(*parts, strict=True))
    names = tuple(f"c{index}" for index in range(num_classes))
    return Outcomes(names, ("m",), class_index, side, observer, correct[:, None]), truth


def test_values_are_the_plain_means() -> None:
    rng = np.random.default_rng(0)
    outcomes, _ = world(5, 40, rng)
    second = rng.random(len(outcomes.side)) < 0.5
    correct = np.column_stack([outcomes.is_correct[:, 0], second])
    both = Outcomes(
        outcomes.class_ids,
        ("m", "n"),
        outcomes.class_index,
        outcomes.side,
        outcomes.observer,
        correct,
        is_top5=correct | (rng.random(correct.shape) < 0.5),
    )
    rows = {(r["model"], r["metric"], r["side"]): r for r in model_metrics(both, seed=0, num_draws=200).to_pylist()}
    for index, model in enumerate(both.models):
        means = np.array(
            [
                [correct[(both.class_index == c) & (both.side == s), index].mean() for s in (COMMON, COUNTER)]
                for c in range(5)
            ]
        )
        assert rows[model, "balanced", "common"]["value"] == pytest.approx(means[:, 0].mean())
        assert rows[model, "balanced", "drop"]["value"] == pytest.approx((means[:, 0] - means[:, 1]).mean())
        assert rows[model, "photo_average", "counter"]["value"] == pytest.approx(
            correct[both.side == COUNTER, index].mean()
        )
        assert rows[model, "worst_class", "counter"]["value"] == pytest.approx(means[:, 1].min())
        assert rows[model, "worst_class", "drop"]["value"] == pytest.approx((means[:, 0] - means[:, 1]).max())
        assert rows[model, "balanced_top5", "common"]["value"] > rows[model, "balanced", "common"]["value"]
    assert all(row["low"] <= row["high"] for row in rows.values())
    classes = {(r["model"], r["class_id"], r["side"]): r for r in class_metrics(both).to_pylist()}
    chosen = (both.class_index == 3) & (both.side == COUNTER)
    assert classes["n", "c3", "counter"]["accuracy"] == pytest.approx(correct[chosen, 1].mean())
    assert classes["n", "c3", "counter"]["num_photos"] == chosen.sum()


def test_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    inside_model, inside_class = [], []
    for seed in range(120):
        outcomes, truth = world(6, 60, rng)
        for row in model_metrics(outcomes, seed=seed, num_draws=300).to_pylist():
            if row["metric"] == "balanced" and row["side"] == "drop":
                inside_model.append(row["low"] <= (truth[:, 0] - truth[:, 1]).mean() <= row["high"])
        for row in class_metrics(outcomes).to_pylist():
            number = int(row["class_id"][1:])
            wanted = {
                "common": truth[number, 0],
                "counter": truth[number, 1],
                "drop": truth[number, 0] - truth[number, 1],
            }
            inside_class.append(row["low"] <= wanted[row["side"]] <= row["high"])
    assert 0.88 <= np.mean(inside_model) <= 0.99
    assert 0.93 <= np.mean(inside_class) <= 0.97


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


def slow_metrics(outcomes: Outcomes, weights: np.ndarray, model: int) -> dict[tuple[str, str], float]:
    """Every metric and side of one model with one weight an observer, class after class."""
    worth = weights[outcomes.observer]
    mean, top5, total = {}, {}, {}
    for side in (COMMON, COUNTER):
        for number in range(len(outcomes.class_ids)):
            rows = (outcomes.class_index == number) & (outcomes.side == side)
            mean[number, side] = np.average(outcomes.is_correct[rows, model], weights=worth[rows])
            if outcomes.is_top5 is not None:
                top5[number, side] = np.average(outcomes.is_top5[rows, model], weights=worth[rows])
        rows = outcomes.side == side
        total[side] = np.average(outcomes.is_correct[rows, model], weights=worth[rows])
    classes = range(len(outcomes.class_ids))
    found = {}
    for side, name in ((COMMON, "common"), (COUNTER, "counter")):
        found["balanced", name] = np.mean([mean[number, side] for number in classes])
        found["photo_average", name] = total[side]
        found["balanced_top5", name] = np.mean([top5[number, side] for number in classes])
        found["worst_class", name] = min(mean[number, side] for number in classes)
    for metric in ("balanced", "photo_average", "balanced_top5"):
        found[metric, "drop"] = found[metric, "common"] - found[metric, "counter"]
    found["worst_class", "drop"] = max(mean[number, COMMON] - mean[number, COUNTER] for number in classes)
    return {key: float(value) for key, value in found.items()}


def test_values_and_intervals_are_those_of_the_slow_bootstrap() -> None:
    """One exponential weight an observer, shared by all classes, sides and models; 95 % of the draws."""
    outcomes = uneven()
    weights = np.random.default_rng(9).standard_exponential((14, 400)).T
    rows = model_metrics(outcomes, seed=9, num_draws=400).to_pylist()
    assert len(rows) == 4 * 3 * 2
    for index, model in enumerate(outcomes.models):
        plain = slow_metrics(outcomes, np.ones(14), index)
        assert abs(plain["balanced", "common"] - plain["photo_average", "common"]) > 0.01
        draws = [slow_metrics(outcomes, drawn, index) for drawn in weights]
        for row in rows:
            if row["model"] == model:
                key = row["metric"], row["side"]
                low, high = np.quantile([draw[key] for draw in draws], [0.025, 0.975])
                assert (row["value"], row["low"], row["high"]) == pytest.approx((plain[key], low, high)), key


def test_two_thousand_draws_unless_told_otherwise_and_no_top5_without_ranks() -> None:
    outcomes = replace(uneven(), is_top5=None)
    drawn = draw_metrics(outcomes, seed=0)
    assert set(drawn) == {Metric.BALANCED, Metric.PHOTO_AVERAGE, Metric.WORST_CLASS}
    assert all(values.shape[:2] == (2_001, 2) for values in drawn.values())
    assert model_metrics(outcomes, seed=0) == model_metrics(outcomes, seed=0, num_draws=2_000)
    assert model_metrics(outcomes, seed=0) != model_metrics(outcomes, seed=1)


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
                cell = cells.setdefault((int(outcomes.side[row]), int(outcomes.observer[row])), [0.0, 0.0])
                cell[0] += 1
                cell[1] += float(outcomes.is_correct[row, index])
            counted.append(cells)
        as_results = []
        for cells in counted:
            side, observer = np.array(list(cells)).T
            photos, correct = np.array(list(cells.values())).T
            as_results.append(Results(2, side, np.zeros_like(side), observer, photos, correct, correct))
        rho = estimate_dispersion(as_results).observer_correlation
        assert (rho > 0.3) if model == "m" else (rho < 0.3)
        for class_id, cells in zip(outcomes.class_ids, counted, strict=True):
            size, worth, accuracy = {}, {}, {}
            for side in (COMMON, COUNTER):
                numbers = [photos for (at, _), (photos, _) in cells.items() if at == side]
                size[side] = sum(numbers)
                worth[side] = size[side] ** 2 / sum(n * (1 + (n - 1) * rho) for n in numbers)
                accuracy[side] = sum(right for (at, _), (_, right) in cells.items() if at == side) / size[side]
            # covariance of two means of photos by the same observers: sum n_a n_b rho / (N_a N_b), over both deviations
            both = sum(
                photos * cells[COUNTER, observer][0]
                for (at, observer), (photos, _) in cells.items()
                if at == COMMON and (COUNTER, observer) in cells
            )
            shared = rho * both / (size[COMMON] * size[COUNTER]) * np.sqrt(worth[COMMON] * worth[COUNTER])
            gap = drop_interval(accuracy[COMMON], worth[COMMON], accuracy[COUNTER], worth[COUNTER], shared)
            expected = {
                "common": (size[COMMON], accuracy[COMMON], *jeffreys(accuracy[COMMON], worth[COMMON])),
                "counter": (size[COUNTER], accuracy[COUNTER], *jeffreys(accuracy[COUNTER], worth[COUNTER])),
                "drop": (size[COMMON] + size[COUNTER], accuracy[COMMON] - accuracy[COUNTER], *gap),
            }
            for side_name, values in expected.items():
                row = rows[model, class_id, side_name]
                assert (row["num_photos"], row["accuracy"], row["low"], row["high"]) == pytest.approx(values)
