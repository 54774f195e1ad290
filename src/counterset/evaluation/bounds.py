"""Between which values a drop would lie if the photos that vanished had been answered, rightly or wrongly, too."""

from __future__ import annotations

import numpy as np

from counterset.evaluation.photos import PairPhotos
from counterset.statistics.metrics import COMMON, COUNTER
from counterset.statistics.observers import Bools, Floats


def drop_bounds(photos: PairPhotos, is_correct: Bools, vanished: PairPhotos) -> Floats:
    """(M, 2): the lowest and the highest class-balanced drop that M models could have with the vanished photos.

    The lowest is that of wrong answers on all vanished common and right ones on all vanished counter photos, the
    highest the other way round. Nothing is assumed of the vanished photos (Manski 2003, chapter 1), so classes that
    lost all photos of a side count, too.

    Args:
        photos: (N,) those with answers.
        is_correct: (N, M)
        vanished: those without.
    """
    class_ids = np.concatenate([photos.class_id, vanished.class_id]).astype(str)
    classes, number = np.unique(class_ids, return_inverse=True)
    cell = number * 2 + np.concatenate([photos.side, vanished.side])
    here, gone = cell[: len(photos.photo_id)], cell[len(photos.photo_id) :]
    num_cells, num_models = 2 * len(classes), is_correct.shape[1]
    num_gone = np.bincount(gone, minlength=num_cells).astype(np.float64)
    total = np.bincount(here, minlength=num_cells) + num_gone
    both = np.minimum(total[COMMON::2], total[COUNTER::2]) > 0
    bounds = np.empty((num_models, 2))
    for model in range(num_models):
        right = np.bincount(here, is_correct[:, model], num_cells)
        worst, best = ((right + more)[np.repeat(both, 2)] / total[np.repeat(both, 2)] for more in (0.0, num_gone))
        bounds[model] = (
            (worst[COMMON::2] - best[COUNTER::2]).mean(),
            (best[COMMON::2] - worst[COUNTER::2]).mean(),
        )
    return bounds
