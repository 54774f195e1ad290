"""Prompts that name the place alone."""

from __future__ import annotations

from counterset.classes import ClassSpec
from counterset.stages.annotate.prompts import Features, Method, Prompts


def directions(prompts: Prompts, spec: ClassSpec) -> Features:
    """One direction per background, the same for every class."""
    return prompts.places


method = Method(directions)
