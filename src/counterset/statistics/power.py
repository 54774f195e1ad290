"""How large a drop can be confirmed, and how many photos and observers that takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from counterset.statistics.observers import Floats

POWER = 0.8
NUM_DRAWS = 20_000


@dataclass(frozen=True)
class Assumptions:
    """What a plan takes as known.

    Attributes:
        num_classes: classes of the build, for Benjamini-Hochberg.
        observer_correlation: of two photos of one observer in one group, as an earlier build found it.
        photos_per_observer: mean photos of one observer in one group.
        accuracy: mean accuracy of the pair, in [0, 1].
        share_confirmed: share of classes expected to be confirmed; 0 = this one alone.
        max_q_value: as in the config.
        power: probability with which the drop is to be confirmed.
    """

    num_classes: int
    observer_correlation: float = 0.1
    photos_per_observer: float = 2.0
    accuracy: float = 0.7
    share_confirmed: float = 0.0
    max_q_value: float = 0.05
    power: float = POWER

    def deviations(self, num_groups: int) -> float:
        """Standard errors that a true drop must have."""
        threshold = self.max_q_value * max(self.share_confirmed * self.num_classes, 1.0) / self.num_classes
        return deviations(num_groups, threshold, self.power)

    @property
    def photos_per_worth(self) -> float:
        """Photos that are worth one independent photo."""
        return 1 + (self.photos_per_observer - 1) * self.observer_correlation


class SampleSize(NamedTuple):
    """What each of two groups needs, both halves together."""

    photos_per_group: int
    observers_per_group: int


def detectable_drop(
    critical: float,
    accuracy: float,
    weight_common: float,
    weight_counter: float,
    scale: float,
    num_groups: int,
    p_value: float,
) -> float:
    """The smallest true drop between two groups that the class confirms with power 0.8, or 1.

    Args:
        critical: the statistic (`permutation.statistic`) that just reaches `p_value`.
        accuracy: of the class, in [0, 1].
        weight_common: summed weights of the common group, both halves.
        weight_counter: the same of counter.
        scale: the outcomes' variance over p (1 - p).
        num_groups: groups that take part.
        p_value: that the class would need.
    """
    error = math.sqrt(1 / weight_common + 1 / weight_counter)
    deviation = math.sqrt(accuracy * (1 - accuracy) * scale)
    reserve = deviations(num_groups, p_value, POWER) - deviations(num_groups, p_value, None)
    return min((critical + reserve * deviation) * error, 1.0)


@cache
def deviations(num_groups: int, p_value: float, power: float | None) -> float:
    """The true drop of a pair, in standard errors, that reaches `p_value` with the given power.

    With `power` None, the statistic that just reaches `p_value`. A model of `num_groups` equal,
    large groups, the pair's accuracies half a drop above and below the others': the pair is
    chosen on one half, whose errors are sqrt(2) times those of all photos, and its drop is
    tested on both; worked out on seeded normal draws, the test half's integrated out.
    """
    generator = np.random.default_rng(0)
    errors = generator.standard_normal((NUM_DRAWS, num_groups))
    rows = np.arange(NUM_DRAWS)

    def chosen_drop(drop: float) -> tuple[Floats, Floats]:
        """The chosen pair's drop on its own half, and its true drop, in standard errors of all photos."""
        truth = np.zeros(num_groups)
        truth[0], truth[-1] = drop / 2, -drop / 2
        seen = errors + truth  # accuracy errors are 1 on a half, so a drop's error is sqrt(2) there and 1 on both
        common, counter = seen.argmax(axis=1), seen.argmin(axis=1)
        return seen[rows, common] - seen[rows, counter], truth[common] - truth[counter]

    def reached(drop: float, critical: float) -> float:
        seen, true = chosen_drop(drop)
        # statistic = (seen + confirm's drop) / 2, confirm's drop ~ N(true, sqrt(2))
        return float(norm.sf((2 * critical - seen - true) / math.sqrt(2)).mean())

    critical = float(brentq(lambda value: reached(0.0, value) - p_value, -5.0, 20.0))
    if power is None:
        return critical
    return float(brentq(lambda drop: reached(drop, critical) - power, 0.0, 40.0))


def plan_sample_size(drop: float, num_groups: int, assumptions: Assumptions) -> SampleSize:
    """Photos and observers that each group of a pair needs for a true drop to be confirmed.

    Args:
        drop: the true drop, in (0, 1].
        num_groups: groups of the class that are large enough to take part.
        assumptions: the rest.
    """
    variance = 2 * assumptions.accuracy * (1 - assumptions.accuracy)
    photos = variance * (assumptions.deviations(num_groups) / drop) ** 2 * assumptions.photos_per_worth
    return SampleSize(math.ceil(photos), math.ceil(photos / assumptions.photos_per_observer))


def planned_drop(photos_common: float, photos_counter: float, num_groups: int, assumptions: Assumptions) -> float:
    """The smallest true drop that two groups of so many photos will confirm, or 1; inverts `plan_sample_size`."""
    variance = assumptions.accuracy * (1 - assumptions.accuracy) * assumptions.photos_per_worth
    error = math.sqrt(variance * (1 / photos_common + 1 / photos_counter))
    return min(assumptions.deviations(num_groups) * error, 1.0)


class ClassPlan(NamedTuple):
    """What a build can hope for in one class.

    Attributes:
        class_id: the class.
        num_groups: groups that will have enough photos to take part.
        photos_per_group: photos that each group of a pair needs for the wanted drop.
        observers_per_group: observers that each group of a pair needs.
        class_photos: kept photos of the class that give its two largest groups so many;
            0 = fewer than two groups are known.
        detectable_drop: smallest drop that the planned photos confirm between the two largest
            groups; 1 = none.
    """

    class_id: str
    num_groups: int
    photos_per_group: int
    observers_per_group: int
    class_photos: int
    detectable_drop: float


def plan_classes(
    frequencies: Mapping[str, Sequence[float]],
    photos_per_class: int,
    drop: float,
    min_photos: int,
    assumptions: Assumptions,
) -> list[ClassPlan]:
    """One plan a class, in the order of `frequencies`.

    Args:
        frequencies: class_id to the share of its photos in each group, e.g. counted in the last
            build; shares may sum to less than 1, for photos abstain.
        photos_per_class: photos that the build will keep of each class.
        drop: the true drop to confirm.
        min_photos: photos that a group needs on each half, as in the config.
        assumptions: the rest.
    """
    plans = []
    for class_id, shares in frequencies.items():
        first, second = sorted([*shares, 0.0, 0.0], reverse=True)[:2]
        num_groups = sum(share * photos_per_class >= 2 * min_photos for share in shares)
        needed = plan_sample_size(drop, max(num_groups, 2), assumptions)
        reached = (
            planned_drop(first * photos_per_class, second * photos_per_class, num_groups, assumptions)
            if num_groups >= 2
            else 1.0
        )
        class_photos = math.ceil(max(needed.photos_per_group, 2 * min_photos) / second) if second > 0 else 0
        plans.append(ClassPlan(class_id, num_groups, *needed, class_photos, reached))
    return plans
