"""Places of photos among others: the same as of a dictionary, whatever the rows' order and form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from counterset.statistics import row_blocks
from counterset.statistics.photo_numbers import PhotoNumbers
from counterset.statistics.row_blocks import blocks

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


def test_ids_that_lie_in_a_file_as_in_another_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_blocks, "BATCH_ROWS", 200)
    others = [*IDS[:500], "p0001", *IDS[501:]]  # not the same in one block
    for name, ids in (("a", IDS), ("b", IDS), ("c", others)):
        values = [f"{name}{number // 60}" for number in range(1000)]
        pq.write_table(pa.table({"photo_id": ids, "value": values}), tmp_path / name, row_group_size=70)
    numbers, read = PhotoNumbers(pa.chunked_array([IDS])), list[int]()
    places = numbers.places
    monkeypatch.setattr(numbers, "places", lambda ids: read.append(len(ids)) or places(ids))
    found = [
        (int(place), value)
        for block in blocks(ds.dataset([str(tmp_path / name) for name in "abc"]))
        for own, batch in numbers.placed(block, ["value"])
        for place, value in zip(own, batch.column("value").to_pylist(), strict=True)
    ]
    expected = [*range(500), 1000, *range(501, 1000)]
    assert [place for place, _ in found] == [*range(1000), *range(1000), *expected]
    assert [value for _, value in found] == [f"{name}{number // 60}" for name in "abc" for number in range(1000)]
    assert sum(read) == 1000 + 140
