"""What release.json says of the tables that a release was made from."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from counterset.photo_rows import Rows
from counterset.release.publish import provenance
from counterset.release.publish.provenance import _digest_of

SCHEMA = pa.schema(
    [
        ("photo_id", pa.string()),
        ("title", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("profile", pa.list_(pa.float32())),
        ("is_right", pa.bool_()),
        ("width_px", pa.int32()),
        ("margin", pa.float64()),
        ("phash", pa.binary(8)),
        ("day", pa.date32()),
        ("place", pa.string()),
    ]
)
ROWS: list[dict[str, Any]] = [
    {
        "photo_id": "1",
        "title": "ab",
        "tags": ["x", "y"],
        "profile": [0.5, 1],
        "is_right": True,
        "width_px": 3,
        "phash": b"01234567",
    },
    {"photo_id": "2", "title": "c", "tags": [], "profile": [1, 2], "is_right": None, "width_px": None, "margin": 0.25},
    {
        "photo_id": "3",
        "title": "",
        "tags": ["z"],
        "profile": None,
        "is_right": False,
        "width_px": 0,
        "margin": 1.0,
        "phash": b"01234568",
        "day": date(2026, 1, 2),
    },
    {"photo_id": "4", "title": None, "tags": None, "profile": [], "is_right": True, "width_px": 7, "margin": 0.0},
]


def digest(rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> str:
    table = pa.Table.from_pylist(rows, schema)
    return _digest_of(Rows(schema, lambda names: iter([table.select(names or schema.names)])))


@pytest.mark.parametrize("size", [1, 2, 3, 250_000])
def test_the_same_rows_have_one_digest_however_they_come(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of any size that begin anywhere in what Arrow holds, with anything where a value is null."""
    monkeypatch.setattr(provenance, "DIGEST_ROWS", size)
    table = pa.Table.from_pylist(ROWS, SCHEMA)
    twice = pa.concat_tables([table, table]).combine_chunks()
    hidden = pa.array(np.array([9, 9, 9, 9], np.int32), mask=np.array([row["width_px"] is None for row in ROWS]))
    other = pa.array([3, -5, 0, 7], pa.int32())
    under_null = pa.Array.from_buffers(pa.int32(), 4, [hidden.is_valid().buffers()[1], other.buffers()[1]])
    assert under_null.to_pylist() == [row["width_px"] for row in ROWS]
    position = SCHEMA.get_field_index("width_px")

    def read(*parts: pa.Table) -> str:
        return _digest_of(Rows(SCHEMA, lambda names: (part.select(names or SCHEMA.names) for part in parts)))

    expected = digest(ROWS)
    assert read(*(twice.slice(4 + row, 1) for row in range(4))) == expected
    assert read(twice.slice(0, 1), twice.slice(5, 3)) == expected
    assert read(table.set_column(position, "width_px", under_null)) == expected


@pytest.mark.parametrize(
    "change",
    [
        {0: {"title": "a"}, 1: {"title": "bc"}},
        {0: {"tags": ["x"]}, 1: {"tags": ["y"]}},
        {0: {"tags": ["xy"]}},
        {2: {"title": None}},
        {3: {"title": ""}},
        {1: {"tags": None}},
        {3: {"profile": None}},
        {2: {"profile": []}},
        {0: {"profile": [0.5, 1, 1]}, 1: {"profile": [2]}},
        {1: {"is_right": False}},
        {1: {"is_right": True}, 0: {"is_right": None}},
        {1: {"width_px": 0}},
        {0: {"margin": 0.25}, 1: {"margin": None}},
        {3: {"photo_id": "5"}},
        {0: {"phash": b"01234569"}},
        {2: {"day": date(2026, 1, 3)}},
        {0: {"phash": b"01234568"}, 2: {"phash": b"01234567"}},
    ],
)
def test_another_value_gives_another_digest(change: dict[int, dict[str, Any]]) -> None:
    changed = [row | change.get(place, {}) for place, row in enumerate(ROWS)]
    assert digest(changed) != digest(ROWS)
    assert digest(ROWS[:3]) != digest(ROWS)


def test_places_are_in_no_digest() -> None:
    assert digest([row | {"place": "a hash"} for row in ROWS]) == digest(ROWS)


def test_another_type_gives_another_digest() -> None:
    position = SCHEMA.get_field_index("width_px")
    assert digest(ROWS, SCHEMA.set(position, pa.field("width_px", pa.uint32()))) != digest(ROWS)


def test_a_table_without_rows_has_a_digest() -> None:
    assert digest([]) != digest(ROWS)
    assert digest([]) == digest([])
