"""Evaluate: zero-shot predictions of one model for a shard's photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from counterset.schemas import PREDICTIONS
from counterset.tables import feature_matrix, table_of


def predict(
    embeddings: pa.Table,
    class_of: Mapping[str, str],
    classifier: npt.NDArray[np.float32],
    *,
    labels: Sequence[str],
    index_of: Mapping[str, int],
    model: str,
    label_space: str,
) -> pa.Table:
    """One prediction row per photo (predictions schema).

    Args:
        embeddings: unit-length features of one model (embeddings schema).
        class_of: photo_id -> class_id; photos without one are left out.
        classifier: (C, D) unit-length text features, one row per label.
        labels: the C labels.
        index_of: class_id -> row of its label.
        model: name put into the rows.
        label_space: name put into the rows.
    """
    photo_ids = embeddings["photo_id"].to_pylist()
    rows = [row for row, photo_id in enumerate(photo_ids) if photo_id in class_of]
    kept = [photo_ids[row] for row in rows]
    features = feature_matrix(embeddings)[rows]
    truths = np.array([index_of[class_of[photo_id]] for photo_id in kept], np.int64)
    # (N, D) @ (D, C) -> (N, C)
    logits = features @ classifier.T
    truth_logits = logits[np.arange(len(kept)), truths]
    # Ties count against the model: a truth that shares the highest logit is not rank 1 by luck.
    rank = (logits >= truth_logits[:, None]).sum(axis=1)
    others = logits.copy()
    others[np.arange(len(kept)), truths] = -np.inf
    best_other = others.argmax(axis=1) if len(kept) else np.zeros(0, np.int64)
    margin = truth_logits - others[np.arange(len(kept)), best_other]
    is_correct = margin > 0
    predicted = np.where(is_correct, truths, best_other)
    return table_of(
        PREDICTIONS,
        {
            "photo_id": kept,
            "model": [model] * len(kept),
            "label_space": [label_space] * len(kept),
            "predicted": [labels[index] for index in predicted],
            "is_correct": is_correct,
            "rank_of_truth": rank.astype(np.int32),
            "margin": margin.astype(np.float32),
        },
    )
