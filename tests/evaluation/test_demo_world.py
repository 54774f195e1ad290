"""On the demo's world, whose truth is known: drops come out in the order of the ties that models learned from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import counterset
from counterset.demo.training.classifier import RECIPE
from counterset.demo.training.recipes import RECIPES
from counterset.demo.truth_report import true_accuracies

MODELS = ("demo:weak", "demo:medium", "demo:selector", "demo:plain")


def test_drops_follow_the_ties(demo_build: Any, tmp_path: Path) -> None:
    found = counterset.evaluate(demo_build.release, MODELS, output=tmp_path)
    rows = {row["model"]: row for row in found.metrics.to_pylist()}
    ties = {name: RECIPES[name.removeprefix("demo:")].strength for name in MODELS[:3]}
    assert ties["demo:weak"] < ties["demo:medium"] < ties["demo:selector"]
    weak, medium, strong = (rows[model] for model in MODELS[:3])
    assert weak["drop"] < medium["drop"] < strong["drop"]
    assert max(weak["drop_high"], medium["drop_high"]) < strong["drop_low"], "clear of each other"
    pairs = counterset.load(demo_build.release, verdicts=("confirmed", "unconfirmed")).pairs.to_pylist()
    tested = [row for row in pairs if row["verdict"] != "too_small"]
    assert strong["num_classes"] == len(tested)
    for model in MODELS[:3]:
        truth = true_accuracies(model.removeprefix("demo:"))
        drops = [truth[row["class_id"]][row["common"]] - truth[row["class_id"]][row["counter"]] for row in tested]
        # Four standard errors of this many photos; an interval alone may miss once in twenty.
        margin = (rows[model]["drop_high"] - rows[model]["drop_low"]) / 3.92 * 4
        assert abs(rows[model]["drop"] - sum(drops) / len(drops)) < margin
    plain = rows["demo:plain"]
    assert RECIPE.strength == ties["demo:medium"]
    assert plain["family"] == "classifier" and weak["drop"] < plain["drop"] < strong["drop"]
    assert {model for model, row in rows.items() if row["is_in_sample"]} == {"demo:selector"}
    assert found.record["half"] == "confirm", "photographers who did not choose the pairs"
    assert found.record["label_space"] == "classes" and not found.record["missing_photos"]


def test_predictions_agree_with_the_builds_own(demo_build: Any, tmp_path: Path) -> None:
    release = counterset.load(demo_build.release)
    found = counterset.evaluate(release, ["demo:medium"], output=tmp_path)
    built = {row["photo_id"]: row for row in release.predictions.to_pylist() if row["model"] == "demo:medium"}
    mine = found.predictions.to_pylist()
    # Photos that a release bundles carry no metadata, and features are float32: a close call may differ.
    same = [row["predicted"] == built[row["photo_id"]]["predicted"] for row in mine if row["photo_id"] in built]
    assert len(same) == len(mine) and sum(same) >= 0.99 * len(same)
