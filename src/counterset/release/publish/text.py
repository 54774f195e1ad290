"""Text from outside, made fit to be shown: short, one line, nothing invisible."""

from __future__ import annotations

import unicodedata

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def plain(text: object, limit: int = 200) -> str:
    """`text` in one line of at most `limit` characters, without control or direction-changing characters."""
    # Cut before looking at each character: the text may be 100 kB.
    cut = str(text if text is not None else "")[: limit * 4]
    shown = "".join(" " if unicodedata.category(char) in _INVISIBLE else char for char in cut)
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + "…"


def points(value: float | None, signed: bool = False) -> str:
    """A fraction in percentage points, one decimal; a dash for None."""
    if value is None or value != value:
        return "–"
    return f"{value * 100:{'+' if signed else ''}.1f}".replace("-", "\N{MINUS SIGN}")


def percent(value: float | None) -> str:
    """A fraction as `71 %`; a dash for None."""
    return "–" if value is None or value != value else f"{value * 100:.0f}\N{NO-BREAK SPACE}%"
