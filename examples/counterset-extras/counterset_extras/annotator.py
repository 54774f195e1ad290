"""An annotation method, `annotate.method = "weighted"`: prompts that name the class count three times as much
as prompts of the background alone."""

from __future__ import annotations

from counterset.classes import ClassSpec
from counterset.stages.annotate.prompts import Features, Method, Prompts


def directions(prompts: Prompts, spec: ClassSpec) -> Features:
    """(B + E, D) text directions of B backgrounds and E excluded phrases, for one class."""
    return (prompts.places + 3 * prompts.scenes(spec)) / 4


method = Method(directions)
