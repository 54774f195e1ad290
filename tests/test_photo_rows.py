"""Tables read in the order of their photos, whatever parts they come in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset import photo_rows
from counterset.photo_rows import Beside, Rows, alongside
from counterset.schemas import PREDICTIONS
from counterset.tables import table_of, write_table


@pytest.fixture(params=[1, 2, 3, 100], autouse=True)
def part_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_rows, "PART_ROWS", request.param)


def answers(photo_ids: str, model: str) -> pa.Table:
    constant = {"label_space": "s", "predicted": model, "is_correct": True, "rank_of_truth": 1, "margin": 0.5}
    return table_of(PREDICTIONS, [{"photo_id": photo_id, "model": model} | constant for photo_id in photo_ids])


def as_it_is(table: pa.Table, folder: Path) -> Rows:
    return Rows.of(table, ["photo_id", "model"])


def in_a_file(table: pa.Table, folder: Path) -> Rows:
    return Rows.stored(write_table(table, PREDICTIONS, folder / "x.parquet"), PREDICTIONS)


def in_files(table: pa.Table, folder: Path) -> Rows:
    for number, part in enumerate((table.slice(0, 2), table.slice(2))):
        pq.write_table(part, folder / f"{number}.parquet")
    return Rows.files([folder / "0.parquet", folder / "1.parquet"])


def shuffled(table: pa.Table, folder: Path) -> Rows:
    mixed = table.take(np.random.default_rng(0).permutation(len(table)))
    return Rows.sorted([mixed.slice(0, 1), mixed.slice(1)], table.schema, folder / "y.arrow")


@pytest.mark.parametrize("given", [as_it_is, in_a_file, in_files, shuffled])
def test_rows_are_the_same_however_they_are_given(given: Callable[[pa.Table, Path], Rows], tmp_path: Path) -> None:
    table = answers("abdfg", "m")
    rows = given(table, tmp_path)
    assert [rows.table().to_pylist(), rows.count()] == [table.to_pylist(), 5]
    assert rows.schema == table.schema and rows.table().schema == table.schema
    assert rows.table(["model", "photo_id"]).column_names == ["model", "photo_id"], "in the order that is asked for"
    assert rows.table(["photo_id"]) == rows.table(["photo_id"]), "as often as they are asked for"


def test_tables_are_merged_in_the_order_of_their_photos() -> None:
    tables = [answers("abdfg", "one"), answers("acdg", "another"), answers("", "none"), answers("z", "last")]
    found = Rows.merged([Rows.of(table, ["photo_id"]) for table in tables], PREDICTIONS)
    expected = pa.concat_tables(tables).sort_by([(name, "ascending") for name in PREDICTIONS.key])
    assert found.table().to_pylist() == expected.to_pylist()
    assert found.table(["is_correct"]).column_names == ["is_correct"]


def test_rows_lie_beside_those_of_others() -> None:
    other = pa.table({"photo_id": ["a", "c", "c", "d", "f", "h"], "value": [1, 2, 3, 4, 5, 6]})
    beside = Beside(Rows.of(other, ["photo_id", "value"]), ["value"])
    found = [
        beside.of(pa.chunked_array([ids], pa.string())) for ids in (["a", "b"], [], ["c", "d", "d"], ["d", "g", "h"])
    ]
    assert [row["value"].to_pylist() for row in found] == [[1, None], [], [2, 4, 4], [4, None, 6]]
    assert found[0]["photo_id"].to_pylist() == ["a", None]


def test_rows_are_kept_by_value_and_by_photo() -> None:
    rows = Rows.of(pa.table({"photo_id": list("abcd"), "stage": list("xyxy"), "value": [1, 2, 3, 4]}), ["photo_id"])
    assert rows.where("stage", "y").table(["value"])["value"].to_pylist() == [2, 4]
    some = Rows.of(pa.table({"photo_id": list("bbce")}), ["photo_id"])
    assert rows.among(some).table(["value"])["value"].to_pylist() == [2, 3]


def test_the_rows_of_a_photo_are_put_in_another_order() -> None:
    table = pa.table({"photo_id": list("aabbbc"), "stage": list("xyxyzx"), "class_id": list("213211")})
    rows = Rows.of(table, ["photo_id", "stage"])
    found = rows.reordered(["photo_id", "class_id"]).table(["stage"])["stage"].to_pylist()
    assert found == ["y", "x", "z", "y", "x", "x"]
    upper = rows.reordered(["photo_id", "stage"], lambda part: part.set_column(1, "stage", pa.array(["z"] * len(part))))
    assert set(upper.table()["stage"].to_pylist()) == {"z"}


def test_all_rows_of_another_table_come_alongside_photos() -> None:
    photos = Rows.of(pa.table({"photo_id": list("bdef"), "half": list("wxyz")}), ["photo_id"])
    others = Rows.of(pa.table({"photo_id": list("abbddg"), "model": list("123456")}), ["photo_id", "model"])
    found = [*alongside(photos, ["half"], others, ["model"])]
    assert [half for part, _ in found for half in part["half"].to_pylist()] == list("wxyz")
    for part, rows in found:
        of_part = [row for row in rows.to_pylist() if row["photo_id"] in part["photo_id"].to_pylist()]
        expected = [row for row in others.table().to_pylist() if row["photo_id"] in part["photo_id"].to_pylist()]
        assert of_part == [{"model": row["model"], "photo_id": row["photo_id"]} for row in expected]
