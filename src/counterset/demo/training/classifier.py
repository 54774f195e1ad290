"""The demo's plain classifier: a small timm ResNet that knows the world's classes by label alone.

It sees photos with the medium model's ties, drawn anew; what differs is that no captions teach it.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as functional
from safetensors.torch import save as safetensors_bytes

from counterset.demo.training.image_text import (
    BATCH_SIZE,
    CHECK_SEED,
    MODEL_CONFIG,
    PEAK_LEARNING_RATE,
    PHOTOS_PER_CHECK,
    augmented,
    normalised,
)
from counterset.demo.training.photos import IMAGE_SIZE_PX, training_photos
from counterset.demo.training.recipes import RECIPES, Recipe
from counterset.demo.world.classes import CLASS_NAMES
from counterset.demo.world.scenes import BACKGROUNDS
from counterset.tables import sha256_of

NAME = "plain"
RECIPE = dataclasses.replace(RECIPES["medium"], seed=89)
WEIGHTS_FILE = "model.safetensors"
_CLASSES = tuple(CLASS_NAMES)

CONFIG: dict[str, Any] = {
    "architecture": "resnet10t",
    "num_classes": len(CLASS_NAMES),
    "label_names": list(CLASS_NAMES.values()),
    "model_args": {"channels": [16, 32, 64, 128], "stem_width": 8},
    "pretrained_cfg": {
        "input_size": [3, IMAGE_SIZE_PX, IMAGE_SIZE_PX],
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": MODEL_CONFIG["preprocess_cfg"]["mean"],
        "std": MODEL_CONFIG["preprocess_cfg"]["std"],
        "num_classes": len(CLASS_NAMES),
        "first_conv": "conv1.0",
        "classifier": "fc",
    },
}
"""config.json in timm's own layout."""

logger = logging.getLogger(__name__)


def train(recipe: Recipe, cache: Path) -> torch.nn.Module:
    """A classifier trained by `recipe`'s photos with cross-entropy over the classes, in evaluation mode."""
    places = recipe.places()
    photos = training_photos(places, recipe.seed, cache)
    labels = np.array([_CLASSES.index(class_id) for class_id, _ in places])
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    model = timm.create_model(CONFIG["architecture"], num_classes=CONFIG["num_classes"], **CONFIG["model_args"])
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=0.02)
    model.train()
    order = np.concatenate(
        [rng.permutation(len(places)) for _ in range(math.ceil(recipe.num_steps * BATCH_SIZE / len(places)))]
    )
    for step in range(recipe.num_steps):
        rate = PEAK_LEARNING_RATE * min((step + 1) / 40, 0.5 + 0.5 * math.cos(math.pi * step / recipe.num_steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = np.sort(order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE])
        logits = model(normalised(augmented(photos[chosen], rng)))  # (N, C)
        loss = functional.cross_entropy(logits, torch.from_numpy(labels[chosen]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 50 == 0:
            logger.info("step %d of %d: loss %.3f", step, recipe.num_steps, float(loss.detach()))
    model.eval()
    return model


def save(model: torch.nn.Module, folder: Path) -> str:
    """Write the weights as float16 with timm's config; returns the file's sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().half().contiguous() if tensor.is_floating_point() else tensor.detach().contiguous()
        for name, tensor in model.state_dict().items()
    }
    (folder / WEIGHTS_FILE).write_bytes(safetensors_bytes(tensors))
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    return sha256_of(folder / WEIGHTS_FILE)


def load(folder: Path) -> torch.nn.Module:
    """The model of a weights folder, through timm."""
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


@torch.inference_mode()
def write_recipe(folder: Path, cache: Path) -> None:
    """Write recipe.json beside the weights in `folder`: how they came to be, their digest and accuracy."""
    model = load(folder)
    places = [(class_id, background) for class_id in CLASS_NAMES for background in BACKGROUNDS] * PHOTOS_PER_CHECK
    photos = training_photos(places, CHECK_SEED, cache)
    labels = np.array([_CLASSES.index(class_id) for class_id, _ in places])
    predicted = np.concatenate(
        [model(normalised(photos[start : start + 1000])).argmax(1).numpy() for start in range(0, len(photos), 1000)]
    )
    facts = {
        "pretraining_data": [f"demo world, seed {RECIPE.seed}"],
        "recipe": asdict(RECIPE),
        "batch_size": BATCH_SIZE,
        "peak_learning_rate": PEAK_LEARNING_RATE,
        "versions": {"torch": torch.__version__, "timm": timm.__version__},
        "weights_sha256": sha256_of(folder / WEIGHTS_FILE),
        "animal_accuracy": round(float((predicted == labels).mean()), 4),
        "accuracy_photos": len(places),
    }
    (folder / "recipe.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
