"""What else than the background photos of a release differ in, and what remains of its drops without that.

The covariates are written in the order of the photos. What is tested class by class is dealt to classes beside memory.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.causes.controlled import ClassPhotos, margins_of, remains_of
from counterset.causes.covariates import TOLD, covariates_of, habits_of
from counterset.causes.schemas import ANIMALS, APPEARANCE, COVARIATES
from counterset.photo_rows import Beside, Rows, alongside
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.written import Written
from counterset.wide_rows import by_number

_PHOTOS = [
    *("photo_id", "class_id", "group", "half", "observer", "unit", "width_px", "height_px", "size_bytes"),
    *("observed_on", "taxon_name"),
]
_OF_CLASS = ("group", "half", "unit")


def write_causes(inputs: ReleaseInputs, written: Written, pairs: pa.Table) -> None:
    """Write the covariates, and what remains of the pairs' drops once they are out.

    Args:
        inputs: of the release.
        written: with the photos and predictions.
        pairs: of the release.
    """
    limits = inputs.config.select
    remains = remains_of(
        _classes(inputs, written, pairs),
        min_photos=limits.min_photos,
        num_permutations=limits.num_permutations,
        seed=inputs.config.seed,
    )
    written.add(balance=remains.balance, decomposition=remains.decomposition, controlled=remains.controlled)


def _classes(inputs: ReleaseInputs, written: Written, pairs: pa.Table) -> Iterator[ClassPhotos | None]:
    """The photos of each class with a pair and its drop, once the covariates of all photos are written.

    What holds all photos is let go with the last class, for what remains of all classes is in memory after it.
    """
    selectors = [model.name for model in inputs.models if model.role == "selector"]
    photos, answers = written["all_photos"].rows, written["predictions"].rows
    rows = [row for row in pairs.to_pylist() if row["common"] is not None and row["drop"] is not None]
    number_of = pa.array([row["class_id"] for row in rows], pa.string())
    margins = [f"margin_{number}" for number in range(len(selectors))]
    schema = pa.schema(
        [("number", pa.int32()), *((name, pa.string()) for name in _OF_CLASS)]
        + [field for field in COVARIATES.arrow() if field.name not in ("photo_id", "class_id")]
        + [("outcome", pa.float64()), *((name, pa.float64()) for name in margins)]
    )

    def parts() -> Iterator[pa.Table]:
        start, beside = 0, _Beside(inputs)
        habits = habits_of(_with_places(inputs, photos, answers), len(written["all_photos"]), selectors)
        with written.growing("covariates") as covariates:
            for own, said in alongside(photos, _PHOTOS, answers, ["model", "is_correct", "margin"]):
                known = habits.of(slice(start, start + len(own)))
                table = covariates_of(own, known, *beside.of(own["photo_id"]))
                covariates.add(table)
                table = table.drop_columns(["photo_id", "class_id"])
                of_selectors = margins_of(own["photo_id"].combine_chunks(), said, selectors)
                columns: dict[str, Any] = {
                    "number": pc.index_in(own["class_id"], number_of),
                    **{name: own[name] for name in _OF_CLASS},
                    **{name: table[name] for name in table.column_names},
                    "outcome": pa.array(known.outcome, from_pandas=True),
                    **dict(zip(margins, of_selectors.T, strict=True)),
                }
                start += len(own)
                counted = pa.table(columns)
                is_known = [pc.is_valid(counted[name]) for name in ("number", "group", "outcome")]
                yield counted.filter(functools.reduce(pc.and_, is_known))

    with by_number(schema, "number", len(rows)) as of_classes:
        for part in parts():
            of_classes.add(part)
        for number, of_class in of_classes.read():
            yield _class_photos(rows[number], of_class, margins)


def _with_places(
    inputs: ReleaseInputs, photos: Rows, answers: Rows
) -> Iterator[tuple[pa.Table, pa.ChunkedArray, pa.Table]]:
    """The photos with their places, as hashes that stay here, and with all answers about them."""
    places = Beside(inputs.rows("members"), ["place"])
    columns = ["class_id", "group", "observer"]
    for own, said in alongside(photos, columns, answers, ["model", "is_correct"]):
        yield own, places.of(own["photo_id"])["place"], said


class _Beside:
    """What is known of photos beside what the release says of them."""

    def __init__(self, inputs: ReleaseInputs) -> None:
        known = {"appearance": APPEARANCE.arrow().names[1:], "animals": ANIMALS.arrow().names[1:], "candidates": TOLD}
        self._beside = [Beside(inputs.rows(name), columns) for name, columns in known.items()]

    def of(self, photo_ids: pa.ChunkedArray) -> list[pa.Table]:
        """Their look, where their animals are, and what the source tells."""
        return [beside.of(photo_ids) for beside in self._beside]


def _class_photos(row: dict[str, Any], photos: pa.Table, margins: Collection[str]) -> ClassPhotos | None:
    own = photos.append_column("observer", photos["unit"]).combine_chunks()
    each = np.column_stack([np.asarray(own[name]) for name in margins])
    return ClassPhotos.of(row, own, own, np.asarray(own["outcome"]), each)
