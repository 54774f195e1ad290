"""Conditioned's directions, each background's scores standardised within the class."""

from __future__ import annotations

import numpy as np

from counterset.classes import ClassSpec
from counterset.stages.annotate.prompts import Features, Method, Prompts


def directions(prompts: Prompts, spec: ClassSpec) -> Features:
    """One direction per background, of the class."""
    return prompts.scenes(spec)


def scores(scores: Features) -> Features:
    """Each column centred and scaled over the class's photos, which removes the pull of the animal toward its usual
    background, and with it the backgrounds that are usual for the class."""
    if len(scores) < 2:
        return scores
    spread = scores.std(axis=0)
    return np.asarray((scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1))


method = Method(directions, scores)
