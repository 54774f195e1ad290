"""The demo's plain classifier: what ships is what its recipe says, and training is deterministic."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch

from counterset.demo.training.classifier import NAME, RECIPE, WEIGHTS_FILE, save, train
from counterset.demo.training.image_text import WEIGHTS
from counterset.tables import sha256_of


def test_shipped_weights_are_small_and_those_of_the_recipe() -> None:
    recipe = json.loads((WEIGHTS / NAME / "recipe.json").read_text(encoding="utf-8"))
    file = WEIGHTS / NAME / WEIGHTS_FILE
    assert file.stat().st_size < 1_000_000
    assert sha256_of(file) == recipe["weights_sha256"]
    assert recipe["recipe"] == asdict(RECIPE)
    assert recipe["animal_accuracy"] > 0.75


def test_training_is_deterministic(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe = replace(RECIPE, num_photos=240, num_steps=3)
    first = save(train(recipe, tmp_path), tmp_path / "first")
    second = save(train(recipe, tmp_path), tmp_path / "second")
    assert first == second != save(train(replace(recipe, num_steps=4), tmp_path), tmp_path / "other")
