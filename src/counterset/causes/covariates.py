"""The covariates of photos, and what each is taken for: data in `data_manifests/covariates.csv`."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.causes.schemas import ANIMALS, APPEARANCE, COVARIATES
from counterset.manifests import manifest_path, read_csv
from counterset.statistics.grouped_photos import Names
from counterset.statistics.row_blocks import BATCH_ROWS
from counterset.tables import conform, ranks

TOLD = ("hour", "life_stage", "sex")
"""Columns of candidates that are covariates as they are."""
SHRINKAGE = 5
"""Photos of other classes that an observer's accuracy in them is drawn towards the usual by."""

NUM_BLOCKS = 16
"""Of photos that are looked at together, at most 256."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Covariate(NamedTuple):
    """One covariate as the project sees it.

    Attributes:
        name: a column of the covariates table.
        words: what it is called where people read of it.
        component: what it stands for in the decomposition.
        role: `adjust`, or `apart` where the background's own look may be in it.
        scale: `number`, `log`, `month` and `hour` (circles), `category` (the commonest value or another, none being a
            value too) or `label` (the same, none being not known).
        reason: why it has this role.
    """

    name: str
    words: str
    component: str
    role: str
    scale: str
    reason: str


@functools.cache
def known_covariates() -> tuple[Covariate, ...]:
    """All covariates, in the order in which they are shown."""
    rows = read_csv(manifest_path("covariates.csv"), "the list of covariates", "install counterset again")
    names = ("covariate", "words", "component", "role", "scale", "reason")
    return tuple(Covariate(*(row[name] for name in names)) for row in rows)


def in_words(names: Iterable[str]) -> str:
    """Covariates as people read of them, of whatever edition of the list."""
    words = {covariate.name: covariate.words for covariate in known_covariates()}
    return ", ".join(words.get(name, name.replace("_", " ")) for name in names)


class Habits(NamedTuple):
    """What is known of N photos only by looking at all of them, in their order.

    Attributes:
        num_right, num_answers: (N,) of the selectors; all of them answered where there are `num_selectors`.
        num_selectors: the most answers about one photo.
        experience: (N,) photos of other classes by the photo's observer.
        ease: (N,) how much easier than usual those are.
        visits: (N,) photos of the photo's place; 0 = it is not known.
    """

    num_right: npt.NDArray[np.int16]
    num_answers: npt.NDArray[np.int16]
    num_selectors: int
    experience: npt.NDArray[np.int32]
    ease: Floats
    visits: npt.NDArray[np.int32]

    def of(self, rows: slice | Ints) -> Habits:
        """Those of some photos."""
        arrays = {name: getattr(self, name)[rows] for name in self._fields if name != "num_selectors"}
        return self._replace(**arrays)

    @property
    def outcome(self) -> Floats:
        """(N,) share of the selectors that are right about each photo; nan where one of them gave no answer."""
        is_whole = (self.num_answers > 0) & (self.num_answers == self.num_selectors)
        return np.where(is_whole, self.num_right / np.maximum(self.num_answers, 1), np.nan)


def habits_of(
    parts: Iterable[tuple[pa.Table, pa.Array, pa.Table]], num_photos: int, selectors: Collection[str]
) -> Habits:
    """Look at all photos once; of each, some numbers are held.

    Args:
        parts: photos (photo_id, class_id, group and observer are read), their places (null = unknown), and the answers
            about them (photo_id, model and is_correct).
        num_photos: of all parts.
        selectors: models whose answers say how easy an observer's photos of other classes are.
    """
    classes, groups = Names(), Names()
    # Made at once, for arrays of each part would lie between what is freed, and take twice their size
    num_right, num_answers, class_of, group = (np.zeros(num_photos, np.int16) for _ in range(4))
    observer, place = (np.zeros(num_photos, np.uint64) for _ in range(2))
    start = 0
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        for photos, places, answers in parts:
            rows = slice(start, start := start + len(photos))
            answered, photo = answers_of(photos["photo_id"].combine_chunks(), answers, selectors)
            num_answers[rows] = np.bincount(photo, minlength=len(photos))
            num_right[rows] = np.bincount(photo, answered["is_correct"].to_numpy(), len(photos))
            class_of[rows] = classes.codes(photos["class_id"].combine_chunks())
            group[rows] = groups.codes(photos["group"].combine_chunks())
            observer[rows], place[rows] = _hashes(connection, photos["observer"], places)
    visits = _visits(place)
    del place
    experience, ease = np.zeros(num_photos, np.int32), np.zeros(num_photos)
    habits = Habits(num_right, num_answers, int(num_answers.max(initial=0)), experience, ease, visits)
    _look_at_observers(habits, observer, class_of, group)
    return habits


def covariates_of(
    photos: pa.Table,
    habits: Habits,
    appearance: pa.Table | None = None,
    animals: pa.Table | None = None,
    told: pa.Table | None = None,
) -> pa.Table:
    """One row per photo of some of a release (covariates schema), in their order.

    Args:
        photos: photo_id, class_id, sides, bytes, day and taxon are read.
        habits: of these photos.
        appearance: the photos' look, row by row; None = it was not measured.
        animals: where their animals are, row by row; None = nothing says so.
        told: hour, life_stage and sex, row by row, as the source tells them; None = it tells none.
    """
    width, height = (np.asarray(photos[name].to_numpy(), np.float64) for name in ("width_px", "height_px"))
    is_placed = habits.visits > 0
    columns = {
        "photo_id": photos["photo_id"],
        "class_id": photos["class_id"],
        "megapixels": width * height / 1e6,
        "size_bytes": photos["size_bytes"],
        "aspect": width / height,
        "month": pc.month(photos["observed_on"]),
        "subspecies": _subspecies(photos["taxon_name"]),
        "observer_photos": pa.array(habits.experience, pa.int64()),
        "observer_accuracy": habits.ease if habits.num_selectors else pa.nulls(len(photos), pa.float64()),
        "place_photos": pa.array(habits.visits, pa.int64(), mask=~is_placed),
    }
    measured = (appearance, APPEARANCE.arrow().names[1:]), (animals, ANIMALS.arrow().names[1:]), (told, TOLD)
    for table, names in measured:
        columns |= {name: pa.nulls(len(photos)) if table is None else table[name] for name in names}
    return conform(pa.table(columns), COVARIATES)


def _hashes(connection: duckdb.DuckDBPyConnection, *texts: pa.ChunkedArray | pa.Array) -> list[npt.NDArray[np.uint64]]:
    """(N,) of each of some columns of N texts a number of each text, 0 for null: a hash of its own, in eight bytes."""
    connection.register("given", pa.table(list(texts), [f"text_{number}" for number in range(len(texts))]))
    sql = "SELECT CASE WHEN COLUMNS(*) IS NULL THEN 0::UBIGINT ELSE hash(COLUMNS(*)) END FROM given"
    return [np.asarray(column) for column in connection.sql(sql).to_arrow_table().columns]


def _subspecies(names: pa.ChunkedArray) -> pa.Array:
    """(N,) the names of three words."""
    numbers, known = ranks(names)
    three = [name if len(name.split()) == 3 else None for name in known.to_pylist()]
    return pa.array([*three, None], pa.string()).take(numbers % (len(three) + 1))


def _alike(numbers: npt.NDArray[np.uint64]) -> Iterator[Ints]:
    """The rows in blocks, those with one number in one block: sorting all at once would take four times their size."""
    block = numbers.astype(np.uint8) % NUM_BLOCKS
    return (np.flatnonzero(block == number) for number in range(NUM_BLOCKS))


def _visits(place: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
    """(N,) photos of each photo's place; 0 where that is unknown."""
    visits = np.zeros(len(place), np.int32)
    for rows in _alike(place):
        rows = rows[place[rows] > 0]
        _, number, counts = np.unique(place[rows], return_inverse=True, return_counts=True)
        visits[rows] = counts[number]
    return visits


def mean_outcomes(photo_ids: Sequence[str] | pa.Array, predictions: pa.Table, selectors: Collection[str]) -> Floats:
    """(N,) share of the selectors that are right about each photo; nan where one of them gave no answer."""
    answered, place = answers_of(photo_ids, predictions, selectors)
    answers = np.bincount(place, minlength=len(photo_ids)).astype(np.float64)
    right = np.bincount(place, answered["is_correct"].to_numpy(), len(photo_ids))
    is_whole = (answers > 0) & (answers == answers.max(initial=0))
    return np.where(is_whole, right / np.maximum(answers, 1), np.nan)


def answers_of(
    photo_ids: Sequence[str] | pa.Array, predictions: pa.Table, selectors: Collection[str]
) -> tuple[pa.Table, Ints]:
    """The P answers of the selectors about some photos, and (P,) the place of each answer's photo among these."""
    answered = predictions.filter(
        pc.is_in(predictions["model"].cast(pa.string()), pa.array(sorted(selectors), pa.string()))
    )
    if isinstance(photo_ids, pa.Array) and answered["photo_id"].equals(pa.chunked_array([photo_ids])):  # of one model
        return answered, np.arange(len(photo_ids))
    place = pc.fill_null(
        pc.index_in(answered["photo_id"].cast(pa.string()), pa.array(photo_ids, pa.string())), -1
    ).to_numpy()
    return answered.filter(place >= 0), place[place >= 0].astype(np.int64)


def _look_at_observers(
    habits: Habits,
    observer: npt.NDArray[np.uint64],
    class_of: npt.NDArray[np.int16],
    group: npt.NDArray[np.int16],
) -> None:
    """Fill in `experience` and `ease`, from numbers of each photo's observer, class and group."""
    num_classes, num_groups = int(class_of.max(initial=0)) + 1, int(group.max(initial=0)) + 2

    def outcomes(rows: slice | Ints) -> tuple[Ints, npt.NDArray[np.bool_], Floats]:
        """Of some photos the number of their class and group, whether their outcome is known, and what it is."""
        outcome = habits.of(rows).outcome
        known = ~np.isnan(outcome)
        return class_of[rows].astype(np.int64) * num_groups + group[rows] + 1, known, np.where(known, outcome, 0.0)

    # What class and background give is taken out first, or the backgrounds that an observer prefers would be in it.
    usual, number = np.zeros((2, num_classes * num_groups))
    for start in range(0, len(observer), BATCH_ROWS):
        cell, known, outcome = outcomes(slice(start, start + BATCH_ROWS))
        np.add.at(usual, cell, outcome)
        np.add.at(number, cell, known)
    usual /= np.maximum(number, 1)
    for rows in _alike(observer):
        cell, known, outcome = outcomes(rows)
        residual = np.where(known, outcome - usual[cell], 0.0)
        _, who = np.unique(observer[rows], return_inverse=True)
        cells, own = np.unique(who * num_classes + class_of[rows], return_inverse=True)
        elsewhere = [
            np.bincount(who, weights)[cells // num_classes] - np.bincount(own, weights)
            for weights in (None, known, residual)
        ]
        habits.experience[rows] = elsewhere[0][own]
        habits.ease[rows] = (elsewhere[2] / (elsewhere[1] + SHRINKAGE)).round(6)[own]
