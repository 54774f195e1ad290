"""Lines and residuals: the published models, perfect lines, and intervals of known noise."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy.stats import t

from counterset.errors import UserError
from counterset.manifests import manifest_path
from counterset.statistics.robustness import Scale, effective_robustness, residual_intervals


@pytest.fixture(scope="module")
def published() -> tuple[list[tuple[str, str]], np.ndarray, np.ndarray, np.ndarray]:
    """Names (backbone, pre-training), common, counter, and which are ImageNet models."""
    with manifest_path("published/models_1v1000.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [(row["backbone"], row["pretrain_dataset"]) for row in rows]
    common, counter = (
        np.array([float(row[f"{side}_accuracy"]) for row in rows]) / 100 for side in ("common", "counter")
    )
    return names, common, counter, np.array([row["family"] == "ImageNet" for row in rows])


@pytest.mark.parametrize(
    ("scale", "slope", "r_squared", "above"),
    [
        ("linear", 1.485, 0.976, 7),
        ("logit", 1.145, 0.993, 5),
        ("probit", 1.214, 0.991, 5),
    ],
)
def test_published_models_around_the_imagenet_line(published, scale, slope, r_squared, above) -> None:  # type: ignore[no-untyped-def]
    names, common, counter, is_imagenet = published
    found = effective_robustness(common, counter, is_imagenet, Scale(scale))
    assert (int(is_imagenet.sum()), int((~is_imagenet).sum())) == (15, 28)
    assert found.line.slope == pytest.approx(slope, abs=1e-3)
    assert found.line.r_squared == pytest.approx(r_squared, abs=1e-3)
    over = {
        name
        for name, residual, is_base in zip(names, found.residual, is_imagenet, strict=True)
        if residual > 0 and not is_base
    }
    assert len(over) == above
    assert {
        ("RN101", "OpenAI"),
        ("RN50×64", "OpenAI"),
        ("ViT/B/16", "OpenAI"),
        ("ViT/H/14-384", "DFN5B"),
        ("ConvNext/BW", "LAION2B"),
    } <= over
    assert not np.any(found.low[~is_imagenet] > 0), "no CLIP model is clearly above the line"
    worst = names[int(np.argmin(np.where(is_imagenet, 1, found.residual)))]
    assert worst == ("ViT/B/32", "LAION400M"), "the model that chose the pairs lies lowest"


@pytest.mark.parametrize("scale", list(Scale))
def test_a_perfect_line_leaves_nothing(scale: Scale) -> None:
    common = np.linspace(0.5, 0.9, 6)
    counter = scale.back(0.9 * scale.forward(common) - 0.1)
    counter[-1] += 0.05
    is_baseline = np.arange(6) < 5
    found = effective_robustness(common, counter, is_baseline, scale)
    assert (found.line.slope, found.line.intercept) == (pytest.approx(0.9), pytest.approx(-0.1))
    assert found.residual == pytest.approx([0, 0, 0, 0, 0, 0.05], abs=1e-9)
    assert found.low[-1] == pytest.approx(0.05, abs=1e-6)


def test_intervals_of_draws_hold_the_true_residual() -> None:
    rng = np.random.default_rng(0)
    common = np.linspace(0.5, 0.85, 8)
    counter = np.asarray(Scale.LOGIT.back(Scale.LOGIT.forward(common) - 0.8))
    counter[0] += 0.06
    noise = rng.normal(0, 0.01, (2, 500, 8))
    is_baseline = np.arange(8) > 0
    low, high = residual_intervals(common + noise[0], counter + noise[1], is_baseline, Scale.LOGIT)
    assert low[0] < 0.06 < high[0]
    assert low[0] > 0
    assert np.all((low[1:] < 0) & (high[1:] > 0))


def test_what_cannot_be_fitted_is_said() -> None:
    common, counter = np.array([0.5, 0.6, 1.0]), np.array([0.4, 0.5, 0.9])
    with pytest.raises(UserError, match="3 baseline models"):
        effective_robustness(common, counter, np.array([True, True, False]), Scale.LINEAR)
    with pytest.raises(UserError, match="linear"):
        effective_robustness(common, counter, np.array([True, True, True]), Scale.LOGIT)


def test_line_residuals_and_band_are_those_of_the_textbook() -> None:
    """Least squares by hand, and the 95 % prediction interval of one further model."""
    common = np.array([0.5, 0.62, 0.7, 0.81, 0.66])
    counter = np.array([0.31, 0.45, 0.5, 0.66, 0.6])
    is_baseline = np.array([True, True, True, True, False])
    x, y = common[is_baseline], counter[is_baseline]
    scatter = ((x - x.mean()) ** 2).sum()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / scatter
    intercept = y.mean() - slope * x.mean()
    left = y - intercept - slope * x
    variance = (left**2).sum() / (4 - 2)
    reach = t.ppf(0.975, 2) * np.sqrt(variance * (1 + 1 / 4 + (common - x.mean()) ** 2 / scatter))
    found = effective_robustness(common, counter, is_baseline, Scale.LINEAR)
    assert found.line.num_models == 4
    assert (found.line.slope, found.line.intercept) == pytest.approx((slope, intercept))
    assert found.line.r_squared == pytest.approx(1 - (left**2).sum() / ((y - y.mean()) ** 2).sum())
    residual = counter - intercept - slope * common
    assert found.residual == pytest.approx(residual)
    assert found.low == pytest.approx(residual - reach)
    assert found.high == pytest.approx(residual + reach)
    assert found.line.counter(np.array([0.9])) == pytest.approx([intercept + slope * 0.9])


def test_three_models_are_enough_for_a_line() -> None:
    common = np.array([0.5, 0.6, 0.7])
    found = effective_robustness(common, common - 0.1, np.ones(3, np.bool_), Scale.LINEAR)
    assert (found.line.num_models, found.line.slope) == (3, pytest.approx(1))


@pytest.mark.parametrize(
    ("common", "counter"), [([0.5, 0.6, 1.0], [0.4, 0.5, 0.9]), ([0.5, 0.6, 0.7], [0.4, 0.5, 0.0])]
)
def test_either_side_must_have_a_place_on_the_scale(common: list[float], counter: list[float]) -> None:
    for scale in (Scale.LOGIT, Scale.PROBIT):
        with pytest.raises(UserError, match=scale.value):
            effective_robustness(np.array(common), np.array(counter), np.ones(3, np.bool_), scale)
    effective_robustness(np.array(common), np.array(counter), np.ones(3, np.bool_), Scale.LINEAR)


def test_scales_are_there_and_back() -> None:
    accuracy = np.array([0.1, 0.5, 0.8])
    assert Scale.LINEAR.forward(accuracy) == pytest.approx(accuracy)
    assert Scale.LOGIT.forward(accuracy) == pytest.approx(np.log(accuracy / (1 - accuracy)))
    assert Scale.PROBIT.forward(np.array([0.5, 0.975])) == pytest.approx([0, 1.96], abs=1e-3)
    for scale in Scale:
        assert scale.back(scale.forward(accuracy)) == pytest.approx(accuracy)


@pytest.mark.parametrize("scale", list(Scale))
def test_every_draw_has_its_own_line(scale: Scale) -> None:
    rng = np.random.default_rng(2)
    common = rng.uniform(0.4, 0.9, (60, 6))
    counter = np.clip(common - 0.15 + rng.normal(0, 0.05, common.shape), 0.05, 0.95)
    is_baseline = np.array([True, False, True, True, True, False])
    residuals = []
    for x, y in zip(scale.forward(common), scale.forward(counter), strict=True):
        slope, intercept = np.polyfit(x[is_baseline], y[is_baseline], 1)
        residuals.append(scale.back(y) - scale.back(intercept + slope * x))
    low, high = residual_intervals(common, counter, is_baseline, scale)
    assert low == pytest.approx(np.quantile(residuals, 0.025, axis=0))
    assert high == pytest.approx(np.quantile(residuals, 0.975, axis=0))
    wider = residual_intervals(common, counter, is_baseline, scale, 1.5)
    middle = np.median(residuals, axis=0)
    assert wider[0] == pytest.approx(middle - 1.5 * (middle - low))
    assert wider[1] == pytest.approx(middle + 1.5 * (high - middle))
