"""The generated world: how photos are drawn, and who observed what."""

from __future__ import annotations

from typing import Literal

WorldName = Literal["showcase", "hard", "hostile", "causes"]
WORLDS: tuple[WorldName, ...] = ("showcase", "hard", "hostile", "causes")
"""showcase = animals as people photograph them; hard = animals that fill the frame and wear the look of another
background, so that backgrounds are hard to name; hostile = as the showcase, with texts that try to break pages;
causes = as the showcase, but away from home an animal is mostly photographed from twice as far, so that not all of a
drop is the background's."""
