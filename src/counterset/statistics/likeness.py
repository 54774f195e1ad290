"""How alike two photos of one group are when an observer, or only a place, is the same.

Says of a release what its units hold together: how much of the correlation lies between different
observers of one place, and how much is left between units where a place had to be cut.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from counterset.schemas import Half
from counterset.statistics.counts import answered
from counterset.statistics.grouped_photos import Names, group_photos
from counterset.statistics.observers import Floats, Ints
from counterset.statistics.photo_numbers import Rows
from counterset.statistics.units import NONE

ROUNDS = 20
"""Of correcting the groups' variances for their estimated means; it settles within a few."""


class Likeness(NamedTuple):
    """Correlation of the outcomes of two photos of one group; NaN where there are no two such photos.

    Attributes:
        observer: of one observer.
        place: of two observers of one unit.
        cut: of one place and two units.
    """

    observer: float
    place: float
    cut: float


def likeness(outcome: Floats, group: Ints, unit: Ints, observer: Ints, place: Ints) -> Likeness:
    """Correlations from products of residuals, each group's on the scale of its own variance.

    A residual is an outcome less its group's mean. That the mean is estimated makes products too small by the
    variance of the mean, which is added again.

    Args:
        outcome: (N,) of photos, in [0, 1].
        group: (N,) of one class each, from 0.
        unit: (N,) from 0; each of one class.
        observer: (N,) from 0; each of one unit of a class.
        place: (N,) from 0; NONE = none.
    """
    if not len(outcome):
        return Likeness(np.nan, np.nan, np.nan)
    num_photos = np.bincount(group).astype(np.float64)
    size = np.maximum(num_photos, 1.0)
    residual = outcome - (np.bincount(group, outcome) / size)[group]
    spread = np.bincount(group, residual**2) / size
    has_place = place != NONE
    by_unit, by_observer = (_pairs(residual, group, [label]) for label in (unit, observer))
    by_place, by_both = (
        _pairs(residual[has_place], group[has_place], [label[has_place] for label in labels], len(size))
        for labels in ([place], [place, unit])
    )
    everyone = 0.0
    for _ in range(ROUNDS):
        # (G,) variance of a group's mean over that of one photo
        of_mean = np.minimum((1 + everyone * by_unit[1] / size) / size, 0.9)
        variance = spread / (1 - of_mean)
        everyone = max(_correlation(by_unit, variance, of_mean), 0.0) if by_unit[1].any() else 0.0
    return Likeness(
        _correlation(by_observer, variance, of_mean),
        _correlation(by_unit - by_observer, variance, of_mean),
        _correlation(by_place - by_both, variance, of_mean),
    )


def _pairs(residual: Floats, group: Ints, labels: list[Ints], num_groups: int | None = None) -> Floats:
    """(2, G): by group, the summed products of residuals of ordered pairs of photos that share all labels, and how many
    such pairs there are."""
    num_groups = num_groups or int(group.max()) + 1
    if not len(residual):
        return np.zeros((2, num_groups))
    cell = group
    for label in labels:  # one number for both, in the order of the first and then of the second
        together = cell.astype(np.int64) * (int(label.max()) + 1) + label
        first, cell = np.unique(together, return_index=True, return_inverse=True)[1:]
    group_of = group[first]
    photos = np.bincount(cell).astype(np.float64)
    products = np.bincount(cell, residual) ** 2 - np.bincount(cell, residual**2)
    return np.stack([np.bincount(group_of, values, num_groups) for values in (products, photos * (photos - 1))])


def _correlation(sums: Floats, variance: Floats, of_mean: Floats) -> float:
    """The correlation over all groups' pairs, from their (2, G) products and numbers."""
    products, pairs = sums
    scale = float((variance * pairs).sum())
    return float((products + variance * of_mean * pairs).sum()) / scale if scale > 0 else np.nan


class Sharing(NamedTuple):
    """How the photos of a build share observers and places.

    Attributes:
        likeness: of their outcomes.
        share_cut: (class_id, group) -> share of the group's photos in whose place there are photos of several units.
    """

    likeness: Likeness
    share_cut: dict[tuple[str, str], float]


def has_places(members: Rows) -> bool:
    """Whether the source told the place of any photo."""
    if "place" not in members.schema.names:
        return False
    rows = ds.dataset(members) if isinstance(members, pa.Table) else members
    return bool(rows.count_rows(filter=ds.field("place").is_valid()))


def measure_sharing(
    members: Rows, backgrounds: Rows, predictions: Rows, *, selectors: tuple[str, ...], label_space: str
) -> Sharing:
    """What units hold together, and what they leave apart, over the grouped photos that every selector has predicted.

    Args:
        members: photo_id, class_id, observer, place, unit are read.
        backgrounds: photo_id, group are read.
        predictions: photo_id, model, label_space, is_correct are read.
        selectors: models whose mean outcome counts.
        label_space: of the predictions.
    """
    labels = {name: f"class_id || {name}" for name in ("unit", "observer", "place")}
    photos = group_photos(members, backgrounds, labels)
    # (N + 1,) answers of the selectors, and right ones
    given, correct = (np.zeros(len(photos.stratum), np.int32) for _ in range(2))
    models = Names()
    wanted = models.codes(pa.array(selectors, pa.string()))
    for answer in answered(photos.numbers, predictions, label_space, models):
        for number in wanted:
            own = answer.model == number
            given[answer.place[own]] += 1
            correct[answer.place[own]] += answer.is_correct[own]
    kept = np.flatnonzero((given[:-1] == len(selectors)) & (photos.stratum[:-1] < len(photos.codes)))
    stratum, right = photos.stratum[kept], correct[kept].astype(np.int64)
    is_used = np.bincount(stratum, minlength=len(photos.codes)) > 0
    cells, own = np.unique(photos.codes[is_used] // 2, return_inverse=True)
    cell = np.zeros(len(photos.codes), np.int64)
    cell[is_used] = own
    group = cell[stratum]
    unit, observer, place = (_codes(photos.labels.pop(name)[kept]) for name in labels)
    # Rows come in any order; sums of floats depend on it.
    order = np.lexsort((right, place, observer, unit, group))
    group, unit, observer, place, right = group[order], unit[order], observer[order], place[order], right[order]
    found = likeness(right / len(selectors), group, unit, observer, place)
    is_cut = _holds_several(place, unit)
    shares = np.bincount(group, is_cut, len(cells)) / np.maximum(np.bincount(group, minlength=len(cells)), 1)
    width = max(len(photos.groups), 1)
    names = [(photos.class_ids[cell // width], photos.groups[cell % width]) for cell in cells]
    return Sharing(found, {name: float(share) for name, share in zip(names, shares, strict=True)})


def say_sharing(rows: list[dict[str, Any]], group_accuracy: pa.Table, sharing: Sharing) -> None:
    """Fill in what pairs say of observers and places beside units.

    Args:
        rows: of pairs.
        group_accuracy: gives the observers of each group.
        sharing: of the same photos.
    """
    whole = group_accuracy.filter(pc.equal(group_accuracy["half"], Half.ALL.value))
    columns = (whole[name].to_pylist() for name in ("class_id", "group", "num_observers"))
    observers: dict[tuple[str, str], int] = {}
    for class_id, name, number in zip(*columns, strict=True):  # models may lack photos: the most complete one counts
        observers[class_id, name] = max(number, observers.get((class_id, name), 0))
    names = zip(("observer_correlation", "place_correlation", "cut_correlation"), sharing.likeness, strict=True)
    known = {name: float(value) for name, value in names if np.isfinite(value)}
    for row in rows:
        if row.get("common") is None:
            continue
        row |= known
        photos, cut = 0, 0.0
        for side in ("common", "counter"):
            key = row["class_id"], row[side]
            row[f"num_observers_{side}"] = observers[key]
            photos += row[f"num_{side}"]
            cut += row[f"num_{side}"] * sharing.share_cut[key]
        row["share_cut"] = cut / photos


def _codes(labels: npt.NDArray[np.uint64]) -> Ints:
    """Numbers from 0 in the order of the values; NONE for 0, which stands for null."""
    codes = np.unique(labels, return_inverse=True)[1]
    return np.where(labels == 0, NONE, codes).astype(np.int64)


def _holds_several(place: Ints, unit: Ints) -> Floats:
    """(N,) 1 where photos of several units lie in the photo's place."""
    placed = place != NONE
    width = int(unit.max(initial=0)) + 1
    pairs = np.unique(place[placed] * width + unit[placed])
    units = np.bincount(pairs // width, minlength=int(place.max(initial=NONE)) + 1)
    several = np.zeros(len(place))
    several[placed] = units[place[placed]] > 1
    return several
