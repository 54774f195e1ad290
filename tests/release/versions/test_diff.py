"""Differences, against a slow and obvious oracle, and the version rule."""

from __future__ import annotations

import datetime
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.load import Release
from counterset.release.schemas import BUNDLED_COLUMNS, SPLITS, TABLES, split_schema
from counterset.release.versions.changelog import markdown_text, render_markdown, render_text
from counterset.release.versions.diff import ReleaseDiff, diff_releases, diff_tables
from counterset.release.versions.meaning import COMPARED
from counterset.schemas import SENSITIVITY
from counterset.tables import table_of

Rows = list[dict[str, Any]]


def tables_of(release: Release) -> dict[str, pa.Table]:
    return {name: release.table(name) for name in COMPARED}


def changed(release: Release, seed: int) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Tables with random changes, and what was changed."""
    chance = random.Random(seed)
    tables = tables_of(release)
    rows: Rows = tables["all_photos"].to_pylist()
    chance.shuffle(rows)
    removed, moved, edited = rows[:7], rows[7:12], rows[12:18]
    rows = rows[7:]
    for row in moved:
        row["group"] = "moon" if chance.random() < 0.5 else None
    for row in edited:
        row[chance.choice(("url", "license", "attribution"))] = "changed"
    added = [dict(row, photo_id=f"new-{n}") for n, row in enumerate(rows[20:24])]
    tables["all_photos"] = pa.Table.from_pylist(rows + added, schema=tables["all_photos"].schema)
    known = {row["photo_id"] for row in removed}
    predictions = [row for row in tables["predictions"].to_pylist() if row["photo_id"] not in known]
    predictions[5]["predicted"] = "another"
    tables["predictions"] = pa.Table.from_pylist(predictions, schema=tables["predictions"].schema)
    rejects = tables["rejects"].to_pylist()
    rejects.append(
        {"photo_id": removed[0]["photo_id"], "class_id": "x", "stage": "crawl", "reason": "withdrawn", "detail": ""}
    )
    tables["rejects"] = pa.Table.from_pylist(rejects, schema=tables["rejects"].schema)
    pairs = tables["pairs"].to_pylist()
    pairs[0]["verdict"] = "confirmed" if pairs[0]["verdict"] != "confirmed" else "unconfirmed"
    pairs[1]["counter"] = "moon"
    tables["pairs"] = pa.Table.from_pylist(pairs, schema=tables["pairs"].schema)
    truth = {
        "added": sorted(row["photo_id"] for row in added),
        "removed": sorted(known),
        "moved": sorted(row["photo_id"] for row in moved),
        "edited": sorted(row["photo_id"] for row in edited),
        "withdrawn": removed[0]["photo_id"],
    }
    return tables, truth


@pytest.mark.parametrize("seed", range(5))
def test_every_change_is_found_and_no_other(release: Release, seed: int) -> None:
    new, truth = changed(release, seed)
    diff = diff_tables(tables_of(release), new, "a 1.0.0", "a 2.0.0")
    moves = {row["photo_id"]: row for row in release.all_photos.to_pylist()}
    expected_moves = [photo for photo in truth["moved"] if moves[photo]["group"] != _group(new, photo)]
    for kind in ("added", "removed", "edited"):
        assert getattr(diff, kind)["photo_id"].to_pylist() == truth[kind], kind
    assert diff.moved["photo_id"].to_pylist() == expected_moves
    reasons = dict(zip(diff.removed["photo_id"].to_pylist(), diff.removed["reason"].to_pylist(), strict=True))
    assert reasons.pop(truth["withdrawn"]) == "withdrawn"
    assert set(reasons.values()) == {"not_in_build"}
    assert diff.counts["pairs_changed"] == 1
    assert diff.counts["verdicts_flipped"] == 1
    assert diff.counts["predictions_changed"] == 1
    assert diff.counts["predictions_removed"] == 0
    assert diff.level == "major"


def _group(tables: dict[str, pa.Table], photo_id: str) -> str | None:
    return next(row["group"] for row in tables["all_photos"].to_pylist() if row["photo_id"] == photo_id)


def test_a_release_does_not_differ_from_itself(release: Release) -> None:
    diff = diff_releases(release, release)
    assert not any(diff.counts.values())
    assert (diff.level, diff.largest_drop_change) == ("patch", (0.0, ""))
    assert "no row differs" in render_text(diff)


def test_the_way_back_swaps_added_and_removed(release: Release) -> None:
    new, truth = changed(release, 1)
    back = diff_tables(new, tables_of(release), "b", "a")
    assert back.added["photo_id"].to_pylist() == truth["removed"]
    assert back.removed["photo_id"].to_pylist() == truth["added"]


def test_rendering_and_rows_on_disk(release: Release, tmp_path: Path) -> None:
    new, _ = changed(release, 2)
    diff: ReleaseDiff = diff_tables(tables_of(release), new, "a 1.0.0", "a 2.0.0")
    text, markdown = render_text(diff), render_markdown(diff)
    assert "7  photos removed" in text
    assert text.startswith("a 1.0.0 -> a 2.0.0: major")
    assert "- 7 photos removed" in markdown
    assert "| withdrawn | 1 |" in markdown
    assert "moon" in text
    diff.write(tmp_path / "rows")
    assert pq.read_table(tmp_path / "rows" / "removed.parquet").equals(diff.removed)
    assert {path.stem for path in (tmp_path / "rows").iterdir()} == {
        "added",
        "removed",
        "edited",
        "moved",
        "pairs",
        "predictions",
        "columns",
        "rows",
        "settings",
    }


def test_hostile_text_in_markdown_is_text() -> None:
    shown = markdown_text("<script>alert(1)</script> | [x](javascript:y)\n# `z` \u202e")
    assert "<" not in shown
    assert "\n" not in shown
    assert "\u202e" not in shown
    for char in "|[]`":
        assert shown.count(char) == shown.count("\\" + char)


def other(value: Any, kind: pa.DataType) -> Any:
    """Another value of a column's type."""
    if pa.types.is_boolean(kind):
        return not value
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return (value or 0) + 1
    if pa.types.is_date(kind):
        return datetime.date(1999, 9, 9)
    if pa.types.is_list(kind):
        return [*(value or []), "another"]
    return b"another!" if pa.types.is_fixed_size_binary(kind) else f"{value} another"


@pytest.mark.parametrize(
    ("table", "column"),
    [
        (name, column.name)
        for name in COMPARED
        for column in TABLES[name].columns
        if column.name not in TABLES[name].key
    ],
)
def test_a_change_in_any_column_is_said_and_steps_the_version(release: Release, table: str, column: str) -> None:
    old = tables_of(release)
    if not old[table].num_rows:
        old[table] = table_of(SENSITIVITY, [sensitivity_row(release)])
    rows = old[table].to_pylist()
    for row in rows:
        row[column] = other(row[column], old[table].schema.field(column).type)
    diff = diff_tables(old, old | {table: pa.Table.from_pylist(rows, old[table].schema)}, "a 1.0.0", "a 2.0.0")
    said = {(row["table"], row["column"]): row["num_rows"] for row in diff.columns.to_pylist()}
    assert said == {(table, column): len(rows)}
    is_minor = table == "rejects" or column in ("margin", "background_margin")
    assert diff.level == ("minor" if is_minor else "major"), diff.counts
    for text in (render_text(diff), render_markdown(diff)):
        assert "o row differs" not in text
        assert column in text.replace("\\", "")
        assert f"{len(rows):,}" in text


def sensitivity_row(release: Release) -> dict[str, Any]:
    pair = release.pairs.to_pylist()[0]
    figures = dict.fromkeys(("accuracy_common", "accuracy_counter", "drop"), 0.5)
    return {"class_id": pair["class_id"], "model": "m", "templates": "t", "num_common": 1, "num_counter": 1} | figures


def test_every_column_of_the_splits_is_one_of_a_compared_table() -> None:
    """The splits are not compared themselves; how the same photos are bundled is packaging."""
    whole = {column.name for column in TABLES["all_photos"].columns}
    for split in SPLITS:
        own = {column.name for column in split_schema(split, with_images=True).columns} - whole
        assert own <= {"verdict", "naming", "class_label", *BUNDLED_COLUMNS}


def test_figures_move_with_an_addition_and_not_alone(release: Release) -> None:
    """A photo more and other figures: minor. Other figures alone: major. Other rejects or scores alone: minor."""
    old = tables_of(release)
    rows: Rows = old["all_photos"].to_pylist()
    more = {"all_photos": pa.Table.from_pylist([*rows, dict(rows[0], photo_id="new-1")], old["all_photos"].schema)}
    groups: Rows = old["groups"].to_pylist()
    groups[0]["num_correct"] += 1
    moved = {"groups": pa.Table.from_pylist(groups, old["groups"].schema)}
    fewer = {"rejects": old["rejects"].slice(3)}
    for changes, level in ((more | moved, "minor"), (moved, "major"), (fewer, "minor"), (more | fewer, "minor")):
        diff = diff_tables(old, old | changes, "a", "b")
        assert diff.level == level, diff.counts
    assert diff_tables(old, old | moved, "a", "b").counts["results_changed"] == 1
    assert diff_tables(old, old | fewer, "a", "b").counts["rejects_changed"] == 3
    without = {"groups": old["groups"].slice(1)}
    assert diff_tables(old, old | without, "a", "b").level == "major"
    assert diff_tables(old | without, old, "a", "b").counts["results_added"] == 1
    assert diff_tables(old | without, old, "a", "b").level == "minor"


def test_predictions_of_another_label_space_are_others(release: Release) -> None:
    old = tables_of(release)
    rows: Rows = old["predictions"].to_pylist()
    twice = rows + [row | {"label_space": "other", "predicted": "x"} for row in rows]
    more = {"predictions": pa.Table.from_pylist(twice, old["predictions"].schema)}
    diff = diff_tables(old, old | more, "a", "b")
    assert (diff.counts["predictions_added"], diff.counts["predictions_changed"]) == (len(rows), 0)
    assert diff.level == "minor"
    moved = pa.Table.from_pylist([row | {"label_space": "other"} for row in rows], old["predictions"].schema)
    counts = diff_tables(old, old | {"predictions": moved}, "a", "b").counts
    assert (counts["predictions_added"], counts["predictions_removed"]) == (len(rows), len(rows))


def test_a_column_that_came_is_an_addition_and_one_that_went_is_not(release: Release) -> None:
    new = tables_of(release)
    old = new | {"pairs": new["pairs"].drop_columns(["stability_seeds"])}
    diff = diff_tables(old, new, "a", "b")
    assert (diff.level, diff.counts["columns_added"]) == ("minor", 1)
    assert "pairs.stability_seeds" in render_text(diff) and "the column is new" in render_text(diff)
    assert diff_tables(new, old, "b", "a").level == "major"


def test_settings_that_changed_nothing_are_said(release: Release) -> None:
    tables, before = tables_of(release), dict(release.metadata)
    after = json.loads(json.dumps(before))
    after["config"]["evaluate"]["templates"] = "openai80"
    after["models"][1]["weights_sha256"] = "f" * 64
    after["classes"][0]["taxon_ids"] = [7]
    diff = diff_tables(tables, tables, "a", "b", (before, after))
    assert (diff.level, diff.counts["settings_changed"]) == ("patch", 3)
    text, markdown = render_text(diff), render_markdown(diff)
    assert "no row differs" in text and "No row differs" in markdown
    assert "3  settings changed" in text
    for part in ("config.evaluate.templates", '"paper"', '"openai80"', "weights_sha256", "taxon_ids", "[7]"):
        assert part in text
        assert part in markdown.replace("\\", "")
