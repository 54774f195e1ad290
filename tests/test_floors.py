"""What `make bench` holds is held."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from .benchmark_files import BENCHMARKS, load_benchmark

FLOORS = tomllib.loads((BENCHMARKS / "floors.toml").read_text())["scale"]


@pytest.fixture(scope="module")
def scale() -> Any:
    return load_benchmark("scale")


def steps(scale: Any, usual_s: float, **changed: Any) -> dict[str, Any]:
    rows = {
        step: {"seconds": usual_s, "peak_mb": 500.0, "rows": FLOORS["rows"]["20000"].get(step, {})}
        for step in scale.STEPS
    }
    rows["members"] = rows["members"] | changed
    return rows


def test_what_keeps_to_the_floors_says_nothing(scale: Any) -> None:
    assert set(FLOORS["rows"]["20000"]) <= set(scale.STEPS)
    assert scale.broken({20_000: steps(scale, 1.0), 100_000: steps(scale, 6.0)}, FLOORS) == []


@pytest.mark.parametrize(
    ("small", "large", "said"),
    [
        ({}, {"seconds": 7.0}, "members takes 1.40 times as long per photo for 100000 photos as for 20000"),
        ({}, {"peak_mb": 1001.0}, "members takes 1001 MB for 100000 photos"),
        (
            {"rows": {"members": 19_058, "members_rejects": 941}},
            {},
            "members writes 19058 members of 20000 photos, not 19059",
        ),
    ],
)
def test_each_floor_is_held(scale: Any, small: dict[str, Any], large: dict[str, Any], said: str) -> None:
    assert scale.broken({20_000: steps(scale, 1.0, **small), 100_000: steps(scale, 5.0, **large)}, FLOORS) == [said]
