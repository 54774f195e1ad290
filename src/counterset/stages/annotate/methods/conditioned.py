"""Prompts that name the class, without what the animal alone explains."""

from __future__ import annotations

from counterset.classes import ClassSpec
from counterset.stages.annotate.prompts import Features, Method, Prompts


def directions(prompts: Prompts, spec: ClassSpec) -> Features:
    """One direction per background, of the class."""
    return prompts.scenes(spec)


method = Method(directions)
