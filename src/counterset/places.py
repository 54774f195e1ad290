"""Where the animal is in a photo, and which places are around it: outside boxes and masks, or along the frame's edges.

A file says where animals are, one row per box or mask:

- CSV with the columns `photo_id`, `x`, `y`, `width` and `height`, as fractions of the frame from its upper left corner;
- CSV with the columns `photo_id` and `mask`, the path of a picture, white where the animal is, beside the CSV;
- JSON as MegaDetector writes it, of files that are named by their photo's id;
- or a folder says so: of masks that are named by their photo's id, as `PHOTO_ID.png`.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from counterset.errors import ConfigError, PictureError
from counterset.manifests import read_csv
from counterset.pictures import rgb
from counterset.tables import sha256_of
from counterset.workspace import digest

PLACES = "surroundings 1"
"""Raised by whoever changes which places count, or how they are read."""

GRID = 56
"""Cells along a side: a multiple of the grids that towers have."""
EDGE = GRID // 7
"""Cells from the frame's edge that are around the animal where nothing says where it is."""
MASK_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
MIN_CONFIDENCE = 0.2
"""MegaDetector's boxes below are left out."""

Grid = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]


class Extent(NamedTuple):
    """The animals of one photo in its frame.

    Attributes:
        share: of the frame that they cover, in (0, 1].
        offset: from the frame's centre to that of what they cover: 0 = the centre, 1 = a corner.
        number: of boxes, or of masks; None where every photo has one mask, which may show several animals.
    """

    share: float
    offset: float
    number: int | None


@dataclass(frozen=True)
class Places:
    """The places around the animals of a build's photos.

    Attributes:
        boxes: photo_id -> boxes, each x, y, width and height as fractions of the frame.
        masks: photo_id -> pictures that are white where the animal is.
        digest: of all of them; one value where there are none.
    """

    boxes: Mapping[str, tuple[Box, ...]]
    masks: Mapping[str, tuple[Path, ...]]
    digest: str = ""

    @classmethod
    def read(cls, source: str) -> Places:
        """What a file or a folder says; "" = neither.

        Raises:
            ConfigError: the file or a mask cannot be read, or it says something else.
        """
        if not source:
            return cls({}, {})
        path = Path(source)
        read = _folder if path.is_dir() else _megadetector if path.suffix == ".json" else _csv
        rows = read(path)
        boxes: dict[str, list[Box]] = defaultdict(list)
        masks: dict[str, list[Path]] = defaultdict(list)
        for photo_id, where in rows:
            if isinstance(where, Path):
                masks[photo_id].append(where)
            else:
                boxes[photo_id].append(where)
        try:
            contents = {str(mask): sha256_of(mask) for group in masks.values() for mask in group}
        except OSError as error:
            raise ConfigError(f"cannot read the mask {error.filename} that {path} names; correct its path") from error
        shown = {photo_id: [contents[str(mask)] for mask in group] for photo_id, group in masks.items()}
        return cls(
            {photo_id: tuple(group) for photo_id, group in boxes.items()},
            {photo_id: tuple(group) for photo_id, group in masks.items()},
            digest(dict(boxes), shown),
        )

    def weights(self, photo_id: str) -> Grid:
        """(GRID, GRID) share of each cell that is around the animal.

        Raises:
            ConfigError: a mask is no picture.
        """
        free = self._free(photo_id, GRID, GRID)
        if photo_id in self and free.sum() >= 1:  # of an animal that leaves nothing free, the edges show most
            return free
        free[:] = 1
        free[EDGE:-EDGE, EDGE:-EDGE] = 0
        return free

    def cover(self, photo_id: str, width_px: int, height_px: int) -> Grid | None:
        """(height, width) how much of each pixel is the animal's, in [0, 1]; None where nothing says where it is.

        Raises:
            ConfigError: a mask is no picture.
        """
        return 1 - self._free(photo_id, width_px, height_px) if photo_id in self else None

    def extent(self, photo_id: str) -> Extent | None:
        """How much of the frame the animals cover, and where; None where nothing is said, or nothing is covered.

        Raises:
            ConfigError: a mask is no picture.
        """
        if photo_id not in self:
            return None
        marks = len(self.boxes.get(photo_id, ())) + len(self.masks.get(photo_id, ()))
        return extent_of(1 - self._free(photo_id, GRID, GRID), marks if self._are_counted else None)

    def __contains__(self, photo_id: str) -> bool:
        """Whether anything says where the photo's animal is."""
        return photo_id in self.boxes or photo_id in self.masks

    @cached_property
    def _are_counted(self) -> bool:
        return bool(self.boxes) or any(len(group) > 1 for group in self.masks.values())

    def _free(self, photo_id: str, columns: int, rows: int) -> Grid:
        """(rows, columns) share of each cell that is no animal's; 1 throughout where nothing says where it is."""
        free = np.ones((rows, columns), np.float32)
        for x, y, width, height in self.boxes.get(photo_id, ()):
            free *= 1 - np.outer(_covered(y, y + height, rows), _covered(x, x + width, columns))
        for mask in self.masks.get(photo_id, ()):
            free *= 1 - _shown(mask, columns, rows)
        return free


def extent_of(cover: Grid, number: int | None = None) -> Extent | None:
    """What (H, W) shares of cells or pixels cover of their frame; None where that is nothing.

    Args:
        cover: in [0, 1].
        number: of the animals.
    """
    covered = np.asarray(cover, np.float64)
    total = float(covered.sum())
    if total <= 0:
        return None
    down, right = (
        float(covered.sum(axis=1 - axis) @ ((np.arange(size) + 0.5) / size - 0.5)) / total
        for axis, size in enumerate(covered.shape)
    )
    return Extent(total / covered.size, math.hypot(down, right) / math.hypot(0.5, 0.5), number)


def _covered(start: float, stop: float, cells: int) -> Grid:
    """(cells,) share of each cell of a side that lies between two fractions of it."""
    edges = np.arange(cells + 1) / cells
    inside = np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start)
    return np.asarray(np.clip(inside * cells, 0, 1), np.float32)


def _shown(mask: Path, columns: int, rows: int) -> Grid:
    """(rows, columns) share of each cell that is white."""
    try:
        picture = rgb(mask.read_bytes())
    except (OSError, PictureError) as error:
        raise ConfigError(
            f"cannot read the mask {mask} ({error}); write it as PNG, white where the animal is"
        ) from error
    shrunk = picture.convert("L").resize((columns, rows), Image.Resampling.BOX)
    return np.asarray(np.asarray(shrunk) / 255, np.float32)


def _folder(path: Path) -> list[tuple[str, Box | Path]]:
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in MASK_SUFFIXES)
    except OSError as error:
        raise ConfigError(
            f"cannot read the folder of masks {path}: {error.strerror}; give one that can be read"
        ) from error
    if not files:
        raise ConfigError(f"{path} holds no masks; name each by its photo's id, as PHOTO_ID.png")
    return [(file.stem, file) for file in files]


def _csv(path: Path) -> list[tuple[str, Box | Path]]:
    remedy = "give a folder of masks, or a CSV or MegaDetector's JSON that is there"
    rows: list[tuple[str, Box | Path]] = []
    for row in read_csv(path, "the animals' places", remedy):
        photo_id, mask = row.get("photo_id"), row.get("mask")
        if photo_id and mask:
            rows.append((photo_id, path.parent / mask))
        elif photo_id and "x" in row:
            rows.append((photo_id, _box([row.get(name) for name in ("x", "y", "width", "height")], photo_id, path)))
        else:
            raise ConfigError(
                f"{path} needs the columns photo_id and mask, or photo_id, x, y, width and height, and a value in each"
            )
    return rows


def _megadetector(path: Path) -> list[tuple[str, Box | Path]]:
    try:
        stated: Any = json.loads(path.read_text(encoding="utf-8"))
        animals = {number for number, name in stated["detection_categories"].items() if name == "animal"}
        return [
            (PurePosixPath(image["file"].replace("\\", "/")).stem, _box(found["bbox"], image["file"], path))
            for image in stated["images"]
            for found in image.get("detections") or ()
            if found["category"] in animals and found["conf"] >= MIN_CONFIDENCE
        ]
    except OSError as error:
        raise ConfigError(
            f"cannot read the animals' places {path}: {error.strerror}; give a file that is there"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is not JSON as MegaDetector writes it ({error!r}); convert it to CSV") from error


def _box(values: list[Any], whose: str, path: Path) -> Box:
    try:
        x, y, width, height = (float(value) for value in values)
    except (ValueError, TypeError):
        x, y, width, height = (float("nan"),) * 4
    if not (0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1):
        raise ConfigError(
            f"{path} has a box of {whose} that is not x, y, width and height as fractions of the frame ({values}); "
            "write numbers from 0 to 1"
        )
    return x, y, width, height
