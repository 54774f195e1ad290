"""The audit of a release: how near its photos are to a training set, and what that does to its drops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.load import Release
from counterset.schemas import Half
from counterset.similarity.bands import band_table
from counterset.similarity.embedding_sets import Vectors
from counterset.similarity.schemas import BANDS, GROUPS, NEAREST, OWN_DUPLICATES
from counterset.similarity.search import pairs_above
from counterset.statistics.metrics import COMMON, COUNTER, Outcomes
from counterset.tables import conform, table_of

NEAR_DUPLICATE = 0.95
"""Similarity above which two photos are called nearly the same, unless the caller says otherwise."""
NUM_BANDS = 10


@dataclass(frozen=True)
class Audit:
    """What an audit finds.

    Attributes:
        nearest: one row per photo (`NEAREST`).
        groups: one row per class and group (`GROUPS`).
        bands: one row per model and band (`BANDS`).
        own_duplicates: pairs of the release's own photos (`OWN_DUPLICATES`).
        num_missing: photos of the release without an embedding; they are in none of these.
        num_unpredicted: model -> photos of the pairs that it has no prediction of, which its bands
            leave out; models without any are left out here.
    """

    nearest: pa.Table
    groups: pa.Table
    bands: pa.Table
    own_duplicates: pa.Table
    num_missing: int
    num_unpredicted: Mapping[str, int]


def audit_release(
    release: Release,
    photo_ids: Sequence[str],
    vectors: Vectors,
    nearest_ids: Sequence[str],
    similarity: npt.NDArray[np.float32],
    *,
    threshold: float = NEAR_DUPLICATE,
    num_bands: int = NUM_BANDS,
    seed: int = 0,
) -> Audit:
    """The tables of an audit.

    Args:
        release: the release.
        photo_ids: (Q,) photos with an embedding; those of other photos are left out.
        vectors: (Q, D) their embeddings.
        nearest_ids: (Q,) ids of their most similar training images.
        similarity: (Q,) to these.
        threshold: above it, two images are near duplicates.
        num_bands: bands of similarity.
        seed: of the bootstrap.
    """
    neighbours = pa.table(
        {
            "photo_id": pa.array(photo_ids, pa.string()),
            "nearest_id": pa.array(nearest_ids, pa.string()),
            "similarity": pa.array(similarity, pa.float32()),
            "is_near_duplicate": pa.array(similarity > np.float32(threshold)),
        }
    )
    photos = release.all_photos.select(["photo_id", "class_id", "split", "group", "half", "observer", "unit"])
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.register("photos", photos)
        connection.register("neighbours", neighbours)
        joined = connection.sql("SELECT * FROM photos JOIN neighbours USING (photo_id)").to_arrow_table()
        connection.register("joined", joined)
        groups = connection.sql(
            """
            SELECT class_id, coalesce("group", '') AS "group", any_value(split) AS split, count(*) AS num_photos,
                   round(avg(similarity::DOUBLE), 9) AS mean, quantile_cont(similarity::DOUBLE, 0.25) AS lower_quartile,
                   quantile_cont(similarity::DOUBLE, 0.5) AS median,
                   quantile_cont(similarity::DOUBLE, 0.75) AS upper_quartile,
                   max(similarity)::DOUBLE AS highest, count(*) FILTER (is_near_duplicate) AS num_near_duplicates
            FROM joined GROUP BY ALL
            """
        ).to_arrow_table()
    return Audit(
        conform(joined, NEAREST),
        conform(groups, GROUPS),
        _bands(release, joined, num_bands, seed),
        own_duplicates(photos, photo_ids, vectors, threshold),
        photos.num_rows - joined.num_rows,
        _predicted(release, joined).num_unpredicted,
    )


def own_duplicates(photos: pa.Table, photo_ids: Sequence[str], vectors: Vectors, threshold: float) -> pa.Table:
    """Pairs of a release's own photos with similarity above `threshold` (`OWN_DUPLICATES`).

    Args:
        photos: photo_id, class_id, half and observer of the release's photos.
        photo_ids: (N,) photos with an embedding.
        vectors: (N, D) their embeddings.
        threshold: in (0, 1).
    """
    about = {row["photo_id"]: row for row in photos.select(["photo_id", "class_id", "half", "observer"]).to_pylist()}
    kept = np.array([index for index, photo_id in enumerate(photo_ids) if photo_id in about], np.int64)
    rows = []
    for pairs in pairs_above(vectors[kept], vectors[kept], threshold):
        for one, two, similarity in zip(*pairs, strict=True):
            first, second = (about[photo_ids[kept[index]]] for index in (one, two))
            if first["photo_id"] < second["photo_id"]:
                rows.append(
                    {
                        "photo_id": first["photo_id"],
                        "other_id": second["photo_id"],
                        "class_id": first["class_id"],
                        "other_class_id": second["class_id"],
                        "is_across_halves": {first["half"], second["half"]} == {Half.DISCOVER, Half.CONFIRM},
                        "is_same_observer": first["observer"] == second["observer"],
                        "similarity": float(similarity),
                    }
                )
    return table_of(OWN_DUPLICATES, rows)


@dataclass(frozen=True)
class _Predicted:
    """Photos of the pairs, sorted by id, and what the models make of them.

    Attributes:
        photos: (N,) rows: photo_id, class_id, split, observer, unit, similarity.
        models: (M,) names.
        is_known: (N, M) whether the model has a prediction of the photo.
        is_correct: (N, M) false where there is none.
    """

    photos: pa.Table
    models: tuple[str, ...]
    is_known: npt.NDArray[np.bool_]
    is_correct: npt.NDArray[np.bool_]

    @property
    def num_unpredicted(self) -> dict[str, int]:
        """Photos that a model has no prediction of, for the models that lack some."""
        lacking = (~self.is_known).sum(axis=0).tolist()
        return {model: number for model, number in zip(self.models, lacking, strict=True) if number}


def _predicted(release: Release, joined: pa.Table) -> _Predicted:
    """Of the pairs that the release counts, or of all pairs when it counts none."""
    counted = pa.concat_tables([release.common.select(["photo_id"]), release.counter.select(["photo_id"])])
    paired = joined.filter(pc.is_valid(joined["split"]))
    if counted.num_rows:
        paired = paired.filter(pc.is_in(paired["photo_id"], counted["photo_id"].combine_chunks()))
    paired = paired.sort_by("photo_id")
    place = {photo_id: row for row, photo_id in enumerate(paired["photo_id"].to_pylist())}
    rows = _of_space(release).select(["photo_id", "model", "is_correct"]).to_pylist()
    rows = [row for row in rows if row["photo_id"] in place]
    models = tuple(sorted({row["model"] for row in rows}))
    column = {model: index for index, model in enumerate(models)}
    predicted = _Predicted(
        paired, models, np.zeros((len(place), len(models)), np.bool_), np.zeros((len(place), len(models)), np.bool_)
    )
    for row in rows:
        cell = place[row["photo_id"]], column[row["model"]]
        predicted.is_known[cell], predicted.is_correct[cell] = True, row["is_correct"]
    return predicted


def _bands(release: Release, joined: pa.Table, num_bands: int, seed: int) -> pa.Table:
    predicted = _predicted(release, joined)
    if not predicted.models:
        return table_of(BANDS, [])
    photos = predicted.photos
    class_ids, class_index = np.unique(np.array(photos["class_id"].to_pylist()), return_inverse=True)
    unit, observer = (
        np.unique(np.array(column.to_pylist()), return_inverse=True)[1].astype(np.int64)
        for column in (pc.coalesce(photos["unit"], photos["observer"]), photos["observer"])
    )
    outcomes = Outcomes(
        tuple(map(str, class_ids)),
        predicted.models,
        class_index.astype(np.int64),
        np.where(np.array(photos["split"].to_pylist()) == "common", COMMON, COUNTER).astype(np.int64),
        unit,
        predicted.is_correct,
        observer=observer,
    )
    similarity = photos["similarity"].to_numpy().astype(np.float32)
    return band_table(outcomes, similarity, num_bands=num_bands, seed=seed, is_known=predicted.is_known)


def _of_space(release: Release) -> pa.Table:
    """The predictions among the labels that the release was built with; a file of labels is known by its name."""
    predictions = release.predictions
    space = PurePath(release.metadata["config"]["evaluate"]["label_space"]).name
    spaces = [name for name in predictions["label_space"].unique().to_pylist() if PurePath(name).name == space]
    return predictions.filter(pc.is_in(predictions["label_space"], pa.array(spaces, pa.string())))
