"""Effective robustness: how far a model lies above the line of the standard models.

Taori et al. (2020) fit a line through standard models' accuracies without and with a shift,
on logit or probit axes; a model's effective robustness is its shifted accuracy beyond the line.
Here common is the unshifted and counter the shifted side.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import statsmodels.api as sm
from scipy.special import expit, logit
from scipy.stats import norm

from counterset.errors import UserError
from counterset.statistics.intervals import drawn_interval
from counterset.statistics.observers import Bools, Floats

CONFIDENCE = 0.95


class Scale(StrEnum):
    """The axes a line is straight on."""

    LINEAR = "linear"
    LOGIT = "logit"
    PROBIT = "probit"

    def forward(self, accuracy: Floats) -> Floats:
        """Accuracies in (0, 1) on this scale."""
        if self is Scale.LINEAR:
            return np.asarray(accuracy, dtype=np.float64)
        return np.asarray(logit(accuracy) if self is Scale.LOGIT else norm.ppf(accuracy))

    def back(self, values: Floats) -> Floats:
        """Values on this scale as accuracies."""
        if self is Scale.LINEAR:
            return np.asarray(values, dtype=np.float64)
        return np.asarray(expit(values) if self is Scale.LOGIT else norm.cdf(values))


@dataclass(frozen=True)
class Line:
    """counter = intercept + slope * common, both on `scale`."""

    scale: Scale
    slope: float
    intercept: float
    r_squared: float
    num_models: int

    def counter(self, common: Floats) -> Floats:
        """The counter accuracies on the line at the given common accuracies."""
        return self.scale.back(self.intercept + self.slope * self.scale.forward(common))


class Robustness(NamedTuple):
    """The line and, for each model in order, how far it lies above it.

    Attributes:
        line: through the baseline models.
        residual: (M,) counter accuracy beyond the line, in accuracy.
        low: (M,) residual less what a further baseline model could scatter upwards (95 % prediction).
        high: (M,) residual plus what one could scatter downwards; above 0 with `low` > 0 is clear.
    """

    line: Line
    residual: Floats
    low: Floats
    high: Floats


def effective_robustness(common: Floats, counter: Floats, is_baseline: Bools, scale: Scale) -> Robustness:
    """Fit the baseline models' line by least squares on `scale` and measure every model against it.

    Args:
        common: (M,) accuracies in (0, 1).
        counter: (M,) accuracies in (0, 1).
        is_baseline: (M,) the models that the line goes through, at least 3.
        scale: the axes.

    Raises:
        UserError: fewer than 3 baseline models, or an accuracy of 0 or 1 on a scale without them.
    """
    if int(is_baseline.sum()) < 3:
        raise UserError(f"a line needs 3 baseline models, not {int(is_baseline.sum())}; evaluate more of them")
    x, y = scale.forward(common), scale.forward(counter)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UserError(f"an accuracy of 0 or 1 has no place on the {scale.value} scale; use the linear one")
    fit = sm.OLS(y[is_baseline], sm.add_constant(x[is_baseline], has_constant="add")).fit()
    predicted = fit.get_prediction(sm.add_constant(x, has_constant="add"))
    band = np.sort(scale.back(predicted.conf_int(obs=True, alpha=1 - CONFIDENCE)), axis=1)
    intercept, slope = map(float, fit.params)
    line = Line(scale, slope, intercept, float(fit.rsquared), int(is_baseline.sum()))
    return Robustness(line, counter - line.counter(common), counter - band[:, 1], counter - band[:, 0])


def residual_intervals(
    common_draws: Floats, counter_draws: Floats, is_baseline: Bools, scale: Scale, widening: float = 1.0
) -> tuple[Floats, Floats]:
    """(M,), (M,): 95 % intervals of the residuals from bootstrap draws of all models' accuracies.

    The line is fitted anew in every draw, so that its own uncertainty counts.

    Args:
        common_draws: (B, M) accuracies of each draw, every model under the same observers.
        counter_draws: (B, M) the same on counter.
        is_baseline: (M,) the models that the line goes through.
        scale: the axes.
        widening: how much wider than the draws the intervals must be, for observers are few.
    """
    x, y = scale.forward(common_draws), scale.forward(counter_draws)
    base_x, base_y = x[:, is_baseline], y[:, is_baseline]
    mean_x, mean_y = base_x.mean(axis=1, keepdims=True), base_y.mean(axis=1, keepdims=True)
    slope = ((base_x - mean_x) * (base_y - mean_y)).sum(axis=1, keepdims=True)
    slope = slope / ((base_x - mean_x) ** 2).sum(axis=1, keepdims=True)
    residual = counter_draws - scale.back(mean_y + slope * (x - mean_x))
    return drawn_interval(residual, widening)
