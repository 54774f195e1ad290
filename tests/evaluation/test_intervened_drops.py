"""A release's drops with the background beside the other parts, from tables alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from counterset.causes.balance import BACKGROUND, UNEXPLAINED
from counterset.evaluation.intervened_drops import draw_drops, intervened_drops


def release(*selectors: str) -> Any:
    """Two classes whose drops of 0.3 and 0.5 are unexplained, but for the season."""
    rows = [
        {"class_id": class_id, "component": component, "covariates": []}
        | {"explained": value, "explained_low": value - 0.1, "explained_high": value + 0.1}
        for class_id, parts in (("bear", (0.1, 0.2)), ("lion", (0.0, 0.5)))
        for component, value in zip(("season and life stage", UNEXPLAINED), parts, strict=True)
    ]
    models = [{"name": name, "role": "selector"} for name in selectors] + [{"name": "other", "role": "evaluator"}]
    return SimpleNamespace(metadata={"models": models}, table=lambda name: pa.Table.from_pylist(rows))


def effects(**by_model: float) -> pa.Table:
    """Of the background on the bear; that of an animal alone must not count."""
    rows = [
        {"class_id": "bear", "model": model, "intervention": intervention, "effect": value}
        | {"effect_low": value - 0.2, "effect_high": value + 0.1}
        for model, value in by_model.items()
        for intervention, value in (("common_background", value), ("animal_alone", 0.9))
    ]
    return pa.Table.from_pylist(rows)


def test_the_background_is_the_mean_effect_on_the_selectors() -> None:
    found = intervened_drops(release("one", "two"), effects(one=0.1, two=0.3, other=0.9))
    assert found is not None
    assert set(found["class_id"].to_pylist()) == {"bear"}, "nothing was shown of the lion"
    parts = {row["component"]: row for row in found.to_pylist()}
    assert parts[BACKGROUND]["explained"] == pytest.approx(0.2)
    assert parts[BACKGROUND]["explained_low"] == pytest.approx(0.0)
    assert parts[UNEXPLAINED]["explained"] == pytest.approx(0.0)
    assert sum(row["explained"] for row in parts.values()) == pytest.approx(0.3)


def test_there_is_none_where_a_selector_saw_no_composite() -> None:
    assert intervened_drops(release("one", "two"), effects(one=0.1)) is None
    assert intervened_drops(release(), effects(one=0.1)) is None


def test_the_picture_names_every_part_and_the_drop_and_is_the_same_again() -> None:
    found = intervened_drops(release("one"), effects(one=0.1))
    assert found is not None
    drawn = draw_drops(found, "a-release 1.0.0")
    assert drawn == draw_drops(found, "a-release 1.0.0")
    text = drawn["svg"].decode()
    for shown in ("season and life stage", BACKGROUND, UNEXPLAINED, "a mean drop of 30.0 points"):
        assert shown in text
    assert drawn["png"].startswith(b"\x89PNG")
