"""Synthetic but realistic inputs of a release: a small world with known pairs and drawn photos."""

from __future__ import annotations

import functools
import hashlib
import io
import zlib
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFilter

from counterset import schemas
from counterset.classes import ClassSpec, load_classes
from counterset.config import Config
from counterset.release.publish.inputs import ModelRecord, ReleaseInputs, no_photos
from counterset.tables import table_of

BACKGROUNDS = ("grass", "snow", "water", "sand", "rock")
LICENSES = ("cc-by-nc", "cc-by-nc", "cc-by-nc", "cc-by", "cc0", "cc-by-sa", "cc-by-nc-sa")
SELECTOR = "ViT-B-32/laion400m_e31"
EVALUATORS = {
    "ViT-B-16/laion400m_e32": ("CLIP", 0.06, 0.75),
    "ViT-L-14/openai": ("CLIP", 0.12, 0.55),
    "RN50/openai": ("CLIP", -0.12, 0.8),
    "timm:resnet50": ("ImageNet", 0.02, 0.45),
    "timm:vit_base_patch16_224": ("ImageNet", 0.09, 0.35),
    "timm:mobilenetv3_large_100": ("ImageNet", -0.08, 0.5),
}
COLORS = {
    "grass": ((84, 138, 60), (140, 176, 90)),
    "snow": ((232, 238, 245), (190, 206, 224)),
    "water": ((40, 92, 140), (120, 170, 200)),
    "sand": ((214, 186, 140), (236, 214, 176)),
    "rock": ((110, 106, 102), (160, 152, 146)),
}


def build_config(**publish: Any) -> Config:
    """A config as a user would write it."""
    return Config.model_validate(
        {
            "name": "little-animals",
            "classes": {"list": "counteranimal"},
            "models": {
                "annotator": "ViT-H-14/dfn5b",
                "selectors": (SELECTOR,),
                "evaluators": tuple(EVALUATORS),
            },
            "publish": {"title": "Little Animals", "author": "A. Author", **publish},
        }
    )


@functools.lru_cache(maxsize=4)
def build_inputs(
    num_classes: int = 6, photos_per_class: int = 160, seed: int = 0, with_photos: bool = True
) -> ReleaseInputs:
    """A world of `num_classes` classes; odd ones have a true drop, the last one is too small."""
    generator = np.random.default_rng(seed)
    specs = _specs(num_classes)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("candidates", "photos", "members", "backgrounds")}
    predictions: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    number = 1000
    for index, spec in enumerate(specs):
        count = photos_per_class if index < len(specs) - 1 else max(photos_per_class // 12, 4)
        drop = 0.0 if index % 3 == 2 else 0.4 + 0.05 * (index % 3)
        favourite = index % len(BACKGROUNDS)
        for _ in range(count):
            number += int(generator.integers(1, 50))
            background = favourite if generator.random() < 0.5 else int(generator.integers(len(BACKGROUNDS)))
            kept = _photo_rows(rows, rejects, spec, number, BACKGROUNDS[background], generator, with_photos)
            if kept:
                is_hard = background == (favourite + 2) % len(BACKGROUNDS)
                predictions += _prediction_rows(spec, kept, drop if is_hard else 0.0, generator)
    tables = {name: table_of(getattr(schemas, name.upper()), found) for name, found in rows.items()}
    tables["predictions"] = table_of(schemas.PREDICTIONS, predictions)
    backgrounds = {row["photo_id"]: row["background"] for row in rows["backgrounds"]}
    accuracy = _group_accuracy(rows, predictions)
    return ReleaseInputs(
        config=build_config(),
        classes=specs,
        rejects=table_of(schemas.REJECTS, rejects),
        group_accuracy=table_of(schemas.GROUP_ACCURACY, accuracy),
        pairs=table_of(schemas.PAIRS, [_pair(spec.class_id, accuracy) for spec in specs]),
        models=_models(),
        source_snapshot="2026-10-31",
        funnel={
            "offered": len(rows["candidates"]) + len(rejects) // 2,
            "downloaded": len(rows["photos"]),
            "kept": len(rows["members"]),
            "grouped": sum(row["group"] is not None for row in rows["backgrounds"]),
        },
        photo_bytes=functools.partial(_photo_bytes, backgrounds) if with_photos else no_photos,
        **tables,
    )


def _photo_bytes(backgrounds: dict[str, str], photo_id: str) -> bytes | None:
    return draw_photo(photo_id, backgrounds[photo_id]) if photo_id in backgrounds else None


@functools.lru_cache(maxsize=4096)
def draw_photo(photo_id: str, background: str = "") -> bytes:
    """A drawn photo, the same for the same id, with EXIF that a release must not show."""
    seed = zlib.crc32(photo_id.encode())
    generator = np.random.default_rng(seed)
    background = background or BACKGROUNDS[seed % len(BACKGROUNDS)]
    low, high = (np.array(color, float) for color in COLORS[background])
    width, height = ((240, 180), (180, 240), (220, 220))[seed % 3]
    ramp = np.linspace(0, 1, height)[:, None, None] ** generator.uniform(0.6, 1.6)
    noise = generator.normal(0, 14, (height, width, 1))
    pixels = np.clip(high + (low - high) * ramp + noise, 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.2))
    draw = ImageDraw.Draw(image)
    x, y, size = generator.uniform(0.35, 0.65) * width, generator.uniform(0.5, 0.7) * height, width * 0.16
    coat = tuple(int(value) for value in generator.integers(40, 215, 3))
    draw.ellipse((x - size, y - size * 0.55, x + size, y + size * 0.55), fill=coat)
    draw.ellipse((x + size * 0.6, y - size * 0.9, x + size * 1.3, y - size * 0.2), fill=coat)
    for leg in (-0.6, -0.2, 0.25, 0.6):
        foot = x + leg * size
        draw.line((foot, y + size * 0.3, foot, y + size * 1.1), fill=coat, width=max(int(size / 7), 2))
    exif = Image.Exif()
    exif[0x010E] = "secret description"
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 29.6), 3: "E", 4: (2.0, 17.0, 40.2)}
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88, exif=exif)
    return buffer.getvalue()


def _specs(num_classes: int) -> tuple[ClassSpec, ...]:
    known = load_classes("counteranimal")
    more = tuple(ClassSpec(f"extra_{i}", f"extra animal {i}") for i in range(max(num_classes - len(known), 0)))
    return (*known[:num_classes], *more)


def _photo_rows(
    rows: dict[str, list[dict[str, Any]]],
    rejects: list[dict[str, Any]],
    spec: ClassSpec,
    number: int,
    background: str,
    generator: np.random.Generator,
    with_photos: bool,
) -> dict[str, Any] | None:
    photo_id = f"inaturalist-{number}"
    observer = int(generator.integers(1, 60))
    content = draw_photo(photo_id, background) if with_photos else photo_id.encode()
    license_code = LICENSES[int(generator.integers(len(LICENSES)))]
    shared = {"photo_id": photo_id, "class_id": spec.class_id}
    rows["candidates"].append(
        shared
        | {
            "source": "inaturalist",
            # A name of this machine: no test ever asks the network for it.
            "url": f"https://photos.localhost/photos/{number}/medium.jpg",
            "license": license_code,
            "attribution": f"(c) Observer {observer}, some rights reserved ({license_code.upper()})",
            "observation_id": f"inaturalist-o{number}",
            "observer_id": f"inaturalist-{observer}",
            "observed_on": date(2024, 1, 1) + timedelta(days=number % 900),
            "taxon_id": 1000 + (spec.imagenet_index or 0),
            "taxon_name": spec.scientific_name or None,
            "quality_grade": "research",
            "title": spec.scientific_name or spec.name,
            "description": f"Seen near the {background} by @walker{observer} at 48.8582, 2.2945 in the morning"
            if number % 3 == 0
            else None,
            "tags": ["wild", background] if number % 4 == 0 else None,
        }
    )
    chance = generator.random()
    if chance < 0.08:
        reason = ("gone", "near_duplicate", "too_small", "captive", "undecodable")[number % 5]
        stage = {"gone": "download", "undecodable": "download", "captive": "crawl"}.get(reason, "curate")
        rejects.append(shared | {"stage": stage, "reason": reason, "detail": "as the stage says"})
        return None
    hashed = hashlib.sha256(f"salt{observer}".encode()).hexdigest()[:16]
    half = "discover" if int(hashed, 16) % 2 else "confirm"
    rows["photos"].append(
        {
            "photo_id": photo_id,
            "sha256": hashlib.sha256(content).hexdigest(),
            "width_px": 240,
            "height_px": 180,
            "size_bytes": len(content),
            "phash": number.to_bytes(8, "big"),
            "shard": "00000",
        }
    )
    member = shared | {
        "observation_id": f"o{number}",
        "observer": hashed,
        "unit": hashed,
        "half": half,
        "shard": "00000",
    }
    rows["members"].append(member)
    margin = float(generator.gamma(2.0, 0.02))
    group = background if margin > 0.01 else None
    rows["backgrounds"].append(
        shared
        | {
            "profile": [0.0] * len(BACKGROUNDS),
            "background": background,
            "margin": margin,
            "group": group,
            "is_confident": group is not None,
        }
    )
    return member | {"group": group}


def _prediction_rows(
    spec: ClassSpec, member: dict[str, Any], drop: float, generator: np.random.Generator
) -> list[dict[str, Any]]:
    found = []
    models = {SELECTOR: ("CLIP", 0.0, 1.0), **EVALUATORS}
    for model, (_, bonus, share) in models.items():
        right = bool(generator.random() < 0.8 + bonus - drop * share)
        found.append(
            {
                "photo_id": member["photo_id"],
                "model": model,
                "label_space": "imagenet1k",
                "predicted": spec.name if right else "bow tie",
                "is_correct": right,
                "rank_of_truth": 1 if right else 7,
                "margin": 0.05 if right else -0.05,
                "_class": (spec.class_id, member["group"], member["half"], member["observer"]),
            }
        )
    return found


def _group_accuracy(rows: dict[str, list[dict[str, Any]]], predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    counts: dict[tuple[str, str, str, str], tuple[int, int, set[str]]] = {}
    for row in predictions:
        class_id, group, half, observer = row["_class"]
        for key in ((class_id, group, row["model"], half), (class_id, group, row["model"], "all")) if group else ():
            photos, correct, observers = counts.get(key, (0, 0, set()))
            counts[key] = (photos + 1, correct + row["is_correct"], observers | {observer})
    return [
        {
            "class_id": class_id,
            "group": group,
            "model": model,
            "half": half,
            "num_photos": photos,
            "num_observers": len(observers),
            "num_units": len(observers),
            "num_correct": correct,
            "accuracy": correct / photos,
        }
        for (class_id, group, model, half), (photos, correct, observers) in counts.items()
    ]


def _pair(class_id: str, accuracy: list[dict[str, Any]]) -> dict[str, Any]:
    own = [row for row in accuracy if row["class_id"] == class_id and row["model"] == SELECTOR]
    by = {(row["group"], row["half"]): row for row in own}
    groups = sorted({row["group"] for row in own if row["half"] == "all" and row["num_photos"] >= 8})
    groups = [group for group in groups if (group, "discover") in by and (group, "confirm") in by]
    empty = dict.fromkeys(schemas.PAIRS.arrow().names) | {
        "class_id": class_id,
        "verdict": "too_small",
        "num_common": 0,
        "num_counter": 0,
        "num_observers_common": 0,
        "num_observers_counter": 0,
        "is_common_rarer": False,
        "is_fragile": False,
        "reason": "no two groups with 20 photos of 10 observers on each half",
    }
    if len(groups) < 2:
        return empty
    common = max(groups, key=lambda group: by[group, "discover"]["accuracy"])
    counter = min(groups, key=lambda group: by[group, "discover"]["accuracy"])
    first, second = by[common, "confirm"], by[counter, "confirm"]
    drop = first["accuracy"] - second["accuracy"]
    error = float(
        np.sqrt(sum(row["accuracy"] * (1 - row["accuracy"]) / row["num_photos"] for row in (first, second)) + 1e-4)
    )
    total = sum(row["num_photos"] for row in own if row["half"] == "all")
    shares = [by[group, "all"]["num_photos"] / total for group in (common, counter)]
    is_confirmed = drop > 1.96 * error
    return empty | {
        "verdict": "confirmed" if is_confirmed else "unconfirmed",
        "common": common,
        "counter": counter,
        "drop_discover": by[common, "discover"]["accuracy"] - by[counter, "discover"]["accuracy"],
        "drop": drop,
        "drop_low": max(drop - 1.96 * error, -1.0),
        "drop_high": min(drop + 1.96 * error, 1.0),
        "p_value": 0.001 if is_confirmed else 0.4,
        "q_value": 0.004 if is_confirmed else 0.6,
        "accuracy_common": first["accuracy"],
        "accuracy_counter": second["accuracy"],
        "num_common": by[common, "all"]["num_photos"],
        "num_counter": by[counter, "all"]["num_photos"],
        "num_observers_common": by[common, "all"]["num_observers"],
        "num_observers_counter": by[counter, "all"]["num_observers"],
        "num_units_common": by[common, "all"]["num_units"],
        "num_units_counter": by[counter, "all"]["num_units"],
        "frequency_common": shares[0],
        "frequency_counter": shares[1],
        "is_common_rarer": shares[0] < shares[1],
        "detectable_drop": 2.5 * error,
        "breaking_share": max(drop, 0.0) / 2,
        "drop_lowest_model": drop - 0.08,
        "drop_highest_model": drop + 0.03,
        "stability_seeds": 0.99,
        "stability_halves": 0.93,
        "is_fragile": drop < 0.2,
        "reason": None if is_confirmed else "q above 0.05",
    }


def _models() -> tuple[ModelRecord, ...]:
    def digest(name: str) -> str:
        return hashlib.sha256(name.encode()).hexdigest()

    annotator = ModelRecord("ViT-H-14/dfn5b", "annotator", digest("a"), {"family": "CLIP", "pretraining": "DFN-5B"})
    selector = ModelRecord(SELECTOR, "selector", digest("s"), {"family": "CLIP", "pretraining": "LAION-400M"})
    others = (
        ModelRecord(name, "evaluator", digest(name), {"family": family, "pretraining": "as named"})
        for name, (family, _, _) in EVALUATORS.items()
    )
    return (annotator, selector, *others)


def with_tables(inputs: ReleaseInputs, **changes: Any) -> ReleaseInputs:
    """The same inputs with some fields replaced."""
    from dataclasses import replace

    return replace(inputs, **changes)


def drop_photos(inputs: ReleaseInputs, photo_ids: set[str]) -> ReleaseInputs:
    """The same build without some photos (pairs and accuracies left as they were)."""

    def without(table: pa.Table) -> pa.Table:
        return table.filter(pa.array([photo not in photo_ids for photo in table["photo_id"].to_pylist()]))

    names = ("candidates", "photos", "members", "backgrounds", "predictions")
    return with_tables(inputs, **{name: without(getattr(inputs, name)) for name in names})
