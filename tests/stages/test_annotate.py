"""Background profiles on features whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from counterset.backgrounds import Background, Templates
from counterset.classes import ClassSpec
from counterset.config_sections import ANNOTATORS, AnnotateConfig
from counterset.errors import ConfigError
from counterset.schemas import BACKGROUNDS
from counterset.stages.annotate import Annotation, annotate_class, background_classifiers, background_rows
from counterset.tables import conform

Features = npt.NDArray[np.float32]


def unit(rows: npt.NDArray[np.floating]) -> Features:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


class WordEncoder:
    """A text encoder whose axes are words, so that what a prompt says is known."""

    WORDS = ("bear", "snow", "grass", "water", "paper", "photo")

    def encode_texts(self, texts: Sequence[str]) -> Features:
        return unit(np.array([[0.1 + (word in text.lower()) for word in self.WORDS] for text in texts]))


BEAR = ClassSpec("bear", "bear")
VOCABULARY = tuple(Background(name, (f"on {name}", f"in {name}")) for name in ("snow", "grass", "water"))


def photos_of_bears(truth: npt.NDArray[np.int64], background: float, noise: float) -> Features:
    features = np.zeros((len(truth), 6))
    features[:, 0] = 1.5  # the animal, on every photo
    features[np.arange(len(truth)), 1 + truth] = background
    return unit(features + np.random.default_rng(1).normal(scale=noise, size=features.shape))


@pytest.mark.parametrize("method", ANNOTATORS)
def test_each_method_names_the_background(method: str) -> None:
    truth = np.random.default_rng(0).integers(0, 3, 600)
    directions = background_classifiers(WordEncoder(), VOCABULARY, [BEAR], method)["bear"]
    annotation = annotate_class(photos_of_bears(truth, 1.0, 0.1) @ directions.T, 3, method)
    assert (annotation.best == truth).mean() > 0.98
    assert annotation.profiles.shape == (600, 3)
    ordered = np.sort(annotation.profiles, axis=1)
    np.testing.assert_allclose(annotation.margins, ordered[:, -1] - ordered[:, -2], atol=1e-6)


def test_what_the_text_of_the_animal_says_cancels() -> None:
    """`bear` alone already says snow: prompts that name it must not point there for every background."""

    class SnowBear(WordEncoder):
        def encode_texts(self, texts: Sequence[str]) -> Features:
            counts = np.array([[0.1 + (word in text.lower()) for word in self.WORDS] for text in texts])
            counts[:, 1] += [2.0 * ("bear" in text.lower()) for text in texts]
            return unit(counts)

    joint = [SnowBear().encode_texts([f"A photo of bear on {name}."])[0] for name in ("snow", "grass", "water")]
    directions = background_classifiers(SnowBear(), VOCABULARY, [BEAR], "conditioned")["bear"]
    axes = np.eye(6, dtype=np.float32)[1]
    assert min(direction @ axes for direction in joint) > 0.5
    assert directions[0] @ axes > 0.5 and max(directions[1:] @ axes) < 0


def test_standardising_undoes_an_animal_that_looks_like_snow_at_the_price_of_usual_backgrounds() -> None:
    def right(method: str, shares: tuple[float, float, float]) -> float:
        truth = np.random.default_rng(2).choice(3, 900, p=shares)
        features = photos_of_bears(truth, 0.5, 0.05)
        features[:, 1] += 0.6  # every bear looks like snow
        directions = background_classifiers(WordEncoder(), VOCABULARY, [BEAR], method)["bear"]
        return float((annotate_class(unit(features) @ directions.T, 3, method).best == truth).mean())

    even, usual = (1 / 3, 1 / 3, 1 / 3), (0.98, 0.01, 0.01)
    assert right("plain", even) < 0.6 < 0.95 < right("standardised", even)
    assert right("standardised", usual) < 0.8 < 0.95 < right("plain", usual)


def test_combined_is_the_mean_of_plain_and_conditioned() -> None:
    plain, conditioned, combined = (
        background_classifiers(WordEncoder(), VOCABULARY, [BEAR], method)["bear"]
        for method in ("plain", "conditioned", "combined")
    )
    np.testing.assert_allclose(combined, (plain + conditioned) / 2, atol=1e-6)


def test_a_photo_of_what_is_excluded_has_a_negative_margin() -> None:
    vocabulary = (Background("snow", ("in snow",), ("on paper",)), *VOCABULARY[1:])
    features = unit(np.array([[1.5, 1, 0, 0, 0, 0], [1.5, 0, 0, 0, 1, 0], [1.5, 0.5, 0, 0, 0.6, 0]]))
    directions = background_classifiers(WordEncoder(), vocabulary, [BEAR], "plain")["bear"]
    assert directions.shape == (4, 6)
    annotation = annotate_class(features @ directions.T, 3, "plain")
    assert annotation.profiles.shape == (3, 3)
    assert annotation.margins[0] > 0 > max(annotation.margins[1:]) and annotation.best[2] == 0


def test_templates_are_data_and_places_are_encoded_once() -> None:
    class Counting(WordEncoder):
        seen: list[str] = []  # noqa: RUF012

        def encode_texts(self, texts: Sequence[str]) -> Features:
            self.seen.extend(texts)
            return super().encode_texts(texts)

    templates = Templates(("seen {phrase}",), ("{animal} seen {phrase}",), ("{animal} seen",))
    background_classifiers(Counting(), VOCABULARY, [BEAR, ClassSpec("cow", "cow")], "combined", templates)
    assert Counting.seen.count("seen on snow") == 1 and Counting.seen.count("cow seen on snow") == 1
    assert len(Counting.seen) == 6 + 2 * (6 + 1)


def test_texts_of_many_classes_are_encoded_together_where_that_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterset.stages.annotate.prompts.CLASSES_AT_ONCE", 3)

    class Counting(WordEncoder):
        num_calls = 0

        def encode_texts(self, texts: Sequence[str]) -> Features:
            self.num_calls += 1
            return super().encode_texts(texts)

    specs = [BEAR, *(ClassSpec(name, name) for name in ("cow", "snow bear", "paper bear", "grass"))]
    alone, together = Counting(), Counting()
    expected = background_classifiers(alone, VOCABULARY, specs, "conditioned")
    found = background_classifiers(together, VOCABULARY, specs, "conditioned", are_together=True)
    assert (alone.num_calls, together.num_calls) == (5, 2) and list(found) == list(expected)
    for class_id, directions in expected.items():
        np.testing.assert_array_equal(found[class_id], directions)


def test_unknown_method_is_named() -> None:
    with pytest.raises(ConfigError, match="combined, conditioned, plain, standardised"):
        background_classifiers(WordEncoder(), VOCABULARY, [BEAR], "guess")


@pytest.mark.parametrize("method", ANNOTATORS)
def test_a_class_without_photos(method: str) -> None:
    annotation = annotate_class(np.empty((0, 4), np.float32), 3, method)
    assert annotation.profiles.shape == (0, 3) and len(annotation.best) == len(annotation.margins) == 0


def test_the_annotator_abstains_without_a_group_and_below_the_smallest_margin() -> None:
    profiles = np.asarray([[3, 1], [3, 2.5], [1, 3], [0, 2]], np.float32)
    annotation = Annotation(profiles, np.array([0, 0, 1, 1]), np.array([2, 0.5, 2, 2], np.float32))
    groups = ["snow", "snow", None, "grass"]
    config = AnnotateConfig(min_margin=1.0)
    rows = background_rows("bear", ["a", "b", "c", "d"], annotation, groups, ["snow", "grass"], config)
    table = conform(rows, BACKGROUNDS)
    assert table["group"].to_pylist() == ["snow", None, None, "grass"]
    assert table["is_confident"].to_pylist() == [True, False, False, True]
    assert table["background"].to_pylist() == ["snow", "snow", "grass", "grass"]
    assert table["profile"].to_pylist() == profiles.tolist() and set(table["class_id"].to_pylist()) == {"bear"}
    at_the_edge = background_rows(
        "bear", ["b"], Annotation(*(part[1:2] for part in annotation)), ["snow"], ["snow", "grass"], AnnotateConfig()
    )
    assert at_the_edge["group"].to_pylist() == ["snow"]
