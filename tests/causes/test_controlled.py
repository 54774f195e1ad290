"""What remains of drops, from a release's tables: classes that cannot tell, and what is not known."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from counterset.causes.controlled import Remains, what_remains

from .whole_tables import whole_covariates


def remains(right: dict[str, tuple[float, float]]) -> Remains:
    """Classes of 40 photos on snow and 40 on grass, of as many photographers; share of right answers on either."""
    rng = np.random.default_rng(0)
    photos, predictions, pairs = [], [], []
    for class_id, shares in right.items():
        for number in range(80):
            photo_id, side = f"{class_id}{number:02d}", number % 2
            photos.append(
                {
                    "photo_id": photo_id, "class_id": class_id, "group": ("snow", "grass")[side], "unit": photo_id,
                    "half": ("discover", "confirm")[number // 2 % 2], "observer": photo_id, "size_bytes": 9,
                    "width_px": int(rng.integers(200, 900)), "height_px": int(rng.integers(200, 900)),
                    "observed_on": datetime.date(2024, int(rng.integers(1, 13)), 1), "taxon_name": "Ursus arctos",
                }
            )  # fmt: skip
            is_correct = number // 2 < round(40 * shares[side])
            predictions.append(
                {"photo_id": photo_id, "model": "m", "is_correct": is_correct, "margin": float(is_correct)}
            )
        drop = round(40 * shares[0]) / 40 - round(40 * shares[1]) / 40
        ends = {"drop_low": drop - 0.2, "drop_high": drop + 0.2}
        pairs.append({"class_id": class_id, "common": "snow", "counter": "grass", "drop": drop} | ends)
    tables = [pa.Table.from_pylist(rows) for rows in (photos, pairs, predictions)]
    covariates = whole_covariates(tables[0], tables[2], ["m"])
    return what_remains(*tables, covariates, ["m"], min_photos=10, num_permutations=100, seed=0)


def test_a_class_at_the_floor_or_the_ceiling_is_uninformative() -> None:
    found = remains({"floor": (0.0, 0.0), "ceiling": (1.0, 1.0), "hard": (0.1, 0.0), "between": (0.8, 0.4)})
    rows = {row["class_id"]: row["is_uninformative"] for row in found.controlled.to_pylist()}
    assert rows == {"floor": True, "ceiling": True, "hard": False, "between": False}


def test_what_no_source_tells_is_no_part() -> None:
    """No pixels, places or subspecies: their rows are there and null, and the rest still sums to the drop."""
    found = remains({"bear": (0.8, 0.4)})
    balance = {row["covariate"]: row for row in found.balance.to_pylist()}
    for name in ("sharpness", "luminance", "place_photos"):
        assert (balance[name]["num_known"], balance[name]["difference"], balance[name]["explained"]) == (0, None, None)
    parts = {row["component"]: row["explained"] for row in found.decomposition.to_pylist()}
    assert parts["light and sharpness"] is None and parts["photographer"] is not None
    assert sum(value or 0.0 for value in parts.values()) == pytest.approx(0.4)
