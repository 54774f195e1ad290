"""Places of photos among others: the same as of a dictionary, whatever the rows' order and form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from counterset.errors import WorkspaceError
from counterset.statistics.photo_numbers import PhotoNumbers, batches, codes_of

IDS = [f"p{number:04d}" for number in range(0, 3000, 3)]


def rows(kind: str) -> list[str | None]:
    """Photo ids of a table's rows."""
    rng = np.random.default_rng(0)
    return {
        "all in order": IDS,
        "each several times": [photo_id for photo_id in IDS for _ in range(7)],
        "model by model": [photo_id for start in range(0, 1000, 50) for _ in range(3) for photo_id in IDS[start:][:50]],
        "some are missing": [photo_id for photo_id in IDS if rng.random() < 0.7],
        "others are between": sorted({*IDS, *(f"p{number:04d}" for number in range(0, 3000, 7))}),
        "in no order": rng.permutation(IDS).tolist(),
        "twice all": [*IDS, *IDS],
        "none of them": ["a", "zebra", "p0001"],
        "nothing": [],
        "null": ["p0003", None, "p0006", None],
        "only null": [None, None],
    }[kind]  # type: ignore[return-value]


@pytest.mark.parametrize("size", [64, 5000])
@pytest.mark.parametrize("is_dictionary", [True, False])
@pytest.mark.parametrize(
    "kind",
    [
        *("all in order", "each several times", "model by model", "some are missing", "others are between"),
        *("in no order", "twice all", "none of them", "nothing", "null", "only null"),
    ],
)
def test_places(kind: str, is_dictionary: bool, size: int) -> None:
    """Rows come in batches, of which the next may begin within a photo's rows."""
    wanted = {photo_id: place for place, photo_id in enumerate(IDS)}
    numbers = PhotoNumbers(pa.chunked_array([IDS[:10], IDS[10:]]))
    column = pa.array(rows(kind), pa.string())
    column = column.dictionary_encode() if is_dictionary else column
    for start in range(0, len(column), size):
        part = column.slice(start, size)
        expected = [wanted.get(one, len(IDS)) for one in part.to_pylist()]
        assert numbers.places(part).tolist() == expected


def test_the_next_photos_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_up(*_: Any) -> Any:
        raise AssertionError("an index was made")

    monkeypatch.setattr(PhotoNumbers, "_looked_up", looked_up)
    numbers = PhotoNumbers(pa.chunked_array([IDS]))
    for kind in ("all in order", "each several times", "model by model", "twice all"):
        column = pa.array(rows(kind), pa.string()).dictionary_encode()
        for start in range(0, len(column), 100):
            numbers.places(column.slice(start, 100))
        numbers.places(pa.array(IDS))


def test_ids_can_be_let_go() -> None:
    numbers = PhotoNumbers(pa.chunked_array([IDS]))
    numbers.let_go()
    assert len(numbers) == len(IDS) and not len(numbers._ids)


def test_rows_of_a_file_come_in_order_with_dictionaries(tmp_path: Path) -> None:
    table = pa.table({"a": [f"text {number % 5}" for number in range(1000)], "b": range(1000)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=300)
    found = list(batches(ds.dataset(tmp_path / "t.parquet"), ["a", "b"]))
    assert all(pa.types.is_dictionary(batch.column("a").type) for batch in found)
    assert [row for batch in found for row in batch.column("b").to_pylist()] == list(range(1000))
    assert [row for batch in found for row in batch.column("a").to_pylist()] == table["a"].to_pylist()
    codes, texts = codes_of(found[0].column("a"))
    assert texts.take(pa.array(codes)).to_pylist() == found[0].column("a").to_pylist()


def test_texts_that_come_once_are_not_read_as_dictionaries(tmp_path: Path) -> None:
    table = pa.table({"id": [f"photo {number:09d}" for number in range(1000)], "model": ["m"] * 1000})
    pq.write_table(table, tmp_path / "t.parquet")
    [found] = batches(ds.dataset(tmp_path / "t.parquet"), ["id", "model"])
    assert [pa.types.is_dictionary(column.type) for column in found.columns] == [False, True]
    assert found.column("id").to_pylist() == table["id"].to_pylist()


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": ["x"] * 10}), path, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    dataset = ds.dataset(path)
    content[25] ^= 255
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"t\.parquet cannot be read"):
        list(batches(dataset, ["a"]))
