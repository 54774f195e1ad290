"""The demo's models: what ships loads, is what its recipe says, and is as accurate as the truth file says."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from counterset.demo.training.image_text import WEIGHTS, cosines, load, save, train
from counterset.demo.training.photos import training_photos
from counterset.demo.training.recipes import RECIPES
from counterset.demo.training.truth import BACKGROUND_PROMPTS, LABEL_PROMPT, check_fast_path, largest_drop
from counterset.demo.world.classes import CLASS_NAMES, TIES
from counterset.demo.world.scenes import BACKGROUNDS
from counterset.tables import sha256_of

NAMES = sorted(RECIPES)
PHOTOS_PER_CELL = 12
MAX_SIZE_BYTES = 8_000_000


@pytest.fixture(scope="module")
def truth() -> dict[str, Any]:
    return dict(json.loads((WEIGHTS / "truth.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Photos that neither training nor the truth has seen: (8 * 6 * PHOTOS_PER_CELL, 64, 64, 3)."""
    places = [(c, b) for c in CLASS_NAMES for b in BACKGROUNDS for _ in range(PHOTOS_PER_CELL)]
    return training_photos(places, 5001, tmp_path_factory.mktemp("photos"), num_processes=1)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_are_small_and_those_of_the_recipe_and_the_truth(name: str, truth: dict[str, Any]) -> None:
    folder = WEIGHTS / name
    file = folder / "open_clip_model.safetensors"
    recipe = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    assert file.stat().st_size <= MAX_SIZE_BYTES
    assert sha256_of(file) == recipe["weights_sha256"] == truth["weights_sha256"][name]
    assert recipe["recipe"] == asdict(RECIPES[name])
    assert recipe["shares"] == {
        class_id: dict(zip(BACKGROUNDS, np.round(RECIPES[name].shares(class_id), 4), strict=True)) for class_id in TIES
    } | {"cheetah": dict.fromkeys(BACKGROUNDS, 0.1667)}


@pytest.mark.parametrize("name", ["annotator", "selector"])
def test_shipped_weights_are_as_accurate_as_the_truth_says(name: str, truth: dict[str, Any], fresh: Any) -> None:
    model, _, tokenizer = load(WEIGHTS / name)
    labels = [LABEL_PROMPT.format(label=label) for label in CLASS_NAMES.values()]
    right = cosines(model, tokenizer, fresh, labels).argmax(1) == np.repeat(np.arange(8), 6 * PHOTOS_PER_CELL)
    stated = np.array([list(truth["accuracy"][name][c].values()) for c in CLASS_NAMES])
    cells = np.array([[truth["accuracy"][name][c][b] for b in BACKGROUNDS] for c in CLASS_NAMES])
    found = right.reshape(8, 6, PHOTOS_PER_CELL).mean(2)
    # Four standard errors of the mean over all cells, each cell with its own variance.
    error = 4 * np.sqrt((cells * (1 - cells) / PHOTOS_PER_CELL).sum()) / cells.size
    assert abs(found.mean() - stated.mean()) < error
    assert np.corrcoef(found.ravel(), cells.ravel())[0, 1] > (0.85 if name == "selector" else 0.3)


def test_annotator_names_backgrounds(truth: dict[str, Any], fresh: Any) -> None:
    model, _, tokenizer = load(WEIGHTS / "annotator")
    background = np.tile(np.repeat(np.arange(6), PHOTOS_PER_CELL), 8)
    for prompt in BACKGROUND_PROMPTS:
        prompts = [prompt.format(background=label) for label in BACKGROUNDS]
        assert (cosines(model, tokenizer, fresh, prompts).argmax(1) == background).mean() > 0.97
        stated = [share for cell in truth["background_accuracy"][prompt].values() for share in cell.values()]
        assert np.mean(stated) >= 0.97 and min(stated) >= 0.9


def test_stronger_ties_make_larger_drops(truth: dict[str, Any]) -> None:
    drop = truth["mean_largest_drop"]
    assert drop["weak"] < drop["medium"] < drop["selector"]
    assert truth["mean_accuracy"]["selector"] > 0.6


def test_selector_has_large_middling_and_small_drops(truth: dict[str, Any]) -> None:
    drops = sorted(largest_drop(truth["accuracy"]["selector"][c])["drop"] for c in CLASS_NAMES)
    assert sum(drop >= 0.3 for drop in drops) >= 3 and drops[0] < 0.15
    for class_id, (home, counter, strength) in TIES.items():
        cell = truth["accuracy"]["selector"][class_id]
        if strength >= 0.7:
            assert cell[home] > max(cell.values()) - 0.05, class_id
            assert cell[home] - cell[counter] > 0.1, class_id


def test_the_bear_on_grass_is_the_story(truth: dict[str, Any]) -> None:
    largest = truth["largest_drop"]["selector"]["ice_bear"]
    assert (largest["common"], largest["counter"]) == ("snow", "grass") and largest["drop"] > 0.4


@pytest.mark.parametrize("name", ["annotator", "selector"])
def test_the_fast_path_is_open_clips_own(name: str) -> None:
    checked = check_fast_path(load(WEIGHTS / name), photos_per_cell=1)
    assert checked["largest_pixel_difference"] < 0.01
    assert checked["equal_predictions"] == 1


def test_shares_add_up_and_follow_the_ties() -> None:
    for recipe in RECIPES.values():
        assert len(recipe.places()) == recipe.num_photos
        for class_id in CLASS_NAMES:
            shares = recipe.shares(class_id)
            assert sum(shares) == pytest.approx(1)
            tie = recipe.tie(class_id)
            home, counter, _ = TIES.get(class_id, ("snow", "snow", 0))
            share = dict(zip(BACKGROUNDS, shares, strict=True))
            assert share[home] == max(shares) >= (1 - tie) / 6 + tie
            assert share[counter] == min(shares) == pytest.approx((1 - tie) ** 2 / 6) or not tie


def test_training_is_deterministic_and_learns(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe = replace(RECIPES["annotator"], num_photos=240, num_steps=4)
    first = save(train(recipe, tmp_path), tmp_path / "first")
    second = save(train(recipe, tmp_path), tmp_path / "second")
    other = save(train(replace(recipe, num_steps=5), tmp_path), tmp_path / "other")
    assert first == second != other
    model, _, tokenizer = load(tmp_path / "first")
    photos = training_photos(recipe.places(), recipe.seed, tmp_path)
    assert cosines(model, tokenizer, photos[:3], ["snow", "water"]).shape == (3, 2)
