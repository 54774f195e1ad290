"""Metrics against plain loops and the published tables; intervals on worlds of known truth."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from counterset.manifests import manifest_path
from counterset.statistics.metrics import COMMON, COUNTER, Outcomes, class_metrics, model_metrics
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
