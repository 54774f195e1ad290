"""Tables that are written as their rows come: the same files as of all rows at once."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from counterset.errors import SchemaError
from counterset.load import Release
from counterset.release import table_files
from counterset.release.publish import causes
from counterset.release.publish.files import write_tables
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.writer import publish
from counterset.release.publish.written import Written, WrittenTable

from ..build_inputs import build_config


def written(folder: Path) -> Written:
    return Written(folder, "0", lambda tables: write_tables(tables, folder, "0"))


@pytest.mark.parametrize("rows_per_file", [1_000_000, 130])
@pytest.mark.parametrize("size", [1, 97, 5000])
def test_the_same_bytes_however_the_rows_come(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_per_file: int, size: int
) -> None:
    monkeypatch.setattr(table_files, "ROWS_PER_FILE", rows_per_file)
    monkeypatch.setattr("counterset.tables.ROW_GROUP_SIZE", 30)  # so that rows are let go of
    table = release.predictions.slice(0, 300)
    once, growing = written(tmp_path / "once"), written(tmp_path / "growing")
    once.add(predictions=table)
    (tmp_path / "growing").mkdir()
    with growing.growing("predictions") as rows:
        for start in range(0, len(table), size):
            rows.add(table.slice(start, size))
    assert growing.files == once.files
    assert sorted(path.name for path in tmp_path.glob("growing/**/*.parquet")) == sorted(
        Path(path).name for path in growing.files
    )
    assert growing["predictions"].select(["photo_id"]).equals(table.select(["photo_id"]))
    assert isinstance(once["predictions"], WrittenTable) and len(once["predictions"]) == 300


def test_no_rows_are_a_file_too(release: Release, tmp_path: Path) -> None:
    once, growing = written(tmp_path / "once"), written(tmp_path)
    once.add(captions=release.captions.slice(0, 0))
    with growing.growing("captions") as rows:
        rows.add(release.captions.slice(0, 0))
    assert growing.files == once.files


def test_rows_out_of_order_are_refused(release: Release, tmp_path: Path) -> None:
    tables = written(tmp_path)
    with pytest.raises(SchemaError, match="not in order"), tables.growing("attribution") as rows:
        rows.add(release.attribution.slice(5, 3))
        rows.add(release.attribution.slice(7, 3))
    assert "attribution" not in tables and not list(tmp_path.glob("*.parquet"))


def test_numbers_of_all_photos_are_let_go_before_classes_are_looked_at(
    inputs: ReleaseInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    habits_of, remains_of, held = causes.habits_of, causes.remains_of, list[Any]()

    def seen_habits(*given: Any) -> Any:
        found = habits_of(*given)
        held.extend(map(weakref.ref, (found.ease, found.visits)))
        return found

    def looked_at(classes: Iterator[Any]) -> Iterator[Any]:
        for one in classes:
            assert all(ref() is None for ref in held)
            yield one

    monkeypatch.setattr(causes, "habits_of", seen_habits)
    monkeypatch.setattr(causes, "remains_of", lambda classes, **limits: remains_of(looked_at(classes), **limits))
    config = build_config().model_copy(update={"releases": str(tmp_path)})
    publish(replace(inputs, config=config))
    assert held
