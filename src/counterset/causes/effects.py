"""What interventions do to a model's answers: differences paired by photo, with intervals that know whose they are.

The effect of a background is that of what is behind the animal, whose own pixels stay as they are: the mean over
animals of both groups of the answers before common places less those before counter places.

A composite is made of an animal and of another photo's place. So two differences are not independent where any of what
they are made of is of one photographer, be it the animal of one and the place of the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.stats import t

from counterset.statistics.intervals import CONFIDENCE

MIN_UNITS = 5
"""Photographers below which no interval is given."""

COMPARED: dict[str, str | None] = {
    "unchanged": None,
    "animal_alone": "unchanged",
    "background_alone": "unchanged",
    "own_background": "unchanged",
    "common_background": "counter_background",
    "counter_background": None,
    "same_class_background": "other_class_background",
    "other_class_background": None,
    "smaller": "own_background",
    "moved": "own_background",
}
"""Intervention -> what it is compared with, which differs from it in one thing; None = it is only what others are
compared with."""

RENDERED = (
    "unchanged",
    "animal_alone",
    "background_alone",
    "own_background",
    "other_background",
    "other_class_background",
    "smaller",
    "moved",
)
"""What is drawn of every photo; the other interventions are made of the answers to these (`outcomes`)."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Answers(NamedTuple):
    """One model's answers to all composites of some photos.

    Attributes:
        right: rendered -> (N,) 1 = the class was named, 0 = it was not.
        class_id: (N,) number of the class.
        side: (N,) where the animal was photographed: 0 = common, 1 = counter.
        units: rendered -> (N, 1 to 2) numbers of the units that a composite is made of: the animal's, the place's.
    """

    right: Mapping[str, Floats]
    class_id: Ints
    side: Ints
    units: Mapping[str, Ints]

    def only(self, kept: npt.NDArray[np.bool_]) -> Answers:
        """Those with a true value in `kept` (N,)."""
        right = {name: values[kept] for name, values in self.right.items()}
        return Answers(
            right, self.class_id[kept], self.side[kept], {name: rows[kept] for name, rows in self.units.items()}
        )


class Effect(NamedTuple):
    """A mean of paired differences.

    Attributes:
        value: in [-1, 1].
        low, high: its 95 % interval; None = too few photographers.
        error: the standard error behind it.
        freedom: degrees of freedom.
    """

    value: float
    low: float | None
    high: float | None
    error: float | None
    freedom: float | None


def outcomes(answers: Answers) -> dict[str, Floats]:
    """Intervention -> (N,) outcome of each photo, in [0, 1]; without `other_class_background` where there is none.

    ImageNet-9's mixed-same (Xiao et al. 2021, section 3) takes the place of any photo of the class: its outcome is that
    of both groups' places, each as often as the class has such photos.
    """
    right, is_common = answers.right, answers.side == 0
    own, other = right["own_background"], right["other_background"]
    share = np.empty(len(own))
    for class_id in np.unique(answers.class_id):
        in_class = answers.class_id == class_id
        for side in (0, 1):
            share[in_class & (answers.side == side)] = (answers.side[in_class] == side).mean()
    made = {
        "common_background": np.where(is_common, own, other),
        "counter_background": np.where(is_common, other, own),
        "same_class_background": share * own + (1 - share) * other,
    }
    return {name: made[name] if name in made else right[name] for name in COMPARED if name in made or name in right}


_MADE_OF = {
    "common_background": ("own_background", "other_background"),
    "counter_background": ("own_background", "other_background"),
    "same_class_background": ("own_background", "other_background"),
}


def effects(answers: Answers) -> Iterator[dict[str, Any]]:
    """One row per intervention over the photos of one class, or of several, each class and side with equal weight.

    The rows are those of interventions and interventions_by_model without class, model and label space.
    """
    outcome = outcomes(answers)
    cell = np.unique(2 * answers.class_id + answers.side, return_inverse=True)[1].astype(np.int64)
    for name in outcome:
        compared_with = COMPARED[name] if COMPARED[name] in outcome else None
        by_side = {
            f"accuracy_{side}": _mean(outcome[name], answers.class_id, answers.side == number)
            for number, side in enumerate(("common", "counter"))
        }
        row: dict[str, Any] = {
            "intervention": name,
            "compared_with": compared_with,
            "num_photos": len(cell),
            "num_units": len(np.unique(answers.units["unchanged"])),
            "accuracy": (by_side["accuracy_common"] + by_side["accuracy_counter"]) / 2,
            **by_side,
            **dict.fromkeys(("effect", "effect_low", "effect_high")),
        }
        if compared_with is not None:
            made_of = {part for one in (name, compared_with) for part in _MADE_OF.get(one, (one,))}
            units = np.concatenate([answers.units[part] for part in sorted(made_of)], axis=1)
            effect = paired_effect(outcome[name] - outcome[compared_with], cell, units)
            row |= {"effect": effect.value, "effect_low": effect.low, "effect_high": effect.high}
        yield row


def _mean(values: Floats, class_id: Ints, kept: npt.NDArray[np.bool_]) -> float:
    """The mean over classes of their means."""
    number = np.unique(class_id[kept], return_inverse=True)[1]
    return float((np.bincount(number, values[kept]) / np.bincount(number)).mean())


def paired_effect(difference: Floats, cell: Ints, units: Ints) -> Effect:
    """The mean over cells of the mean difference in each, with its interval.

    The variance counts every pair of differences that share a unit (Aronow, Samii and Assenova 2015, for what is made
    of two), and is at least that of clusters of the animals' units alone. Each cell is given two photos more, half of
    one better, half of one worse and one unchanged (Agresti and Min 2005), or where hardly an answer changes the
    interval would have no width. Student's quantile has (sum of squares)^2 / (sum of fourth powers) - 1 degrees of
    freedom, of what each animal's unit and the photos given contribute, and at least `MIN_UNITS` - 1: where no answer
    changed, the interval then ends near the exact 97.5 % bound of a change that was never seen.

    Args:
        difference: (N,) in [-1, 1].
        cell: (N,) number of each photo's cell, from 0, such as a class's side.
        units: (N, U) numbers of all units behind each difference, the animal's first.
    """
    sizes = np.bincount(cell).astype(np.float64)
    sums, num_cells = np.bincount(cell, difference), len(sizes)
    value, drawn = float((sums / sizes).mean()), sums / (sizes + 2)
    part = (difference - drawn[cell]) / (sizes[cell] + 2) / num_cells
    number = np.unique(units[:, 0], return_inverse=True)[1]
    num_units = int(number.max()) + 1
    if num_units < MIN_UNITS:
        return Effect(value, None, None, None, None)
    by_unit = np.bincount(number, part)
    alone = float((by_unit**2).sum()) * num_units / (num_units - 1)
    together = _shared(part, units) * num_units / (num_units - 1)
    added = [
        float(
            (((1 - drawn) ** power + (1 + drawn) ** power) / 2 + drawn**power) @ (1 / (sizes + 2) / num_cells) ** power
        )
        for power in (2, 4)
    ]
    squares, fourth = (float((by_unit**power).sum()) + more for power, more in zip((2, 4), added, strict=True))
    freedom = max(squares**2 / fourth - 1, MIN_UNITS - 1.0)
    error = math.sqrt(max(alone, together) + added[0])
    reach = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    middle = float(drawn.mean())
    return Effect(value, max(middle - reach, -1.0), min(middle + reach, 1.0), error, freedom)


def _shared(part: Floats, units: Ints) -> float:
    """The sum of products of all pairs that share a unit, each photo with itself among them."""
    rows = np.repeat(np.arange(len(part)), units.shape[1])
    _, columns = np.unique(units, return_inverse=True)
    is_of = coo_array((np.ones(units.size), (rows, columns.ravel()))).tocsr()
    share = (is_of @ is_of.T) > 0
    return float(part @ (share @ part))
