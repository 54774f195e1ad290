"""Zero-shot predictions on features whose answer is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from counterset.schemas import embeddings
from counterset.stages.evaluate import predict
from counterset.tables import table_of

Features = npt.NDArray[np.float32]


def unit(rows: npt.NDArray[np.floating]) -> Features:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def embedding_table(features: Features) -> pa.Table:
    ids = [f"p{number:04d}" for number in range(len(features))]
    return table_of(
        embeddings(features.shape[1]),
        {"photo_id": ids, "model": ["m"] * len(ids), "embedding": list(features)},
    )


def test_predictions_equal_a_naive_loop() -> None:
    rng = np.random.default_rng(0)
    features, classifier = unit(rng.normal(size=(200, 16))), unit(rng.normal(size=(7, 16)))
    labels = [f"label {index}" for index in range(7)]
    class_of = {f"p{number:04d}": f"c{number % 3}" for number in range(190)}
    index_of = {"c0": 5, "c1": 2, "c2": 0}
    rows = predict(
        embedding_table(features),
        class_of,
        classifier,
        labels=labels,
        index_of=index_of,
        model="m",
        label_space="l",
    ).to_pylist()
    assert len(rows) == 190
    for row in rows:
        number = int(row["photo_id"][1:])
        logits = [float(features[number].astype(np.float64) @ direction) for direction in classifier]
        truth = index_of[class_of[row["photo_id"]]]
        order = sorted(range(7), key=lambda index: -logits[index])
        assert row["predicted"] == labels[order[0]]
        assert row["is_correct"] == (order[0] == truth)
        assert row["rank_of_truth"] == order.index(truth) + 1
        best_other = max(logits[index] for index in range(7) if index != truth)
        assert row["margin"] == pytest.approx(logits[truth] - best_other, abs=1e-5)


def test_a_shard_without_photos_has_no_predictions() -> None:
    """All photos of a small shard may fail: those that a rebuild retries, for one."""
    table = embedding_table(np.zeros((0, 16), np.float32))
    classifier = unit(np.eye(16)[:3])
    found = predict(table, {}, classifier, labels=list("abc"), index_of={}, model="m", label_space="l")
    assert found.num_rows == 0


def test_a_tie_is_not_right_by_luck() -> None:
    classifier = unit(np.array([[1.0, 0.0], [1.0, 0.0]]))
    [row] = predict(
        embedding_table(unit(np.array([[1.0, 0.5]]))),
        {"p0000": "c"},
        classifier,
        labels=["a", "b"],
        index_of={"c": 0},
        model="m",
        label_space="l",
    ).to_pylist()
    assert not row["is_correct"] and row["rank_of_truth"] == 2
