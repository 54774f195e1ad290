"""Where wrong answers go: against a recount of the packaged release, planted worlds, and all that may be missing."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import counterset
from counterset.causes.kinship import Kin, are_near, kin_of
from counterset.causes.wrong_answers import errors_of, home_backgrounds, units_of, where_errors_go
from counterset.classes import ClassSpec, load_classes
from counterset.cli import main
from counterset.manifests import manifest_path

FAMILIES = {
    "ice bear": "Ursidae",
    "brown bear": "Ursidae",
    "Arctic fox": "Canidae",
    "red fox": "Canidae",
    "lion": "Felidae",
    "cheetah": "Felidae",
    "white stork": "Ciconiidae",
    "flamingo": "Phoenicopteridae",
}
CLASSES = [ClassSpec("bear", "ice bear", 296), ClassSpec("brown", "brown bear", 294), ClassSpec("lion", "lion", 291)]


@pytest.fixture(scope="module")
def folder() -> Any:
    [found] = manifest_path("releases").glob("*/1.0.0")
    return found


def test_every_count_is_recounted_from_the_files(folder: Any) -> None:
    """With SQL and by hand, from the release's Parquet files alone."""
    with duckdb.connect() as connection:
        for name in ("all_photos", "pairs", "predictions", "wrong_answers", "wrong_answers_by_model"):
            connection.register(name, pq.read_table(folder / f"{name}.parquet"))
        homes = dict(
            connection.sql(
                'SELECT class_name, arg_max("group", (n, -ascii("group"))) FROM (SELECT class_name, "group", '
                'count(*) AS n FROM all_photos WHERE "group" IS NOT NULL GROUP BY ALL) GROUP BY class_name'
            ).fetchall()
        )
        rows = connection.sql(
            'SELECT p.model, a.class_id, a.class_name, a."group", q.counter, p.predicted FROM predictions p '
            "JOIN all_photos a USING (photo_id) JOIN pairs q ON q.class_id = a.class_id "
            'WHERE NOT p.is_correct AND a."group" IS NOT NULL AND q.counter IS NOT NULL'
        ).fetchall()
        stated = connection.sql("FROM wrong_answers").to_arrow_table().to_pylist()
        by_model = connection.sql("FROM wrong_answers_by_model").to_arrow_table().to_pylist()
    assert stated
    expected: Counter[str] = Counter()
    for row in stated:
        own = [r for r in rows if (r[0], r[1]) == (row["model"], row["class_id"])]
        counter = [r for r in own if r[3] == r[4]]
        kinds = Counter((homes[said] == background, FAMILIES[said] == FAMILIES[name])
                        for _, _, name, background, _, said in counter)  # fmt: skip
        names = ("num_background", "num_near", "num_both", "num_other")
        assert [row[name] for name in names] == [
            kinds[True, False], kinds[False, True], kinds[True, True], kinds[False, False]
        ]  # fmt: skip
        assert (row["num_wrong"], row["num_wrong_class"]) == (len(counter), len(own))
        assert row["num_unknown"] == row["num_without_home"] == 0
        if counter:
            chance = np.mean([homes[said] == background for *_, background, said in own])
            here = np.mean([homes[said] == background for *_, background, said in counter])
            assert row["share_chance"] == pytest.approx(chance) and row["share_home"] == pytest.approx(here)
            assert row["excess"] == pytest.approx(here - chance)
            expected[row["model"]] += chance * len(counter)
    for row in by_model:
        own_rows = [r for r in stated if r["model"] == row["model"]]
        for name in ("num_photos", "num_wrong", "num_background", "num_near", "num_both", "num_other"):
            assert row[name] == sum(r[name] for r in own_rows)
        assert row["share_chance"] == pytest.approx(expected[row["model"]] / row["num_wrong"])


def test_the_excess_orders_the_demos_models_by_their_ties() -> None:
    """0.15, 0.65 and 1 are planted."""
    rows = {row["model"]: row for row in counterset.load("counterset-demo").table("wrong_answers_by_model").to_pylist()}
    weak, medium, selector = (rows[f"demo:{name}"] for name in ("weak", "medium", "selector"))
    assert weak["excess"] < medium["excess"] < selector["excess"]
    assert selector["excess_low"] > 0.2 and medium["excess_low"] > 0


def world(rng: np.random.Generator, lean: float, photos: int = 40, per_unit: int = 4) -> tuple[pa.Table, ...]:
    """Bears on snow and grass with a favourite mistake per unit; `lean` = how often they answer the grass's brown bear
    on grass for that reason. Brown bears are at home on grass, lions on sand."""
    rows, answers = [], []
    for unit in range(photos // per_unit):
        usual = rng.choice(["brown bear", "lion"], p=[0.3, 0.7])
        for number in range(per_unit):
            group = rng.choice(["snow", "grass"])
            said = usual if rng.random() < 0.6 else str(rng.choice(["brown bear", "lion"]))
            said = "brown bear" if group == "grass" and rng.random() < lean else said
            photo_id = f"{unit}-{number}"
            rows.append({"photo_id": photo_id, "class_id": "bear", "group": group, "observer": f"u{unit}"})
            answers.append({"photo_id": photo_id, "model": "m", "label_space": "classes", "predicted": said,
                            "is_correct": False})  # fmt: skip
    for class_id, home in (("bear", "snow"), ("brown", "grass"), ("lion", "sand")):
        rows += [
            {"photo_id": f"{class_id}{i}", "class_id": class_id, "group": home, "observer": "home"} for i in range(60)
        ]
    pairs = pa.table({"class_id": ["bear", "brown"], "common": ["snow", None], "counter": ["grass", None]})
    return pa.Table.from_pylist(rows), pairs, pa.Table.from_pylist(answers)


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_photos_and_their_answers_may_come_in_parts(size: int) -> None:
    photos, pairs, answers = world(np.random.default_rng(0), 0.4, 80)
    more = answers.set_column(1, "model", pa.array(["other"] * len(answers)))
    right = pc.equal(more["predicted"], "lion")
    answers = pa.concat_tables([answers, more.set_column(4, "is_correct", pc.fill_null(right, False))])
    parts = [photos.slice(start, size) for start in range(0, len(photos), size)]
    told = [(part, answers.filter(pc.is_in(answers["photo_id"], part["photo_id"].combine_chunks()))) for part in parts]
    found, whole = errors_of(told, pairs, CLASSES), where_errors_go(photos, pairs, answers, CLASSES)
    assert [table.to_pylist() for table in found] == [table.to_pylist() for table in whole]
    assert {row["num_wrong"] for row in whole.by_model.to_pylist()} != {0}


def test_the_interval_covers_nothing_where_there_is_nothing() -> None:
    """400 worlds without a lean, 10 to 30 photographers of four photos each."""
    covered, powered = 0, 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        photos = int(rng.choice([40, 80, 120]))
        row = where_errors_go(*world(rng, 0.0, photos), CLASSES).by_model.to_pylist()[0]
        covered += row["excess_low"] is not None and row["excess_low"] <= 0 <= row["excess_high"]
    for seed in range(100):
        row = where_errors_go(*world(np.random.default_rng(seed), 0.6, 120), CLASSES).by_model.to_pylist()[0]
        powered += row["excess_low"] > 0
    assert 0.92 <= covered / 400 <= 0.99
    assert powered >= 90


def test_what_is_not_known_is_said() -> None:
    photos, pairs, _ = world(np.random.default_rng(1), 0.0)
    on_grass = [row["photo_id"] for row in photos.to_pylist() if row["group"] == "grass" and row["class_id"] == "bear"]
    said = ["brown bear", "lion", "bow tie", "sloth bear", "wug"]
    answers = pa.table(
        {
            "photo_id": on_grass[:5],
            "model": ["m"] * 5,
            "label_space": ["imagenet1k"] * 5,
            "predicted": said,
            "is_correct": [False] * 5,
        }
    )
    [row] = where_errors_go(photos, pairs, answers, CLASSES, {"bow tie": 457, "sloth bear": 297}).by_class.to_pylist()
    names = ("num_wrong", "num_both", "num_near", "num_other", "num_background", "num_unknown", "num_without_home")
    assert [row[name] for name in names] == [5, 1, 1, 1, 0, 2, 3], "a bow tie and a wug have no home that is known"
    assert row["excess_low"] is None, "fewer than five photographers"


def test_labels_are_read_from_right_answers() -> None:
    """A label space may call the class otherwise than its list does."""
    photos, pairs, _ = world(np.random.default_rng(1), 0.0)
    on_grass = next(
        row["photo_id"] for row in photos.to_pylist() if row["group"] == "grass" and row["class_id"] == "bear"
    )
    answers = pa.table(
        {
            "photo_id": [on_grass, "bear1"],
            "model": ["m", "m"],
            "label_space": ["x", "x"],
            "predicted": ["Thalarctos", "Thalarctos"],
            "is_correct": [False, True],
        }
    )
    [row] = where_errors_go(photos, pairs, answers, CLASSES).by_class.to_pylist()
    assert (row["num_wrong"], row["num_near"]) == (1, 1)


def test_photos_of_the_same_unit_count_once() -> None:
    photos = pa.table({"observer": ["a", "b", "c"], "unit": ["1", "1", None]})
    assert units_of(photos).tolist() == [0, 0, 1]
    assert units_of(photos.drop_columns("unit")).tolist() == [0, 1, 2]


def test_homes() -> None:
    photos = pa.table(
        {"class_id": ["a"] * 20 + ["b"] * 9, "group": ["snow"] * 8 + ["grass"] * 8 + [None] * 4 + ["x"] * 9}
    )
    assert home_backgrounds(photos) == {"a": "grass"}, "ties go to the first by name; nine photos are too few"


def test_nothing_to_sort() -> None:
    photos, pairs, answers = world(np.random.default_rng(0), 0.0)
    found = where_errors_go(photos, pairs, answers.slice(0, 0), CLASSES)
    assert found.by_class.num_rows == found.by_model.num_rows == 0


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        (Kin("Ursidae", "Ursus"), Kin("Ursidae", "Melursus"), True),
        (Kin("Ursidae", "Ursus"), Kin("Felidae", None), False),
        (Kin("", None), Kin("", None), False),
        (Kin(None, "Ursus"), Kin(None, "Ursus"), True),
        (Kin(None, "Ursus"), Kin(None, "Melursus"), None),
        (Kin(None, "Ursus"), Kin("", None), False),
        (Kin(), Kin("Ursidae"), None),
    ],
)
def test_relatives(one: Kin, other: Kin, near: bool | None) -> None:
    assert are_near(one, other) is near is are_near(other, one)


def test_kin_of_names() -> None:
    assert kin_of("Ursus maritimus + Ursus arctos") == Kin(None, "Ursus")
    assert kin_of("Pycnonotidae", None) == Kin("Pycnonotidae", None)
    assert kin_of("Ursus maritimus", 296) == Kin("Ursidae", "Ursus")
    assert kin_of("", 457) == Kin("", None)
    assert kin_of() == Kin()


def test_families_agree_with_the_class_lists_that_ship() -> None:
    """Where a class is a whole family, the file of families must say the same; one family is one genus' only."""
    by_genus: dict[str, set[str | None]] = {}
    families = 0
    for name in ("counteranimal", "demo"):
        for spec in load_classes(name):
            if spec.rank == "family" and "+" not in spec.scientific_name:
                families += 1
                assert kin_of("", spec.imagenet_index).family == spec.scientific_name, spec.class_id
            kin = kin_of(spec.scientific_name, spec.imagenet_index)
            assert kin.family, spec.class_id
            if kin.genus:
                by_genus.setdefault(kin.genus, set()).add(kin.family)
    assert families >= 3 and all(len(found) == 1 for found in by_genus.values())


def test_the_command_shows_each_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["causes", "counterset-demo"]) == 0
    shown = capsys.readouterr().out
    assert all(f"demo:{name}" in shown for name in ("weak", "medium", "selector")) and "excess" in shown
    assert "remains %" in shown and "white_stork" in shown and "accuracy in other classes" in shown
    assert "what the mean drop is made of" in shown and "unexplained" in shown and "light and sharpness" in shown


def test_an_older_release_is_sorted_anew() -> None:
    """Its tables are enough: the command gives what a release of today would hold."""
    from counterset.cli.causes import _wrong_answers

    release = counterset.load("counterset-demo")
    today = release.table("wrong_answers_by_model").to_pylist()
    release._tables["wrong_answers_by_model"] = release.table("wrong_answers_by_model").slice(0, 0)
    assert _wrong_answers(release).to_pylist() == today
    assert not any(math.isnan(row["excess"]) for row in today)
