"""A gallery of generated photos, with names, titles and file names that try to break a page."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from counterset.build_records import FINISHED, Run
from counterset.review.gallery import Gallery, Shown, Use
from counterset.schemas import BACKGROUNDS, CANDIDATES, IMAGES
from counterset.tables import table_of, write_table
from counterset.workspace import Workspace

NAMES = ("grass", "snow", "water")
HOSTILE = (
    "<img src=x onerror=\"document.title='broken'\">",
    "</script><script>document.title='broken'</script>",
    "javascript:document.title='broken'",
    "\u202egnp.exe",
    "'; DROP TABLE decisions; --",
)


def photo_bytes(number: int, side_px: int = 64) -> bytes:
    """A JPEG of one colour."""
    buffer = io.BytesIO()
    colour = (number * 37 % 256, number * 91 % 256, number * 13 % 256)
    Image.new("RGB", (side_px, side_px), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def gallery(use: Use = Use.REVIEW, per_class: int = 9, num_classes: int = 2, sample_id: str | None = None) -> Gallery:
    """Photos `c0-0` and so on; the last of each class has no name. What is hostile is in c0."""
    photos = []
    for index in range(num_classes):
        for number in range(per_class):
            name = None if number == per_class - 1 or use is Use.AUDIT else NAMES[number % 3]
            photos.append(Shown(f"c{index}-{number}", f"c{index}", name, number / per_class))
    if use is Use.BROWSE:
        photos += [Shown("c0-gone", "c0", rejected="curate: too small"), Shown(HOSTILE[0], "c0", rejected=HOSTILE[1])]

    def read(photo_id: str, may_fetch: bool) -> bytes | None:
        number = photo_id.rpartition("-")[2]
        if number == "4":
            return b"<script>document.title='broken'</script>"
        return photo_bytes(int(number)) if number.isdigit() else None

    def about(photo_id: str) -> Mapping[str, str]:
        return {"title": HOSTILE[0], "credit": HOSTILE[3], "link": HOSTILE[2]} if photo_id == "c0-0" else {}

    classes = {f"c{index}": f"class {index}" for index in range(num_classes)} | {"c0": HOSTILE[1]}
    return Gallery(HOSTILE[0], use, photos, classes, NAMES, sample_id=sample_id, read=read, about=about)


def make_workspace(folder: Path, num_photos: int, num_classes: int = 4, shard_size: int = 2_000) -> Workspace:
    """A workspace as a finished build leaves it, as far as the page reads it; a hundred pictures serve all photos."""
    workspace = Workspace(folder)
    pool, key = "1" * 16, "2" * 16
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(100):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
        buffer = io.BytesIO()
        coarse.resize((320, 240), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        pictures.append(buffer.getvalue())
    ids = [f"list-{number:06d}" for number in range(num_photos)]
    ids[0] = f"list-{HOSTILE[0]}"
    class_of = {photo_id: f"class_{number % num_classes}" for number, photo_id in enumerate(ids)}
    for start in range(0, num_photos, shard_size):
        own = ids[start : start + shard_size]
        name = f"{start // shard_size:04d}"
        candidates = [
            {
                "photo_id": photo_id,
                "class_id": class_of[photo_id],
                "source": "url_list",
                "url": HOSTILE[2] if number % 7 == 0 else f"https://photos.invalid/{number}.jpg",
                "license": "cc-by",
                "attribution": HOSTILE[number % len(HOSTILE)],
                "observation_id": photo_id,
                "observer_id": photo_id,
                "observed_on": None,
                "taxon_id": None,
                "taxon_name": None,
                "quality_grade": None,
                "title": HOSTILE[number % len(HOSTILE)],
                "description": None,
                "tags": [],
            }
            for number, photo_id in enumerate(own)
        ]
        images = [{"photo_id": one, "image": pictures[number % 100]} for number, one in enumerate(own)]
        write_table(table_of(CANDIDATES, candidates), CANDIDATES, workspace.file("shards", pool, name))
        write_table(table_of(IMAGES, images), IMAGES, workspace.file("images", pool, name))
    names = (*NAMES, HOSTILE[0])
    rows = []
    for number, photo_id in enumerate(ids):
        name = names[number // num_classes % 4]
        rows.append(
            {
                "photo_id": photo_id,
                "class_id": class_of[photo_id],
                "profile": [0.0],
                "background": name,
                "margin": float(rng.random()),
                "group": None if number % 50 == 0 else name,
                "is_confident": number % 50 != 0,
            }
        )
    write_table(table_of(BACKGROUNDS, rows), BACKGROUNDS, workspace.file("backgrounds", key, "all"))
    classes = {class_id: class_id.replace("_", " ") for class_id in sorted(set(class_of.values()))}
    classes["class_1"] = HOSTILE[1]
    run = Run("looked at", "2026-01-01T00:00:00", state=FINISHED, keys=(pool, key), classes=classes, vocabulary=names)
    (folder / "runs").mkdir(parents=True)
    (folder / "runs" / "1.json").write_text(json.dumps(asdict(run)))
    return workspace
