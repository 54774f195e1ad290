"""Between which values a drop lies while the answers to some photos are not known, with nothing assumed of them."""

from __future__ import annotations

import numpy as np

from counterset.statistics.metrics import COMMON, COUNTER
from counterset.statistics.observers import Floats


def drop_bounds(num_right: Floats, num_answered: Floats, num_unknown: Floats) -> Floats:
    """(M, 2): the lowest and the highest class-balanced drop that M models could have.

    The lowest is that of wrong answers on all unknown common and right ones on all unknown counter photos, the highest
    the other way round (Manski 2003, chapter 1). Classes without photos on a side, known or not, are left out.

    Args:
        num_right: (C, 2, M) right answers, by class and side.
        num_answered: (C, 2) photos with answers.
        num_unknown: (C, 2) photos without.
    """
    total = num_answered + num_unknown
    both = (total > 0).all(axis=1)
    right, unknown, total = num_right[both], num_unknown[both][..., None], total[both][..., None]
    # (C, 2, M)
    worst, best = right / total, (right + unknown) / total
    lowest = (worst[:, COMMON] - best[:, COUNTER]).mean(axis=0)
    highest = (best[:, COMMON] - worst[:, COUNTER]).mean(axis=0)
    return np.stack([lowest, highest], axis=1)
