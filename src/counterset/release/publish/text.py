"""Text from outside, made fit to be shown: short, one line, nothing invisible."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def plain(text: object, limit: int = 200) -> str:
    """`text` in one line of at most `limit` characters, without control or direction-changing characters."""
    # Cut before looking at each character: the text may be 100 kB.
    cut = str(text if text is not None else "")[: limit * 4]
    shown = "".join(" " if unicodedata.category(char) in _INVISIBLE else char for char in cut)
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + "…"


def cue_words(metadata: Mapping[str, Any]) -> dict[str, str]:
    """How texts speak of what a release's groups differ in: backgrounds, or another cue such as light.

    Of the keys `cue` is its name, `cues` its plural, and `on` and `before` are the words between photos and it.
    """
    cue = metadata.get("cue")
    if cue is None:
        return {"cue": "background", "cues": "backgrounds", "on": "on", "before": "before"}
    return {"cue": plain(cue, 40), "cues": f"kinds of {plain(cue, 40)}", "on": "with", "before": "with"}


def of_cue(text: str, metadata: Mapping[str, Any]) -> str:
    """A text about backgrounds as one about a release's cue; names of columns stay."""
    if metadata.get("cue") is None:
        return text
    words = cue_words(metadata)

    def said(match: re.Match[str]) -> str:
        word = words["cues" if match[0].endswith("s") else "cue"]
        return word.capitalize() if match[0][0].isupper() else word

    return re.sub(r"\b[Bb]ackgrounds?\b", said, text)


def points(value: float | None, signed: bool = False) -> str:
    """A fraction in percentage points, one decimal; a dash for None."""
    if value is None or value != value:
        return "–"
    return f"{value * 100:{'+' if signed else ''}z.1f}".replace("-", "\N{MINUS SIGN}")


def percent(value: float | None) -> str:
    """A fraction as `71 %`; a dash for None."""
    return "–" if value is None or value != value else f"{value * 100:.0f}\N{NO-BREAK SPACE}%"
