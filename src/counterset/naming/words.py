"""How the trust in names is said in a few words, wherever a release shows itself."""

from __future__ import annotations

from collections.abc import Mapping

NAMINGS = ("audited", "unaudited", "failed")
"""Of `naming.schemas.Naming`, from the best to the worst; here without importing Arrow."""
TRUSTED = ("audited", "unaudited")
"""Those that `load` gives when not told otherwise."""


def named(counts: object) -> str:
    """`audited`, `unaudited` or `failed`, or how many pairs are what.

    Args:
        counts: pairs by naming, as release.json states them; of earlier releases None.
    """
    if not isinstance(counts, Mapping):
        return "unaudited"
    given = {name: counts[name] for name in NAMINGS if counts.get(name)}
    if len(given) < 2:
        return next(iter(given), "unaudited")
    return ", ".join(f"{count} {name}" for name, count in given.items())
