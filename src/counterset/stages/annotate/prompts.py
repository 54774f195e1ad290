"""The text directions that annotation methods are made of, and what a method is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from counterset.backgrounds import Background, Templates, excluded_phrases
from counterset.classes import ClassSpec

Features = npt.NDArray[np.float32]


class TextEncoder(Protocol):
    """What this stage needs of a model."""

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length text features."""
        ...


class Prompts:
    """The directions of B backgrounds and E excluded phrases under one encoder; each is (B + E, D), of unit length."""

    def __init__(self, encoder: TextEncoder, vocabulary: Sequence[Background], templates: Templates) -> None:
        self._encoder = encoder
        self._templates = templates
        self._phrase_sets = [background.phrases for background in vocabulary]
        self._phrase_sets += [(phrase,) for phrase in excluded_phrases(vocabulary)]

    @functools.cached_property
    def places(self) -> Features:
        """The means of the `place` prompts, which name no class."""
        return _directions(self._encoder, self._templates.place, self._phrase_sets, "")

    def scenes(self, spec: ClassSpec) -> Features:
        """The means of the `scene` prompts, which name the class, minus that of the `animal` prompts, so that what
        the text of the animal alone explains cancels."""
        alone = self._encoder.encode_texts([template.format(animal=spec.name) for template in self._templates.animal])
        return _directions(self._encoder, self._templates.scene, self._phrase_sets, spec.name, alone.mean(axis=0))


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


def _directions(
    encoder: TextEncoder,
    templates: Sequence[str],
    phrase_sets: Sequence[Sequence[str]],
    animal: str,
    origin: Features | None = None,
) -> Features:
    """(len(phrase_sets), D) unit-length means over phrases and templates, from `origin`."""
    texts = [
        [template.format(phrase=phrase, animal=animal) for phrase in phrases for template in templates]
        for phrases in phrase_sets
    ]
    features = encoder.encode_texts([text for group in texts for text in group])
    ends = np.cumsum([len(group) for group in texts])
    # (texts, D) -> (B + E, D)
    means = np.stack([part.mean(axis=0) for part in np.split(features, ends[:-1])])
    if origin is not None:
        means = means - origin
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12), np.float32)
