"""From a model's vectors to predictions, class by class, so that memory is one class's photos."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from counterset.evaluation.label_spaces import CandidateLabels
from counterset.evaluation.photos import PairPhotos
from counterset.evaluation.vectors import Floats32
from counterset.schemas import PREDICTIONS
from counterset.stages.evaluate import predict
from counterset.tables import conform


def score(photos: PairPhotos, vectors: Floats32, rows: Floats32, candidates: CandidateLabels, model: str) -> pa.Table:
    """One prediction row per photo (predictions schema).

    Args:
        photos: the photos.
        vectors: (N, D) of the model.
        rows: (C, D) of the labels.
        candidates: the labels that each class's photos are asked about.
        model: name put into the rows.
    """
    tables = [PREDICTIONS.arrow().empty_table()]
    for class_id in sorted(set(photos.class_id.tolist())):
        kept = photos.class_id == class_id
        positions = list(candidates.of_class[class_id])
        truth = positions.index(candidates.space.index_of[class_id])
        # (N, D) -> N lists of D
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors[kept].reshape(-1)), vectors.shape[1])
        tables.append(
            predict(
                pa.table({"photo_id": photos.photo_id[kept].tolist(), "embedding": column}),
                dict.fromkeys(photos.photo_id[kept].tolist(), class_id),
                np.asarray(rows[positions]),
                labels=[candidates.space.labels[position] for position in positions],
                index_of={class_id: truth},
                model=model,
                label_space=candidates.name,
            )
        )
    return conform(pa.concat_tables(tables), PREDICTIONS)
