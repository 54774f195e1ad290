"""Every metric against plain loops; the interval of the balanced drop on worlds of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from counterset.evaluation.metrics import METRICS
from counterset.evaluation.schemas import metrics
from counterset.statistics.metrics import COMMON, COUNTER, Outcomes, draw_observers

from ..statistics.test_metrics import uneven, world


def slow(outcomes: Outcomes, weights: np.ndarray, model: int) -> dict[str, float]:
    """Every figure of one model with one weight per observer, class after class."""
    worth = weights[outcomes.unit]
    mean, top5, total = {}, {}, {}
    classes = range(len(outcomes.class_ids))
    for side in (COMMON, COUNTER):
        for number in classes:
            rows = (outcomes.class_index == number) & (outcomes.side == side)
            mean[number, side] = float(np.average(outcomes.is_correct[rows, model], weights=worth[rows]))
            assert outcomes.is_top5 is not None
            top5[number, side] = float(np.average(outcomes.is_top5[rows, model], weights=worth[rows]))
        rows = outcomes.side == side
        total[side] = float(np.average(outcomes.is_correct[rows, model], weights=worth[rows]))
    found = {}
    for side, name in ((COMMON, "common"), (COUNTER, "counter")):
        found[name] = float(np.mean([mean[number, side] for number in classes]))
        found[f"photo_average_{name}"] = total[side]
        found[f"top5_{name}"] = float(np.mean([top5[number, side] for number in classes]))
    found["drop"] = found["common"] - found["counter"]
    found["photo_average_drop"] = total[COMMON] - total[COUNTER]
    found["worst_group"] = min(mean.values())
    found["worst_drop"] = max(mean[number, COMMON] - mean[number, COUNTER] for number in classes)
    return found


def test_values_and_intervals_are_those_of_the_slow_bootstrap() -> None:
    outcomes = uneven()
    weights = np.random.default_rng(9).standard_exponential((14, 400)).T
    for index, draws in enumerate(draw_observers(outcomes, seed=9, num_draws=400)):
        row: dict[str, object] = {}
        for metric in METRICS.values():
            values = metric.values(draws)
            assert list(values) == [column.name for column in metric.columns]
            row |= values
        plain, drawn = slow(outcomes, np.ones(14), index), [slow(outcomes, one, index) for one in weights]
        assert abs(plain["common"] - plain["photo_average_common"]) > 0.01
        for name, value in plain.items():
            assert row[name] == pytest.approx(value), name
        for name in ("common", "counter", "drop", "photo_average_drop"):
            low, middle, high = np.quantile([one[name] for one in drawn], [0.025, 0.5, 0.975])
            ends = middle - draws.widening * (middle - low), middle + draws.widening * (high - middle)
            assert (row[f"{name}_low"], row[f"{name}_high"]) == pytest.approx(ends), name
        lowest = min(((c, s) for c in (0, 1) for s in (0, 1)), key=lambda at: draws.accuracy[0][at])
        assert row["worst_group_name"] == f"{'ab'[lowest[0]]} {('common', 'counter')[lowest[1]]}"


def test_the_interval_of_the_drop_holds_the_truth() -> None:
    rng = np.random.default_rng(1)
    inside = []
    for seed in range(120):
        outcomes, truth = world(6, 60, rng)
        (draws,) = draw_observers(outcomes, seed=seed, num_draws=300)
        row = METRICS["balanced"].values(draws)
        inside.append(row["drop_low"] <= (truth[:, 0] - truth[:, 1]).mean() <= row["drop_high"])
    assert 0.88 <= np.mean(inside) <= 0.99


def test_every_metric_has_its_columns_and_says_what_they_are() -> None:
    assert list(METRICS.own) == ["balanced", "photo_average", "top5", "worst"]
    columns = {column.name: column.doc for column in metrics(METRICS.own).columns}
    assert len(columns) == 38 and all(columns.values())
