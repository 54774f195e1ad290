"""Where wrong answers go: to classes that live on the photo's background, to relatives, to both, or elsewhere.

A model that leans on backgrounds takes an ice bear on grass for an animal of the grass. A model that cannot tell bears
apart takes it for a brown bear wherever it stands. So each wrong answer on a counter group is sorted by two questions:
is the named class at home on this background, and is it a relative? A class may have one favourite mistake for reasons
of its own, so the share of answers that name classes at home here is compared with what the same answers would give if
they were dealt at random to the wrongly named photos of the class, whatever their background.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import t

from counterset.causes.kinship import Kin, are_near, kin_of
from counterset.causes.schemas import WRONG_ANSWERS, WRONG_ANSWERS_BY_MODEL
from counterset.classes import ClassSpec, normal_name
from counterset.statistics.intervals import CONFIDENCE
from counterset.tables import ranks, table_of

MIN_HOME_PHOTOS = 10
"""Grouped photos that a class needs before its commonest background counts as its home."""
MIN_UNITS = 5
"""Photographers with a wrong photo below which no interval is given."""

Floats = npt.NDArray[np.float64]


class WrongAnswers(NamedTuple):
    """Where wrong answers go, by class and model, and by model."""

    by_class: pa.Table
    by_model: pa.Table


class _Wrong(NamedTuple):
    """One model's wrong answers on one class; arrays have one element per wrongly named photo."""

    class_id: str
    num_photos: int
    is_counter: npt.NDArray[np.bool_]
    is_home: npt.NDArray[np.bool_]
    """The named class is at home on the class's *counter* background, whatever the photo's own is."""
    has_home: npt.NDArray[np.bool_]
    is_near: npt.NDArray[np.float64]
    """1 = yes, 0 = no, nan = not known."""
    unit: npt.NDArray[np.int64]


def where_errors_go(
    all_photos: pa.Table,
    pairs: pa.Table,
    predictions: pa.Table,
    classes: Sequence[ClassSpec],
    imagenet_labels: Mapping[str, int] | None = None,
) -> WrongAnswers:
    """Sort every model's wrong answers on the counter groups (wrong_answers and wrong_answers_by_model schemas).

    Args:
        all_photos: photo_id, class_id, group and the unit (`unit`, or `observer` where there is none) are read.
        pairs: class_id, common and counter are read; classes without a pair have no rows.
        predictions: photo_id, model, label_space, predicted and is_correct are read.
        classes: the release's classes.
        imagenet_labels: ImageNet-1K index of labels that may be answered, where it is known.
    """
    photos = _Photos(all_photos, pairs)
    homes, kin = home_backgrounds(all_photos), _Labels(classes, imagenet_labels or {})
    place = pc.fill_null(pc.index_in(predictions["photo_id"], all_photos["photo_id"].combine_chunks()), -1).to_numpy()
    model, models = ranks(predictions["model"])
    space, spaces = ranks(predictions["label_space"])
    said, labels = ranks(predictions["predicted"])
    right = predictions["is_correct"].to_numpy()
    has_pair = place >= 0
    has_pair[has_pair] = photos.counter[photos.class_of[place[has_pair]]] != NO_PAIR
    answers = _Answers(place, said, right, labels.to_pylist())
    by_class, by_model = [], []
    asked = model * max(len(spaces), 1) + space
    for number in np.unique(asked):
        sorted_out = _sorted_out(answers.of(np.flatnonzero(has_pair & (asked == number))), photos, homes, kin)
        key = {
            "model": models[number // len(spaces)].as_py(),
            "label_space": spaces[number % len(spaces)].as_py(),
        }
        for wrong in sorted_out:
            more = {"class_id": wrong.class_id, "num_photos": wrong.num_photos, "num_wrong_class": len(wrong.unit)}
            by_class.append(key | more | _figures([wrong]))
        with_wrong = [wrong for wrong in sorted_out if wrong.is_counter.any()]
        total = {"num_classes": len(with_wrong), "num_photos": sum(wrong.num_photos for wrong in sorted_out)}
        by_model.append(key | total | _figures(sorted_out))
    return WrongAnswers(table_of(WRONG_ANSWERS, by_class), table_of(WRONG_ANSWERS_BY_MODEL, by_model))


def home_backgrounds(all_photos: pa.Table) -> dict[str, str]:
    """class_id -> the group with most of its photos (ties: the first by name), where it has `MIN_HOME_PHOTOS`."""
    cells = all_photos.select(["class_id", "group"]).group_by(["class_id", "group"]).aggregate([([], "count_all")])
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in cells.to_pylist():
        if row["group"] is not None:
            counts[row["class_id"]][row["group"]] = row["count_all"]
    return {
        class_id: min(groups, key=lambda group: (-groups[group], group))
        for class_id, groups in counts.items()
        if groups.total() >= MIN_HOME_PHOTOS
    }


NO_PAIR, NO_PHOTO = -3, -2
"""Instead of the number of a class's counter group: the class has no pair, or no photo is of the group."""


class _Photos:
    """Photos by their place in `all_photos`, with numbers for names.

    Attributes:
        class_ids: the classes' names, in alphabetical order.
        class_of: (N,) each photo's class.
        group: (N,) each photo's group; -1 = it has none.
        counters, counter: (C,) names and numbers of the classes' counter groups.
        unit: (N,) each photo's independent unit.
    """

    def __init__(self, all_photos: pa.Table, pairs: pa.Table) -> None:
        self.class_of, class_ids = ranks(all_photos["class_id"])
        self.class_ids: list[str] = class_ids.to_pylist()
        self.group, groups = ranks(all_photos["group"])
        number_of = {name: number for number, name in enumerate(groups.to_pylist())}
        counter_of = dict(zip(pairs["class_id"].to_pylist(), pairs["counter"].to_pylist(), strict=True))
        counters = [counter_of.get(class_id) for class_id in self.class_ids]
        known = [NO_PAIR if name is None else number_of.get(name, NO_PHOTO) for name in counters]
        self.counter = np.array(known, np.int64)
        self.counters = counters
        self.unit = units_of(all_photos)


class _Answers(NamedTuple):
    """A answers of one model or several.

    Attributes:
        place: (A,) places of the photos.
        said: (A,) numbers of the labels that were named.
        right: (A,) whether that is the photo's own.
        labels: the labels' names.
    """

    place: npt.NDArray[np.int64]
    said: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]
    labels: list[str]

    def of(self, rows: npt.NDArray[np.int64]) -> _Answers:
        """Some of the answers."""
        return _Answers(self.place[rows], self.said[rows], self.right[rows], self.labels)


def units_of(photos: pa.Table) -> npt.NDArray[np.int64]:
    """(N,) number of each photo's independent unit: `unit` where the release has it, else the observer."""
    observers = photos["observer"]
    return ranks(pc.coalesce(photos["unit"], observers) if "unit" in photos.column_names else observers)[0]


class _Labels:
    """Which class a label is, and whose relative."""

    def __init__(self, classes: Sequence[ClassSpec], imagenet_labels: Mapping[str, int]) -> None:
        self._class_of = {normal_name(item.name): item.class_id for item in reversed(classes)}
        self._by_index = {item.imagenet_index: item.class_id for item in classes if item.imagenet_index is not None}
        self._kin = {item.class_id: kin_of(item.scientific_name, item.imagenet_index) for item in classes}
        self._imagenet = imagenet_labels
        self._read: dict[str, str] = {}

    def read(self, right: Iterable[tuple[str, str]]) -> None:
        """Learn what a label space calls each class, from right answers: (class_id, answer)."""
        self._read = {said: class_id for class_id, said in right}

    def class_of(self, label: str) -> str | None:
        """The class that a label names; None = none of the release's."""
        known = self._read.get(label)
        if known is None and label in self._imagenet:
            return self._by_index.get(self._imagenet[label])
        return known or self._class_of.get(normal_name(label))

    def is_near(self, class_id: str, label: str) -> float:
        """1 = the label names a relative of the class, 0 = it does not, nan = not known."""
        other = self.class_of(label)
        kin = self._kin.get(other, Kin()) if other is not None else kin_of("", self._imagenet.get(label))
        near = are_near(self._kin.get(class_id, Kin()), kin)
        return math.nan if near is None else float(near)


def _sorted_out(answers: _Answers, photos: _Photos, homes: Mapping[str, str], labels: _Labels) -> list[_Wrong]:
    """One model's wrong answers, class by class."""
    classes, first, class_of = np.unique(photos.class_of[answers.place], return_index=True, return_inverse=True)
    # A label that is the right answer of two classes names the one whose photos come later
    pairs = np.unique(np.stack([np.argsort(np.argsort(first))[class_of], answers.said])[:, answers.right], axis=1)
    names = [photos.class_ids[number] for number in classes[np.argsort(first)]]
    labels.read((names[turn], answers.labels[said]) for turn, said in pairs.T.tolist())
    order = np.argsort(class_of, kind="stable")
    ends = np.cumsum(np.bincount(class_of, minlength=len(classes)))
    starts = ends - np.bincount(class_of, minlength=len(classes))
    return [
        _sort(number, answers.of(order[start:end]), photos, homes, labels)
        for number, start, end in zip(classes.tolist(), starts, ends, strict=True)
    ]


def _sort(number: int, answers: _Answers, photos: _Photos, homes: Mapping[str, str], labels: _Labels) -> _Wrong:
    """One class's wrong answers on grouped photos."""
    class_id, group = photos.class_ids[number], photos.group[answers.place]
    counter = photos.counter[number]
    wrong = ~answers.right & (group >= 0)
    # (L,) the labels that were named, and (W,) which of them each wrong answer names
    named, which = np.unique(answers.said[wrong], return_inverse=True)
    said = [answers.labels[label] for label in named]
    home = [homes.get(known) if (known := labels.class_of(label)) is not None else None for label in said]
    near = np.array([labels.is_near(class_id, label) for label in said], np.float64)
    return _Wrong(
        class_id,
        int((group == counter).sum()),
        group[wrong] == counter,
        np.array([name == photos.counters[number] for name in home], np.bool_)[which],
        np.array([name is not None for name in home], np.bool_)[which],
        near[which],
        photos.unit[answers.place[wrong]],
    )


def _figures(classes: Sequence[_Wrong]) -> dict[str, Any]:
    """The counts of one row, and its excess with interval, over one class or several."""
    counts: Counter[str] = Counter()
    for item in classes:
        is_home, is_near = item.is_home[item.is_counter], item.is_near[item.is_counter]
        has_home = item.has_home[item.is_counter]
        counts["num_wrong"] += len(is_home)
        counts["num_background"] += int((is_home & (is_near != 1)).sum())
        counts["num_both"] += int((is_home & (is_near == 1)).sum())
        counts["num_near"] += int((~is_home & (is_near == 1)).sum())
        counts["num_other"] += int((~is_home & has_home & (is_near == 0)).sum())
        counts["num_without_home"] += int((~has_home).sum())
    named = ("num_wrong", "num_background", "num_near", "num_both", "num_other", "num_without_home")
    figures: dict[str, Any] = {name: counts[name] for name in named}
    figures["num_unknown"] = 2 * counts["num_wrong"] - sum(counts[name] for name in named[:5])
    return figures | _excess(classes, counts["num_wrong"])


def _excess(classes: Sequence[_Wrong], num_wrong: int) -> dict[str, float | None]:
    """The share of answers at home on the counter background, what chance gives, and their difference.

    The interval is the delta method's: the difference is a ratio of sums over photos, its variance that of the sums of
    each unit's contributions, times m / (m - 1) for m units, with Student's quantile at m_eff - 1 degrees of freedom,
    m_eff = (sum of squares)^2 / (sum of fourth powers) of the contributions.
    """
    empty = dict.fromkeys(("share_home", "share_chance", "excess", "excess_low", "excess_high"))
    if not num_wrong:
        return empty
    at_home = sum(int((item.is_home & item.is_counter).sum()) for item in classes)
    chances = [float(item.is_home.mean()) if len(item.is_home) else 0.0 for item in classes]
    expected = math.fsum(chance * int(item.is_counter.sum()) for chance, item in zip(chances, classes, strict=True))
    excess = (at_home - expected) / num_wrong
    found = empty | {"share_home": at_home / num_wrong, "share_chance": expected / num_wrong, "excess": excess}
    # (N,) what each wrong photo adds to the error of the difference
    parts = [
        ((item.is_counter - item.is_counter.mean()) * (item.is_home - chance) - excess * item.is_counter) / num_wrong
        for chance, item in zip(chances, classes, strict=True)
        if item.is_counter.any()
    ]
    unit = np.concatenate([item.unit for item in classes if item.is_counter.any()])
    _, number = np.unique(unit, return_inverse=True)
    by_unit = np.bincount(number, np.concatenate(parts))
    spread, size = float((by_unit**2).sum()), len(by_unit)
    if size < MIN_UNITS or spread <= 1e-12:
        return found
    freedom = max(spread**2 / float((by_unit**4).sum()) - 1, 1.0)
    reach = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(spread * size / (size - 1))
    return found | {"excess_low": max(excess - reach, -1.0), "excess_high": min(excess + reach, 1.0)}
