"""A small release in the published layout: drawn animals on their home ground and off it, photos beside it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest

from counterset.demo.world.photo import draw_photo
from counterset.load import Release, load
from counterset.release.counteranimal import IMPORTED_VERDICTS, read_counteranimal
from counterset.release.publish.writer import publish

PAIRS = {
    "ice_bear": ("snow", "grass"),
    "lion": ("sand", "snow"),
    "arctic_fox": ("rock", "snow"),
    "flamingo": ("water", "tree"),
}
PHOTOS_PER_SIDE = 14


@dataclass(frozen=True)
class Small:
    """A release without bundled photos, and the mirror that holds them."""

    path: Path
    mirror: str
    cache: Path

    def load(self) -> Release:
        return load(self.path, mirrors=[self.mirror], cache=self.cache)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    root = tmp_path_factory.mktemp("published")
    for number, (class_id, sides) in enumerate(PAIRS.items()):
        for split, background in zip(("common", "counter"), sides, strict=True):
            side = root / "photos" / class_id / f"{split}-{background}"
            side.mkdir(parents=True)
            for photo in range(PHOTOS_PER_SIDE):
                content = io.BytesIO()
                seed = 7_000_000 + 1_000 * number + 100 * (split == "counter") + photo
                draw_photo(class_id, background, seed).save(content, "JPEG")
                (side / f"{photo}.jpg").write_bytes(content.getvalue())
    inputs = read_counteranimal(root / "photos", name="small", releases=str(root / "releases"), class_list="demo")
    published = publish(inputs, kind="imported", default_verdicts=IMPORTED_VERDICTS)
    return Small(published.path, f"{root / 'photos'}/{{path}}", root / "cache")
