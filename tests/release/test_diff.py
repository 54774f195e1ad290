"""Differences, against a slow and obvious oracle, and the version rule."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.load import Release
from counterset.release.changelog import markdown_text, render_markdown, render_text
from counterset.release.diff import NEEDED, ReleaseDiff, diff_releases, diff_tables, next_version
from counterset.release.layout import version_key

Rows = list[dict[str, Any]]


def tables_of(release: Release) -> dict[str, pa.Table]:
    return {name: release.table(name) for name in NEEDED}


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
    }


def test_hostile_text_in_markdown_is_text() -> None:
    shown = markdown_text("<script>alert(1)</script> | [x](javascript:y)\n# `z` \u202e")
    assert "<" not in shown
    assert "\n" not in shown
    assert "\u202e" not in shown
    for char in "|[]`":
        assert shown.count(char) == shown.count("\\" + char)


@pytest.mark.parametrize(
    ("old", "level", "new"),
    [
        (None, "major", "1.0.0"),
        ("1.2.3", "major", "2.0.0"),
        ("1.2.3", "minor", "1.3.0"),
        ("1.2.3", "patch", "1.2.4"),
        ("9.9.9", "minor", "9.10.0"),
    ],
)
def test_next_version(old: str | None, level: str, new: str) -> None:
    assert next_version(old, level) == new


def test_versions_sort_as_numbers() -> None:
    names = ["10.0.0", "9.0.0", "9.10.0", "9.9.0"]
    assert sorted(names, key=lambda name: version_key(name) or (0, 0, 0)) == ["9.0.0", "9.9.0", "9.10.0", "10.0.0"]
    assert [version_key(name) for name in ("1.0", "01.0.0", "1.0.0-x", "../1.0.0", "")] == [None] * 5
