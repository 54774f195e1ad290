"""The figures on top: the mean drop's interval covers the truth, and scores are class-balanced."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from counterset.load import Release
from counterset.release.publish.inputs import ModelRecord
from counterset.release.publish.summary import mean_drop, summarise

from ..build_inputs import SELECTOR


def pairs_table(drops: np.ndarray, errors: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "verdict": [
                "confirmed" if drop > 1.96 * error else "unconfirmed" for drop, error in zip(drops, errors, strict=True)
            ],
            "drop": drops,
            "drop_low": drops - 1.96 * errors,
            "drop_high": drops + 1.96 * errors,
        }
    )


def test_the_interval_of_the_mean_drop_covers_the_truth() -> None:
    generator = np.random.default_rng(0)
    truth = generator.uniform(-0.05, 0.3, 20)
    errors = generator.uniform(0.02, 0.1, 20)
    covered, confirmed_bias = 0, []
    for _ in range(2_000):
        pairs = pairs_table(truth + generator.normal(0, errors), errors)
        estimate, confirmed = mean_drop(pairs), mean_drop(pairs, "confirmed")
        assert estimate is not None
        assert confirmed is not None
        covered += estimate.low <= truth.mean() <= estimate.high
        chosen = np.array([verdict == "confirmed" for verdict in pairs["verdict"].to_pylist()])
        confirmed_bias.append(confirmed.value - truth[chosen].mean())
    assert 0.935 <= covered / 2_000 <= 0.965
    # What the page says of the confirmed classes' mean: somewhat too large.
    assert 0.0 < float(np.mean(confirmed_bias)) < 0.03


def test_without_drops_or_intervals() -> None:
    assert mean_drop(pairs_table(np.array([]), np.array([]))) is None
    pairs = pa.table({"verdict": ["unconfirmed"], "drop": [0.2], "drop_low": [None], "drop_high": [None]})
    estimate = mean_drop(pairs)
    assert estimate is not None
    assert estimate.value == 0.2
    assert math.isnan(estimate.low)


def test_uneven_pairs_are_no_part_of_the_mean_drop() -> None:
    pairs = pairs_table(np.array([0.2, 0.4, 0.9]), np.array([0.01, 0.01, 0.01]))
    pairs = pairs.append_column("is_uneven", pa.array([False, None, True]))
    estimate = mean_drop(pairs)
    assert estimate is not None and estimate.num_classes == 2 and estimate.value == pytest.approx(0.3)


def test_scores_are_means_over_classes_not_photos(release: Release) -> None:
    tables = {name: release.table(name) for name in ("all_photos", "common", "counter", "pairs", "groups", "rejects")}
    models = (ModelRecord("a", "annotator"), ModelRecord(SELECTOR, "selector"), ModelRecord(SELECTOR, "evaluator"))
    summary = summarise(tables, models, {})
    predictions = {(row["photo_id"], row["model"]): row["is_correct"] for row in release.predictions.to_pylist()}
    for score in summary.scores:
        for split in ("common", "counter"):
            by_class: dict[str, list[bool]] = {}
            for row in tables[split].to_pylist():
                if row["half"] == "confirm":  # of all tested pairs: confirmed ones are lucky on what the test saw
                    by_class.setdefault(row["class_id"], []).append(predictions[row["photo_id"], score.name])
            expected = np.mean([np.mean(found) for found in by_class.values()])
            assert getattr(score, split) == pytest.approx(expected)
        assert score.is_in_sample == (score.name == SELECTOR)
    assert summary.num_classes == release.pairs.num_rows


def test_paper_mode_scores_all_photos(release: Release) -> None:
    tables = {name: release.table(name) for name in ("all_photos", "common", "counter", "pairs", "groups", "rejects")}
    summary = summarise(tables, (), {}, mode="paper")
    rows = [
        row["accuracy"]
        for row in release.groups.to_pylist()
        if (row["model"], row["half"], row["split"]) == (SELECTOR, "all", "common")
    ]
    score = next(score for score in summary.scores if score.name == SELECTOR)
    assert score.common == pytest.approx(np.mean(rows))
    assert summary.score_half == "all"


def test_the_mean_shrunken_drop_is_that_of_confirmed_classes(release: Release) -> None:
    tables = {name: release.table(name) for name in ("all_photos", "common", "counter", "pairs", "groups", "rejects")}
    drops = pa.array([0.1 * number for number in range(release.pairs.num_rows)])
    at = release.pairs.schema.get_field_index("drop_shrunken")
    tables["pairs"] = release.pairs.set_column(at, "drop_shrunken", drops)
    is_confirmed = [verdict == "confirmed" for verdict in release.pairs["verdict"].to_pylist()]
    expected = np.mean(np.array(drops)[is_confirmed])
    assert summarise(tables, (), {}).mean_drop_shrunken == pytest.approx(expected)
    tables["pairs"] = release.pairs.filter(pa.array([not confirmed for confirmed in is_confirmed]))
    assert summarise(tables, (), {}).mean_drop_shrunken is None
