"""Differences of a small world by hand: one change at a time, and every count and row that follows from it."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.load import load
from counterset.parquet_sql import spilling
from counterset.release.schemas import TABLES
from counterset.release.versions.diff import ReleaseDiff, Stored, diff_releases, diff_tables, stored_tables
from counterset.release.versions.meaning import COMPARED
from counterset.schemas import SENSITIVITY
from counterset.tables import table_of

World = dict[str, list[dict[str, Any]]]
CLASSES = ("lion", "red_fox")


@pytest.fixture(scope="module")
def world() -> World:
    """Six photos of two classes out of the packaged release, with all that is told of them."""
    release = load("counterset-demo")
    rows = {name: release.table(name).to_pylist() for name in COMPARED if name != "sensitivity"}
    found: World = {"all_photos": []}
    for class_id in CLASSES:
        own = [row for row in rows["all_photos"] if row["class_id"] == class_id]
        found["all_photos"] += [row for row in own if row["split"] == "common"][:2]
        found["all_photos"] += [row for row in own if row["split"] == "counter"][:1]
    ids = {row["photo_id"] for row in found["all_photos"]}
    for name in ("captions", "attribution", "predictions"):
        found[name] = [row for row in rows[name] if row["photo_id"] in ids]
    for name in ("groups", "pairs"):
        found[name] = [row for row in rows[name] if row["class_id"] in CLASSES]
    found["rejects"] = rows["rejects"][:4]
    figures = {"num_common": 3, "num_counter": 2, "accuracy_common": 0.5, "accuracy_counter": 0.25, "drop": 0.25}
    found["sensitivity"] = [{"class_id": name, "model": "m", "templates": "paper"} | figures for name in CLASSES]
    return found


def tables_of(world: World) -> dict[str, pa.Table]:
    schemas = {name: TABLES[name].arrow() for name in COMPARED}
    return {
        name: table_of(SENSITIVITY, rows) if name == "sensitivity" else pa.Table.from_pylist(rows, schemas[name])
        for name, rows in world.items()
    }


def copy_of(world: World) -> World:
    return {name: [dict(row) for row in rows] for name, rows in world.items()}


def diff_of(old: World, new: World) -> ReleaseDiff:
    return diff_tables(tables_of(old), tables_of(new), "a 1.0.0", "a (new)")


def counts_of(diff: ReleaseDiff) -> dict[str, int]:
    return {name: count for name, count in diff.counts.items() if count}


def drop_photo(world: World, photo_id: str) -> None:
    for name in ("all_photos", "captions", "attribution", "predictions"):
        world[name] = [row for row in world[name] if row["photo_id"] != photo_id]


def test_nothing_changed(world: World) -> None:
    diff = diff_of(world, world)
    assert counts_of(diff) == {} and set(diff.counts.values()) == {0}
    assert diff.level == "patch"
    assert diff.largest_drop_change == (0.0, "lion") or diff.largest_drop_change == (0.0, "")
    assert (diff.old, diff.new) == ("a 1.0.0", "a (new)")


def test_a_photo_that_came_and_one_that_went(world: World) -> None:
    """Both ways: what belongs to the photo itself is no other change."""
    photo = world["all_photos"][1]
    fewer = copy_of(world)
    drop_photo(fewer, photo["photo_id"])
    came = diff_of(fewer, world)
    assert counts_of(came) == {"added": 1} and came.level == "minor"
    row = {name: photo[name] for name in ("photo_id", "class_id", "group", "split")}
    assert came.added.to_pylist() == [row]
    went = diff_of(world, fewer)
    assert counts_of(went) == {"removed": 1} and went.level == "major"
    assert went.removed.to_pylist() == [row | {"reason": "not_in_build"}]
    told = copy_of(fewer)
    for reason, stage in (("withdrawn", "publish"), ("license", "crawl")):
        told["rejects"].append(
            {"photo_id": photo["photo_id"], "class_id": "lion", "stage": stage, "reason": reason, "detail": ""}
        )
    diff = diff_of(world, told)
    assert diff.removed.to_pylist() == [row | {"reason": "license"}], "the first by name, once"
    assert counts_of(diff) == {"removed": 1, "rejects_changed": 2}


def test_photos_are_told_in_the_order_of_their_ids(world: World) -> None:
    other = copy_of(world)
    for name in ("all_photos", "captions", "attribution", "predictions"):
        other[name] = [dict(row, photo_id="x" + row["photo_id"]) for row in world[name]][::-1]
    diff = diff_of(world, other)
    ids = sorted(row["photo_id"] for row in world["all_photos"])
    assert diff.removed["photo_id"].to_pylist() == ids
    assert diff.added["photo_id"].to_pylist() == [f"x{name}" for name in ids]
    assert counts_of(diff) == {"added": 6, "removed": 6}


def test_a_photo_that_moved_is_not_an_edited_one(world: World) -> None:
    new = copy_of(world)
    first, second, third = new["all_photos"][:3]
    first["group"], second["split"], third["group"], third["split"] = None, None, "moon", "counter"
    diff = diff_of(world, new)
    expected = [
        {
            "photo_id": after["photo_id"],
            "class_id": after["class_id"],
            "old_group": before["group"],
            "new_group": after["group"],
            "old_split": before["split"],
            "new_split": after["split"],
        }
        for before, after in zip(world["all_photos"], new["all_photos"], strict=True)
        if (before["group"], before["split"]) != (after["group"], after["split"])
    ]
    assert diff.moved.to_pylist() == sorted(expected, key=lambda row: str(row["photo_id"]))
    assert counts_of(diff) == {"moved": 3} and diff.level == "major"


def test_an_edited_photo_names_its_columns_of_all_tables(world: World) -> None:
    new = copy_of(world)
    edited = new["all_photos"][2]
    edited["url"], edited["background_margin"] = "https://example.org/other", 0.0
    for name, column in (("captions", "title"), ("attribution", "page_url"), ("attribution", "license")):
        next(row for row in new[name] if row["photo_id"] == edited["photo_id"])[column] = "other"
    edited["license"] = "other"
    diff = diff_of(world, new)
    assert diff.edited.to_pylist() == [
        {
            "photo_id": edited["photo_id"],
            "class_id": edited["class_id"],
            "changed": ["license", "page_url", "title", "url"],
        }
    ]
    assert counts_of(diff) == {"edited": 1, "scores_changed": 1} and diff.level == "major"
    said = {(row["table"], row["column"]): (row["num_rows"], row["meaning"]) for row in diff.columns.to_pylist()}
    assert said == {
        ("all_photos", "url"): (1, "content"),
        ("all_photos", "license"): (1, "content"),
        ("all_photos", "background_margin"): (1, "score"),
        ("captions", "title"): (1, "content"),
        ("attribution", "page_url"): (1, "content"),
        ("attribution", "license"): (1, "content"),
    }
    order = [(COMPARED.index(row["table"]), row["column"]) for row in diff.columns.to_pylist()]
    assert order == sorted(order)


def change_pair(**changes: Any) -> Callable[[World], None]:
    def change(world: World) -> None:
        world["pairs"][0] |= changes

    return change


@pytest.mark.parametrize(
    ("changes", "said", "counts"),
    [
        ({"common": "moon"}, "pair", {"pairs_changed": 1}),
        ({"counter": "moon"}, "pair", {"pairs_changed": 1}),
        ({"verdict": "too_small"}, "verdict", {"verdicts_flipped": 1}),
        ({"drop": 0.875}, "drop", {"drops_changed": 1}),
        ({"q_value": 0.875}, "figures", {"results_changed": 1}),
        (
            {"counter": "moon", "verdict": "too_small", "drop": None, "p_value": 0.5},
            "pair, verdict, drop, figures",
            {"pairs_changed": 1, "verdicts_flipped": 1, "drops_changed": 1, "results_changed": 1},
        ),
    ],
)
def test_what_changed_of_a_pair(world: World, changes: dict[str, Any], said: str, counts: dict[str, int]) -> None:
    new = copy_of(world)
    before = world["pairs"][0]
    change_pair(**changes)(new)
    diff = diff_of(world, new)
    [row] = diff.pairs.to_pylist()
    after = before | changes
    drop = changes.get("drop", before["drop"])
    assert row == {
        "class_id": before["class_id"],
        "change": said,
        **{f"old_{name}": before[name] for name in ("common", "counter", "verdict", "drop")},
        **{f"new_{name}": after[name] for name in ("common", "counter", "verdict", "drop")},
        "drop_change": None if drop is None else pytest.approx(drop - before["drop"]),
    }
    assert counts_of(diff) == counts and diff.level == "major"


def test_a_class_that_came_and_one_that_went(world: World) -> None:
    gone = copy_of(world)
    for name, rows in gone.items():
        if name != "rejects" and "class_id" in rows[0]:
            gone[name] = [row for row in rows if row["class_id"] != "red_fox"]
    ids = {row["photo_id"] for row in gone["all_photos"]}
    gone["predictions"] = [row for row in gone["predictions"] if row["photo_id"] in ids]
    came, went = diff_of(gone, world), diff_of(world, gone)
    assert counts_of(came) == {"added": 3, "classes_added": 1} and came.level == "minor"
    assert counts_of(went) == {"removed": 3, "classes_removed": 1} and went.level == "major"
    assert [(row["class_id"], row["change"]) for row in came.pairs.to_pylist()] == [("red_fox", "class added")]
    assert [(row["class_id"], row["change"]) for row in went.pairs.to_pylist()] == [("red_fox", "class removed")]
    assert went.pairs["new_drop"].to_pylist() == [None] and went.largest_drop_change == (0.0, "")


def test_the_largest_change_of_a_drop(world: World) -> None:
    new = copy_of(world)
    new["pairs"][0]["drop"] += 0.25
    new["pairs"][1]["drop"] -= 0.5
    diff = diff_of(world, new)
    assert diff.largest_drop_change == (pytest.approx(0.5), new["pairs"][1]["class_id"])


def test_predictions_by_model(world: World) -> None:
    models = sorted({row["model"] for row in world["predictions"]})
    new = copy_of(world)
    mine = [row for row in new["predictions"] if row["model"] == models[0]]
    mine[0]["predicted"] = "other"
    mine[1]["margin"] += 1.0
    mine[2] |= {"is_correct": not mine[2]["is_correct"], "margin": 5.0}
    new["predictions"] = [row for row in new["predictions"] if row["model"] != models[1]]
    new["predictions"] += [dict(row, model="zzz") for row in mine[:4]]
    diff = diff_of(world, new)
    removed = sum(row["model"] == models[1] for row in world["predictions"])
    columns = ("model", "num_added", "num_removed", "num_changed", "num_rescored")
    assert [tuple(row[name] for name in columns) for row in diff.predictions.to_pylist()] == [
        (models[0], 0, 0, 2, 1),
        (models[1], 0, removed, 0, 0),
        ("zzz", 4, 0, 0, 0),
    ]
    assert counts_of(diff) == {
        "predictions_added": 4,
        "predictions_removed": removed,
        "predictions_changed": 2,
        "scores_changed": 2,
    }
    assert diff.level == "major"
    more = copy_of(world)
    more["predictions"] += [dict(row, model="zzz") for row in mine]
    assert diff_of(world, more).level == "minor"


def test_rows_of_other_tables(world: World) -> None:
    new = copy_of(world)
    new["groups"] = new["groups"][1:]
    new["groups"][0]["num_correct"] += 1
    new["groups"].append(dict(new["groups"][0], model="zzz"))
    new["sensitivity"][1]["drop"] = 0.5
    new["rejects"] = new["rejects"][1:]
    new["rejects"][0]["detail"] = "another"
    new["rejects"].append(dict(new["rejects"][0], photo_id="new"))
    diff = diff_of(world, new)
    rows = {row["table"]: row for row in diff.rows.to_pylist()}
    told = ("num_added", "num_removed", "num_changed")
    assert {name: tuple(row[key] for key in told) for name, row in rows.items()} == {
        "groups": (1, 1, 1),
        "sensitivity": (0, 0, 1),
        "captions": (0, 0, 0),
        "attribution": (0, 0, 0),
        "rejects": (1, 1, 1),
    }
    assert counts_of(diff) == {"results_added": 1, "results_changed": 3, "rejects_changed": 3}


def test_results_alone_are_major_and_with_an_addition_a_part_of_it(world: World) -> None:
    figures, rejects, scores, more = (copy_of(world) for _ in range(4))
    figures["sensitivity"][0]["drop"] = 0.75
    rejects["rejects"] = rejects["rejects"][1:]
    scores["all_photos"][0]["background_margin"] += 0.5
    for name in ("all_photos", "captions", "attribution"):
        more[name].append(dict(more[name][0], photo_id="new"))
    assert [diff_of(world, new).level for new in (figures, rejects, scores, more)] == [
        "major",
        "minor",
        "minor",
        "minor",
    ]
    more["sensitivity"][0]["drop"] = 0.75
    more["pairs"][0]["drop"] += 0.1
    assert diff_of(world, more).level == "minor"
    more["pairs"][0]["verdict"] = "too_small"
    assert diff_of(world, more).level == "major"


def test_columns_of_one_side_only(world: World) -> None:
    old, new = tables_of(world), tables_of(world)
    old["pairs"] = old["pairs"].drop_columns(["q_value", "p_value"])
    diff = diff_tables(old, new, "a", "b")
    assert counts_of(diff) == {"columns_added": 2} and diff.level == "minor"
    assert [(row["column"], row["num_rows"], row["is_new"]) for row in diff.columns.to_pylist()] == [
        ("p_value", None, True),
        ("q_value", None, True),
    ]
    back = diff_tables(new, old, "b", "a")
    assert counts_of(back) == {"columns_removed": 2} and back.level == "major"


def test_what_was_said_of_how_a_release_was_made(world: World) -> None:
    tables = tables_of(world)
    before = {"config": {"select": {"min_photos": 20, "salt": "s"}, "seed": 0}, "kind": "built", "version": "1.0.0"}
    after = {
        "config": {"select": {"min_photos": 30, "salt": "s"}, "seed": 0, "extra": {}},
        "default_verdicts": ["confirmed"],
        "kind": "built",
        "version": "2.0.0",
        "classes": [{"class_id": "lion", "name": "lion"}],
        "models": [{"name": "m", "role": "selector", "family": "CLIP"}],
    }
    diff = diff_tables(tables, tables, "a", "b", (before, after))
    assert diff.settings.to_pylist() == [
        {"setting": "classes.lion.name", "old": None, "new": '"lion"'},
        {"setting": "config.extra", "old": None, "new": "{}"},
        {"setting": "config.select.min_photos", "old": "20", "new": "30"},
        {"setting": "default_verdicts", "old": None, "new": '["confirmed"]'},
        {"setting": "models.selector.m.family", "old": None, "new": '"CLIP"'},
    ]
    assert counts_of(diff) == {"settings_changed": 5} and diff.level == "patch"


def test_all_rows_are_written(world: World, tmp_path: Path) -> None:
    new = copy_of(world)
    new["all_photos"][0]["url"] = "other"
    diff = diff_of(world, new)
    diff.write(tmp_path / "a" / "b")
    names = {path.stem for path in (tmp_path / "a" / "b").glob("*.parquet")}
    assert names == {
        "added", "removed", "edited", "moved", "pairs", "predictions", "columns", "rows", "settings",
    }  # fmt: skip
    for name in names:
        assert pq.read_table(tmp_path / "a" / "b" / f"{name}.parquet") == getattr(diff, name)


def test_a_release_older_than_a_table_has_none_of_its_rows() -> None:
    release = load("counterset-demo")
    files = {path: entry for path, entry in release.metadata["files"].items() if entry.get("table") != "sensitivity"}
    older: Any = type("Older", (), {"name": "a", "version": "1", "metadata": {"files": files}, "path": release.path})()
    assert stored_tables(older)["sensitivity"].num_rows == 0
    added = diff_releases(older, release).rows.to_pylist()
    assert {row["table"]: row["num_added"] for row in added if row["num_added"]} == {
        "sensitivity": release.table("sensitivity").num_rows
    }
    diff = diff_releases(release, release)
    assert counts_of(diff) == {} and (diff.old, diff.new) == ("counterset-demo 1.0.0", "counterset-demo 1.0.0")


def test_predictions_in_another_label_space_are_others(world: World) -> None:
    new = copy_of(world)
    elsewhere = [dict(row, label_space="another", predicted="x") for row in world["predictions"]]
    new["predictions"] += elsewhere
    assert counts_of(diff_of(world, new)) == {"predictions_added": len(elsewhere)}
    assert counts_of(diff_of(new, world)) == {"predictions_removed": len(elsewhere)}
    new["predictions"][0]["predicted"] = "y"
    assert counts_of(diff_of(world, new)) == {"predictions_added": len(elsewhere), "predictions_changed": 1}


def test_releases_that_differ_in_all_rows_are_compared_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With lists of names, and with more joins at a time, so many end with an error at this limit; so did a million."""
    monkeypatch.setattr("counterset.release.versions.diff.spilling", lambda: spilling("50MB"))
    size = 150_000

    def side(number: int) -> dict[str, pa.Table | Stored]:
        photo_id = "'inaturalist-' || lpad(range::VARCHAR, 10, '0')"
        columns = {
            "all_photos": {
                "class_id": "'class ' || range % 100", "group": f"'group {number}'", "split": "'common'",
                "unit": f"'{number}' || range",
            },
            "captions": {"title": f"'a title {number}' || range", "description": f"'words {number}' || range"},
            "attribution": {"attribution": f"'(c) somebody {number}' || range"},
            "predictions": {"model": "'m'", "label_space": "'s'", "is_correct": f"range % 2 = {number}"},
        }  # fmt: skip
        given: dict[str, pa.Table | Stored] = {
            name: pa.Table.from_batches([], TABLES[name].arrow()) for name in COMPARED
        }
        for name, own in columns.items():
            each = {"photo_id": photo_id} | own
            values = ", ".join(f'{value} AS "{column}"' for column, value in each.items())
            given[name] = Stored(f"SELECT {values} FROM range({size})", tuple(each))
        return given

    diff = diff_tables(side(0), side(1), "old", "new")
    found = {name: count for name, count in diff.counts.items() if count}
    assert found == {"edited": size, "moved": size, "predictions_changed": size}
    names = {tuple(row) for part in diff.photos["edited"].read(["changed"]) for row in part["changed"].to_pylist()}
    assert names == {("attribution", "description", "title", "unit")}


def test_rows_stay_as_long_as_they_are_held_and_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that forks off ends earlier and takes nothing with it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    release = load("counterset-demo")
    diff = diff_releases(release, release)
    kept = diff.photos["moved"]
    [folder] = tmp_path.iterdir()
    child = os.fork()
    if not child:
        del diff, kept
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    del diff
    gc.collect()
    assert kept.count() == 0 and folder.is_dir()
    del kept
    gc.collect()
    assert not folder.exists()
