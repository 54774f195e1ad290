"""The breaking point: how many background labels would have to be wrong, and wrong where the model is.

Annotators and selectors share weaknesses. If a share of the photos that the selector gets
wrong were labelled with the counter background whatever is behind the animal, counter would
look hard with no true difference, in both halves alike; and so would common look easy if a
share of the right photos were labelled common. No split of observers cures that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from counterset.statistics.intervals import drop_interval
from counterset.statistics.observers import Bools, Floats


class FoundShare(NamedTuple):
    """The share of outcome-dependent mislabels that labelled photos show, with its 95 % interval."""

    share: float
    low: float
    high: float


def breaking_share(num_photos: Floats, num_correct: Floats, common: int, counter: int, drop: float) -> float:
    """The smallest share of outcome-dependent mislabels that would explain `drop` away, in [0, 1].

    Either a share s of the wrong photos of all other groups was moved to counter, or a share s
    of the right photos of all other groups was moved to common; undoing it lowers the observed
    drop by `drop`. The smaller of the two shares. 1 where no share would do.

    Args:
        num_photos: (G,) photos of every group.
        num_correct: (G,) right photos (or summed outcomes) of every group.
        common: index of the common group.
        counter: index of the counter group.
        drop: what is to be explained; give the interval's lower end to ask what could.
    """
    num_wrong = num_photos - num_correct
    return min(
        share_moved(num_wrong, num_correct, counter, common, drop),
        share_moved(num_correct, num_wrong, common, counter, drop),
    )


def found_share(is_counter: Bools, is_common: Bools, is_named: Bools, is_correct: Bools) -> FoundShare | None:
    """What labelled photos of one class show of the errors that `breaking_share` asks for.

    Of the photos that are not of counter, how many more of the wrong ones than of the right ones
    were put into it; of those that are not of common, how many more of the right ones than of the
    wrong ones. Errors that strike both alike cancel: they shrink drops. The larger of the two, or
    None where there is nothing to compare.

    Args:
        is_counter: (N,) the annotator put the photo into counter.
        is_common: (N,) into common.
        is_named: (N,) and rightly so.
        is_correct: (N,) the selector was right.
    """
    found = []
    for is_put, struck in ((is_counter, ~is_correct), (is_common, is_correct)):
        is_outside = ~(is_put & is_named)  # rightly in the group: not a photo that could have been moved there
        hit, other = is_put[is_outside & struck], is_put[is_outside & ~struck]
        if len(hit) and len(other):
            rates = float(np.mean(hit)), float(np.mean(other))
            interval = drop_interval(rates[0], len(hit), rates[1], len(other))
            found.append(FoundShare(rates[0] - rates[1], *interval))
    return max(found, default=None)


def share_moved(moved: Floats, kept: Floats, gaining: int, losing: int, drop: float) -> float:
    """The share of `moved` photos, out of all groups into `gaining`, that explains `drop`.

    In terms of the share of moved photos within a group: it is higher in `gaining` than in
    `losing` by the observed drop; undoing the move must lower that by `drop`.
    """
    if drop <= 0:
        return 0.0
    others = float(moved.sum() - moved[gaining])
    if others <= 0:
        return 1.0
    (gained, lost), (kept_gaining, kept_losing) = (
        (float(values[gaining]), float(values[losing])) for values in (moved, kept)
    )

    def gap(odds: float) -> float:
        # odds = s / (1 - s): each other group had (1 + odds) times its moved photos
        return _ratio(max(gained - odds * others, 0.0), kept_gaining) - _ratio(lost * (1 + odds), kept_losing)

    most, stated = gained / others, gap(0.0)
    if stated - gap(most) < drop:
        return 1.0
    odds = float(brentq(lambda odds: stated - gap(odds) - drop, 0.0, most))
    return odds / (1 + odds)


def _ratio(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest > 0 else 0.0
