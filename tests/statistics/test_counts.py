"""What selection counts, against plain loops over a small world with every kind of gap."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from counterset.errors import WorkspaceError
from counterset.schemas import GROUP_ACCURACY, PAIRS, STABILITY
from counterset.statistics import row_blocks
from counterset.statistics.counts import Counts, count, sensitivity, with_spread
from counterset.statistics.observers import CONFIRM, DISCOVER
from counterset.tables import table_of

CLASSES = ("b", "a", "c", "unseen")
GROUPS = ("sand", "grass", "snow")
SELECTORS = ("m", "n")
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def world() -> tuple[Rows, Rows, Rows]:
    """Members, backgrounds and predictions.

    Some photos abstain, some belong to a class that was not asked for, some lack a selector's prediction; class c
    has two of the groups only; margins are tied often; an observer has photos in several groups and classes.
    """
    rng = np.random.default_rng(0)
    members, backgrounds, predictions = [], [], []
    for number in range(400):
        photo_id, class_id = f"p{number:03d}", str(rng.choice(["a", "b", "c", "other"]))
        person = int(rng.integers(25))
        unit = f"unit {person // 2}"  # of two observers each
        half = "confirm" if sum(map(ord, unit)) % 3 else "discover"
        member = {"photo_id": photo_id, "class_id": class_id, "observer": f"observer {person}"}
        members.append(member | {"unit": unit, "half": half})
        group = str(rng.choice(GROUPS[:2] if class_id == "c" else GROUPS))
        background = {"photo_id": photo_id, "margin": float(rng.integers(5)) / 4}
        backgrounds.append(background | {"group": None if rng.random() < 0.1 else group})
        for model in (*SELECTORS, "third"):
            for space, chance in (("names", 0.6), ("other space", 0.1)):
                is_correct = bool(rng.random() < chance)
                margin = float(rng.integers(1, 5)) / 4 * (1 if is_correct else -1)
                if model == "m" or space != "names" or rng.random() < 0.95:
                    row = {"photo_id": photo_id, "model": model, "label_space": space}
                    predictions.append(row | {"is_correct": is_correct, "margin": margin})
    backgrounds.append({"photo_id": "no member", "margin": 1.0, "group": "a group of no member"})
    return members, backgrounds, predictions


def counted(world: tuple[Rows, Rows, Rows], **changes: Any) -> Counts:
    members, backgrounds, predictions = world
    tables = (
        pa.Table.from_pylist(members),
        pa.Table.from_pylist(
            backgrounds,
            pa.schema([("photo_id", pa.string()), ("margin", pa.float32()), ("group", pa.string())]),
        ),
        pa.Table.from_pylist(predictions),
    )
    options: dict[str, Any] = {"selectors": SELECTORS, "label_space": "names", "class_ids": CLASSES}
    return count(*tables, **(options | changes))


def slow_units(
    world: tuple[Rows, Rows, Rows], selectors: tuple[str, ...]
) -> dict[tuple[str, str, int, str], list[float]]:
    """Photos, sum, sum of squares, sure photos and their sum, sum of ranks and of their squares, by class, group, half
    and observer."""
    members, backgrounds, predictions = world
    background = {row["photo_id"]: row for row in backgrounds}
    right = {(p["photo_id"], p["model"]): p["is_correct"] for p in predictions if p["label_space"] == "names"}
    margin = {(p["photo_id"], p["model"]): p["margin"] for p in predictions if p["label_space"] == "names"}
    counting: dict[str, list[str]] = defaultdict(list)
    for row in members:
        is_whole = all((row["photo_id"], model) in right for model in selectors)
        if is_whole and background[row["photo_id"]]["group"] is not None:
            counting[row["class_id"]].append(row["photo_id"])

    def rank(photo_id: str, class_id: str, model: str) -> float:
        """The share of the class's photos of which the model is less sure, half of those of which it is as sure."""
        own, others = margin[photo_id, model], [margin[other, model] for other in counting[class_id]]
        return sum((other < own) + (other == own) / 2 for other in others) / len(others)

    margins = defaultdict(list)
    for row in members:
        found = background[row["photo_id"]]
        margins[row["class_id"], found["group"], row["half"]].append(found["margin"])
    units: dict[tuple[str, str, int, str], list[float]] = defaultdict(lambda: [0.0] * 7)
    for row in members:
        found = background[row["photo_id"]]
        answers = [right.get((row["photo_id"], model)) for model in selectors]
        if row["class_id"] not in CLASSES or found["group"] is None or None in answers:
            continue
        outcome = sum(map(bool, answers)) / len(selectors)
        is_sure = found["margin"] >= np.median(margins[row["class_id"], found["group"], row["half"]])
        half = CONFIRM if row["half"] == "confirm" else DISCOVER
        unit = units[row["class_id"], found["group"], half, row["unit"]]
        graded = sum(rank(row["photo_id"], row["class_id"], model) for model in selectors) / len(selectors)
        for place, value in enumerate((1, outcome, outcome**2, is_sure, outcome * is_sure, graded, graded**2)):
            unit[place] += value
    return units


@pytest.mark.parametrize("selectors", [("m",), ("m", "n"), ("m", "n", "third")])
def test_outcomes_by_class_group_half_and_observer(world: tuple[Rows, Rows, Rows], selectors: tuple[str, ...]) -> None:
    classes = counted(world, selectors=selectors).classes
    assert [units.class_id for units in classes] == ["a", "b", "c", "unseen"]
    assert [units.groups for units in classes] == [
        ("grass", "sand", "snow"), ("grass", "sand", "snow"), ("grass", "sand"), (),
    ]  # fmt: skip
    expected = slow_units(world, selectors)
    num_found = 0
    for units in classes:
        results = units.results
        assert results.num_groups == len(units.groups)
        wanted = {key[1:]: values for key, values in expected.items() if key[0] == units.class_id}
        names: dict[int, set[str]] = defaultdict(set)
        columns = (results.group, results.half, results.observer, results.num_photos, results.sum_correct)
        columns += (results.sum_squares, units.num_sure, units.correct_sure)
        columns += (units.graded.sum_correct, units.graded.sum_squares)
        rows = list(zip(*columns, strict=True))
        num_found += len(rows)
        for group, half, observer, *values in rows:
            alike = [
                key[2]
                for key, found in wanted.items()
                if key[:2] == (units.groups[group], half) and found == pytest.approx(values)
            ]
            assert alike, "no observer has these counts"
            names[int(observer)] = names[int(observer)] & set(alike) or set(alike)
        observers = {key[2] for key in wanted}
        assert sorted(names) == list(range(len(observers))), "numbered from 0, within the class"
        for group in range(results.num_groups):
            for half in (DISCOVER, CONFIRM):
                rows_of = (results.group == group) & (results.half == half)
                inside = [values for key, values in wanted.items() if key[:2] == (units.groups[group], half)]
                assert rows_of.sum() == len(inside)
                assert len(set(results.observer[rows_of])) == len(inside)
                assert results.sum_correct[rows_of].sum() == pytest.approx(sum(values[1] for values in inside))
    assert num_found == len(expected)


def test_the_same_observer_has_one_number_in_all_groups_of_a_class() -> None:
    members = [
        {
            "photo_id": f"{group}{number}",
            "class_id": "a",
            "observer": f"o{number}",
            "unit": f"o{number}",
            "half": "confirm",
        }
        for group in ("g", "h")
        for number in range(8)
    ]
    members.append({"photo_id": "g8", "class_id": "a", "observer": "o3", "unit": "o3", "half": "confirm"})
    backgrounds = [{"photo_id": row["photo_id"], "group": row["photo_id"][0], "margin": 0.5} for row in members]
    predictions = [
        {"photo_id": row["photo_id"], "model": "m", "label_space": "names", "is_correct": True, "margin": 0.5}
        for row in members
    ]
    [units] = counted((members, backgrounds, predictions), selectors=("m",), class_ids=("a",)).classes
    results = units.results
    by_group = [results.observer[results.group == group].tolist() for group in (0, 1)]
    assert sorted(by_group[0]) == sorted(by_group[1]) == list(range(8))
    twice = results.observer[results.num_photos == 2].tolist()
    assert len(twice) == 1 and results.num_photos.sum() == 17


def test_group_accuracy_of_every_model_and_half(world: tuple[Rows, Rows, Rows]) -> None:
    members, backgrounds, predictions = world
    member = {row["photo_id"]: row for row in members}
    group = {row["photo_id"]: row["group"] for row in backgrounds}
    expected: dict[tuple[str, ...], list[Any]] = defaultdict(lambda: [0, 0, set(), set()])
    for row in predictions:
        found = member[row["photo_id"]]
        if row["label_space"] != "names" or found["class_id"] not in CLASSES or group[row["photo_id"]] is None:
            continue
        for half in (found["half"], "all"):
            entry = expected[found["class_id"], group[row["photo_id"]], row["model"], half]
            entry[0] += 1
            entry[1] += row["is_correct"]
            entry[2].add(found["observer"])
            entry[3].add(found["unit"])
    table = counted(world).group_accuracy
    assert table.schema.equals(GROUP_ACCURACY.arrow())
    found_rows = {(r["class_id"], r["group"], r["model"], r["half"]): r for r in table.to_pylist()}
    assert set(found_rows) == set(expected) and table.num_rows == len(expected)
    for key, (num_photos, num_correct, observers, units) in expected.items():
        row = found_rows[key]
        counts = tuple(row[name] for name in ("num_photos", "num_correct", "num_observers", "num_units"))
        assert counts == (num_photos, num_correct, len(observers), len(units))
        assert row["accuracy"] == pytest.approx(num_correct / num_photos)


def test_a_model_that_lacks_an_observers_photos_has_one_observer_less(world: tuple[Rows, Rows, Rows]) -> None:
    members, backgrounds, predictions = world
    lost = {row["photo_id"] for row in members if row["observer"] == "observer 3"}
    fewer = [
        row
        for row in predictions
        if row["model"] != "third" or row["label_space"] != "names" or row["photo_id"] not in lost
    ]
    before, after = (counted((members, backgrounds, rows)).group_accuracy.to_pylist() for rows in (predictions, fewer))
    kept = {(r["class_id"], r["group"], r["model"], r["half"]): r for r in after}
    changed = 0
    for row in before:
        other = kept.get((row["class_id"], row["group"], row["model"], row["half"]))
        if row["model"] != "third":
            assert other == row
        elif other is not None and other["num_photos"] < row["num_photos"]:
            assert other["num_observers"] == row["num_observers"] - 1
            changed += 1
    assert changed


def test_datasets_give_the_same_as_tables(world: tuple[Rows, Rows, Rows], tmp_path: Path) -> None:
    schema = pa.schema([("photo_id", pa.string()), ("margin", pa.float32()), ("group", pa.string())])
    tables = (pa.Table.from_pylist(world[0]), pa.Table.from_pylist(world[1], schema), pa.Table.from_pylist(world[2]))
    datasets = []
    for name, table in zip(("a member's", "b", "c"), tables, strict=True):
        pq.write_table(table, tmp_path / f"{name}.parquet")
        datasets.append(ds.dataset(tmp_path / f"{name}.parquet"))
    elsewhere = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())  # as on S3, DuckDB cannot open its paths
    remote = [ds.dataset(f"{name}.parquet", filesystem=elsewhere) for name in ("a member's", "b", "c")]
    options: dict[str, Any] = {"selectors": SELECTORS, "label_space": "names", "class_ids": CLASSES}
    expected = counted(world)
    for given in (datasets, remote, [ds.InMemoryDataset(table) for table in tables]):
        found = count(*given, **options)
        assert found.group_accuracy == expected.group_accuracy
        for mine, theirs in zip(found.classes, expected.classes, strict=True):
            assert mine.groups == theirs.groups
            for name in ("group", "half", "observer", "num_photos", "sum_correct", "sum_squares"):
                np.testing.assert_array_equal(getattr(mine.results, name), getattr(theirs.results, name))


def test_a_file_per_model_gives_the_same_as_one_table(
    world: tuple[Rows, Rows, Rows], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_blocks, "BATCH_ROWS", 100)
    members, backgrounds, predictions = world
    for name in (*SELECTORS, "third"):
        own = [row for row in predictions if (row["model"], row["label_space"]) == (name, "names")]
        pq.write_table(pa.Table.from_pylist(own), tmp_path / name, row_group_size=30)
    expected = counted(world)
    tables = (pa.Table.from_pylist(rows) for rows in (members, backgrounds))
    files = ds.dataset([str(tmp_path / name) for name in ("third", *SELECTORS)])
    found = count(*tables, files, selectors=SELECTORS, label_space="names", class_ids=CLASSES)
    assert found.group_accuracy.equals(expected.group_accuracy)
    for mine, theirs in zip(found.classes, expected.classes, strict=True):
        np.testing.assert_array_equal(mine.graded.sum_correct, theirs.graded.sum_correct)


def test_a_selector_that_predicted_nothing_is_named_with_the_label_space(world: tuple[Rows, Rows, Rows]) -> None:
    with pytest.raises(WorkspaceError, match=r"the selectors m, absent have not all .* label space 'names'"):
        counted(world, selectors=("m", "absent"))
    with pytest.raises(WorkspaceError, match="label space 'third space'"):
        counted(world, label_space="third space")


def test_photos_that_lack_a_selector_are_told_and_whole_ones_are_not(
    world: tuple[Rows, Rows, Rows], caplog: pytest.LogCaptureFixture
) -> None:
    counted(world, selectors=("m",))
    assert caplog.text == ""
    counted(world)
    units = sum(values[0] for values in slow_units(world, SELECTORS).values())
    whole = sum(values[0] for values in slow_units(world, ("m",)).values())
    assert f"{whole - units:.0f} of {whole:.0f} grouped photos lack a selector's prediction" in caplog.text


def accuracy_rows(*rows: tuple[str, str, str, str, int, int]) -> pa.Table:
    columns = ("class_id", "group", "model", "half", "num_photos", "num_correct")
    named = [dict(zip(columns, row, strict=True)) for row in rows]
    return table_of(
        GROUP_ACCURACY,
        [
            row | {"num_observers": 3, "num_units": 2, "accuracy": row["num_correct"] / row["num_photos"]}
            for row in named
        ],
    )


def pair(class_id: str, common: str | None, counter: str | None) -> dict[str, Any]:
    counts = ("num_common", "num_counter", "num_observers_common", "num_observers_counter")
    found = {"class_id": class_id, "common": common, "counter": counter, "verdict": "unconfirmed"}
    return found | dict.fromkeys(counts, 1) | {"is_common_rarer": False, "is_fragile": False}


def test_sensitivity_is_the_drop_on_confirm_under_every_model_and_prompts() -> None:
    pairs = table_of(PAIRS, [pair("a", "grass", "snow"), pair("b", "snow", "grass"), pair("c", None, None)])
    paper = accuracy_rows(
        ("a", "grass", "m", "confirm", 10, 8),
        ("a", "snow", "m", "confirm", 5, 1),
        ("a", "sand", "m", "confirm", 5, 5),
        ("a", "grass", "m", "discover", 10, 1),
        ("a", "snow", "m", "discover", 5, 5),
        ("a", "grass", "m", "all", 20, 9),
        ("a", "snow", "m", "all", 10, 6),
        ("a", "grass", "n", "confirm", 10, 5),
        ("a", "snow", "n", "confirm", 4, 3),
        ("b", "grass", "m", "confirm", 4, 1),
        ("b", "snow", "m", "confirm", 4, 4),
    )
    other = accuracy_rows(("a", "grass", "m", "confirm", 10, 9), ("a", "snow", "m", "confirm", 5, 3))
    found = sensitivity(pairs, {"paper": paper, "it's": other})
    columns = ("class_id", "model", "templates", "num_common", "num_counter", "accuracy_common", "accuracy_counter")
    rows = {tuple(row[name] for name in columns): row["drop"] for row in found.to_pylist()}
    assert rows == {
        ("a", "m", "paper", 10, 5, 0.8, 0.2): pytest.approx(0.6),
        ("a", "n", "paper", 10, 4, 0.5, 0.75): pytest.approx(-0.25),
        ("a", "m", "it's", 10, 5, 0.9, 0.6): pytest.approx(0.3),
        ("b", "m", "paper", 4, 4, 1.0, 0.25): pytest.approx(0.75),
    }
    assert found.num_rows == 4
    stability = table_of(STABILITY, [{"class_id": "a", "seeds": 0.9, "halves": 0.7}])
    spread = with_spread(pairs, found, stability).to_pylist()
    columns = ("class_id", "drop_lowest_model", "drop_highest_model", "stability_seeds", "stability_halves")
    assert [tuple(row[name] for name in columns) for row in spread] == [
        ("a", pytest.approx(-0.25), pytest.approx(0.6), 0.9, 0.7),
        ("b", pytest.approx(0.75), pytest.approx(0.75), None, None),
        ("c", None, None, None, None),
    ]
    assert [row["common"] for row in spread] == ["grass", "snow", None], "all else is left"
