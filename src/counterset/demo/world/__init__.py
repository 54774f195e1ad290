"""The generated world: how photos are drawn, and who observed what."""

from __future__ import annotations

from typing import Literal

WorldName = Literal["showcase", "hard", "hostile"]
WORLDS: tuple[WorldName, ...] = ("showcase", "hard", "hostile")
"""showcase = animals as people photograph them; hard = animals that fill the frame and wear the look of another
background, so that backgrounds are hard to name; hostile = as the showcase, with texts that try to break pages."""
