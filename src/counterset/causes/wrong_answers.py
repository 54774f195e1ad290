"""Where wrong answers go: to classes that live on the photo's background, to relatives, to both, or elsewhere.

A model that leans on backgrounds takes an ice bear on grass for an animal of the grass. A model that cannot tell bears
apart takes it for a brown bear wherever it stands. So each wrong answer on a counter group is sorted by two questions:
is the named class at home on this background, and is it a relative? A class may have one favourite mistake for reasons
of its own, so the share of answers that name classes at home here is compared with what the same answers would give if
they were dealt at random to the wrongly named photos of the class, whatever their background.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import t

from counterset.causes.kinship import Kin, are_near, kin_of
from counterset.causes.schemas import WRONG_ANSWERS, WRONG_ANSWERS_BY_MODEL
from counterset.classes import ClassSpec, normal_name
from counterset.parquet_sql import by_row, fill, spilling
from counterset.statistics.grouped_photos import Names
from counterset.statistics.intervals import CONFIDENCE
from counterset.tables import ranks, table_of

MIN_HOME_PHOTOS = 10
"""Grouped photos that a class needs before its commonest background counts as its home."""
MIN_UNITS = 5
"""Photographers with a wrong photo below which no interval is given."""
MOST_SPACES = 1_000
"""Label spaces of one release, at most."""

_GROUPS = pa.schema([("class_id", pa.string()), ("group", pa.string()), ("number", pa.int64())])
_UNITS = pa.schema([("photo", pa.int32()), ("unit", pa.string())])
_NUMBERED = """SELECT photo, number FROM units JOIN (
    SELECT unit, (row_number() OVER (ORDER BY unit) - 1)::INTEGER AS number FROM (SELECT DISTINCT unit FROM units)
) USING (unit)"""


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
    is_near: npt.NDArray[np.float16]
    """1 = yes, 0 = no, nan = not known."""
    unit: npt.NDArray[np.int32]


def where_errors_go(
    all_photos: pa.Table,
    pairs: pa.Table,
    predictions: pa.Table,
    classes: Sequence[ClassSpec],
    imagenet_labels: Mapping[str, int] | None = None,
) -> WrongAnswers:
    """`errors_of` whole tables, with photos and answers as its parts have them."""
    return errors_of([(all_photos, predictions)], pairs, classes, imagenet_labels)


def errors_of(
    parts: Iterable[tuple[pa.Table, pa.Table]],
    pairs: pa.Table,
    classes: Sequence[ClassSpec],
    imagenet_labels: Mapping[str, int] | None = None,
) -> WrongAnswers:
    """Sort every model's wrong answers on the counter groups (wrong_answers and wrong_answers_by_model schemas).

    Args:
        parts: some photos and all answers about them, until all were there. Of photos photo_id, class_id, group and the
            unit (`unit`, or `observer` where there is none) are read, of answers photo_id, model, label_space,
            predicted and is_correct. Wrong answers alone are kept.
        pairs: class_id, common and counter are read; classes without a pair have no rows.
        classes: the release's classes.
        imagenet_labels: ImageNet-1K index of labels that may be answered, where it is known.
    """
    counter_of = dict(zip(pairs["class_id"].to_pylist(), pairs["counter"].to_pylist(), strict=True))
    kin = _Labels(classes, imagenet_labels or {})
    with spilling() as connection:
        answers = _Answers(counter_of)
        # Of photos with wrong answers units are texts, which take more than all else that is known of them
        added = (answers.add(photos, said) for photos, said in parts)
        fill(connection, "units", itertools.chain([_UNITS.empty_table()], added))
        unit = by_row(connection, _NUMBERED, np.full(answers.num_photos, -1, np.int32))
    by_class, by_model = [], []
    for key, sorted_out in answers.sorted_out(unit, _homes(answers.groups), kin):
        for wrong in sorted_out:
            more = {"class_id": wrong.class_id, "num_photos": wrong.num_photos, "num_wrong_class": len(wrong.unit)}
            by_class.append(key | more | _figures([wrong]))
        with_wrong = [wrong for wrong in sorted_out if wrong.is_counter.any()]
        total = {"num_classes": len(with_wrong), "num_photos": sum(wrong.num_photos for wrong in sorted_out)}
        by_model.append(key | total | _figures(sorted_out))
    return WrongAnswers(table_of(WRONG_ANSWERS, by_class), table_of(WRONG_ANSWERS_BY_MODEL, by_model))


def home_backgrounds(all_photos: pa.Table) -> dict[str, str]:
    """class_id -> the group with most of its photos (ties: the first by name), where it has `MIN_HOME_PHOTOS`."""
    return _homes(_with_more(_GROUPS.empty_table(), all_photos))


def _with_more(groups: pa.Table, photos: pa.Table) -> pa.Table:
    """Photos of each class and group (_GROUPS), with some more."""
    more = photos.select(["class_id", "group"]).append_column("number", pa.repeat(1, len(photos)))
    both = pa.concat_tables([groups, more.cast(_GROUPS)])
    return both.group_by(["class_id", "group"]).aggregate([("number", "sum")]).rename_columns(_GROUPS.names)


def _homes(groups: pa.Table) -> dict[str, str]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in groups.to_pylist():
        if row["group"] is not None:
            counts[row["class_id"]][row["group"]] = row["number"]
    return {
        class_id: min(groups, key=lambda group: (-groups[group], group))
        for class_id, groups in counts.items()
        if groups.total() >= MIN_HOME_PHOTOS
    }


class _Answers:
    """The wrong answers about photos of classes with a pair, and what the right ones say of labels.

    A cell is a model, label space and class.

    Args:
        counter_of: class_id -> its counter group; None = it has no pair.

    Attributes:
        groups: photos of each class and group so far (_GROUPS).
        num_photos: with wrong answers so far.
    """

    def __init__(self, counter_of: Mapping[str, str | None]) -> None:
        self._counter_of = counter_of
        self._models, self._spaces, self._labels, self._classes = Names(), Names(), Names(), Names()
        self.groups = _GROUPS.empty_table()
        self._asked: set[int] = set()
        # The numbers of the cells in the order of their first answers, and how many are about the counter group
        self._cells: dict[tuple[int, int], int] = {}
        self._num_counter: Counter[int] = Counter()
        self._right: set[tuple[int, int, int]] = set()
        # (W,) of each wrong answer: its cell, its label, whether it is about the counter group, and its photo's number
        self._wrong: list[npt.NDArray[Any]] = [np.zeros(0, kind) for kind in (np.int32, np.int32, np.bool_, np.int32)]
        self.num_photos = 0

    def add(self, photos: pa.Table, answers: pa.Table) -> pa.Table:
        """The number and unit of each photo with wrong answers, among some photos and all answers about them."""
        # (A,) of each answer
        asked = self._models.codes(answers["model"].combine_chunks()) * MOST_SPACES
        asked = asked + self._spaces.codes(answers["label_space"].combine_chunks())
        self._asked |= {*np.unique(asked).tolist()}
        place = pc.index_in(answers["photo_id"], photos["photo_id"].combine_chunks())
        told = photos.select(["class_id", "group"]).take(place)
        class_of = self._classes.codes(told["class_id"].combine_chunks())
        counters = [self._counter_of.get(class_id) for class_id in self._classes.numbers]
        counter = pa.array([*counters, None], pa.string()).take(pa.array(class_of % (len(counters) + 1)))
        on_counter = pc.fill_null(pc.equal(told["group"], counter), False).to_numpy()
        has_pair = pc.is_valid(counter).to_numpy(zero_copy_only=False)
        said = self._labels.codes(answers["predicted"].combine_chunks())
        right = answers["is_correct"].to_numpy()
        cell = self._cell_numbers(asked, class_of, has_pair)
        self._num_counter.update(cell[on_counter].tolist())
        known = np.unique(np.stack([asked, class_of, said])[:, has_pair & right], axis=1)
        self._right |= {(one, of, label) for one, of, label in known.T.tolist()}
        wrong = np.flatnonzero(has_pair & ~right & pc.is_valid(told["group"]).to_numpy())
        rows, number = np.unique(place.take(pa.array(wrong)), return_inverse=True)
        number = (self.num_photos + number).astype(np.int32)
        for column, of_wrong in zip(self._wrong, (cell[wrong], said[wrong], on_counter[wrong], number), strict=True):
            # In place, for arrays of each part would lie between what is freed, and take twice their size
            column.resize(len(column) + len(wrong), refcheck=False)
            column[len(column) - len(wrong) :] = of_wrong
        numbers = np.arange(self.num_photos, self.num_photos + len(rows), dtype=np.int32)
        self.num_photos += len(rows)
        self.groups = _with_more(self.groups, photos)
        return pa.table({"photo": numbers, "unit": _unit_texts(photos).take(pa.array(rows))})

    def _cell_numbers(
        self, asked: npt.NDArray[np.int32], class_of: npt.NDArray[np.int32], has_pair: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.int32]:
        """(A,) the cell of each answer; -1 = its class has no pair."""
        number, rows = len(self._classes.numbers), np.flatnonzero(has_pair)
        codes, first, inverse = np.unique(
            asked[rows].astype(np.int64) * number + class_of[rows], return_index=True, return_inverse=True
        )
        for code in codes[np.argsort(first)].tolist():
            self._cells.setdefault(divmod(code, number), len(self._cells))
        cell = np.full(len(asked), -1, np.int32)
        cell[rows] = np.array([self._cells[divmod(code, number)] for code in codes.tolist()], np.int32)[inverse]
        return cell

    def sorted_out(
        self, unit: npt.NDArray[np.int32], homes: Mapping[str, str], labels: _Labels
    ) -> Iterator[tuple[dict[str, str], list[_Wrong]]]:
        """Of each model and label space its wrong answers, class by class, in the alphabetical order of these; `unit`
        is of each photo with wrong answers."""
        models, spaces, said, classes = (
            list(names.numbers) for names in (self._models, self._spaces, self._labels, self._classes)
        )
        cell, label, on_counter, photo = self._wrong
        order, ends = np.argsort(cell, kind="stable"), np.cumsum(np.bincount(cell, minlength=len(self._cells)))
        right: dict[tuple[int, int], list[int]] = defaultdict(list)
        for one, of, answer in sorted(self._right):
            right[one, of].append(answer)
        for asked in sorted(self._asked):
            own = [of for one, of in self._cells if one == asked]
            # A label that is the right answer of two classes names the one whose photos come later
            labels.read((classes[of], said[answer]) for of in own for answer in right[asked, of])
            found = []
            for of in sorted(own, key=lambda of: classes[of]):
                number, counter = self._cells[asked, of], str(self._counter_of[classes[of]])
                rows = order[ends[number - 1] if number else 0 : ends[number]]
                own_rows = label[rows], on_counter[rows], unit[photo[rows]]
                found.append(_sort(classes[of], counter, self._num_counter[number], *own_rows, said, homes, labels))
            key = {"model": models[asked // MOST_SPACES], "label_space": spaces[asked % MOST_SPACES]}
            yield key, found


def _unit_texts(photos: pa.Table) -> pa.ChunkedArray:
    observers = photos["observer"]
    return pc.coalesce(photos["unit"], observers) if "unit" in photos.column_names else observers


def units_of(photos: pa.Table) -> npt.NDArray[np.int64]:
    """(N,) number of each photo's independent unit: `unit` where the release has it, else the observer."""
    return ranks(_unit_texts(photos))[0]


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


def _sort(
    class_id: str,
    counter: str,
    num_photos: int,
    label: npt.NDArray[np.int32],
    on_counter: npt.NDArray[np.bool_],
    unit: npt.NDArray[np.int32],
    labels_said: Sequence[str],
    homes: Mapping[str, str],
    labels: _Labels,
) -> _Wrong:
    """One class's wrong answers on grouped photos.

    Args:
        class_id: of the class.
        counter: its counter group.
        num_photos: of the counter group, answered right or wrong.
        label: (W,) number of the label that was named.
        on_counter: (W,) whether the photo is of the counter group.
        unit: (W,) of each photo.
        labels_said: names of the labels.
        homes: as of `home_backgrounds`.
        labels: what is known of labels.
    """
    # (L,) the labels that were named, and (W,) which of them each wrong answer names
    named, which = np.unique(label, return_inverse=True)
    said = [labels_said[number] for number in named]
    home = [homes.get(known) if (known := labels.class_of(name)) is not None else None for name in said]
    near = np.array([labels.is_near(class_id, name) for name in said], np.float16)
    return _Wrong(
        class_id,
        num_photos,
        on_counter,
        np.array([name == counter for name in home], np.bool_)[which],
        np.array([name is not None for name in home], np.bool_)[which],
        near[which],
        unit,
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
    counted = [(chance, item) for chance, item in zip(chances, classes, strict=True) if item.is_counter.any()]
    # (U,) what the wrong photos of each unit add to the error of the difference
    units = np.unique(np.concatenate([item.unit for _, item in counted]))
    by_unit = np.zeros(len(units))
    for chance, item in counted:
        of_photos = (item.is_counter - item.is_counter.mean()) * (item.is_home - chance) - excess * item.is_counter
        np.add.at(by_unit, np.searchsorted(units, item.unit), of_photos / num_wrong)
    spread, size = float((by_unit**2).sum()), len(by_unit)
    if size < MIN_UNITS or spread <= 1e-12:
        return found
    freedom = max(spread**2 / float((by_unit**4).sum()) - 1, 1.0)
    reach = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(spread * size / (size - 1))
    return found | {"excess_low": max(excess - reach, -1.0), "excess_high": min(excess + reach, 1.0)}
