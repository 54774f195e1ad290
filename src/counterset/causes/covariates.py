"""The covariates of photos, and what each is taken for: data in `data_manifests/covariates.csv`."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from counterset.causes.schemas import APPEARANCE, COVARIATES
from counterset.manifests import manifest_path, read_csv
from counterset.tables import table_of

SHRINKAGE = 5
"""Photos of other classes that an observer's accuracy in them is drawn towards the usual by."""

Floats = npt.NDArray[np.float64]


class Covariate(NamedTuple):
    """One covariate as the project sees it.

    Attributes:
        name: a column of the covariates table.
        component: what it stands for in the decomposition.
        role: `adjust`, or `apart` where the background's own look may be in it.
        scale: `number`, `log`, `month` (a circle) or `category` (the commonest value or another).
        reason: why it has this role.
    """

    name: str
    component: str
    role: str
    scale: str
    reason: str


@functools.cache
def known_covariates() -> tuple[Covariate, ...]:
    """All covariates, in the order in which they are shown."""
    rows = read_csv(manifest_path("covariates.csv"), "the list of covariates", "install counterset again")
    names = ("covariate", "component", "role", "scale", "reason")
    return tuple(Covariate(*(row[name] for name in names)) for row in rows)


def covariates_of(
    all_photos: pa.Table,
    predictions: pa.Table,
    selectors: Collection[str],
    appearance: pa.Table | None = None,
    places: pa.Table | None = None,
) -> pa.Table:
    """One row per photo of a release (covariates schema).

    Args:
        all_photos: photo_id, class_id, group, observer, sides, bytes, day and taxon are read.
        predictions: photo_id, model and is_correct are read.
        selectors: models whose answers say how easy an observer's photos of other classes are.
        appearance: the photos' look (appearance schema); photos without a row have none.
        places: photo_id and place (null = unknown); None = the source tells none.
    """
    photo_ids, class_ids = all_photos["photo_id"].to_pylist(), all_photos["class_id"].to_pylist()
    looks = {row["photo_id"]: row for row in appearance.to_pylist()} if appearance is not None else {}
    place_of = dict(zip(*(places[name].to_pylist() for name in ("photo_id", "place")), strict=True)) if places else {}
    visits = Counter(place_of.get(photo_id) for photo_id in photo_ids)
    outcome = mean_outcomes(photo_ids, predictions, selectors)
    experience, accuracy = _of_observers(all_photos, outcome)
    width, height = (np.asarray(all_photos[name].to_numpy(), np.float64) for name in ("width_px", "height_px"))
    places_of = [place_of.get(photo_id) for photo_id in photo_ids]
    has_answers = not np.isnan(outcome).all()
    columns = {
        "photo_id": photo_ids,
        "class_id": class_ids,
        "megapixels": width * height / 1e6,
        "size_bytes": all_photos["size_bytes"].to_pylist(),
        "aspect": width / height,
        "month": [day.month if day is not None else None for day in all_photos["observed_on"].to_pylist()],
        "subspecies": [
            name if name is not None and len(name.split()) == 3 else None
            for name in all_photos["taxon_name"].to_pylist()
        ],
        "observer_photos": experience,
        "observer_accuracy": accuracy if has_answers else [None] * len(photo_ids),
        "place_photos": [visits[place] if place is not None else None for place in places_of],
    }
    for name in APPEARANCE.arrow().names[1:]:
        columns[name] = [looks[photo_id][name] if photo_id in looks else None for photo_id in photo_ids]
    return table_of(COVARIATES, columns)


def mean_outcomes(photo_ids: list[str], predictions: pa.Table, selectors: Collection[str]) -> Floats:
    """(N,) share of the selectors that are right about each photo; nan where one of them gave no answer."""
    place = {photo_id: number for number, photo_id in enumerate(photo_ids)}
    right, answers = np.zeros(len(place)), np.zeros(len(place))
    columns = (predictions[name].to_pylist() for name in ("photo_id", "model", "is_correct"))
    wanted = set(selectors)
    for photo_id, model, is_correct in zip(*columns, strict=True):
        if model in wanted and photo_id in place:
            right[place[photo_id]] += is_correct
            answers[place[photo_id]] += 1
    is_whole = (answers > 0) & (answers == answers.max(initial=0))
    return np.where(is_whole, right / np.maximum(answers, 1), np.nan)


def _of_observers(all_photos: pa.Table, outcome: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """(N,) photos of other classes by each photo's observer, and how much easier than usual those are."""

    def numbered(*names: str) -> npt.NDArray[np.int64]:
        rows = zip(*(all_photos[name].to_pylist() for name in names), strict=True)
        numbers: dict[object, int] = {}
        return np.array([numbers.setdefault(row, len(numbers)) for row in rows], np.int64)

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
