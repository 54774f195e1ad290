"""The covariates of photos, and what each is taken for: data in `data_manifests/covariates.csv`."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.causes.schemas import ANIMALS, APPEARANCE, COVARIATES
from counterset.manifests import manifest_path, read_csv
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


def covariates_of(
    all_photos: pa.Table,
    predictions: pa.Table,
    selectors: Collection[str],
    appearance: pa.Table | None = None,
    places: pa.Table | None = None,
    animals: pa.Table | None = None,
    told: pa.Table | None = None,
) -> pa.Table:
    """One row per photo of a release (covariates schema).

    Args:
        all_photos: photo_id, class_id, group, observer, sides, bytes, day and taxon are read.
        predictions: photo_id, model and is_correct are read.
        selectors: models whose answers say how easy an observer's photos of other classes are.
        appearance: the photos' look (appearance schema); photos without a row have none.
        places: photo_id and place (null = unknown); None = the source tells none.
        animals: where the photos' animals are (animals schema); photos without a row have none.
        told: photo_id, hour, life_stage and sex, as the source tells them; None = it tells none.
    """
    photo_ids = all_photos["photo_id"].combine_chunks()
    outcome = mean_outcomes(photo_ids, predictions, selectors)
    experience, accuracy = _of_observers(all_photos, outcome)
    width, height = (np.asarray(all_photos[name].to_numpy(), np.float64) for name in ("width_px", "height_px"))
    has_answers = not np.isnan(outcome).all()
    columns = {
        "photo_id": photo_ids,
        "class_id": all_photos["class_id"],
        "megapixels": width * height / 1e6,
        "size_bytes": all_photos["size_bytes"],
        "aspect": width / height,
        "month": pc.month(all_photos["observed_on"]),
        "subspecies": _subspecies(all_photos["taxon_name"]),
        "observer_photos": experience,
        "observer_accuracy": accuracy if has_answers else pa.nulls(len(photo_ids), pa.float64()),
        "place_photos": _visits(photo_ids, places),
    }
    measured = (appearance, APPEARANCE.arrow().names[1:]), (animals, ANIMALS.arrow().names[1:]), (told, TOLD)
    for table, names in measured:
        if table is None:
            columns |= {name: pa.nulls(len(photo_ids)) for name in names}
        else:
            row_of = pc.index_in(photo_ids, table["photo_id"].combine_chunks())
            columns |= {name: table[name].take(row_of) for name in names}
    return conform(pa.table(columns), COVARIATES)


def _subspecies(names: pa.ChunkedArray) -> pa.Array:
    """(N,) the names of three words."""
    numbers, known = ranks(names)
    three = [name if len(name.split()) == 3 else None for name in known.to_pylist()]
    return pa.array([*three, None], pa.string()).take(numbers % (len(three) + 1))


def _visits(photo_ids: pa.Array, places: pa.Table | None) -> pa.Array:
    """(N,) photos of each photo's place; null where that is unknown."""
    if places is None:
        return pa.nulls(len(photo_ids), pa.int64())
    place_of = pc.index_in(photo_ids, places["photo_id"].combine_chunks())
    number, known = ranks(places["place"].take(place_of))
    visits = np.bincount(number[number >= 0], minlength=len(known))
    return pa.array([*visits.tolist(), None], pa.int64()).take(number % (len(known) + 1))


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
    place = pc.fill_null(
        pc.index_in(answered["photo_id"].cast(pa.string()), pa.array(photo_ids, pa.string())), -1
    ).to_numpy()
    return answered.filter(place >= 0), place[place >= 0].astype(np.int64)


def _of_observers(all_photos: pa.Table, outcome: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """(N,) photos of other classes by each photo's observer, and how much easier than usual those are."""

    def numbered(*names: str) -> npt.NDArray[np.int64]:
        together = np.zeros(len(all_photos), np.int64)
        for name in names:
            number, known = ranks(all_photos[name])
            together = together * (len(known) + 1) + number + 1
        return np.unique(together, return_inverse=True)[1]

    observer, own, cell = numbered("observer"), numbered("observer", "class_id"), numbered("class_id", "group")
    known = ~np.isnan(outcome)
    value, one = np.where(known, outcome, 0.0), known.astype(np.float64)

    def total(values: Floats, by: npt.NDArray[np.int64]) -> Floats:
        return np.bincount(by, values, int(by.max(initial=-1)) + 1)[by].astype(np.float64)

    # What class and background give is taken out first, or the backgrounds that an observer prefers would be in it.
    residual = np.where(known, value - total(value, cell) / np.maximum(total(one, cell), 1), 0.0)
    elsewhere = total(one, observer) - total(one, own)
    accuracy = (total(residual, observer) - total(residual, own)) / (elsewhere + SHRINKAGE)
    photos = total(np.ones(len(outcome)), observer) - total(np.ones(len(outcome)), own)
    return photos.astype(np.int64), accuracy.round(6)
