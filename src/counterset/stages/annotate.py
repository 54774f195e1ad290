"""Annotate: a profile of background scores for each photo of one class.

Three methods behind one signature. All work on unit-length features of the annotator
and never see the selector or its predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from counterset.backgrounds import Background
from counterset.classes import ClassSpec
from counterset.errors import ConfigError

Features = npt.NDArray[np.float32]


class TextEncoder(Protocol):
    """What this stage needs of a model."""

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """(N, D) unit-length text features."""
        ...


def background_classifier(
    encoder: TextEncoder, vocabulary: Sequence[Background], spec: ClassSpec, method: str
) -> Features:
    """(B, D) text directions of the vocabulary for one class.

    plain: the mean of "A photo taken PHRASE."; conditioned and standardised use the
    class, "A photo of a CLASS PHRASE." minus "A photo of a CLASS.", so that what the
    animal alone explains cancels (the animal is not the background).

    Raises:
        ConfigError: the method is none of the three.
    """
    if method == "plain":
        templates, alone = ["A photo taken {phrase}."], None
    elif method in ("conditioned", "standardised"):
        templates = [f"A photo of {spec.name} {{phrase}}.", f"A photo of a {spec.name} {{phrase}}."]
        alone = encoder.encode_texts([f"A photo of {spec.name}.", f"A photo of a {spec.name}."]).mean(axis=0)
    else:
        raise ConfigError(f"unknown annotate.method {method!r}; use plain, conditioned or standardised")
    directions = []
    for background in vocabulary:
        texts = [template.format(phrase=phrase) for phrase in background.phrases for template in templates]
        # (P, D) -> (D,)
        directions.append(encoder.encode_texts(texts).mean(axis=0))
    stacked = np.stack(directions)
    if alone is not None:
        stacked = stacked - alone
    return np.asarray(stacked / np.linalg.norm(stacked, axis=1, keepdims=True), np.float32)


def finish_profiles(scores: Features, method: str) -> Features:
    """(N, B) background profiles of the N photos of one class; higher is likelier.

    plain, conditioned: the scores as they are. standardised: each background's scores
    are centred and scaled over the class's photos, which removes the pull of the animal
    toward its usual background, and with it any difference in how frequent backgrounds are.

    Args:
        scores: (N, B) image features @ background classifier.T.
        method: as for `background_classifier`.
    """
    if method == "standardised" and len(scores) > 1:
        spread = scores.std(axis=0)
        scores = (scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return np.asarray(scores, np.float32)


def margins(profiles: Features) -> Features:
    """(N,) highest score minus second highest."""
    ordered = np.sort(profiles, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2], np.float32)
