"""None of these: a photo that other places suit better than its name gets none, and no pair is made of such names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterset.backgrounds import Background, load_elsewhere
from counterset.config_sections import AnnotateConfig, GroupConfig
from counterset.stages.annotate import (
    Annotation,
    annotate_class,
    background_classifiers,
    background_rows,
    none_of_these,
    places_and_elsewhere,
    shares_elsewhere,
)
from counterset.stages.annotate.prompts import Features
from counterset.stages.group import group_photos

from .test_annotate import BEAR, unit

ELSEWHERE = ("on grass", "in the water", "on snow", "in a kitchen", "on a table", "in a cage", "on a stage", "in a box")
STYLES = tuple(Background(name, (f"in {name}",)) for name in ("fog", "night", "blur"))
PLACES = tuple(Background(name, (f"on {name}",)) for name in ("grass", "snow", "water"))


def elsewhere(annotation: Annotation, features: Features, directions: Features) -> Features:
    """(N,) of each photo, the share of other places that suit it better than its name."""
    shares = shares_elsewhere(features, directions, annotation.profiles.shape[1])
    return shares[np.arange(len(features)), annotation.best]


class Words:
    """A text encoder whose axes are words."""

    AXES = ("bear", "grass", "water", "snow", "kitchen", "table", "cage", "stage", "box", "fog", "night", "blur")

    def encode_texts(self, texts: Sequence[str]) -> Features:
        return unit(np.array([[0.05 + (axis in text.lower()) for axis in self.AXES] for text in texts]))


def photos(axis: str, count: int, seed: int) -> Features:
    features = np.zeros((count, len(Words.AXES)))
    features[:, 0] = 1.0
    features[:, Words.AXES.index(axis)] = 1.0
    return unit(features + np.random.default_rng(seed).normal(scale=0.12, size=features.shape))


def groups(vocabulary: Sequence[Background], features: Features, limit: float) -> list[str | None]:
    encoder, names = Words(), [background.name for background in vocabulary]
    directions = background_classifiers(encoder, vocabulary, [BEAR], "combined")["bear"]
    annotation = annotate_class(features @ directions.T, len(names), "combined")
    if limit < 1:
        directions = places_and_elsewhere(encoder, vocabulary, ELSEWHERE)
        annotation = none_of_these(annotation, elsewhere(annotation, features, directions), limit)
    formed = group_photos(annotation.profiles, annotation.margins, names, GroupConfig(), seed=0)
    rows = background_rows("bear", [str(n) for n in range(len(features))], annotation, formed, names, AnnotateConfig())
    groups: list[str | None] = rows["group"].to_pylist()
    return groups


def test_no_group_is_formed_of_styles_that_no_photo_has() -> None:
    """Without the test every photo on grass or snow is called fog, night or blur, and a pair can be made of them."""
    features = np.concatenate([photos("grass", 100, 1), photos("snow", 100, 2)])
    called = groups(STYLES, features, 1.0)
    assert sum(name is not None for name in called) > 150
    assert sum(name is not None for name in groups(STYLES, features, 0.1)) <= 10


def test_photos_of_the_vocabulary_keep_their_names_and_others_lose_them() -> None:
    features = np.concatenate([photos("grass", 100, 3), photos("water", 100, 4), photos("kitchen", 60, 5)])
    encoder = Words()
    directions = background_classifiers(encoder, PLACES, [BEAR], "combined")["bear"]
    annotation = annotate_class(features @ directions.T, 3, "combined")
    directions = places_and_elsewhere(encoder, PLACES, ELSEWHERE[3:])
    checked = none_of_these(annotation, elsewhere(annotation, features, directions), 0.1)
    assert (annotation.margins >= 0).all()  # the second name of the vocabulary says nothing of a kitchen
    assert (checked.margins[:200] >= 0).mean() > 0.97 and (checked.margins[200:] < 0).mean() > 0.97
    np.testing.assert_array_equal(
        checked.margins[:200][checked.margins[:200] >= 0], annotation.margins[:200][checked.margins[:200] >= 0]
    )


def test_a_near_second_name_of_the_vocabulary_is_no_reason() -> None:
    """This is no margin: a photo between two names of the vocabulary keeps one."""
    between = unit(photos("grass", 100, 6) + photos("water", 100, 7))
    encoder = Words()
    directions = background_classifiers(encoder, PLACES, [BEAR], "combined")["bear"]
    annotation = annotate_class(between @ directions.T, 3, "combined")
    directions = places_and_elsewhere(encoder, PLACES, ELSEWHERE)
    checked = none_of_these(annotation, elsewhere(annotation, between, directions), 0.25)
    small = annotation.margins < np.median(annotation.margins)
    assert (checked.margins[small] >= 0).mean() > 0.95


def test_phrases_that_are_nearest_to_a_name_do_not_count_against_it() -> None:
    directions = np.eye(4, dtype=np.float32)[[0, 1, 0, 2, 3]]  # two names; a synonym of the first, two other places
    directions[2] = unit(np.array([[1.0, 0.1, 0, 0]]))[0]
    directions[3] = unit(np.array([[0.1, 0.2, 1, 0]]))[0]  # nearest to the second
    directions[4] = unit(np.array([[0.1, 0.2, 0, 1]]))[0]
    photo = unit(np.array([[0.3, 0.1, 0.5, 0.7]]))
    scores = (photo @ directions.T)[0]
    assert (scores[2:] > scores[0]).all() and (scores[2:] > scores[1]).all()
    np.testing.assert_allclose(shares_elsewhere(photo, directions, 2), [[2 / 3, 1 / 3]])


def test_the_phrases_of_other_places() -> None:
    phrases = load_elsewhere()
    assert len(phrases) == len(set(phrases)) == 180
    assert all(phrase == phrase.strip().lower() and not phrase.endswith(".") for phrase in phrases)
    assert "on a plain white background" in phrases


def test_without_other_places_nothing_suits_a_photo_better() -> None:
    """A vocabulary of light is compared with no places."""
    features = np.eye(3, dtype=np.float32)
    assert shares_elsewhere(features, np.eye(3, dtype=np.float32)[:2], 2).tolist() == [[0, 0]] * 3
