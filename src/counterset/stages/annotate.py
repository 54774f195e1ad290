"""Annotate: a profile of background scores for each photo of one class.

Four methods behind one signature. All work on unit-length features of the annotator
and never see the selector or its predictions. `benchmarks/annotation.py` measures them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from counterset.backgrounds import Background, Templates, excluded_phrases, load_templates
from counterset.classes import ClassSpec
from counterset.errors import ConfigError

Features = npt.NDArray[np.float32]

METHODS = ("combined", "plain", "conditioned", "standardised")


class TextEncoder(Protocol):
    """What this stage needs of a model."""

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length text features."""
        ...


class Annotation(NamedTuple):
    """The backgrounds of N photos of one class.

    Attributes:
        profiles: (N, B) scores, higher is likelier.
        best: (N,) position of the highest.
        margins: (N,) highest score minus the highest other, excluded phrases included:
            below 0 where one of those is likelier than every background.
    """

    profiles: Features
    best: npt.NDArray[np.int64]
    margins: Features


def background_classifiers(
    encoder: TextEncoder,
    vocabulary: Sequence[Background],
    specs: Sequence[ClassSpec],
    method: str,
    templates: Templates | None = None,
) -> dict[str, Features]:
    """class_id -> (B + E, D) text directions: the B backgrounds, then the E excluded phrases.

    plain: the unit-length mean of the `place` prompts. conditioned and standardised: the
    `scene` prompts, which name the class, minus the `animal` prompts, so that what the
    text of the animal alone explains cancels. combined: the mean of plain's and
    conditioned's directions.

    Args:
        encoder: the annotator.
        vocabulary: the backgrounds.
        specs: the classes.
        method: one of METHODS.
        templates: None = the packaged ones.

    Raises:
        ConfigError: no such method.
    """
    if method not in METHODS:
        raise ConfigError(f"unknown annotate.method {method!r}; use {', '.join(METHODS[:-1])} or {METHODS[-1]}")
    templates = templates or load_templates()
    phrase_sets = [background.phrases for background in vocabulary]
    phrase_sets += [(phrase,) for phrase in excluded_phrases(vocabulary)]
    plain = _directions(encoder, templates.place, phrase_sets, "") if method in ("plain", "combined") else None
    classifiers = {}
    for spec in specs:
        if method == "plain":
            assert plain is not None
            classifiers[spec.class_id] = plain
            continue
        alone = encoder.encode_texts([template.format(animal=spec.name) for template in templates.animal])
        directions = _directions(encoder, templates.scene, phrase_sets, spec.name, alone.mean(axis=0))
        classifiers[spec.class_id] = directions if plain is None else (plain + directions) / np.float32(2)
    return classifiers


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


def annotate_class(scores: Features, num_backgrounds: int, method: str) -> Annotation:
    """The backgrounds of all photos of one class.

    plain, conditioned, combined: the scores as they are. standardised: each column is
    centred and scaled over the class's photos, which removes the pull of the animal
    toward its usual background, and with it the backgrounds that are usual for the class.

    Args:
        scores: (N, B + E) image features @ background classifier.T.
        num_backgrounds: B.
        method: as for `background_classifiers`.
    """
    if method == "standardised" and len(scores) > 1:
        spread = scores.std(axis=0)
        scores = (scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1)
    profiles = np.asarray(scores[:, :num_backgrounds], np.float32)
    best = profiles.argmax(axis=1) if len(profiles) else np.zeros(0, np.int64)
    others = np.array(scores, np.float32)
    others[np.arange(len(scores)), best] = -np.inf
    highest = profiles[np.arange(len(profiles)), best]
    return Annotation(profiles, best, np.asarray(highest - others.max(axis=1, initial=-np.inf), np.float32))


def entropies(profiles: Features) -> Features:
    """(N,) Shannon entropy of softmax(profile / s) over log B: 0 = one background, 1 = all alike.

    s is a third of the standard deviation of the class's scores around each photo's mean,
    so the entropy does not depend on the model's scale.

    Args:
        profiles: (N, B) scores of one class's photos.
    """
    centred = profiles - profiles.mean(axis=1, keepdims=True)
    spread = float(centred.std()) if centred.size else 0.0
    logits = 3 * centred / (spread or 1.0)
    # (N, B) -> (N,)
    logits = logits - logits.max(axis=1, keepdims=True)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    terms = shares * np.log(np.maximum(shares, 1e-30))
    return np.asarray(-terms.sum(axis=1) / np.log(profiles.shape[1]), np.float32)
