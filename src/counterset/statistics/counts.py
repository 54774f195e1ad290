"""What selection counts: group accuracies of every model, and each class's outcomes by unit.

Tables or Parquet datasets are read in their order and never held: photos become numbers once (`photo_numbers`), an
answer is counted by that number, and what the statistics see is one row per group and unit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from counterset.errors import WorkspaceError
from counterset.schemas import GROUP_ACCURACY, PAIRS, SENSITIVITY, Half
from counterset.statistics.grouped_photos import GroupedPhotos, Names, group_photos
from counterset.statistics.observers import CONFIRM, DISCOVER, Dispersion, Floats, Ints, Results
from counterset.statistics.photo_numbers import Numbers, PhotoNumbers, Rows, batches, codes_of
from counterset.statistics.selector_margin import double_ranks
from counterset.tables import conform

logger = logging.getLogger(__name__)


class ClassUnits(NamedTuple):
    """One class's outcomes, with the names of its groups and the counts of sure photos.

    Attributes:
        class_id: the class.
        groups: (G,) names of the groups.
        results: one row per group and unit.
        num_sure: (C,) photos whose margin is in the upper half of their group's.
        correct_sure: (C,) summed outcomes of these.
        graded: the same rows, whose outcome is the rank of the selectors' margins within the class
            (`selector_margin`); it chooses and tests, right-or-wrong answers measure.
    """

    class_id: str
    groups: tuple[str, ...]
    results: Results
    num_sure: Floats
    correct_sure: Floats
    graded: Results

    def weights(self, dispersion: Dispersion) -> Floats:
        """(C,) what each row's photos are worth, by the correlation of its background."""
        rho = dispersion.correlations(self.groups)[self.results.group]
        return dispersion.weights(self.results.num_photos, rho)


class Counts(NamedTuple):
    """The group_accuracy table, and the outcomes of each class under the selectors."""

    group_accuracy: pa.Table
    classes: list[ClassUnits]


def count(
    members: Rows,
    backgrounds: Rows,
    predictions: Rows,
    *,
    selectors: tuple[str, ...],
    label_space: str,
    class_ids: tuple[str, ...],
) -> Counts:
    """Count every model's right photos by group, and the selectors' by group and unit.

    Args:
        members: photo_id, class_id, observer, unit, half are read.
        backgrounds: photo_id, group, margin are read; photos without a group are left out.
        predictions: photo_id, model, label_space, is_correct, margin are read.
        selectors: models whose mean outcome counts; photos that one of them lacks do not.
        label_space: the label space to use.
        class_ids: the classes; the answer has them in alphabetical order.

    Raises:
        WorkspaceError: no photo was predicted by every selector in the label space.
    """
    labels = {"unit": "unit", "observer": "observer"}
    photos = group_photos(members, backgrounds, labels, class_ids)
    answers = _Answers(photos, selectors)
    for answer in answered(photos.numbers, predictions, label_space, answers.models):
        answers.add(answer)
    seen = answers.partly()
    for answer in answered(photos.numbers, predictions, label_space, answers.models) if seen else ():
        for model, photos_seen in seen.items():
            own = answer.place[answer.model == model]
            np.bitwise_or.at(photos_seen, own >> 3, (1 << (own & 7)).astype(np.uint8))
    return Counts(_group_accuracy(photos, answers, seen), _by_class(photos, answers, label_space))


class Answer(NamedTuple):
    """Some answers of models about photos.

    Attributes:
        place: (R,) numbers of the photos; the number of photos = of none of them, or in another label space.
        model: (R,) numbers of the models.
        is_correct: (R,) whether they are right.
        margin: (R,) how sure the models are.
    """

    place: Numbers
    model: Numbers
    is_correct: npt.NDArray[np.bool_]
    margin: npt.NDArray[np.float32]


def answered(numbers: PhotoNumbers, predictions: Rows, label_space: str, models: Names) -> Iterator[Answer]:
    """All answers in a label space, some at a time.

    Args:
        numbers: of the photos.
        predictions: photo_id, model, label_space, is_correct, margin are read.
        label_space: the label space to use.
        models: gives the models their numbers.
    """
    for batch in batches(predictions, ["photo_id", "model", "label_space", "is_correct", "margin"]):
        place = numbers.places(batch.column("photo_id"))
        space, spaces = codes_of(batch.column("label_space"))
        is_wanted = np.array([*(name == label_space for name in spaces.to_pylist()), False])
        if not is_wanted[:-1].all():
            place = np.where(is_wanted[space], place, np.int32(len(numbers)))
        is_correct = batch.column("is_correct").to_numpy(zero_copy_only=False)
        margin = np.asarray(batch.column("margin"), np.float32)
        yield Answer(place, models.codes(batch.column("model")), is_correct, margin)


class _Answers:
    """What models answered: counted by stratum, and of the selectors photo by photo.

    Attributes:
        selectors: whose answers are kept.
        models: the models' numbers.
        given: by selector, (N + 1,) 0 = no answer, 1 = wrong, 2 = right.
        margins: by selector, (N + 1,) of their answers.
    """

    def __init__(self, photos: GroupedPhotos, selectors: tuple[str, ...]) -> None:
        self._photos = photos
        # Answers about one photo lie together, so that counting them is one look into memory
        self._counted = np.zeros((len(photos.codes) + 1, 0, 2), np.int64)
        self.selectors = selectors
        self.models = Names()
        self._numbers = [int(self.models.codes(pa.array([name]))[0]) for name in selectors]
        self.given = [np.zeros(len(photos.numbers) + 1, np.int8) for _ in selectors]
        self.margins = [np.zeros(len(photos.numbers) + 1, np.float32) for _ in selectors]

    @property
    def counted(self) -> Ints:
        """(M, S, 2) answers by model and stratum, wrong and right ones."""
        return self._counted[:-1].transpose(1, 0, 2)

    def add(self, answer: Answer) -> None:
        """Count some more."""
        size, known = self._counted.shape[:2]
        num_models = len(self.models.numbers)
        if known < num_models:
            self._counted = np.concatenate([self._counted, np.zeros((size, num_models - known, 2), np.int64)], axis=1)
        code = self._photos.stratum[answer.place].astype(np.int64)
        code *= num_models
        code += answer.model
        code *= 2
        code += answer.is_correct
        np.add.at(self._counted.reshape(-1), code, 1)
        for number, given, margins in zip(self._numbers, self.given, self.margins, strict=True):
            own = np.flatnonzero(answer.model == number)
            place = answer.place[own]
            given[place] = 1 + answer.is_correct[own].astype(np.int8)
            margins[place] = answer.margin[own]

    def partly(self) -> dict[int, npt.NDArray[np.uint8]]:
        """The models that lack photos of a stratum of which they have others, each with (N / 8,) bits of photos."""
        answers = self.counted.sum(axis=2)
        lacking = ((answers > 0) & (answers < self._photos.num_photos)).any(axis=1)
        return {int(model): np.zeros(len(self._photos.numbers) // 8 + 1, np.uint8) for model in np.flatnonzero(lacking)}


def _group_accuracy(photos: GroupedPhotos, answers: _Answers, seen: dict[int, npt.NDArray[np.uint8]]) -> pa.Table:
    """The group_accuracy table: every model, and the halves discover, confirm and all.

    Args:
        photos: the photos.
        answers: of all models.
        seen: model -> bits of the photos that it answered of, where these are not all.
    """
    if not len(photos.codes):
        return GROUP_ACCURACY.arrow().empty_table()
    counted = answers.counted
    # (K, M, S) of photos, right answers, observers and units, of strata of which the model has answers
    found = np.zeros((4, *counted.shape[:2]), np.int64)
    found[0], found[1] = counted.sum(axis=2), counted[:, :, 1]
    for strata, own in photos.by_class():
        for number, name in ((2, "observer"), (3, "unit")):
            found[number][:, strata] = _distinct(photos, name, strata, own)
            for model, bits in seen.items():
                kept = own[(bits[own >> 3] >> (own & 7)) & 1 == 1]
                found[number][model, strata] = _distinct(photos, name, strata, kept)
    found *= found[0] > 0
    # A cell is a group of a class, whose halves are one after the other
    cells, starts = np.unique(photos.codes // 2, return_index=True)
    whole = np.add.reduceat(found, starts, axis=2)
    halves = sorted(half.value for half in Half)
    models = sorted(answers.models.numbers)
    rank = np.argsort([answers.models.numbers[name] for name in models])
    parts = []
    for values, cell, half in (
        (found, photos.codes // 2, np.where(photos.codes % 2, halves.index(Half.CONFIRM), halves.index(Half.DISCOVER))),
        (whole, cells, np.full(len(cells), halves.index(Half.ALL))),
    ):
        by_model, place = np.nonzero(values[0])
        parts.append(np.stack([cell[place], rank[by_model], half[place], *values[:, by_model, place]]))
    # (3 + K, R) in the order of the table, which therefore need not be sorted
    columns = np.concatenate(parts, axis=1)
    columns = columns[:, np.lexsort((columns[2], columns[1], columns[0]))]
    cell, model, half, num_photos, num_correct, num_observers, num_units = columns
    table = {
        "class_id": pa.array(photos.class_ids).take(pa.array(cell // len(photos.groups))),
        "group": pa.array(photos.groups).take(pa.array(cell % len(photos.groups))),
        "model": pa.array(models, pa.string()).take(pa.array(model)),
        "half": pa.array(halves).take(pa.array(half)),
        "num_photos": num_photos,
        "num_observers": num_observers,
        "num_units": num_units,
        "num_correct": num_correct,
        "accuracy": num_correct / num_photos,
    }
    return conform(pa.table(table), GROUP_ACCURACY)


def _distinct(photos: GroupedPhotos, name: str, strata: slice, own: Ints) -> Ints:
    """How many different labels some photos of a class have, by stratum."""
    label, stratum = photos.labels[name][own], photos.stratum[own]
    order = np.lexsort((label, stratum))
    label, stratum = label[order], stratum[order]
    is_new = np.ones(len(own), np.bool_)
    is_new[1:] = (label[1:] != label[:-1]) | (stratum[1:] != stratum[:-1])
    return np.bincount(stratum[is_new] - strata.start, minlength=strata.stop - strata.start)


def _medians(photos: GroupedPhotos, strata: slice, own: Ints) -> npt.NDArray[np.float32]:
    """The median margin of each stratum of a class, as SQL has it: in single precision."""
    margin = photos.margin[own][np.lexsort((photos.margin[own], photos.stratum[own]))]
    size = photos.num_photos[strata]
    start = np.cumsum(size) - size
    low, high = margin[start + (size - 1) // 2], margin[start + size // 2]
    return np.asarray(low + (high - low).astype(np.float64) * 0.5, np.float32)


def _by_class(photos: GroupedPhotos, answers: _Answers, label_space: str) -> list[ClassUnits]:
    """The outcomes of each class by group, half and unit, its own groups only.

    Whole numbers are summed, which is exact in any order, and divided by the number of selectors afterwards.

    Raises:
        WorkspaceError: no photo was predicted by every selector.
    """
    number = len(answers.given)
    is_whole = np.ones(len(photos.stratum), np.bool_)
    for given in answers.given:
        is_whole &= given > 0
    is_whole[-1] = False
    num_photos = int(photos.num_photos.sum())
    lacking = num_photos - int((is_whole & (photos.stratum < len(photos.codes))).sum())
    if lacking == num_photos > 0:
        raise WorkspaceError(
            f"the selectors {', '.join(answers.selectors)} have not all predicted a photo in the label space "
            f"{label_space!r}; evaluate them first"
        )
    if lacking > 0:
        logger.warning("%d of %d grouped photos lack a selector's prediction and do not count", lacking, num_photos)
    classes = []
    for class_id, (strata, own) in zip(photos.class_ids, photos.by_class(), strict=True):
        median = _medians(photos, strata, own)
        own = own[is_whole[own]]
        own = own[np.lexsort((photos.labels["unit"][own], photos.stratum[own]))]
        unit, stratum = photos.labels["unit"][own], photos.stratum[own]
        is_sure = photos.margin[own] >= median[stratum - strata.start]
        k = sum((given[own] == 2).astype(np.int64) for given in answers.given)
        ranks = double_ranks(np.column_stack([margins[own] for margins in answers.margins]))
        # A new row wherever the stratum or the unit changes: (N,) photos -> (C,) first photos
        is_first = np.ones(len(own), np.bool_)
        is_first[1:] = (stratum[1:] != stratum[:-1]) | (unit[1:] != unit[:-1])
        row = np.cumsum(is_first) - 1
        columns = [np.ones_like(k), k, k * k, is_sure, np.where(is_sure, k, 0), ranks, ranks * ranks]
        n, right, squares, num_sure, sure_right, rank, rank_squares = (
            _summed(column, row, int(is_first.sum())) for column in columns
        )
        code = photos.codes[stratum[is_first]]
        codes, group = np.unique(code // 2 % max(len(photos.groups), 1), return_inverse=True)
        half = np.where(code % 2 == 1, CONFIRM, DISCOVER)
        numbers = np.unique(unit[is_first], return_inverse=True)[1]
        results = Results(len(codes), group, half, numbers, n, right / number, squares / number**2)
        largest = 2.0 * len(ranks) * number
        graded = replace(results, sum_correct=rank / largest, sum_squares=rank_squares / largest**2)
        names = tuple(photos.groups[place] for place in codes)
        classes.append(ClassUnits(class_id, names, results, num_sure, sure_right / number, graded))
    return classes


def _summed(values: Any, row: Any, num_rows: int) -> Floats:
    """(N,) whole numbers -> (C,): their sums by row, exact below 2**53."""
    return np.asarray(np.bincount(row, values, num_rows), np.float64)


def sensitivity(pairs: pa.Table, group_accuracy: dict[str, pa.Table]) -> pa.Table:
    """Each pair's drop on confirm under every model and set of prompts (sensitivity schema).

    Args:
        pairs: the chosen pairs.
        group_accuracy: by the name of the prompts.
    """
    with duckdb.connect() as connection:
        connection.register("pairs", pairs)
        parts = []
        for number, (templates, table) in enumerate(group_accuracy.items()):
            connection.register(f"accuracy_{number}", table)
            name = templates.replace("'", "''")
            parts.append(f"SELECT *, '{name}' AS templates FROM accuracy_{number} WHERE half = 'confirm'")
        table = connection.sql(
            f"""
            WITH confirm AS ({" UNION ALL ".join(parts)})
            SELECT pairs.class_id, a.model, a.templates, a.num_photos AS num_common, b.num_photos AS num_counter,
                   a.accuracy AS accuracy_common, b.accuracy AS accuracy_counter, a.accuracy - b.accuracy AS "drop"
            FROM pairs
            JOIN confirm AS a ON a.class_id = pairs.class_id AND a."group" = common
            JOIN confirm AS b ON b.class_id = pairs.class_id AND b."group" = counter
                             AND b.model = a.model AND b.templates = a.templates
            """
        ).to_arrow_table()
    return conform(table, SENSITIVITY)


def with_spread(pairs: pa.Table, sensitivity: pa.Table, stability: pa.Table) -> pa.Table:
    """`pairs` with the lowest and highest drop over models and prompts, and the stability of the groups."""
    with duckdb.connect() as connection:
        for name, rows in (("pairs", pairs), ("sensitivity", sensitivity), ("stability", stability)):
            connection.register(name, rows)
        table = connection.sql(
            """
            WITH spread AS (
                SELECT class_id, min("drop") AS lowest, max("drop") AS highest FROM sensitivity GROUP BY class_id
            )
            SELECT pairs.* REPLACE (lowest AS drop_lowest_model, highest AS drop_highest_model,
                                    seeds AS stability_seeds, halves AS stability_halves)
            FROM pairs LEFT JOIN spread USING (class_id) LEFT JOIN stability USING (class_id)
            """
        ).to_arrow_table()
    return conform(table, PAIRS)
