"""Selection: counted as a plain loop counts, one row a class whatever is found, promises kept in small worlds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from counterset.config import SelectConfig
from counterset.errors import WorkspaceError
from counterset.schemas import BACKGROUNDS, GROUP_ACCURACY, MEMBERS, PAIRS, PREDICTIONS, STABILITY
from counterset.stages.select import SelectResult, select_pairs
from counterset.statistics.counts import count
from counterset.statistics.halves import DISCOVER_SHARE
from counterset.tables import table_of

from ..proofs.regimes import Regime, Row, build_now
from ..proofs.worlds import (
    Crowd,
    Geometric,
    World,
    draw_world,
    planted,
    with_names_at_random,
    with_wrong_photos_moved,
)

CONFIG = SelectConfig(num_permutations=2_000)
CROWD = Crowd(crossing=0.2, sizes=Geometric())
Tables = tuple[pa.Table, pa.Table, pa.Table]


def select(tables: Tables, config: SelectConfig = CONFIG, **changes: Any) -> SelectResult:
    options: dict[str, Any] = {
        "selectors": ("m",),
        "label_space": "names",
        "class_ids": tuple(f"class{index:04d}" for index in range(5)),
        "seed": 0,
    }
    return select_pairs(*tables, config, **(options | changes))


@pytest.fixture(scope="module")
def tables() -> Tables:
    """Five classes, the first two with a planted drop of 50 points, 60 of the photos abstaining."""
    rng = np.random.default_rng(0)
    accuracies = planted(rng, 5, 4, base=(0.7, 0.7), drop=0.5, num_planted=2)
    members, backgrounds, predicted = draw_world(rng, accuracies, 150, CROWD).tables(DISCOVER_SHARE)
    first = [row | {"model": "m", "label_space": "names"} for row in predicted.to_pylist()]
    rows = backgrounds.to_pylist()
    for index in rng.choice(len(rows), 60, replace=False):
        rows[index] |= {"group": None, "is_confident": False}
    for row in rows:
        row["margin"] = rng.random()
    second = [row | {"model": "n", "is_correct": bool(rng.random() < 0.6)} for row in first if rng.random() < 0.9]
    elsewhere = [row | {"label_space": "other", "is_correct": False} for row in first]
    return members, pa.Table.from_pylist(rows), pa.Table.from_pylist(first + second + elsewhere)


def test_group_accuracy_is_that_of_a_plain_loop(tables: Tables) -> None:
    members, backgrounds, predictions = (table.to_pylist() for table in tables)
    group = {row["photo_id"]: row["group"] for row in backgrounds}
    member = {row["photo_id"]: row for row in members}
    photos: dict[tuple[str, ...], list[bool]] = defaultdict(list)
    observers: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in predictions:
        found = member[row["photo_id"]]
        if row["label_space"] != "names" or group[row["photo_id"]] is None:
            continue
        for half in (found["half"], "all"):
            key = (found["class_id"], group[row["photo_id"]], row["model"], half)
            photos[key].append(row["is_correct"])
            observers[key].add(found["observer"])
    result = select(tables).group_accuracy
    assert result.schema.equals(GROUP_ACCURACY.arrow())
    assert result.num_rows == len(photos) == 5 * 4 * 2 * 3
    for row in result.to_pylist():
        key = (row["class_id"], row["group"], row["model"], row["half"])
        assert (row["num_photos"], row["num_correct"]) == (len(photos[key]), sum(photos[key]))
        assert row["num_observers"] == len(observers[key])
        assert row["accuracy"] == pytest.approx(np.mean(photos[key]))


def test_pairs_count_and_measure_what_they_say(tables: Tables) -> None:
    result = select(tables)
    assert result.pairs.schema.equals(PAIRS.arrow())
    accuracy = {(r["class_id"], r["group"], r["model"], r["half"]): r for r in result.group_accuracy.to_pylist()}
    for row in result.pairs.to_pylist():
        common, counter = (accuracy[row["class_id"], row[name], "m", "confirm"] for name in ("common", "counter"))
        assert row["drop_confirm"] == pytest.approx(common["accuracy"] - counter["accuracy"])
        drops = [
            accuracy[row["class_id"], row["common"], model, "confirm"]["accuracy"]
            - accuracy[row["class_id"], row["counter"], model, "confirm"]["accuracy"]
            for model in ("m", "n")
        ]
        assert (row["drop_lowest_model"], row["drop_highest_model"]) == (min(drops), max(drops))
        whole = accuracy[row["class_id"], row["common"], "m", "all"]
        assert (row["num_common"], row["num_observers_common"]) == (whole["num_photos"], whole["num_observers"])
        totals = [r["num_photos"] for key, r in accuracy.items() if (key[0], *key[2:]) == (row["class_id"], "m", "all")]
        assert row["frequency_common"] == pytest.approx(row["num_common"] / sum(totals))
        assert row["is_common_rarer"] == (row["num_common"] < row["num_counter"])
        assert row["drop"] == pytest.approx(row["accuracy_common"] - row["accuracy_counter"])
        assert row["drop_low"] < row["drop"] < row["drop_high"]
        assert min(row["drop_unsure"], row["drop_sure"]) <= row["drop_confirm"] + 0.02
        assert (row["verdict"] == "confirmed") == (row["q_value"] <= 0.05 and row["drop_low"] > 0)
        assert (row["reason"] is None) == (row["verdict"] == "confirmed")
    assert [row["verdict"] for row in result.pairs.to_pylist()][:2] == ["confirmed", "confirmed"]
    assert {(row["common"], row["counter"]) for row in result.pairs.to_pylist()[:2]} == {("group01", "group02")}


def test_datasets_and_row_order_change_nothing(tables: Tables, tmp_path: Path) -> None:
    expected = select(tables)
    rng = np.random.default_rng(1)
    shuffled = tuple(table.take(rng.permutation(table.num_rows)) for table in tables)
    assert select(shuffled) == expected
    datasets = []
    for table, name in zip(shuffled, ("members", "it's backgrounds", "predictions"), strict=True):
        (tmp_path / name).mkdir()
        half = table.num_rows // 2
        pq.write_table(table[:half], tmp_path / name / "a.parquet")
        pq.write_table(table[half:], tmp_path / name / "b.parquet")
        datasets.append(ds.dataset(tmp_path / name))
    assert select(tuple(datasets)) == expected


def test_a_class_is_judged_alike_whatever_the_seed_order_of_others(tables: Tables) -> None:
    class_ids = tuple(f"class{index:04d}" for index in range(5))
    forwards = select(tables, class_ids=class_ids).pairs
    assert select(tables, class_ids=class_ids[::-1]).pairs == forwards
    assert select(tables, seed=1).pairs != forwards


def test_every_class_has_one_row_and_says_why_it_is_too_small(tables: Tables) -> None:
    class_ids = ("class0000", "unseen", "class0003")
    result = select(tables, SelectConfig(min_photos=60, num_permutations=200), class_ids=class_ids)
    rows = {row["class_id"]: row for row in result.pairs.to_pylist()}
    assert list(rows) == sorted(class_ids)
    assert rows["unseen"]["verdict"] == "too_small"
    assert rows["unseen"]["reason"].startswith("0 of 0 groups have 60 photos and 3 units on each half")
    assert rows["unseen"]["common"] is None and rows["unseen"]["q_value"] is None
    assert set(result.group_accuracy["class_id"].to_pylist()) == {"class0000", "class0003"}
    none = select(tables, SelectConfig(min_units=1000, num_permutations=200))
    assert set(none.pairs["verdict"].to_pylist()) == {"too_small"}
    assert "1000 units" in none.pairs["reason"][0].as_py()


def test_empty_tables_give_too_small_classes() -> None:
    empty = (table_of(MEMBERS, []), table_of(BACKGROUNDS, []), table_of(PREDICTIONS, []))
    result = select(empty, class_ids=("a", "b"))
    assert result.pairs["verdict"].to_pylist() == ["too_small", "too_small"]
    assert result.group_accuracy.num_rows == 0


def test_a_selector_without_predictions_is_an_error_and_one_with_few_a_warning(
    tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(WorkspaceError, match="evaluate them first"):
        select(tables, selectors=("m", "absent"))
    with pytest.raises(WorkspaceError, match="label space 'none'"):
        select(tables, label_space="none")
    select(tables, selectors=("n",))
    assert "lack a selector's prediction" in caplog.text


def test_two_selectors_choose_by_their_mean(tables: Tables) -> None:
    members, backgrounds, predictions = tables
    rows = [row for row in predictions.to_pylist() if row["model"] == "m" and row["label_space"] == "names"]
    opposite = [row | {"model": "o", "is_correct": not row["is_correct"]} for row in rows]
    both = (members, backgrounds, pa.Table.from_pylist(rows + opposite))
    for row in select(both, selectors=("m", "o")).pairs.to_pylist():
        # the mean outcome of every photo is one half, so no group differs from another
        assert row["drop"] == pytest.approx(0, abs=1e-9)
        assert row["verdict"] == "unconfirmed"
        assert row["common"] != row["counter"]
    twice = (members, backgrounds, pa.Table.from_pylist(rows + [row | {"model": "o"} for row in rows]))
    alone = select((members, backgrounds, pa.Table.from_pylist(rows)))
    assert select(twice, selectors=("m", "o")).pairs == alone.pairs


def test_paper_mode_is_as_published(tables: Tables) -> None:
    result = select(tables, SelectConfig(mode="paper"))
    for row in result.pairs.to_pylist():
        accuracy = {
            r["group"]: r["accuracy"]
            for r in result.group_accuracy.to_pylist()
            if (r["class_id"], r["model"], r["half"]) == (row["class_id"], "m", "all")
        }
        assert row["common"] == max(accuracy, key=lambda group: accuracy[group])
        assert row["counter"] == min(accuracy, key=lambda group: accuracy[group])
        assert row["drop"] == pytest.approx(max(accuracy.values()) - min(accuracy.values()))
        assert (row["verdict"] == "confirmed") == (row["drop"] > 0.05)
        assert row["p_value"] is None and row["drop_low"] is None


SMALL = Regime("small", CROWD, base=(0.7, 0.7), num_classes=15, num_planted=5)


def worlds(
    number: int, regime: Regime, spoil: Callable[[World, np.random.Generator], World] | None = None
) -> list[list[Row]]:
    """Rows of tested pairs beside their truth, of small worlds of 15 classes (5 planted if there is a drop)."""
    found = []
    for seed in range(number):
        world = regime.draw(seed)
        found.append(build_now(regime, spoil(world, np.random.default_rng(seed)) if spoil else world, seed))
    return found


def num_false(found: list[list[Row]]) -> int:
    return sum(any(row["verdict"] == "confirmed" for row in world) for world in found)


@pytest.mark.parametrize("rho", [0.1, 0.3])
def test_null_worlds_confirm_nothing_and_intervals_cover(rho: float) -> None:
    found = worlds(40, replace(SMALL, crowd=replace(CROWD, rho=rho)))
    assert num_false(found) <= 6
    rows = [row for world in found for row in world]
    drops, confirm = (np.array([row[name] for row in rows]) for name in ("drop", "drop_confirm"))
    assert 0.92 <= np.mean([row["drop_low"] <= 0 <= row["drop_high"] for row in rows]) <= 0.98
    assert abs(drops.mean()) < 2.5 * drops.std() / np.sqrt(len(rows))
    assert drops.std() < 0.95 * confirm.std()
    assert np.mean([row["drop_discover"] for row in rows]) > 0.1


def test_planted_drops_are_found() -> None:
    rows = [row for world in worlds(6, replace(SMALL, photos=300, drop=0.4)) for row in world]
    planted_rows = [row for row in rows if row["is_planted"]]
    assert np.mean([row["verdict"] == "confirmed" and row["is_right"] for row in planted_rows]) > 0.9
    assert not [row for row in planted_rows if row["verdict"] == "confirmed" and row["truth"] <= 0]
    assert np.mean([row["drop_low"] <= row["truth"] <= row["drop_high"] for row in rows]) > 0.88


def test_one_observer_with_half_a_group_invents_nothing() -> None:
    assert num_false(worlds(30, replace(SMALL, crowd=replace(CROWD, rho=0.3, dominated=True)))) <= 5


def test_random_label_noise_shrinks_drops_and_invents_none() -> None:
    def spoil(world: World, rng: np.random.Generator) -> World:
        return with_names_at_random(world, rng, 0.3)

    clean, noisy = (worlds(4, replace(SMALL, photos=300, drop=0.4), each) for each in (None, spoil))
    mean = [np.mean([row["drop"] for world in w for row in world if row["is_planted"]]) for w in (clean, noisy)]
    assert mean[1] < 0.75 * mean[0]
    assert num_false(worlds(20, SMALL, spoil)) <= 4


def test_errors_that_follow_the_outcome_invent_drops_and_the_breaking_share_catches_them() -> None:
    def spoil(world: World, rng: np.random.Generator) -> World:
        return with_wrong_photos_moved(world, rng, 0.1, target=3)

    found = worlds(5, replace(SMALL, photos=300), spoil)
    confirmed = [row for world in found for row in world if row["verdict"] == "confirmed"]
    assert len(confirmed) > 30, "one tenth of the wrong photos invents drops in most classes"
    assert np.mean([row["is_fragile"] for row in confirmed]) > 0.9


def test_other_prompts_and_models_say_how_far_the_drop_moves(tables: Tables) -> None:
    members, backgrounds, predictions = tables
    harder = predictions.filter(pc.equal(predictions["model"], "m")).to_pylist()
    common = {row["photo_id"] for row in backgrounds.to_pylist() if row["group"] == "group01"}
    # Under the other prompts every photo of the first pair's common group is right.
    harder = [row | {"is_correct": row["is_correct"] or row["photo_id"] in common} for row in harder]
    groups = {row["class_id"]: 0.9 for row in members.to_pylist()}
    stability = table_of(
        STABILITY, [{"class_id": class_id, "seeds": 1.0, "halves": value} for class_id, value in groups.items()]
    )
    plain = select(tables)
    found = select(tables, predictions_by_templates={"other": pa.Table.from_pylist(harder)}, stability=stability)
    assert found.group_accuracy == plain.group_accuracy
    assert set(found.sensitivity["templates"].to_pylist()) == {"paper", "other"}
    rows = {(row["class_id"], row["model"], row["templates"]): row for row in found.sensitivity.to_pylist()}
    for before, pair in zip(plain.pairs.to_pylist(), found.pairs.to_pylist(), strict=True):
        assert (pair["common"], pair["drop"], pair["q_value"]) == (before["common"], before["drop"], before["q_value"])
        assert pair["stability_halves"] == 0.9
        own = rows[pair["class_id"], "m", "paper"]
        assert own["drop"] == pytest.approx(pair["drop_confirm"])
        if pair["common"] == "group01":
            other = rows[pair["class_id"], "m", "other"]
            assert other["accuracy_common"] == 1.0 > own["accuracy_common"]
            assert pair["drop_highest_model"] == pytest.approx(other["drop"]) and other["drop"] > own["drop"]


def test_thirds_of_three_selectors_sum_to_the_same_in_any_order() -> None:
    """Sums of thirds differ with the order in which DuckDB's threads hand out photos; sums of counts do not."""
    photos, observers = 600, 3
    rng = np.random.default_rng(2)
    right = rng.integers(0, 4, photos)  # so many of the three selectors are right
    ids = [f"p{number:04d}" for number in range(photos)]
    members = pa.table(
        {
            "photo_id": ids,
            "class_id": ["a"] * photos,
            "observer": [f"{number % observers:016x}" for number in range(photos)],
            "unit": [f"{number % observers:016x}" for number in range(photos)],
            "half": ["confirm"] * photos,
        }
    )
    margins = pa.array(rng.random(photos), pa.float32())
    backgrounds = pa.table({"photo_id": ids, "group": ["snow"] * photos, "margin": margins})
    predictions = pa.concat_tables(
        pa.table(
            {
                "photo_id": ids,
                "model": [f"m{model}"] * photos,
                "label_space": ["names"] * photos,
                "is_correct": pa.array(right > model),
                "margin": pa.array(np.where(right > model, 0.5, -0.5) * rng.random(photos)),
            }
        )
        for model in range(3)
    )
    found = count(
        members, backgrounds, predictions, selectors=("m0", "m1", "m2"), label_space="names", class_ids=("a",)
    )
    results = found.classes[0].results
    sums = [int(right[np.arange(photos) % observers == number].sum()) for number in range(observers)]
    squares = [int((right[np.arange(photos) % observers == number] ** 2).sum()) for number in range(observers)]
    # Equal to the last bit, which a sum of thirds is not: sum(k / 3) over 200 photos rounds 200 times.
    assert sorted(results.sum_correct.tolist()) == sorted(value / 3 for value in sums)
    assert sorted(results.sum_squares.tolist()) == sorted(value / 9 for value in squares)
    assert any(sum(k / 3 for k in right[start::observers]) != value / 3 for start, value in enumerate(sums))
