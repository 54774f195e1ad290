"""The demo's open_clip models: how one is trained, written, read and asked."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import open_clip
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from safetensors.torch import save as safetensors_bytes

from counterset.demo.training.photos import IMAGE_SIZE_PX, drawn, training_photos, usual_specs
from counterset.demo.training.recipes import (
    ANIMAL_CAPTIONS,
    BACKGROUND_CAPTIONS,
    BACKGROUND_PHRASES,
    LIGHT_CAPTIONS,
    LIGHT_PHRASES,
    RECIPES,
    SCENE_CAPTIONS,
    Recipe,
)
from counterset.demo.world.classes import CLASS_NAMES
from counterset.demo.world.drawing import Bytes
from counterset.demo.world.scenes import BACKGROUNDS
from counterset.demo.world.spec import LIGHTS
from counterset.tables import sha256_of

WEIGHTS = Path(__file__).parents[1] / "weights"
BATCH_SIZE = 192
PEAK_LEARNING_RATE = 2e-3
CHECK_SEED = 997
PHOTOS_PER_CHECK = 100
"""Fresh photos of every class and background for the accuracy in recipe.json."""
_CLASSES = tuple(CLASS_NAMES)

MODEL_CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 64,
        "vision_cfg": {"image_size": IMAGE_SIZE_PX, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 24, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {
        "mean": [0.48, 0.48, 0.44],
        "std": [0.27, 0.27, 0.28],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    },
}
"""open_clip_config.json: open_clip's own modified ResNet and text transformer, as small as they come."""

logger = logging.getLogger(__name__)


def normalised(photos: Bytes) -> torch.Tensor:
    """Bytes (N, 64, 64, 3) -> what the models take (N, 3, 64, 64)."""
    config = MODEL_CONFIG["preprocess_cfg"]
    pixels = torch.from_numpy(np.array(photos)).permute(0, 3, 1, 2).float().div_(255)
    mean, std = (torch.tensor(config[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def _captions(kind: str, rng: np.random.Generator) -> list[str]:
    """One caption for every label of a kind, in the order of the labels."""

    def pick(choices: tuple[str, ...]) -> str:
        return choices[int(rng.integers(len(choices)))]

    if kind == "animal":
        template = pick(ANIMAL_CAPTIONS)
        return [template.format(animal=name) for name in CLASS_NAMES.values()]
    if kind == "background":
        template = pick(BACKGROUND_CAPTIONS)
        return [template.format(background=b, phrase=pick(BACKGROUND_PHRASES[b])) for b in BACKGROUNDS]
    if kind == "light":
        template = pick(LIGHT_CAPTIONS)
        return [template.format(phrase=pick(LIGHT_PHRASES[light])) for light in LIGHTS]
    template = pick(SCENE_CAPTIONS)
    return [
        template.format(animal=name, background=b, phrase=pick(BACKGROUND_PHRASES[b]))
        for name in CLASS_NAMES.values()
        for b in BACKGROUNDS
    ]


def train(recipe: Recipe, cache: Path) -> torch.nn.Module:
    """A model trained by `recipe`, in evaluation mode.

    The loss is CLIP's from photos to captions, over the distinct captions of a batch: many photos
    share a caption, so a photo's own is the only right one among those of its kind.
    """
    places = recipe.places()
    specs = usual_specs(places, recipe.seed)
    photos = drawn(specs, cache)
    animal = np.array([_CLASSES.index(class_id) for class_id, _ in places])
    background = np.array([BACKGROUNDS.index(name) for _, name in places])
    labels = {
        "animal": animal,
        "background": background,
        "scene": animal * len(BACKGROUNDS) + background,
        "light": np.array([LIGHTS.index(photo.light) for photo in specs]),
    }
    weights = {
        "animal": recipe.animal_weight,
        "background": recipe.background_weight,
        "scene": recipe.scene_weight,
        "light": recipe.light_weight,
    }
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    model: Any = open_clip.CLIP(**MODEL_CONFIG["model_cfg"]).to(memory_format=torch.channels_last)
    tokenizer = open_clip.SimpleTokenizer(context_length=MODEL_CONFIG["model_cfg"]["text_cfg"]["context_length"])
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_LEARNING_RATE)
    model.train()
    order = np.concatenate(
        [rng.permutation(len(places)) for _ in range(math.ceil(recipe.num_steps * BATCH_SIZE / len(places)))]
    )
    for step in range(recipe.num_steps):
        rate = PEAK_LEARNING_RATE * min((step + 1) / 40, 0.5 + 0.5 * math.cos(math.pi * step / recipe.num_steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
        pixels = normalised(augmented(photos[np.sort(chosen)], rng))
        chosen = np.sort(chosen)
        with torch.autocast("cpu", torch.bfloat16):
            image_features = functional.normalize(model.encode_image(pixels).float(), dim=-1)  # (N, D)
        scale = model.logit_scale.exp().clamp(max=100)
        loss = torch.zeros(())
        for kind, weight in weights.items():
            if weight:
                text_features = model.encode_text(tokenizer(_captions(kind, rng)), normalize=True)  # (C, D)
                logits = scale * image_features @ text_features.T  # (N, D) @ (D, C) -> (N, C)
                loss = loss + weight * functional.cross_entropy(logits, torch.from_numpy(labels[kind][chosen]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 50 == 0:
            logger.info("step %d of %d: loss %.3f", step, recipe.num_steps, float(loss.detach()))
    model.eval()
    return model  # type: ignore[no-any-return]


def augmented(photos: Bytes, rng: np.random.Generator) -> Bytes:
    """Half of the photos mirrored, all moved by up to four pixels together."""
    mirrored = rng.random(len(photos)) < 0.5
    photos = np.where(mirrored[:, None, None, None], photos[:, :, ::-1], photos)
    down, right = (int(n) for n in rng.integers(0, 9, 2))
    padded = np.pad(photos, ((0, 0), (4, 4), (4, 4), (0, 0)), "edge")
    return padded[:, down : down + IMAGE_SIZE_PX, right : right + IMAGE_SIZE_PX]


def save(model: torch.nn.Module, folder: Path) -> str:
    """Write the weights as float16 with open_clip's config; returns the file's sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().half().contiguous() if tensor.is_floating_point() else tensor.detach().contiguous()
        for name, tensor in model.state_dict().items()
    }
    (folder / "open_clip_model.safetensors").write_bytes(safetensors_bytes(tensors))
    (folder / "open_clip_config.json").write_text(json.dumps(MODEL_CONFIG, indent=2) + "\n", encoding="utf-8")
    return sha256_of(folder / "open_clip_model.safetensors")


def load(folder: Path) -> tuple[Any, Any, Any]:
    """Model, evaluation transform and tokenizer of a weights folder, through open_clip."""
    name = f"local-dir:{folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    model.eval()
    return model, preprocess, open_clip.get_tokenizer(name)


@torch.inference_mode()
def cosines(model: Any, tokenizer: Any, photos: Bytes, prompts: list[str]) -> NDArray[np.float32]:
    """Cosine similarity of photos and prompts: (N, C)."""
    text_features = model.encode_text(tokenizer(prompts), normalize=True)
    parts = [
        model.encode_image(normalised(photos[start : start + 1000]), normalize=True) @ text_features.T
        for start in range(0, len(photos), 1000)
    ]
    return np.asarray(torch.cat(parts).numpy(), np.float32)


def write_recipe(name: str, folder: Path, cache: Path) -> None:
    """Write recipe.json beside the weights in `folder`: how they came to be, their digest and accuracy."""
    recipe = RECIPES[name]
    model, _, tokenizer = load(folder)
    places = [(class_id, background) for class_id in CLASS_NAMES for background in BACKGROUNDS] * PHOTOS_PER_CHECK
    photos = training_photos(places, CHECK_SEED, cache)
    labels = np.array([_CLASSES.index(class_id) for class_id, _ in places])
    grounds = np.array([BACKGROUNDS.index(background) for _, background in places])
    names = cosines(model, tokenizer, photos, [f"A photo of {label}." for label in CLASS_NAMES.values()]).argmax(1)
    scenes = cosines(model, tokenizer, photos, [f"a photo taken on {label}" for label in BACKGROUNDS]).argmax(1)
    facts = {
        "pretraining_data": [f"demo world, seed {recipe.seed}"],
        "recipe": asdict(recipe),
        "shares": {c: dict(zip(BACKGROUNDS, np.round(recipe.shares(c), 4), strict=True)) for c in CLASS_NAMES},
        "captions": {
            "animal": ANIMAL_CAPTIONS,
            "background": BACKGROUND_CAPTIONS,
            "scene": SCENE_CAPTIONS,
            "light": LIGHT_CAPTIONS,
        },
        "background_phrases": BACKGROUND_PHRASES,
        "batch_size": BATCH_SIZE,
        "peak_learning_rate": PEAK_LEARNING_RATE,
        "versions": {"torch": torch.__version__, "open_clip": open_clip.__version__, "opencv": cv2.__version__},
        "weights_sha256": sha256_of(folder / "open_clip_model.safetensors"),
        "animal_accuracy": round(float((names == labels).mean()), 4),
        "background_accuracy": round(float((scenes == grounds).mean()), 4),
        "accuracy_photos": len(places),
    }
    (folder / "recipe.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
