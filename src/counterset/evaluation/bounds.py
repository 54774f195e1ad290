"""Between which values a drop would lie if the photos that vanished had been answered, rightly or wrongly, too."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from counterset.evaluation.photos import PairPhotos
from counterset.release.schemas import SPLITS
from counterset.schemas import Half
from counterset.statistics import bounds
from counterset.statistics.observers import Bools, Floats

Cells = Mapping[tuple[str, int], int]
"""(class_id, side) -> a number of photos."""


def withdrawn_cells(metadata: Mapping[str, Any], half: str, class_ids: Collection[str]) -> Cells:
    """How many photos of a half the release says were withdrawn from the pairs of these classes."""
    cells: dict[tuple[str, int], int] = {}
    for row in metadata.get("takedowns", {}).get("withdrawn", ()):
        if row["class_id"] in class_ids and half in (row["half"], Half.ALL.value):
            cell = row["class_id"], SPLITS.index(row["split"])
            cells[cell] = cells.get(cell, 0) + row["num_photos"]
    return cells


def drop_bounds(photos: PairPhotos, is_correct: Bools, vanished: PairPhotos, withdrawn: Cells) -> Floats:
    """(M, 2): the lowest and the highest class-balanced drop that M models could have with all photos.

    Classes that lost all photos of a side count, too.

    Args:
        photos: (N,) those with answers.
        is_correct: (N, M)
        vanished: those without.
        withdrawn: photos of earlier versions, without answers as well.
    """
    gone_classes = [class_id for class_id, _ in withdrawn]
    class_ids = np.concatenate([photos.class_id, vanished.class_id, gone_classes]).astype(str)
    classes, number = np.unique(class_ids, return_inverse=True)
    sides = np.concatenate([photos.side, vanished.side, np.array([side for _, side in withdrawn], np.int64)])
    cell, num_here = number * 2 + sides, len(photos.photo_id)
    here, gone, num_cells = cell[:num_here], cell[num_here:], 2 * len(classes)
    num_gone = np.concatenate([np.ones(len(vanished.photo_id)), np.array([*withdrawn.values()], np.float64)])

    def by_cell(cells: npt.NDArray[np.int64], numbers: npt.NDArray[Any]) -> Floats:
        return np.bincount(cells, numbers, num_cells).astype(np.float64).reshape(len(classes), 2)

    right = np.stack([by_cell(here, column) for column in is_correct.T], axis=2)  # (C, 2, M)
    return bounds.drop_bounds(right, by_cell(here, np.ones(num_here)), by_cell(gone, num_gone))
