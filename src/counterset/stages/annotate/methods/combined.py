"""The mean of plain's and conditioned's directions."""

from __future__ import annotations

import numpy as np

from counterset.classes import ClassSpec
from counterset.stages.annotate.prompts import Features, Method, Prompts


def directions(prompts: Prompts, spec: ClassSpec) -> Features:
    """One direction per background, of the class."""
    return (prompts.places + prompts.scenes(spec)) / np.float32(2)


method = Method(directions)
