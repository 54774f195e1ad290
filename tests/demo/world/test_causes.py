"""Worlds of known causes: what is planted is there, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from counterset.demo.world.causes import (
    BLUR_PX,
    CAUSES,
    CAUSES_SCHEMA,
    CLASSES,
    CONFOUNDED_SHARES,
    VARIANTS,
    CauseName,
    draw_world,
    pool_specs,
)
from counterset.demo.world.classes import TIES

ANIMALS_PER_CLASS, PHOTOS_PER_CLASS = 400, 400


def world(name: CauseName, seed: int = 1) -> list[dict[str, object]]:
    table: pa.Table = draw_world(name, ANIMALS_PER_CLASS, PHOTOS_PER_CLASS, seed)
    assert table.schema == CAUSES_SCHEMA
    return list(table.to_pylist())


def share(rows: list[dict[str, object]], key: str, value: str, group: str) -> float:
    chosen = [row[key] == value for row in rows if row["true_group"] == group]
    return sum(chosen) / len(chosen)


@pytest.mark.parametrize("name", CAUSES)
def test_a_world_has_what_is_planted_and_no_more(name: CauseName) -> None:
    rows, causes = world(name), CAUSES[name]
    far = [share(rows, "variant", "far", group) for group in ("common", "counter")]
    if causes.has_confounder:  # observers differ, which draws the shares towards one half
        assert far[0] < 0.33 and far[1] > 0.67 and CONFOUNDED_SHARES == (0.2, 0.8)
    else:
        assert abs(far[0] - far[1]) < 0.06
    for class_id in CLASSES:
        home, counter, _ = TIES[class_id]
        own = [row for row in rows if row["class_id"] == class_id]
        assert {row["background"] for row in own if row["true_group"] == "common"} == {home}
        wanted = {counter} if causes.has_background else {home}
        assert {row["background"] for row in own if row["true_group"] == "counter"} == wanted
        assert len({row["animal"] for row in own}) == len(own) == PHOTOS_PER_CLASS
    wrong = sum(row["group"] != row["true_group"] for row in rows) / len(rows)
    assert wrong == pytest.approx(causes.label_error, abs=0.03)


def test_rows_name_the_photos_of_the_pool() -> None:
    small = 3
    specs = pool_specs(small)
    assert len(specs) == len(CLASSES) * small * 2 * len(VARIANTS) and len(set(map(repr, specs))) == len(specs)
    for confounder in VARIANTS[1:]:
        for row in draw_world("both", small, small, seed=4, confounder=confounder).to_pylist():
            spec = specs[row["photo_id"]]
            assert (spec.class_id, spec.background) == (row["class_id"], row["background"])
            assert (spec.light == "night") == (row["variant"] == "night")
            assert (spec.camera.blur_px == BLUR_PX) == (row["variant"] == "blurred")
            usual = specs[row["photo_id"] - VARIANTS.index(row["variant"])]
            assert (spec.scale < usual.scale) == (row["variant"] == "far")


def test_an_animal_has_its_pose_and_place_in_all_its_photos() -> None:
    specs = pool_specs(2, seed=3)
    for start in range(0, len(specs), 8):
        of_one = specs[start : start + 8]
        same = {replace(s, background="", scale=0, light="", camera=of_one[0].camera) for s in of_one}
        assert len(same) == 1
        assert {s.background for s in of_one} == set(TIES[of_one[0].class_id][:2])
    assert not {s.animal_id for s in specs} & {s.animal_id for s in pool_specs(2, seed=4)}


def test_worlds_differ_by_seed_and_observers_have_several_photos() -> None:
    rows, other = world("both", 1), world("both", 2)
    assert [r["photo_id"] for r in rows] != [r["photo_id"] for r in other]
    assert 2 < len(rows) / len({row["observer_id"] for row in rows}) < 5
