"""WantedRows of a release's table, chosen while it is read, beside the same chosen from the whole table."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.errors import ReleaseError
from counterset.release import bounded
from counterset.release.bounded import WantedRows, read_files, read_parts
from counterset.schemas import CLASS_ID, PHOTO_ID, STRING, TEXTS, Column, TableSchema

SCHEMA = TableSchema(
    "common",
    "one photo",
    ("class_id", "photo_id"),
    (
        PHOTO_ID,
        CLASS_ID,
        Column("verdict", STRING, "of its class"),
        Column("naming", STRING, "of its class", True),
        Column("notes", TEXTS, "texts", True),
    ),
)
CLASSES = ("bear", "fox", "hare")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A split whose rows lie in no order, with nulls."""
    monkeypatch.setattr(bounded, "declared", lambda _: SCHEMA)
    draw = random.Random(3)
    rows = [
        {
            "photo_id": f"made-{number}",
            "class_id": draw.choice(CLASSES),
            "verdict": draw.choice(("confirmed", "too_small")),
            "naming": draw.choice(("audited", "failed", None)),
            "notes": draw.choice((None, [], ["a"], ["b", None])),
        }
        for number in range(500)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA.arrow()), tmp_path / "common.parquet", row_group_size=120)
    return tmp_path


@pytest.mark.parametrize("naming", [{"audited"}, {"audited", None}, {"failed", "audited", None}, set()])
def test_wanted_rows_are_those_of_the_whole_table(folder: Path, naming: set[str | None]) -> None:
    every = read_files(folder, "common", ["common.parquet"], rows=WantedRows(CLASSES))
    expected = [row for row in every.to_pylist() if row["verdict"] == "confirmed" and row["naming"] in naming]
    rows = WantedRows(CLASSES, {"verdict": ("confirmed",), "naming": naming})
    found = read_files(folder, "common", ["common.parquet"], rows=rows)
    assert found.to_pylist() == expected
    assert found.schema.equals(every.schema, check_metadata=True)
    ids = pa.concat_tables(read_parts(folder, "common", ["common.parquet"], ["photo_id"], rows=rows))
    assert ids.column_names == ["photo_id"], "what rows are chosen by is read, and not given"
    assert ids["photo_id"].to_pylist() == [row["photo_id"] for row in expected]


def test_a_column_that_the_file_lacks_says_nothing(folder: Path) -> None:
    path = folder / "common.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["naming"]), path)
    for naming, number in (({"audited"}, 0), ({"audited", None}, 500)):
        assert len(read_files(folder, "common", [path.name], rows=WantedRows(CLASSES, {"naming": naming}))) == number


def test_a_class_that_nobody_named_is_refused_whether_it_is_wanted_or_not(folder: Path) -> None:
    with pytest.raises(ReleaseError, match=r"photos of the class 'hare', which its release\.json does not name"):
        read_files(folder, "common", ["common.parquet"], rows=WantedRows(("bear", "fox"), {"verdict": ()}))


def test_bytes_of_dictionaries_are_those_of_the_texts_written_out() -> None:
    words = pa.array(["", "long text", "äö", "x"])
    draw = np.random.default_rng(0)
    codes = pa.array(draw.integers(0, 4, 100), pa.int32(), mask=draw.random(100) < 0.3)
    for start, stop in ((0, 100), (7, 61), (5, 5)):
        texts = pa.DictionaryArray.from_arrays(codes.slice(start, stop - start), words)
        expected = sum(len(text.encode()) for text in texts.to_pylist() if text is not None) + 4 * len(texts)
        assert bounded._decoded_bytes(texts) == expected
    part = pa.DictionaryArray.from_arrays(pa.array([0, 2, None], pa.int32()), words.slice(1, 3))
    assert bounded._decoded_bytes(part) == len("long text") + len("x") + 12
    assert bounded._decoded_bytes(pa.array([None, None], pa.dictionary(pa.int32(), pa.string()))) == 8
