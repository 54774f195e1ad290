"""What the report says of covariates: the drop as its parts, in plain coordinates."""

from __future__ import annotations

from typing import Any

import pytest

from counterset.causes.balance import UNEXPLAINED
from counterset.release.publish.other_causes import parts_plot


def part(component: str, *ends: float | None) -> dict[str, Any]:
    return {"component": component} | dict(zip(("explained", "explained_low", "explained_high"), ends, strict=True))


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
