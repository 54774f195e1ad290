"""The text directions that annotation methods are made of, and what a method is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from counterset.backgrounds import Background, Templates, excluded_phrases
from counterset.classes import ClassSpec

CLASSES_AT_ONCE = 100
"""Whose texts are encoded together: full batches, and few files where texts are kept."""

Features = npt.NDArray[np.float32]


class TextEncoder(Protocol):
    """What this stage needs of a model."""

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length text features."""
        ...


class Prompts:
    """The directions of B backgrounds and E excluded phrases under one encoder; each is (B + E, D), of unit length.

    Args:
        encoder: of the texts.
        vocabulary: the B backgrounds, and what they exclude.
        templates: of the texts.
        specs: classes that `scenes` will be asked for, whose texts are encoded together.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        vocabulary: Sequence[Background],
        templates: Templates,
        specs: Sequence[ClassSpec] = (),
    ) -> None:
        self._encoder = encoder
        self._templates = templates
        self._specs, self._scenes = list(specs), dict[str, Features]()
        self._phrase_sets = [background.phrases for background in vocabulary]
        self._phrase_sets += [(phrase,) for phrase in excluded_phrases(vocabulary)]

    @functools.cached_property
    def places(self) -> Features:
        """The means of the `place` prompts, which name no class."""
        templates = self._templates.place
        return self._directions(self._encoder.encode_texts(self._texts(templates, "")), templates)

    def scenes(self, spec: ClassSpec) -> Features:
        """The means of the `scene` prompts, which name the class, minus that of the `animal` prompts, so that what
        the text of the animal alone explains cancels."""
        if spec.class_id not in self._scenes:
            start = self._specs.index(spec) if spec in self._specs else len(self._specs)
            self._scenes = self._scenes_of([spec, *self._specs[start + 1 : start + CLASSES_AT_ONCE]])
        return self._scenes[spec.class_id]

    def _scenes_of(self, specs: Sequence[ClassSpec]) -> dict[str, Features]:
        """class_id -> (B + E, D)."""
        animal, scene = self._templates.animal, self._templates.scene
        texts = [
            [template.format(animal=spec.name) for template in animal] + self._texts(scene, spec.name) for spec in specs
        ]
        features = self._encoder.encode_texts([text for own in texts for text in own])
        parts = np.split(features, len(specs))  # there are as many texts of each class
        return {
            spec.class_id: self._directions(part[len(animal) :], scene, part[: len(animal)].mean(axis=0))
            for spec, part in zip(specs, parts, strict=True)
        }

    def _texts(self, templates: Sequence[str], animal: str) -> list[str]:
        """The prompts of all phrases, a background after the other."""
        phrases = [phrase for phrases in self._phrase_sets for phrase in phrases]
        return [template.format(phrase=phrase, animal=animal) for phrase in phrases for template in templates]

    def _directions(self, features: Features, templates: Sequence[str], origin: Features | None = None) -> Features:
        """(B + E, D) unit-length means of the features of `_texts`, from `origin`."""
        ends = np.cumsum([len(phrases) * len(templates) for phrases in self._phrase_sets])
        # (texts, D) -> (B + E, D)
        means = np.stack([part.mean(axis=0) for part in np.split(features, ends[:-1])])
        if origin is not None:
            means = means - origin
        return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12), np.float32)


def as_they_are(scores: Features) -> Features:
    """The scores, unchanged."""
    return scores


class Method(NamedTuple):
    """One annotation method.

    Attributes:
        directions: of the prompts and a class gives (B + E, D) text directions.
        scores: of (N, B + E) scores of all photos of one class gives those that are compared.
        surroundings: what is named is a mean of a photo's two vectors, and this is the share of the places around the
            animal in it; 0 = the plain vector, for which those are never computed.
    """

    directions: Callable[[Prompts, ClassSpec], Features]
    scores: Callable[[Features], Features] = as_they_are
    surroundings: float = 0.0

    def vectors(self, features: Features, around: Features | None) -> Features:
        """(N, D) vectors that are compared with the directions.

        Args:
            features: (N, D) plain vectors.
            around: (N, D) of the places around the animal; None where `surroundings` is 0.
        """
        if around is None:
            return features
        share = np.float32(self.surroundings)
        return np.asarray((1 - share) * features + share * around, np.float32)
