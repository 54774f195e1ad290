"""Columns of the pairs table that name and count, and rows of classes that are too small for a pair."""

from __future__ import annotations

from typing import Any

import numpy as np

from counterset.schemas import Verdict
from counterset.statistics.class_units import ClassUnits


def counted(found: ClassUnits, common: int, counter: int) -> dict[str, Any]:
    """The columns of pairs that name and count."""
    photos = found.results.by_group(found.results.num_photos)
    units = found.results.by_group(np.ones_like(found.results.num_photos))
    return {
        "class_id": found.class_id,
        "common": found.groups[common],
        "counter": found.groups[counter],
        "num_common": int(photos[common]),
        "num_counter": int(photos[counter]),
        "num_observers_common": int(units[common]),
        "num_observers_counter": int(units[counter]),
        "num_units_common": int(units[common]),
        "num_units_counter": int(units[counter]),
        "frequency_common": float(photos[common] / photos.sum()),
        "frequency_counter": float(photos[counter] / photos.sum()),
        "is_common_rarer": bool(photos[common] < photos[counter]),
        "is_fragile": False,
    }


def too_small(found: ClassUnits, reason: str) -> dict[str, Any]:
    """The row of a class that has no pair to measure."""
    counts = [f"num_{what}{side}" for what in ("", "observers_", "units_") for side in ("common", "counter")]
    return {
        "class_id": found.class_id,
        "verdict": Verdict.TOO_SMALL.value,
        **dict.fromkeys(counts, 0),
        "is_common_rarer": False,
        "is_fragile": False,
        "reason": reason,
    }


def needs(found: ClassUnits, num_eligible: int, each: str) -> str:
    """Why: too few groups have what each needs."""
    return f"{num_eligible} of {len(found.groups)} groups have {each}; two are needed"
