"""What the pages say of covariates: how far the groups of pairs differ, and what of the drops goes with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class CovariateLine:
    """One covariate over all pairs.

    Attributes:
        name: in words.
        is_adjusted: whether `drop_controlled` takes it out.
        num_pairs: pairs for which it is known.
        largest: largest standardised difference, of either sign; None where it is known of no pair.
        class_id: of that pair.
        explained: mean part of the drop that goes with it, over the pairs whose regression holds it.
    """

    name: str
    is_adjusted: bool
    num_pairs: int
    largest: float | None
    class_id: str
    explained: float | None


def covariate_lines(balance: pa.Table) -> list[CovariateLine]:
    """One line per covariate, in the project's order of components: those taken out first."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in balance.to_pylist():
        rows.setdefault(row["covariate"], []).append(row)
    lines = [_line(name, found) for name, found in rows.items()]
    return sorted(lines, key=lambda line: (not line.is_adjusted, line.largest is None, line.name))


def _line(name: str, rows: list[dict[str, Any]]) -> CovariateLine:
    known = [row for row in rows if row["difference"] is not None]
    most = max(known, key=lambda row: (abs(row["difference"]), row["class_id"]), default=None)
    parts = [row["explained"] for row in rows if row["explained"] is not None]
    return CovariateLine(
        name.replace("_", " "),
        rows[0]["role"] == "adjust",
        len(known),
        most["difference"] if most else None,
        most["class_id"] if most else "",
        math.fsum(parts) / len(parts) if parts else None,
    )
