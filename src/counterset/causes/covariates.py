"""The covariates of photos, and what each is taken for: data in `data_manifests/covariates.csv`."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.causes.schemas import ANIMALS, APPEARANCE, COVARIATES
from counterset.manifests import manifest_path, read_csv
from counterset.statistics.grouped_photos import Names
from counterset.tables import conform, ranks

TOLD = ("hour", "life_stage", "sex")
"""Columns of candidates that are covariates as they are."""
SHRINKAGE = 5
"""Photos of other classes that an observer's accuracy in them is drawn towards the usual by."""

Floats = npt.NDArray[np.float64]


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

    def of(self, rows: slice) -> Habits:
        """Those of some photos."""
        arrays = {name: getattr(self, name)[rows] for name in self._fields if name != "num_selectors"}
        return self._replace(**arrays)

    @property
    def outcome(self) -> Floats:
        """(N,) share of the selectors that are right about each photo; nan where one of them gave no answer."""
        is_whole = (self.num_answers > 0) & (self.num_answers == self.num_selectors)
        return np.where(is_whole, self.num_right / np.maximum(self.num_answers, 1), np.nan)


def habits_of(parts: Iterable[tuple[pa.Table, pa.Array, pa.Table]], selectors: Collection[str]) -> Habits:
    """Look at all photos once; of each, some numbers are held.

    Args:
        parts: photos (photo_id, class_id, group and observer are read), their places (null = unknown), and the answers
            about them (photo_id, model and is_correct).
        selectors: models whose answers say how easy an observer's photos of other classes are.
    """
    classes, groups = Names(), Names()
    found: dict[str, list[npt.NDArray[Any]]] = defaultdict(list)
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        for photos, places, answers in parts:
            answered, place = answers_of(photos["photo_id"].combine_chunks(), answers, selectors)
            right = np.bincount(place, answered["is_correct"].to_numpy(), len(photos))
            found["answers"].append(np.bincount(place, minlength=len(photos)).astype(np.int16))
            found["right"].append(right.astype(np.int16))
            found["class"].append(classes.codes(photos["class_id"].combine_chunks()).astype(np.int16))
            found["group"].append(groups.codes(photos["group"].combine_chunks()).astype(np.int16))
            found["observer"].append(_hashes(connection, photos["observer"]))
            found["place"].append(_hashes(connection, places))
    whole: dict[str, npt.NDArray[Any]] = {name: np.concatenate(found.pop(name)) for name in [*found]}
    if not whole:
        none = np.zeros(0)
        return Habits(
            none.astype(np.int16), none.astype(np.int16), 0, none.astype(np.int32), none, none.astype(np.int32)
        )
    visits = _visits(whole.pop("place"))
    observer = np.unique(whole.pop("observer"), return_inverse=True)[1].astype(np.int32)
    num_right, num_answers = whole["right"], whole["answers"]
    known = Habits(num_right, num_answers, int(num_answers.max(initial=0)), visits, visits.astype(np.float64), visits)
    experience, ease = _of_observers(observer, whole["class"], whole["group"], known.outcome)
    return known._replace(experience=experience, ease=ease)


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


def _hashes(connection: duckdb.DuckDBPyConnection, texts: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.uint64]:
    """(N,) half of each text's MD5, 0 for null: a number of its own, in eight bytes."""
    connection.register("given", pa.table({"text": texts}))
    sql = "SELECT coalesce(md5_number_lower(text), 0)::UBIGINT AS number FROM given"
    return np.asarray(connection.sql(sql).to_arrow_table()["number"])


def _subspecies(names: pa.ChunkedArray) -> pa.Array:
    """(N,) the names of three words."""
    numbers, known = ranks(names)
    three = [name if len(name.split()) == 3 else None for name in known.to_pylist()]
    return pa.array([*three, None], pa.string()).take(numbers % (len(three) + 1))


def _visits(place: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
    """(N,) photos of each photo's place; 0 where that is unknown."""
    _, number, counts = np.unique(place, return_inverse=True, return_counts=True)
    return np.where(place == 0, 0, counts[number]).astype(np.int32)


def mean_outcomes(photo_ids: Sequence[str] | pa.Array, predictions: pa.Table, selectors: Collection[str]) -> Floats:
    """(N,) share of the selectors that are right about each photo; nan where one of them gave no answer."""
    answered, place = answers_of(photo_ids, predictions, selectors)
    answers = np.bincount(place, minlength=len(photo_ids)).astype(np.float64)
    right = np.bincount(place, answered["is_correct"].to_numpy(), len(photo_ids))
    is_whole = (answers > 0) & (answers == answers.max(initial=0))
    return np.where(is_whole, right / np.maximum(answers, 1), np.nan)


def answers_of(
    photo_ids: Sequence[str] | pa.Array, predictions: pa.Table, selectors: Collection[str]
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
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


def _of_observers(
    observer: npt.NDArray[np.int32], class_of: npt.NDArray[np.int16], group: npt.NDArray[np.int16], outcome: Floats
) -> tuple[npt.NDArray[np.int32], Floats]:
    """(N,) photos of other classes by each photo's observer, and how much easier than usual those are."""
    known = ~np.isnan(outcome)
    # What class and background give is taken out first, or the backgrounds that an observer prefers would be in it.
    cell = class_of.astype(np.int32) * (int(group.max(initial=0)) + 2) + group + 1
    num_cells = int(cell.max(initial=-1)) + 1
    usual = np.bincount(cell, np.where(known, outcome, 0.0), num_cells) / np.maximum(
        np.bincount(cell, known, num_cells), 1
    )
    residual = np.where(known, outcome - usual[cell], 0.0)
    photos, answered, sums = (np.bincount(observer, weights) for weights in (None, known, residual))
    experience, ease = np.zeros(len(observer), np.int32), np.zeros(len(observer))
    order = np.argsort(class_of, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(class_of))[:-1]):
        people, own = np.unique(observer[rows], return_inverse=True)
        of_class = [np.bincount(own, weights, len(people)) for weights in (None, known[rows], residual[rows])]
        elsewhere = [total[people] - part for total, part in zip((photos, answered, sums), of_class, strict=True)]
        experience[rows] = elsewhere[0][own]
        ease[rows] = (elsewhere[2] / (elsewhere[1] + SHRINKAGE)).round(6)[own]
    return experience, ease
