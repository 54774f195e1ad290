"""The drawing of the replication clock: where its lines begin, go, and what they come to."""

from __future__ import annotations

from typing import Any

import pytest

from counterset.release.publish.replication_figure import MAX_NAMES, replication_plot


def look(number: int, class_id: str, drop: float) -> dict[str, Any]:
    return {"look": number, "class_id": class_id, "drop": drop, "day": f"2026-0{number}-01"}


def later(number: int, class_id: str, drop_since: float | None, confirmed: int = 1) -> dict[str, Any]:
    interval = {"low_since": None, "high_since": None} if drop_since is None else {"low_since": -0.1, "high_since": 0.5}
    row = {"look": number, "class_id": class_id, "drop_since": drop_since, "confirmed_look": confirmed}
    return row | interval | {"num_units_since": 7}


def test_without_later_units_there_is_no_plot() -> None:
    assert replication_plot([], [look(1, "fox", 0.4)], {}) is None
    assert replication_plot([later(2, "fox", None)], [look(1, "fox", 0.4)], {}) is None


def test_a_line_goes_from_the_stated_drop_to_those_of_later_units() -> None:
    looks = [look(1, "fox", 0.4), look(2, "lion", 0.2), *(look(number, "fox", 0.3) for number in (2, 3))]
    rows = [later(3, "fox", 0.1), later(2, "fox", 0.2), later(3, "lion", 0.3, confirmed=2), later(2, "cat", None)]
    plot = replication_plot(rows, looks, {"fox": "red fox"})
    assert plot is not None and plot.is_named
    fox, lion = plot.traces
    assert (fox.name, lion.name) == ("red fox", "lion")
    assert [at for at, _ in fox.points] == [plot.left, (plot.left + plot.right) / 2, plot.right]
    assert [at for at, _ in lion.points] == [(plot.left + plot.right) / 2, plot.right]
    heights = {float(tick.label): tick.at for tick in plot.ticks}
    assert [height for _, height in fox.points] == [heights[value] for value in (40, 20, 10)]
    assert plot.zero == heights[0]
    assert sorted((tick.at, tick.label) for tick in plot.looks) == [
        (plot.left, "2026-01-01"),
        ((plot.left + plot.right) / 2, "2026-02-01"),
        (plot.right, "2026-03-01"),
    ]
    assert (plot.stated, plot.since) == (pytest.approx(0.3), pytest.approx(0.2))
    assert fox.title == "+10.0 points [-10.0, +50.0] over 7 units since"


def test_many_looks_and_classes_keep_it_readable() -> None:
    names = [f"class {number:02d}" for number in range(MAX_NAMES + 1)]
    looks = [look(number, name, 0.4) for name in names for number in range(1, 10)]
    rows = [later(number, name, -0.6 if name == names[0] else 0.2) for name in names for number in range(2, 10)]
    plot = replication_plot(rows, looks, {})
    assert plot is not None and not plot.is_named
    assert len(plot.looks) == 5 and max(tick.at for tick in plot.looks) == plot.right
    assert all(plot.top <= height <= plot.bottom for trace in plot.traces for _, height in trace.points)
