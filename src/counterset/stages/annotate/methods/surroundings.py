"""Combined's directions, for the places around the animal in the whole, uncropped frame."""

from __future__ import annotations

from counterset.stages.annotate.methods.combined import directions
from counterset.stages.annotate.prompts import Method

SHARE = 2 / 3
"""Of the places around the animal; the rest is the whole frame, as the tower pools it."""

method = Method(directions, surroundings=SHARE)
