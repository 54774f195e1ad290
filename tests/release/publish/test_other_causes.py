"""What the report says of covariates: the drop as its parts, in plain coordinates."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from counterset.causes.balance import UNEXPLAINED
from counterset.release.publish.other_causes import covariate_lines, held_by, parts_plot


def part(component: str, *ends: float | None) -> dict[str, Any]:
    names = ("explained", "explained_low", "explained_high")
    return {"component": component} | dict.fromkeys(names) | dict(zip(names, ends, strict=False))


def test_parts_lie_where_their_numbers_say() -> None:
    plot = parts_plot(
        [
            part(UNEXPLAINED, 0.2, 0.1, 0.3),
            part("size", None, None, None),
            part("photographer", -0.05, -0.1, 0.0),
            part("season and life stage", 0.04, None, None),
        ]
    )
    assert plot is not None
    assert [row.label for row in plot.rows] == ["photographer", "season and life stage", UNEXPLAINED]
    assert plot.missing == ("size",) and plot.total == pytest.approx(0.19)
    at = {tick.label: tick.at for tick in plot.ticks}
    assert at["0"] == plot.zero and plot.left <= min(at.values()) and max(at.values()) <= plot.right
    per_point = (at["20"] - at["0"]) / 20
    who, season, rest = plot.rows
    assert (rest.x - plot.zero) / per_point == pytest.approx(20, abs=0.05)
    assert rest.low is not None and rest.high is not None
    assert ((rest.low - plot.zero) / per_point, (rest.high - plot.zero) / per_point) == pytest.approx((10, 30), abs=0.1)
    assert who.x < plot.zero and who.title == "\N{MINUS SIGN}5.0 points (\N{MINUS SIGN}10.0 to +0.0)".replace("+", "")
    assert season.low is None and season.title == "+4.0 points"
    assert [row.is_unexplained for row in plot.rows] == [False, False, True]


def test_no_part_no_plot() -> None:
    assert parts_plot([]) is None
    assert parts_plot([part(UNEXPLAINED, None, None, None)]) is None
    flat = parts_plot([part(UNEXPLAINED, 0.0, 0.0, 0.0)])
    assert flat is not None and len(flat.ticks) >= 2
    wide = parts_plot([part(UNEXPLAINED, 1.0, -1.0, 1.6)])
    assert wide is not None and len(wide.ticks) <= 9


def test_a_covariate_that_nothing_is_taken_out_of_says_why() -> None:
    """Of three pairs; an hour that is always noon, and a life stage that few photos tell."""

    def rows(name: str, role: str, *found: tuple[float | None, float | None]) -> list[dict[str, Any]]:
        return [
            {"class_id": f"c{n}", "covariate": name, "role": role, "difference": gap, "explained": part}
            for n, (gap, part) in enumerate(found)
        ]

    table = [
        *rows("num_animals", "adjust", (0.1, 0.02), (-0.4, 0.01), (0.2, 0.0)),
        *rows("month", "adjust", (0.1, 0.02), (0.4, None), (0.2, 0.0)),
        *rows("hour", "adjust", (0.0, None), (0.0, None), (0.0, None)),
        *rows("life_stage", "adjust", (0.3, None), (None, None), (0.0, None)),
        *rows("luminance", "apart", (0.9, 0.1), (0.8, 0.1), (0.7, 0.1)),
    ]
    lines = covariate_lines(pa.Table.from_pylist(table))
    assert {line.name: line.taken_out for line in lines} == {
        "number of animals": "yes",
        "month": "in 2 of 3",
        "hour": "no: always the same",
        "life stage": "no: too little is known",
        "luminance": "no",
    }
    assert lines[-1].name == "luminance", "what may be the background's own look comes last"
    animals = next(line for line in lines if line.name == "number of animals")
    assert (animals.largest, animals.class_id, animals.num_pairs) == (-0.4, "c1", 3)
    noon = next(line for line in lines if line.name == "hour")
    assert (noon.largest, noon.class_id) == (0.0, ""), "no pair differs the most"


def test_the_plot_says_by_what_its_parts_were_measured() -> None:
    rows = [
        part("photographer", 0.1) | {"covariates": ["megapixels"]},
        part("photographer", 0.2) | {"covariates": ["aspect", "megapixels"]},
        part("size", None) | {"covariates": []},
    ]
    assert held_by(rows) == {"photographer": ["megapixels", "aspect"]}
    plot = parts_plot(rows[:1], held_by(rows))
    assert plot is not None and plot.held == (("photographer", "megapixels, width over height"),)
