"""A series of looks: what each may spend, which pairs are held, and what later units say of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from counterset.schemas import PAIRS
from counterset.statistics.schemas import LOOKS
from counterset.statistics.series import (
    Held,
    after,
    begin,
    looks_until,
    replicate,
    replication_rows,
    share_spent,
)
from counterset.tables import table_of


def row(look: int, class_id: str, verdict: str = "unconfirmed", pair: tuple[str, str] = ("a", "b")) -> dict[str, Any]:
    base = {"day": "2026-01-01", "level": 0.03, "q_value": 0.5, "drop": 0.1}
    return base | {"look": look, "class_id": class_id, "verdict": verdict, "common": pair[0], "counter": pair[1]}


def looks(*rows: dict[str, Any]) -> pa.Table:
    return table_of(LOOKS, list(rows))


def test_a_series_that_never_ends_spends_its_error_once() -> None:
    assert share_spent(1) == pytest.approx(0.6079, abs=1e-4)
    assert share_spent(6) == pytest.approx(share_spent(1) / 36)
    assert 0.999 < sum(share_spent(look) for look in range(1, 1_001)) < 1
    assert begin().level(0.05) == pytest.approx(0.0304, abs=1e-4)


def test_the_next_look_holds_what_was_confirmed_first() -> None:
    told = looks(
        row(1, "x", "confirmed", ("a", "b")),
        row(2, "x", "unconfirmed", ("a", "b")),
        row(1, "y"),
        row(2, "y", "confirmed", ("c", "d")),
        row(1, "z"),
        row(2, "z"),
    )
    series = after(told, is_same_look=False)
    assert series.look == 3
    assert series.held == {"x": Held("a", "b", 1), "y": Held("c", "d", 2)}


def test_the_same_photos_are_the_same_look() -> None:
    """So that a rebuild without new photos gives what was there: its own look holds nothing."""
    told = looks(row(1, "x", "confirmed"), row(2, "x", "confirmed"), row(2, "y", "confirmed", ("c", "d")))
    series = after(told, is_same_look=True)
    assert series.look == 2
    assert series.held == {"x": Held("a", "b", 1)}
    assert after(looks(row(1, "x", "confirmed")), is_same_look=True) == begin()
    assert after(looks(), is_same_look=False) == begin()


def test_a_release_holds_the_looks_before_it() -> None:
    empty = dict.fromkeys(PAIRS.arrow().names) | {
        name: 0 for name in ("num_common", "num_counter", "num_observers_common", "num_observers_counter")
    }
    empty |= {"is_common_rarer": False, "is_fragile": False}
    pairs = table_of(
        PAIRS,
        [
            empty | {"class_id": "x", "verdict": "confirmed", "look": 2, "level": 0.01, "common": "a", "counter": "b"},
            empty | {"class_id": "y", "verdict": "too_small"},
        ],
    )
    told = looks_until(looks(row(1, "x"), row(2, "x", "unconfirmed"), row(2, "y")), pairs, "2026-02-01")
    assert [(one["look"], one["class_id"], one["verdict"], one["day"]) for one in told.to_pylist()] == [
        (1, "x", "unconfirmed", "2026-01-01"),
        (2, "x", "confirmed", "2026-02-01"),
    ]
    assert looks_until(looks(), pairs, "2026-02-01").num_rows == 1


def test_replication_is_the_drop_over_later_units_alone() -> None:
    outcome = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    is_counter = np.array([False, False, True, False, True, True])
    unit = np.array([0, 1, 1, 2, 3, 3])
    since = np.array([1, 2, 2, 3, 4, 4])
    rows = replication_rows(outcome, is_counter, unit, since, confirmed=1, look=4, correlation=0.0)
    assert [found["look"] for found in rows] == [2, 3, 4]
    assert [found["drop"] for found in rows] == [1.0, None, None]
    assert [found["drop_since"] for found in rows] == [1.0, 0.5, pytest.approx(0.5 - 1 / 3)]
    assert [found["num_units_since"] for found in rows] == [1, 2, 3]
    assert [(found["num_common"], found["num_counter"]) for found in rows] == [(1, 1), (1, 0), (0, 2)]
    assert replication_rows(outcome, is_counter, unit, since, confirmed=4, look=4, correlation=0.0) == []


def test_intervals_of_replications_cover() -> None:
    """Units of very different sizes that correlate by 0.3, accuracies 0.8 and 0.6: 95 % within two standard errors."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(600):
        sizes = np.minimum(rng.zipf(2.0, 120), 15)
        unit = np.repeat(np.arange(120), sizes)
        is_counter = (unit % 2).astype(bool)
        mean = np.where(np.arange(120) % 2, 0.6, 0.8)
        accuracy = rng.beta(mean * (1 / 0.3 - 1), (1 - mean) * (1 / 0.3 - 1))
        found = replicate((rng.random(len(unit)) < accuracy[unit]).astype(float), is_counter, unit, 0.3)
        covered.append(found.low <= 0.2 <= found.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)


def test_without_photos_of_a_side_nothing_is_said() -> None:
    found = replicate(np.ones(3), np.zeros(3, np.bool_), np.arange(3), 0.1)
    assert (found.num_units, found.num_common, found.num_counter) == (3, 3, 0)
    assert math.isnan(found.drop) and math.isnan(found.low)
