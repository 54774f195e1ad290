"""Rows in order that do not fit into memory, whatever they hold."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from counterset import wide_rows
from counterset.errors import WorkspaceError
from counterset.wide_rows import ByNumber, by_number, in_order

LETTERS = ["a", "b", "é", "\u20ac", "\U0001f43b", "Z", "0", "-", "\x01"]
ASCENDING = ("photo_id", "ascending")


def tables(rng: np.random.Generator, num_rows: int, kind: str) -> Iterator[pa.Table]:
    """Parts of any size, also empty ones, with lists and nulls."""
    start = 0
    yield pa.table({"photo_id": [], "number": [], "tags": []}, SCHEMA)
    while start < num_rows:
        size = int(rng.integers(0, 400))
        ids = {
            "texts": ["".join(rng.choice(LETTERS, rng.integers(0, 12))) for _ in range(size)],
            "one": ["the same"] * size,
            "rising": [f"url_list-{start + row:06d}" for row in range(size)],
            "classes": [f"{'lion' if start < num_rows // 2 else 'zebra'}-{rng.integers(9)}" for _ in range(size)],
            "every tenth": [f"{(start + row) % 10}" for row in range(size)],
            "long": [("x" * 200 if row % 3 else "") + rng.choice(["\x00", "a", "a\x00", ""]) for row in range(size)],
        }[kind]
        tags = [None if row % 7 == 0 else ["x"] * (row % 4) + [str(start + row)] for row in range(size)]
        yield pa.table({"photo_id": ids, "number": range(start, start + size), "tags": tags}, SCHEMA)
        start += size


SCHEMA = pa.schema([("photo_id", pa.string()), ("number", pa.int64()), ("tags", pa.list_(pa.string()))])


@pytest.mark.parametrize("kind", ["texts", "one", "rising", "classes", "every tenth", "long"])
@pytest.mark.parametrize("then", ["ascending", "descending"])
@pytest.mark.parametrize(("in_memory", "num_files"), [(10**6, 200), (300, 200), (50, 10), (1, 5)])
def test_all_rows_come_in_order(
    kind: str, in_memory: int, num_files: int, then: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(wide_rows, "MAX_ROWS", in_memory)
    monkeypatch.setattr(wide_rows, "MAX_FILES", num_files)
    monkeypatch.setattr(wide_rows, "_SAMPLED", 3)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sign = 1 if then == "ascending" else -1
    given = pa.concat_tables(tables(np.random.default_rng(1), 5_000, kind)).to_pylist()
    parts = list(in_order(tables(np.random.default_rng(1), 5_000, kind), [ASCENDING, ("number", then)], 70))
    assert max(map(len, parts)) <= 70
    rows = pa.concat_tables(parts).to_pylist()
    assert rows == sorted(given, key=lambda row: (row["photo_id"].encode(), row["number"] * sign))
    assert not any(tmp_path.iterdir())


def test_numbers_are_in_their_own_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide_rows, "MAX_ROWS", 100)
    monkeypatch.setattr(wide_rows, "_SAMPLED", 2)
    numbers = np.random.default_rng(0).integers(-50, 5_000, 3_000).astype(np.int32)
    parts = [pa.table({"shard": numbers[start : start + 90]}) for start in range(0, 3_000, 90)]
    rows = pa.concat_tables(in_order(parts, [("shard", "ascending")], 1_000))["shard"].to_pylist()
    assert rows == sorted(numbers.tolist())


def test_no_file_holds_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """So much is in memory; one class after the other would be no reason for more."""
    monkeypatch.setattr(wide_rows, "MAX_ROWS", 500)
    monkeypatch.setattr(wide_rows, "_SAMPLED", 10)
    sizes: list[int] = []
    ordered = wide_rows._sorted
    by = [("class_id", "ascending"), ASCENDING]
    parts = [
        part.append_column(
            "class_id", pa.array(["lion" if row % 8 else "zebra" for row in range(len(part))], pa.string())
        )
        for part in tables(np.random.default_rng(0), 20_000, "rising")
    ]

    def counted(parts: list[pa.Table], *arguments: Any) -> Iterator[pa.Table]:
        sizes.append(sum(map(len, parts)))
        return ordered(parts, *arguments)

    monkeypatch.setattr(wide_rows, "_sorted", counted)
    for asked in (by, by[1:]):
        sizes.clear()
        assert sum(map(len, in_order(parts, asked, 100))) == sum(map(len, parts))
        assert len(sizes) >= 35 and max(sizes) <= 650
    rows = pa.concat_tables(in_order(parts, by, 100)).select(["class_id", "photo_id"]).to_pylist()
    assert rows == sorted(rows, key=lambda row: (row["class_id"], row["photo_id"]))


@pytest.mark.parametrize("told", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_has_a_remedy(told: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a part says while it is read is its own."""
    monkeypatch.setattr(wide_rows, "MAX_ROWS", 500)

    def parts() -> Iterator[pa.Table]:
        yield from tables(np.random.default_rng(0), 2_000, "texts")
        raise OSError(told, os.strerror(told))

    expected = (WorkspaceError, "set TMPDIR to a folder with more") if told == errno.ENOSPC else (OSError, "error")
    with pytest.raises(expected[0], match=expected[1]):
        list(in_order(parts(), [ASCENDING], 100))


@pytest.mark.parametrize(("in_memory", "num_files"), [(10**6, 100), (300, 100), (300, 4), (1, 2)])
@pytest.mark.parametrize("size", [1, 9, 200])
def test_rows_come_by_their_number_in_the_order_they_came(
    in_memory: int, num_files: int, size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(wide_rows, "MAX_ROWS", in_memory)
    monkeypatch.setattr(wide_rows, "MAX_FILES", num_files)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rng = np.random.default_rng(0)
    place = [field for field in SCHEMA if field.name != "number"]
    schema = pa.schema([pa.field("of_class", pa.int32()), *place])
    given: dict[int, list[dict[str, Any]]] = {}
    with by_number(schema, "of_class", size) as dealt:
        for part in tables(rng, 5_000, "texts"):
            numbers = rng.integers(0, size, len(part)) // 2 * 2  # rows have every other number
            for number, row in zip(numbers.tolist(), part.select(["photo_id", "tags"]).to_pylist(), strict=True):
                given.setdefault(number, []).append({"of_class": number} | row)
            dealt.add(part.append_column("of_class", pa.array(numbers)))
        found = [(number, rows.to_pylist()) for number, rows in dealt.read()]
    assert found == sorted(given.items())
    assert not any(tmp_path.iterdir())


def test_what_is_dealt_needs_no_more_memory_the_more_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where it is dealt nor where it is read, for a range of numbers has a share of the rows."""
    monkeypatch.setattr(wide_rows, "MAX_ROWS", 1_000)
    monkeypatch.setattr(wide_rows, "MAX_FILES", 10)
    most: dict[int, int] = {}
    grouped = ByNumber._grouped

    def counted(self: ByNumber, parts: list[pa.Table], per_range: int) -> Iterator[tuple[int, pa.Table]]:
        most[per_range] = max(most.get(per_range, 0), sum(map(len, parts)))
        return grouped(self, parts, per_range)

    monkeypatch.setattr(ByNumber, "_grouped", counted)
    with by_number(pa.schema([("number", pa.int32())]), "number", 50) as dealt:
        for _ in range(200):
            dealt.add(pa.table({"number": np.arange(100, dtype=np.int32) % 50}))
        assert sum(len(rows) for _, rows in dealt.read()) == 20_000
    assert most == {5: 1_000, 1: 2_000}


def test_nothing_is_dealt_to_no_number() -> None:
    with by_number(SCHEMA, "number", 0) as dealt:
        dealt.add(SCHEMA.empty_table())
        assert list(dealt.read()) == []


def test_a_full_disk_has_a_remedy_where_rows_are_dealt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide_rows, "MAX_ROWS", 10)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pa.ipc, "new_file", full)
    with (
        pytest.raises(WorkspaceError, match="set TMPDIR to a folder with more"),
        by_number(SCHEMA, "number", 100) as dealt,
    ):
        dealt.add(pa.table({"photo_id": ["a"] * 20, "number": range(20), "tags": [None] * 20}, SCHEMA))
