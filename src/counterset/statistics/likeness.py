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
from counterset.statistics.row_blocks import Rows
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
    return _likeness([_sums(outcome, group, unit, observer, place)] if len(outcome) else [])


def _sums(outcome: Floats, group: Ints, unit: Ints, observer: Ints, place: Ints) -> Floats:
    """(10, G) of each group: photos, squared residuals, and products of residuals with the number of pairs of photos
    that share a unit, an observer, a place, or a place and a unit."""
    num_photos = np.bincount(group).astype(np.float64)
    size = np.maximum(num_photos, 1.0)
    residual = outcome - (np.bincount(group, outcome) / size)[group]
    has_place = place != NONE
    sums = [_pairs(residual, group, [label], len(size)) for label in (unit, observer)]
    sums += [
        _pairs(residual[has_place], group[has_place], [label[has_place] for label in labels], len(size))
        for labels in ([place], [place, unit])
    ]
    return np.concatenate([[num_photos, np.bincount(group, residual**2)], *sums])


def _likeness(classes: list[Floats]) -> Likeness:
    """The correlations, from the (10, G) sums of each class's groups."""
    if not classes:
        return Likeness(np.nan, np.nan, np.nan)
    sums = np.concatenate(classes, axis=1)
    size = np.maximum(sums[0], 1.0)
    spread = sums[1] / size
    by_unit, by_observer, by_place, by_both = sums[2:].reshape(4, 2, -1)
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


def _pairs(residual: Floats, group: Ints, labels: list[Ints], num_groups: int) -> Floats:
    """(2, G): by group, the summed products of residuals of ordered pairs of photos that share all labels, and how many
    such pairs there are."""
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
    # A few row groups at a time
    return bool(rows.count_rows(filter=ds.field("place").is_valid(), batch_readahead=1, fragment_readahead=1))


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
    given, correct = (np.zeros(len(photos.stratum), np.uint8) for _ in range(2))
    models = Names()
    wanted = models.codes(pa.array(selectors, pa.string()))
    for answer in answered(photos.numbers, predictions, label_space, models):
        for number in wanted:
            own = answer.model == number
            given[answer.place[own]] += 1
            correct[answer.place[own]] += answer.is_correct[own]
    photos.numbers.let_go()
    sums: list[Floats] = []
    share_cut: dict[tuple[str, str], float] = {}
    for class_id, (_, own) in zip(photos.class_ids, photos.by_class(), strict=True):
        kept = own[given[own] == len(selectors)]
        if not len(kept):
            continue
        cells, group = np.unique(photos.codes[photos.stratum[kept]] // 2, return_inverse=True)
        unit, observer, place = (_codes(photos.labels[name][kept]) for name in labels)
        right = correct[kept].astype(np.int64)
        # Rows come in any order; sums of floats depend on it.
        order = np.lexsort((right, place, observer, unit, group))
        group, unit, observer, place, right = group[order], unit[order], observer[order], place[order], right[order]
        sums.append(_sums(right / len(selectors), group, unit, observer, place))
        cut = np.bincount(group, _holds_several(place, unit), len(cells)) / np.bincount(group)
        names = [photos.groups[cell % len(photos.groups)] for cell in cells]
        share_cut |= {(class_id, name): float(share) for name, share in zip(names, cut, strict=True)}
    return Sharing(_likeness(sums), share_cut)


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
