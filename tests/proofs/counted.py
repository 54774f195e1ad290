"""Worlds as selection counts them and judges them, without what no tally reads: the same verdicts, far sooner.

Tables of photos are not made, for their outcomes are summed at once. A class whose drop in answers is not significant
by itself is confirmed in no case, and its p-value moves nobody else's q-value below the limit, so that its permutations
are not drawn. Nobody asks what the class could have confirmed, nor under how many halvings it would be. And a drop is
averaged over fewer splits than in a build, which makes it a little less sure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np

from counterset.stages import select
from counterset.statistics.class_units import ClassUnits
from counterset.statistics.observers import CONFIRM, DISCOVER, Floats, Results
from counterset.statistics.permutation import SelectionTest
from counterset.statistics.selector_margin import double_ranks

from .worlds import World

NUM_SPLITS = 400
"""In place of the 1,000 of a build."""


def counted(world: World, num_selectors: int, discover_share: float) -> list[ClassUnits]:
    """What `counterset.statistics.counts.count` gives of the world's tables; every photo counts as sure.

    Args:
        world: photos of known truth.
        num_selectors: the first models of the world, which select.
        discover_share: observers whose coin is below it are in the discover half.
    """
    num_classes, num_groups = world.accuracies.shape
    order = np.argsort(world.class_index, kind="stable")
    ends = np.searchsorted(world.class_index[order], np.arange(num_classes + 1))
    margins = world.margin[order, :num_selectors].astype(np.float32)
    ranks = np.concatenate([double_ranks(margins[start:end]) for start, end in pairwise(ends)])
    ranks /= np.repeat(2.0 * np.diff(ends) * num_selectors, np.diff(ends))
    right = (margins > 0).mean(axis=1)
    stratum = world.class_index[order] * num_groups + world.group[order]
    # (N,) photos -> (C,) rows, one per class, group and observer, in that order
    cells, row = np.unique(stratum * len(world.coin) + world.observer[order], return_inverse=True)
    stratum, observer = cells // len(world.coin), cells % len(world.coin)

    def summed(values: Floats) -> Floats:
        return np.bincount(row, values, len(cells)).astype(np.float64)

    columns = [summed(values) for values in (np.ones(len(row)), right, right**2, ranks, ranks**2)]
    half = np.where(world.coin[observer] < discover_share, DISCOVER, CONFIRM)
    classes = []
    for number, class_id in enumerate(world.class_ids):
        kept = slice(*np.searchsorted(stratum, [number * num_groups, (number + 1) * num_groups]))
        codes, group = np.unique(stratum[kept] % num_groups, return_inverse=True)
        people = np.unique(observer[kept], return_inverse=True)[1].astype(np.int64)
        photos, correct, squares, rank, rank_squares = (column[kept] for column in columns)
        results = Results(len(codes), group.astype(np.int64), half[kept], people, photos, correct, squares)
        graded = replace(results, sum_correct=rank, sum_squares=rank_squares)
        names = tuple(world.groups[code] for code in codes)
        classes.append(ClassUnits(class_id, names, results, photos, correct, graded))
    return classes


@contextmanager
def verdicts_alone(max_q_value: float) -> Iterator[None]:
    """Within it `pair_rows` gives verdicts, drops and intervals as in a build; p-values only of classes that may count.

    Args:
        max_q_value: as in the config.
    """
    last = []

    def estimate_drop(*args: Any) -> Any:
        last[:] = [whole_estimate(*args, num_splits=NUM_SPLITS)]
        return last[0]

    def selection_test(results: Results, *args: Any, **options: Any) -> SelectionTest:
        if last[0].p_value > max_q_value:
            return SelectionTest(1.0, 0.0, np.zeros(1), 0, results.num_groups)
        return whole_test(results, *args, **options)

    whole_estimate, whole_test = select.estimate_drop, select.selection_test
    with patch.multiple(
        select,
        estimate_drop=estimate_drop,
        selection_test=selection_test,
        share_confirmed=lambda *args: float("nan"),
        _detectable_drop=lambda *args: float("nan"),
    ):
        yield
