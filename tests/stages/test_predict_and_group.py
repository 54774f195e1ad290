"""Evaluate, annotate and group on features whose answer is known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from counterset.backgrounds import Background
from counterset.classes import ClassSpec
from counterset.config import GroupConfig
from counterset.errors import ConfigError
from counterset.schemas import embeddings
from counterset.stages.annotate import background_classifier, finish_profiles, margins
from counterset.stages.evaluate import predict
from counterset.stages.group import group_photos
from counterset.tables import table_of

Features = np.ndarray


def unit(rows: Features) -> Features:
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


class WordEncoder:
    """A text encoder whose axes are words, so that what a prompt says is known."""

    WORDS = ("bear", "snow", "grass", "water", "photo")

    def encode_texts(self, texts: list[str]) -> Features:
        counts = np.array([[0.1 + (word in text.lower()) for word in self.WORDS] for text in texts])
        return unit(counts)


VOCABULARY = tuple(Background(name, (f"on {name}", f"in {name}")) for name in ("snow", "grass", "water"))


@pytest.mark.parametrize("method", ["plain", "conditioned", "standardised"])
def test_each_method_names_the_background(method: str) -> None:
    encoder = WordEncoder()
    spec = ClassSpec("bear", "bear")
    directions = background_classifier(encoder, VOCABULARY, spec, method)
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 600)
    features = np.zeros((600, 5))
    features[:, 0] = 1.5  # the animal, on every photo
    features[np.arange(600), 1 + truth] = 1.0
    features += rng.normal(scale=0.1, size=features.shape)
    profiles = finish_profiles(unit(features) @ directions.T, method)
    assert (profiles.argmax(axis=1) == truth).mean() > 0.98
    assert margins(profiles).min() >= 0


def test_an_animal_that_looks_like_snow_does_not_pull_a_conditioned_profile() -> None:
    class WhiteBear(WordEncoder):
        def encode_texts(self, texts: list[str]) -> Features:
            counts = np.array([[0.1 + (word in text.lower()) for word in self.WORDS] for text in texts])
            counts[:, 1] += ["bear" in text.lower() for text in texts]  # "bear" alone already says snow
            return unit(counts)

    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 600)
    features = np.zeros((600, 5))
    features[:, :2] = 1.0
    features[np.arange(600), 1 + truth] += 0.5
    features = unit(features + rng.normal(scale=0.05, size=features.shape))
    accuracy = {}
    for method in ("plain", "conditioned", "standardised"):
        directions = background_classifier(WhiteBear(), VOCABULARY, ClassSpec("bear", "bear"), method)
        profiles = finish_profiles(features @ directions.T, method)
        accuracy[method] = (profiles.argmax(axis=1) == truth).mean()
    assert accuracy["plain"] < 0.6
    assert accuracy["standardised"] > 0.95


def test_unknown_method_is_named() -> None:
    with pytest.raises(ConfigError, match="plain, conditioned or standardised"):
        background_classifier(WordEncoder(), VOCABULARY, ClassSpec("bear", "bear"), "guess")


def blobs(sizes: list[int], spread: float, seed: int = 0) -> tuple[Features, Features]:
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    profiles = np.eye(len(sizes))[truth] + rng.normal(scale=spread, size=(sum(sizes), len(sizes)))
    return np.asarray(profiles, np.float32), truth


def test_groups_find_the_blobs_and_repeat_exactly() -> None:
    profiles, truth = blobs([200, 120, 60, 40], 0.12)
    names = ["snow", "grass", "water", "sand"]
    groups = group_photos(profiles, names, GroupConfig(), seed=3)
    named = [(group, names[background]) for group, background in zip(groups, truth, strict=True) if group]
    assert len(named) > 0.95 * len(truth)
    assert sum(group == background for group, background in named) > 0.99 * len(named)
    assert groups == group_photos(profiles, names, GroupConfig(), seed=3)


def test_small_mixed_and_few_abstain() -> None:
    names = ["snow", "grass", "water", "sand"]
    noise = np.asarray(np.random.default_rng(0).normal(size=(300, 4)), np.float32)
    pure = group_photos(noise, names, GroupConfig(min_purity=0.99), seed=0)
    loose = group_photos(noise, names, GroupConfig(min_purity=0.0), seed=0)
    assert sum(group is None for group in pure) > sum(group is None for group in loose)
    assert group_photos(noise[:5], names, GroupConfig(), seed=0) == [None] * 5
    assert group_photos(noise[:0], names, GroupConfig(), seed=0) == []
