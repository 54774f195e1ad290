"""What selection counts: group accuracies of every model, and each class's outcomes by unit.

Tables or Parquet datasets are read in their order and never held: photos become numbers once (`photo_numbers`), an
answer is counted by that number, and what the statistics see is one row per group and unit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from counterset.errors import WorkspaceError
from counterset.parquet_sql import spilling
from counterset.schemas import GROUP_ACCURACY, PAIRS, SENSITIVITY, Half
from counterset.statistics.class_units import AllUnits, ClassUnits, Sums
from counterset.statistics.grouped_photos import GroupedPhotos, Names, group_photos
from counterset.statistics.observers import CONFIRM, DISCOVER, Floats, Ints
from counterset.statistics.photo_numbers import Numbers, PhotoNumbers, codes_of
from counterset.statistics.row_blocks import Rows, blocks
from counterset.statistics.selector_margin import double_ranks
from counterset.tables import conform

logger = logging.getLogger(__name__)


class Counts(NamedTuple):
    """The group_accuracy table, and the outcomes of each class under the selectors."""

    group_accuracy: pa.Table
    classes: Sequence[ClassUnits]


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
    for answer in answered(photos.numbers, predictions, label_space, answers.models, selectors):
        answers.add(answer)
    seen = answers.partly()
    for answer in answered(photos.numbers, predictions, label_space, answers.models) if seen else ():
        for model, photos_seen in seen.items():
            own = answer.place[answer.model == model]
            np.bitwise_or.at(photos_seen, own >> 3, (1 << (own & 7)).astype(np.uint8))
    photos.numbers.let_go()
    people, classes = _by_class(photos, answers, label_space, seen)
    return Counts(_group_accuracy(photos, answers, people), classes)


class Answer(NamedTuple):
    """Some answers of models about photos.

    Attributes:
        place: (R,) numbers of the photos; the number of photos = of none of them, or in another label space.
        model: (R,) numbers of the models.
        is_correct: (R,) whether they are right.
        margin: (R,) how sure the models are, of those whose margins are wanted.
    """

    place: Numbers
    model: Numbers
    is_correct: npt.NDArray[np.bool_]
    margin: npt.NDArray[np.float32]


def answered(
    numbers: PhotoNumbers, predictions: Rows, label_space: str, models: Names, margins_of: Sequence[str] = ()
) -> Iterator[Answer]:
    """All answers in a label space, some at a time.

    Args:
        numbers: of the photos.
        predictions: photo_id, model, label_space, is_correct, margin are read.
        label_space: the label space to use.
        models: gives the models their numbers.
        margins_of: the models whose margins are wanted; others may be given as 0.
    """
    for block in blocks(predictions):
        only = block.only.get("model")
        has_margins = bool(margins_of) and (only is None or only in margins_of)
        columns = ["model", "label_space", "is_correct", *(["margin"] if has_margins else [])]
        for place, batch in numbers.placed(block, columns):
            space, spaces = codes_of(batch.column("label_space"))
            is_wanted = np.array([*(name == label_space for name in spaces.to_pylist()), False])
            if not is_wanted[:-1].all():
                place = np.where(is_wanted[space], place, np.int32(len(numbers)))
            is_correct = batch.column("is_correct").to_numpy(zero_copy_only=False)
            margin = np.asarray(batch.column("margin"), np.float32) if has_margins else np.zeros(len(batch), np.float32)
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
        self._counted = np.zeros((len(photos.codes) + 1, 0, 2), np.uint32)
        self.selectors = selectors
        self.models = Names()
        self._numbers = [int(self.models.codes(pa.array([name]))[0]) for name in selectors]
        self.given = [np.zeros(len(photos.numbers) + 1, np.int8) for _ in selectors]
        self.margins = [np.zeros(len(photos.numbers) + 1, np.float32) for _ in selectors]

    @property
    def counted(self) -> npt.NDArray[np.uint32]:
        """(M, S, 2) answers by model and stratum, wrong and right ones."""
        return self._counted[:-1].transpose(1, 0, 2)

    def add(self, answer: Answer) -> None:
        """Count some more."""
        size, known = self._counted.shape[:2]
        num_models = len(self.models.numbers)
        if known < num_models:
            self._counted = np.concatenate([self._counted, np.zeros((size, num_models - known, 2), np.uint32)], axis=1)
        code = self._photos.stratum.take(answer.place).astype(np.intp)
        code *= num_models
        code += answer.model
        code *= 2
        code += answer.is_correct
        np.add.at(self._counted.reshape(-1), code, np.uint32(1))
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


def _group_accuracy(photos: GroupedPhotos, answers: _Answers, people: Numbers) -> pa.Table:
    """The group_accuracy table: every model, and the halves discover, confirm and all.

    Args:
        photos: the photos.
        answers: of all models.
        people: (2, M, S) different observers and units.
    """
    if not len(photos.codes):
        return GROUP_ACCURACY.arrow().empty_table()
    models = sorted(answers.models.numbers)
    order = [answers.models.numbers[name] for name in models]
    halves = sorted(half.value for half in Half)
    # A cell is a group of a class: (S,) strata -> (K,) cells
    cells, cell_of = np.unique(photos.codes // 2, return_inverse=True)
    # (4, K, M, H) of photos, right answers, observers and units, in the order of the table's rows
    values = np.zeros((4, len(cells), len(models), len(halves)), np.int32)
    counted = answers.counted[order]
    for number, half in ((DISCOVER, Half.DISCOVER), (CONFIRM, Half.CONFIRM)):
        strata = np.flatnonzero(photos.codes % 2 == number)
        own = values[..., halves.index(half)]
        own[0][cell_of[strata]] = counted[:, strata].sum(axis=2).T
        own[1][cell_of[strata]] = counted[:, strata, 1].T
        own[2:][:, cell_of[strata]] = people[:, order][:, :, strata].transpose(0, 2, 1)
        own *= own[0] > 0  # a model has no observers where it has no answers
        values[..., halves.index(Half.ALL)] += own
    cell, model, half_of = np.nonzero(values[0])
    num_photos, num_correct, num_observers, num_units = values[:, values[0] > 0]
    table = {
        "class_id": pa.array(photos.class_ids).take(pa.array(cells[cell] // len(photos.groups))),
        "group": pa.array(photos.groups).take(pa.array(cells[cell] % len(photos.groups))),
        "model": pa.array(models, pa.string()).take(pa.array(model)),
        "half": pa.array(halves).take(pa.array(half_of)),
        "num_photos": num_photos,
        "num_observers": num_observers,
        "num_units": num_units,
        "num_correct": num_correct,
        "accuracy": num_correct / num_photos,
    }
    return conform(pa.table(table), GROUP_ACCURACY)


def _by_stratum(values: npt.NDArray[Any], stratum: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """(n,) the order by stratum, and within one by value; a stratum of 16 bits is sorted by its digits."""
    order = np.argsort(values)
    return np.asarray(order[np.argsort(stratum[order], kind="stable")])


def _distinct(label: npt.NDArray[np.uint64], stratum: Numbers, num_strata: int) -> Ints:
    """How many different labels there are in each stratum, of rows in the order of both."""
    return np.bincount(stratum[_is_first(stratum, label)], minlength=num_strata)


def _is_first(*columns: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """(n,) whether a row differs from the one before it."""
    is_first = np.zeros(len(columns[0]), np.bool_)
    is_first[:1] = True
    for column in columns:
        is_first[1:] |= column[1:] != column[:-1]
    return is_first


def _medians(margin: npt.NDArray[np.float32], stratum: Numbers, size: Ints) -> npt.NDArray[np.float32]:
    """(S,) the median margin of each stratum of a class, as SQL has it: in single precision."""
    margin = margin[_by_stratum(margin, stratum)]
    start = np.cumsum(size) - size
    low, high = margin[start + (size - 1) // 2], margin[start + size // 2]
    return np.asarray(low + (high - low).astype(np.float64) * 0.5, np.float32)


def _by_class(
    photos: GroupedPhotos, answers: _Answers, label_space: str, seen: dict[int, npt.NDArray[np.uint8]]
) -> tuple[Numbers, AllUnits]:
    """(2, M, S) different observers and units by model and stratum, and the outcomes of each class by group, half and
    unit, its own groups only.

    Whole numbers are summed, which is exact in any order, and divided by the number of selectors afterwards.

    Args:
        photos: the photos.
        answers: of all models.
        label_space: for the error.
        seen: model -> bits of the photos that it answered of, where these are not all.

    Raises:
        WorkspaceError: no photo was predicted by every selector.
    """
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
    people = np.zeros((2, len(answers.models.numbers), len(photos.codes)), np.int32)
    classes = AllUnits(len(answers.given))
    for class_id, (strata, own) in zip(photos.class_ids, photos.by_class(), strict=True):
        size = strata.stop - strata.start
        kind = np.int16 if size < 1 << 15 else np.int32
        stratum = (photos.stratum[own] - strata.start).astype(kind)
        median = _medians(photos.margin[own], stratum, photos.num_photos[strata])
        for number, name in enumerate(("observer", "unit")):
            label = photos.labels[name][own]
            order = _by_stratum(label, stratum)
            row, label, of_row = own[order], label[order], stratum[order]
            people[number, :, strata] = _distinct(label, of_row, size)
            for model, bits in seen.items():
                kept = (bits[row >> 3] >> (row & 7)) & 1 == 1
                people[number, model, strata] = _distinct(label[kept], of_row[kept], size)
        kept = is_whole[row]
        row, unit, stratum = row[kept], label[kept], of_row[kept]
        is_sure = photos.margin[row] >= median[stratum]
        k = sum((given[row] == 2).astype(np.int64) for given in answers.given)
        ranks = double_ranks(np.column_stack([margins[row] for margins in answers.margins]))
        # A new row wherever the stratum or the unit changes: (N,) photos -> (C,) first photos
        is_first = _is_first(stratum, unit)
        place = np.cumsum(is_first) - 1
        columns = [np.ones_like(k), k, k * k, is_sure, np.where(is_sure, k, 0), ranks, ranks * ranks]
        sums = [_summed(column, place, int(is_first.sum())) for column in columns]
        code = photos.codes[strata][stratum[is_first]]
        codes, group = np.unique(code // 2 % max(len(photos.groups), 1), return_inverse=True)
        half = np.where(code % 2 == 1, CONFIRM, DISCOVER)
        numbers = np.unique(unit[is_first], return_inverse=True)[1]
        names = tuple(photos.groups[number] for number in codes)
        classes.append(class_id, names, len(ranks), Sums(group, half, numbers, *sums))
    return people, classes


def _summed(values: Any, row: Any, num_rows: int) -> Floats:
    """(N,) whole numbers -> (C,): their sums by row, exact below 2**53."""
    return np.asarray(np.bincount(row, values, num_rows), np.float64)


def sensitivity(pairs: pa.Table, group_accuracy: dict[str, pa.Table]) -> pa.Table:
    """Each pair's drop on confirm under every model and set of prompts (sensitivity schema).

    Args:
        pairs: the chosen pairs.
        group_accuracy: by the name of the prompts.
    """
    with spilling() as connection:
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
    with spilling() as connection:
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
