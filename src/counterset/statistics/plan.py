"""The plan of a build: photos and observers it takes to confirm a drop, before anything is downloaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from counterset.errors import UserError
from counterset.schemas import Half, Verdict
from counterset.statistics.halves import DISCOVER_SHARE
from counterset.statistics.power import POWER, confirmed_by_look, deviations, rounded_gain
from counterset.statistics.selector_margin import rank_per_accuracy
from counterset.statistics.series import share_spent


@dataclass(frozen=True)
class Assumptions:
    """What a plan takes as known.

    Attributes:
        num_classes: classes of the build, for Benjamini-Hochberg.
        observer_correlation: of two photos of one observer in one group, as an earlier build found it.
        photos_per_observer: mean photos of one observer in one group.
        accuracy: mean accuracy of the pair, in [0, 1].
        share_confirmed: share of classes expected to be confirmed; 0 = this one alone.
        max_q_value: as in the config, for the whole series.
        look: which look of its series the build is, from 1; later ones may spend less.
        power: probability with which the drop is to be confirmed.
        num_selectors: models whose mean outcome counts.
        selector_correlation: of two selectors' outcomes on one photo, beyond its group.
    """

    num_classes: int
    observer_correlation: float = 0.1
    photos_per_observer: float = 2.0
    accuracy: float = 0.7
    share_confirmed: float = 0.0
    max_q_value: float = 0.05
    look: int = 1
    power: float = POWER
    num_selectors: int = 1
    selector_correlation: float = 0.5

    def deviations(self, num_groups: int) -> float:
        """Standard errors that a true drop must have."""
        return deviations(num_groups, self.threshold, self.power, self.gain)

    @property
    def threshold(self) -> float:
        """The p-value that the class has to reach at its look."""
        level = self.max_q_value * share_spent(self.look)
        return level * max(self.share_confirmed * self.num_classes, 1.0) / self.num_classes

    @property
    def gain(self) -> float:
        """How many times its standard error a drop is in ranks, where it is once in answers."""
        # ranks of one selector's margins have the variance 1 / 12, answers accuracy * (1 - accuracy)
        per_error = math.sqrt(12 * self.accuracy * (1 - self.accuracy))
        return rounded_gain(rank_per_accuracy(self.accuracy) * per_error * self._gain_left)

    @property
    def _gain_left(self) -> float:
        """Of the gain of ranks over answers, with several selectors: the mean of their answers is graded already.

        With normal margins whose correlation is r, answers correlate by about 2 / pi asin(r), and ranks by
        6 / pi asin(r / 2).
        """
        answers = self.selector_correlation
        ranks = 6 / math.pi * math.asin(math.sin(math.pi / 2 * answers) / 2)
        others = self.num_selectors - 1
        return math.sqrt((1 + others * answers) / (1 + others * ranks))

    @property
    def variance(self) -> float:
        """Variance of a photo's outcome, the mean over selectors, times what makes it worth less than one photo."""
        of_mean = (1 + (self.num_selectors - 1) * self.selector_correlation) / self.num_selectors
        return self.accuracy * (1 - self.accuracy) * of_mean * self.photos_per_worth

    @property
    def photos_per_worth(self) -> float:
        """Photos that are worth one independent photo."""
        return 1 + (self.photos_per_observer - 1) * self.observer_correlation


class SampleSize(NamedTuple):
    """What each of two groups needs, both halves together."""

    photos_per_group: int
    observers_per_group: int


def plan_sample_size(drop: float, num_groups: int, assumptions: Assumptions) -> SampleSize:
    """Photos and observers that each group of a pair needs for a true drop to be confirmed.

    Args:
        drop: the true drop, in (0, 1].
        num_groups: groups of the class that are large enough to take part.
        assumptions: the rest.
    """
    photos = 2 * assumptions.variance * (assumptions.deviations(num_groups) / drop) ** 2
    return SampleSize(math.ceil(photos), math.ceil(photos / assumptions.photos_per_observer))


def planned_drop(photos_common: float, photos_counter: float, num_groups: int, assumptions: Assumptions) -> float:
    """The smallest true drop that two groups of so many photos will confirm, or 1; inverts `plan_sample_size`."""
    error = math.sqrt(assumptions.variance * (1 / photos_common + 1 / photos_counter))
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
    least = _photos_to_take_part(min_photos)
    plans = []
    for class_id, shares in frequencies.items():
        first, second = sorted([*shares, 0.0, 0.0], reverse=True)[:2]
        num_groups = sum(share * photos_per_class >= least for share in shares)
        needed = plan_sample_size(drop, max(num_groups, 2), assumptions)
        reached = (
            planned_drop(first * photos_per_class, second * photos_per_class, num_groups, assumptions)
            if num_groups >= 2
            else 1.0
        )
        class_photos = math.ceil(max(needed.photos_per_group, least) / second) if second > 0 else 0
        plans.append(ClassPlan(class_id, num_groups, *needed, class_photos, reached))
    return plans


def chances_by_look(
    shares: Sequence[float],
    photos: float,
    drop: float,
    min_photos: int,
    assumptions: Assumptions,
    *,
    growth: float,
    num_looks: int,
) -> list[float]:
    """The probability that a class's drop is confirmed until each look, the first being that of `assumptions`.

    Args:
        shares: of the class's photos in each group, as for `plan_classes`; the drop is between the two largest.
        photos: of the class at the first look.
        drop: the true one.
        min_photos: photos that a group needs on each half.
        assumptions: the rest.
        growth: photos that come between two looks, as a share of those of the first.
        num_looks: how many looks.
    """
    first, second = sorted([*shares, 0.0, 0.0], reverse=True)[:2]
    sizes = [1 + growth * number for number in range(num_looks)]
    least = _photos_to_take_part(min_photos)
    num_groups = sum(share * photos * sizes[-1] >= least for share in shares)
    if num_groups < 2 or photos <= 0:
        return [0.0] * num_looks
    error = math.sqrt(assumptions.variance * (1 / first + 1 / second) / photos)
    p_values = [
        replace(assumptions, look=assumptions.look + number).threshold if second * photos * size >= least else 0.0
        for number, size in enumerate(sizes)
    ]
    found = confirmed_by_look(drop / error, num_groups, assumptions.gain, p_values, sizes)
    return [float(chance) for chance in found]


def _photos_to_take_part(min_photos: int) -> float:
    """Photos of which the smaller half has `min_photos`."""
    return min_photos / min(DISCOVER_SHARE, 1 - DISCOVER_SHARE)


class Learnt(NamedTuple):
    """What an earlier build teaches: `frequencies` of `plan_classes`, and its assumptions."""

    frequencies: dict[str, list[float]]
    assumptions: Assumptions


def learn(group_accuracy: pa.Table, pairs: pa.Table, *, max_q_value: float = 0.05, num_selectors: int = 1) -> Learnt:
    """The frequencies and assumptions of an earlier build, for the plan of the next.

    Args:
        group_accuracy: that build's table; frequencies are shares of its grouped photos.
        pairs: that build's table.
        max_q_value: of the next build.
        num_selectors: of the next build.

    Raises:
        UserError: the earlier build has no class with a tested pair, or figures that cannot be.
    """
    tested = pairs.filter(pc.is_valid(pairs["q_value"]))
    if not tested.num_rows:
        raise UserError("the earlier build tested no class, so nothing can be learnt from it; plan without it")
    photos: dict[str, dict[str, int]] = {}
    whole = group_accuracy.filter(pc.equal(group_accuracy["half"], Half.ALL.value))
    for row in whole.sort_by([("num_photos", "ascending")]).to_pylist():
        # models may have predicted different photos: the most complete one counts
        known = photos.setdefault(row["class_id"], {})
        known[row["group"]] = row["num_photos"]
    whole = whole.append_column("units", pc.coalesce(whole["num_units"], whole["num_observers"]))  # null: older
    largest = whole.group_by(["class_id", "group"]).aggregate([("units", "max")])
    units = pc.sum(largest["units_max"]).as_py()
    frequencies = {
        class_id: [number / sum(groups.values()) for _, number in sorted(groups.items())]
        for class_id, groups in sorted(photos.items())
    }
    accuracies = pc.add(tested["accuracy_common"], tested["accuracy_counter"])
    confirmed = pc.sum(pc.equal(tested["verdict"], Verdict.CONFIRMED.value)).as_py()
    accuracy, correlation = (
        pc.mean(accuracies).as_py(),
        pc.max(pc.coalesce(tested["unit_correlation"], tested["observer_correlation"])).as_py(),
    )
    is_sound = accuracy is not None and 0 <= accuracy <= 2 and correlation is not None and 0 <= correlation <= 1
    if not units or units < 0 or not all(sum(groups.values()) > 0 for groups in photos.values()) or not is_sound:
        raise UserError("the earlier build's figures are impossible, so nothing can be learnt from it; plan without it")
    return Learnt(
        frequencies,
        Assumptions(
            num_classes=pairs.num_rows,
            observer_correlation=correlation,
            photos_per_observer=sum(sum(groups.values()) for groups in photos.values()) / units,
            accuracy=accuracy / 2,
            share_confirmed=confirmed / pairs.num_rows,
            max_q_value=max_q_value,
            look=(pc.max(pairs["look"]).as_py() or 1) + 1,
            num_selectors=num_selectors,
        ),
    )
