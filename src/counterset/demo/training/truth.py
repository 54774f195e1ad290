"""The truth about the demo's world: each model's accuracy on every class and background, measured on fresh photos."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from counterset.demo.training.image_text import cosines, load, normalised
from counterset.demo.training.photos import jpeg_photo, shrink, training_photos
from counterset.demo.world.classes import CLASS_NAMES
from counterset.demo.world.drawing import Bytes
from counterset.demo.world.scenes import BACKGROUNDS
from counterset.demo.world.spec import usual_spec
from counterset.tables import sha256_of

PHOTOS_PER_CELL = 600
TRUTH_SEED = 1_000
"""First of the seeds of the fresh photos, one per class; no training uses them."""

CHECK_SEED = 9_990_000_000
"""Of the photos on which the fast path is checked."""

LABEL_PROMPT = "A photo of {label}."
BACKGROUND_PROMPTS = ("a photo taken on {background}", "a photo of {background}")

logger = logging.getLogger(__name__)

Cells = dict[str, dict[str, float]]
"""class_id -> background -> a share in [0, 1]."""


def measure(weights: Path, names: list[str], cache: Path, photos_per_cell: int = PHOTOS_PER_CELL) -> dict[str, Any]:
    """Every model's accuracy per class and background, with the models in `weights`/NAME.

    The label space is the world's class names under LABEL_PROMPT; for the annotator also how
    often the best of BACKGROUNDS is the photo's own, under each of BACKGROUND_PROMPTS.
    """
    models = {name: load(weights / name) for name in names}
    measured = {class_id: measure_class(models, class_id, cache, photos_per_cell) for class_id in CLASS_NAMES}
    accuracy: dict[str, Cells] = {name: {c: cells[name] for c, (cells, _) in measured.items()} for name in names}
    background_accuracy: dict[str, Cells] = {
        prompt: {c: cells[prompt] for c, (_, cells) in measured.items()} for prompt in BACKGROUND_PROMPTS
    }
    drops = {name: {c: largest_drop(cell) for c, cell in accuracy[name].items()} for name in names}
    return {
        "photos_per_cell": photos_per_cell,
        "seed": TRUTH_SEED,
        "prompt": LABEL_PROMPT,
        "labels": list(CLASS_NAMES.values()),
        "backgrounds": list(BACKGROUNDS),
        "weights_sha256": {name: sha256_of(weights / name / "open_clip_model.safetensors") for name in names},
        "accuracy": accuracy,
        "background_accuracy": background_accuracy,
        "largest_drop": drops,
        "mean_accuracy": {name: mean_accuracy(accuracy[name]) for name in names},
        "mean_largest_drop": {
            name: round(float(np.mean([drop["drop"] for drop in drops[name].values()])), 4) for name in names
        },
        "fast_path": {name: check_fast_path(models[name]) for name in names},
    }


def measure_class(
    models: dict[str, tuple[Any, Any, Any]], class_id: str, cache: Path, photos_per_cell: int = PHOTOS_PER_CELL
) -> tuple[Cells, Cells]:
    """One class: each model's accuracy on each background, and the annotator's names of it under each prompt."""
    photos = truth_photos(class_id, photos_per_cell, cache)
    labels = [LABEL_PROMPT.format(label=label) for label in CLASS_NAMES.values()]
    truth = np.repeat(np.arange(len(BACKGROUNDS)), photos_per_cell)
    accuracy: Cells = {}
    names: Cells = {}
    for name, (model, _, tokenizer) in models.items():
        sets = [[prompt.format(background=b) for b in BACKGROUNDS] for prompt in BACKGROUND_PROMPTS]
        scores = cosines(model, tokenizer, photos, [*labels, *(text for texts in sets for text in texts)])
        alone, *places = np.split(scores, [len(labels), len(labels) + len(BACKGROUNDS)], axis=1)
        accuracy[name] = _shares(alone.argmax(1) == list(CLASS_NAMES).index(class_id))
        if name == "annotator":
            names = {p: _shares(s.argmax(1) == truth) for p, s in zip(BACKGROUND_PROMPTS, places, strict=True)}
    logger.info("measured %s", class_id)
    return accuracy, names


def truth_photos(class_id: str, photos_per_cell: int, cache: Path) -> Bytes:
    """Fresh photos of a class on each of BACKGROUNDS, in that order: (6 * photos_per_cell, 64, 64, 3)."""
    seed = TRUTH_SEED + list(CLASS_NAMES).index(class_id)
    return training_photos([(class_id, b) for b in BACKGROUNDS for _ in range(photos_per_cell)], seed, cache)


def mean_accuracy(cells: Cells) -> float:
    """Mean over classes and backgrounds."""
    return round(float(np.mean([list(cell.values()) for cell in cells.values()])), 4)


def _shares(is_right: NDArray[np.bool_]) -> dict[str, float]:
    """The share of each background's photos that is right, of answers in the order of `truth_photos`."""
    parts = np.split(is_right, len(BACKGROUNDS))
    return {background: round(float(part.mean()), 4) for background, part in zip(BACKGROUNDS, parts, strict=True)}


def largest_drop(accuracy: dict[str, float]) -> dict[str, Any]:
    """The backgrounds of the highest and lowest accuracy of a class, and their difference."""
    common, counter = max(accuracy, key=lambda b: accuracy[b]), min(accuracy, key=lambda b: accuracy[b])
    return {"common": common, "counter": counter, "drop": round(accuracy[common] - accuracy[counter], 4)}


@torch.inference_mode()
def check_fast_path(loaded: tuple[Any, Any, Any], photos_per_cell: int = 5) -> dict[str, float]:
    """How far `shrink` and `normalised` are from open_clip's own transform, on a few photos of every cell."""
    model, preprocess, tokenizer = loaded
    cells = [(c, b) for c in CLASS_NAMES for b in BACKGROUNDS for _ in range(photos_per_cell)]
    files = [jpeg_photo(usual_spec(c, b, CHECK_SEED + n)) for n, (c, b) in enumerate(cells)]
    images = [Image.open(io.BytesIO(file)) for file in files]
    theirs = torch.stack([preprocess(image) for image in images])
    ours = normalised(np.stack([shrink(image.convert("RGB")) for image in images]))
    labels = [LABEL_PROMPT.format(label=label) for label in CLASS_NAMES.values()]
    texts = model.encode_text(tokenizer(labels), normalize=True)
    predicted = [(model.encode_image(pixels, normalize=True) @ texts.T).argmax(1) for pixels in (theirs, ours)]
    return {
        "photos": len(files),
        "largest_pixel_difference": round(float((theirs - ours).abs().max()), 6),
        "equal_predictions": round(float((predicted[0] == predicted[1]).float().mean()), 4),
    }


def write_truth(truth: dict[str, Any], path: Path) -> None:
    """Write `truth` as JSON, sorted, the same bytes for the same figures."""
    path.write_text(json.dumps(truth, indent=1, sort_keys=True) + "\n", encoding="utf-8")
