"""A row a model: equal to slow sums on simulated photos, and honest about who draws the line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from counterset.errors import ReleaseError
from counterset.evaluation.measures import ModelFacts, line_family, measure
from counterset.evaluation.photos import PairPhotos
from counterset.schemas import PREDICTIONS
from counterset.statistics.robustness import Scale
from counterset.tables import table_of

CLASSES = [f"class_{n}" for n in range(6)]


def world(photos_per_side: int, seed: int = 0) -> PairPhotos:
    rng = np.random.default_rng(seed)
    total = 2 * len(CLASSES) * photos_per_side
    class_id = np.repeat(np.array(CLASSES, dtype=object), 2 * photos_per_side)
    side = np.tile(np.repeat([0, 1], photos_per_side), len(CLASSES))
    observer = np.array([f"o{number}" for number in rng.integers(0, total // 2, total)], dtype=object)
    ids = np.array([f"p{number:06d}" for number in range(total)], dtype=object)
    return PairPhotos(ids, class_id, side, np.full(total, "all", dtype=object), observer, observer, ids)


def predictions(photos: PairPhotos, accuracy: dict[str, tuple[float, float]], seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    rows = []
    for model, both in accuracy.items():
        for photo_id, side in zip(photos.photo_id, photos.side, strict=True):
            right = bool(rng.random() < both[side])
            row = {"photo_id": photo_id, "model": model, "label_space": "all", "predicted": "x", "is_correct": right}
            rows.append(row | {"rank_of_truth": 1 if right else int(rng.integers(2, 12)), "margin": 0.1})
    return table_of(PREDICTIONS, rows)


def test_figures_equal_slow_sums() -> None:
    photos = world(8)
    table = predictions(photos, {"a": (0.9, 0.5), "b": (0.7, 0.6)})
    facts = {"a": ModelFacts("CLIP"), "b": ModelFacts("other", has_scores=False, num_unknown=3)}
    found = {row["model"]: row for row in measure(photos, table, facts, scale=Scale.LOGIT, seed=0).metrics.to_pylist()}
    for model in ("a", "b"):
        cells: dict[tuple[str, int], list[bool]] = {}
        top5: dict[tuple[str, int], list[bool]] = {}
        by_id = {row["photo_id"]: row for row in table.to_pylist() if row["model"] == model}
        for photo_id, class_id, side in zip(photos.photo_id, photos.class_id, photos.side, strict=True):
            cells.setdefault((class_id, side), []).append(by_id[photo_id]["is_correct"])
            top5.setdefault((class_id, side), []).append(by_id[photo_id]["rank_of_truth"] <= 5)
        means = {key: np.mean(values) for key, values in cells.items()}
        common, counter = (np.mean([means[c, side] for c in CLASSES]) for side in (0, 1))
        row = found[model]
        assert (row["common"], row["counter"]) == (pytest.approx(common), pytest.approx(counter))
        assert row["drop"] == pytest.approx(common - counter) and row["drop_low"] < row["drop"] < row["drop_high"]
        assert row["photo_average_common"] == pytest.approx(common), "all groups are of one size"
        assert row["worst_group"] == pytest.approx(min(means.values()))
        worst = max(CLASSES, key=lambda c: means[c, 0] - means[c, 1])
        assert row["worst_drop"] == pytest.approx(means[worst, 0] - means[worst, 1])
        expected = np.mean([np.mean(top5[c, 0]) for c in CLASSES]) if model == "a" else None
        assert row["top5_common"] == (None if expected is None else pytest.approx(expected))
    assert found["a"]["residual"] is None, "two models draw no line"
    assert (found["a"]["num_photos"], found["b"]["num_unknown"]) == (96, 3)


def test_residuals_find_the_model_that_lies_off_the_line() -> None:
    photos = world(150)
    truth = {
        f"net{n}": (x, float(Scale.LOGIT.back(Scale.LOGIT.forward(np.array(x)) - 1.0)))
        for n, x in enumerate((0.55, 0.65, 0.75, 0.85, 0.92))
    }
    truth |= {"on the line": (0.8, float(Scale.LOGIT.back(Scale.LOGIT.forward(np.array(0.8)) - 1.0)))}
    truth |= {"above": (0.8, 0.75), "chose the pairs": (0.8, 0.2)}
    facts = {model: ModelFacts("ImageNet" if model.startswith("net") else "CLIP") for model in truth}
    facts["chose the pairs"] = ModelFacts("ImageNet", in_sample_reason="is the release's selector")
    found = measure(photos, predictions(photos, truth), facts, scale=Scale.LOGIT, seed=0, num_draws=400)
    rows = {row["model"]: row for row in found.metrics.to_pylist()}
    assert {row["line"] for row in rows.values()} == {"ImageNet"}
    assert rows["above"]["residual_low"] > 0.05 and rows["above"]["residual"] == pytest.approx(0.153, abs=0.05)
    assert rows["on the line"]["residual_low"] < 0 < rows["on the line"]["residual_high"]
    assert rows["chose the pairs"]["residual"] < -0.3, "an in-sample model is measured from the line but draws none"


def test_who_draws_the_line() -> None:
    assert line_family(["CLIP"] * 3 + ["ImageNet"] * 3, [False] * 6) == "ImageNet"
    assert line_family(["CLIP"] * 3 + ["ImageNet"] * 3, [False] * 5 + [True]) == "CLIP"
    assert line_family(["CLIP"] * 2 + ["other"] * 5, [False] * 7) is None


def test_accuracies_of_one_have_a_place_on_the_logit_scale() -> None:
    photos = world(8)
    truth = {"a": (1.0, 0.5), "b": (0.9, 0.4), "c": (0.8, 0.3)}
    facts = {model: ModelFacts("CLIP") for model in truth}
    found = measure(photos, predictions(photos, truth), facts, scale=Scale.LOGIT, seed=0, num_draws=50)
    assert all(np.isfinite(row["residual_low"]) for row in found.metrics.to_pylist())


def test_a_class_with_one_side_is_left_out_and_said() -> None:
    photos = world(8)
    one = photos.only(~((photos.class_id == "class_3") & (photos.side == 1)))
    table = predictions(photos, {"a": (0.9, 0.5)})
    found = measure(one, table, {"a": ModelFacts("CLIP")}, scale=Scale.LINEAR, seed=0, num_draws=20)
    assert found.one_sided == ("class_3",) and found.metrics["num_classes"].to_pylist() == [5]
    with pytest.raises(ReleaseError, match="both sides"):
        measure(photos.only(photos.side == 1), table, {"a": ModelFacts("CLIP")}, scale=Scale.LINEAR, seed=0)
