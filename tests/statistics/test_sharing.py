"""What a build's tables say of shared observers and places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from counterset.schemas import BACKGROUNDS, MEMBERS, PREDICTIONS
from counterset.statistics.likeness import likeness, measure_sharing
from counterset.statistics.units import NONE
from counterset.tables import table_of

Tables = tuple[pa.Table, pa.Table, pa.Table]


def tables(rows: list[dict[str, Any]], models: tuple[str, ...] = ("m",)) -> Tables:
    """Rows of class_id, group, unit, observer, place and right (one per model)."""
    members, backgrounds, predictions = [], [], []
    for number, row in enumerate(rows):
        photo = {"photo_id": f"p{number}", "class_id": row["class_id"]}
        shared = {"observation_id": "o", "half": "discover", "shard": "0"}
        members.append(photo | shared | {name: row[name] for name in ("unit", "observer", "place")})
        group = {"profile": [], "background": "b", "margin": 0.0, "group": row["group"], "is_confident": True}
        backgrounds.append(photo | group)
        for model, right in zip(models, row["right"], strict=True):
            answer = {"predicted": "x", "is_correct": bool(right), "rank_of_truth": 1, "margin": 0.0}
            predictions.append({"photo_id": f"p{number}", "model": model, "label_space": "l"} | answer)
    return table_of(MEMBERS, members), table_of(BACKGROUNDS, backgrounds), table_of(PREDICTIONS, predictions)


def drawn(seed: int, number: int = 400) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(number):
        observer = int(rng.integers(0, 60))
        place = int(rng.integers(-1, 30))
        rows.append(
            {
                "class_id": f"c{rng.integers(0, 2)}",
                "group": ["g", "h", None][int(rng.integers(0, 3))],
                "unit": f"u{observer // 3}",
                "observer": f"o{observer}",
                "place": None if place < 0 else f"l{place}",
                "right": rng.integers(0, 2, 2).tolist(),
            }
        )
    return rows


def test_tables_give_what_arrays_give() -> None:
    rows = drawn(0)
    found = measure_sharing(*tables(rows, ("m", "n")), selectors=("m", "n"), label_space="l")
    used = [row for row in rows if row["group"]]

    def codes(*names: str) -> np.ndarray:
        texts = ["/".join(str(row[name]) for name in names) for row in used]
        return np.unique(texts, return_inverse=True)[1]

    place = np.where([row["place"] is None for row in used], NONE, codes("class_id", "place"))
    outcome = np.array([np.mean(row["right"]) for row in used])
    expected = likeness(
        outcome, codes("class_id", "group"), codes("class_id", "unit"), codes("class_id", "observer"), place
    )
    assert found.likeness == pytest.approx(expected)
    for (class_id, group), share in found.share_cut.items():
        inside = [row for row in used if (row["class_id"], row["group"]) == (class_id, group)]
        units_at = [
            {other["unit"] for other in used if (other["class_id"], other["place"]) == (class_id, row["place"])}
            for row in inside
            if row["place"]
        ]
        assert share == pytest.approx(sum(len(units) > 1 for units in units_at) / len(inside))


def test_the_order_of_rows_does_not_matter() -> None:
    rows = drawn(1)
    first = measure_sharing(*tables(rows, ("m", "n")), selectors=("m", "n"), label_space="l")
    again = measure_sharing(*tables(rows[::-1], ("m", "n")), selectors=("m", "n"), label_space="l")
    assert first == again


def test_without_places_nothing_is_cut() -> None:
    rows = [row | {"place": None} for row in drawn(2)]
    found = measure_sharing(*tables(rows, ("m", "n")), selectors=("m",), label_space="l")
    assert set(found.share_cut.values()) == {0.0}
    assert np.isnan(found.likeness.cut)
