"""A drop's bounds against every way in which the vanished photos could have been answered."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import counterset
from counterset.evaluation.bounds import drop_bounds
from counterset.evaluation.photos import PairPhotos


def photos(cells: list[tuple[str, int]]) -> PairPhotos:
    ids = np.array([str(number) for number in range(len(cells))], object)
    class_id = np.array([class_id for class_id, _ in cells], object)
    return PairPhotos(ids, class_id, np.array([side for _, side in cells], np.int64), ids, ids, ids, ids)


def drop(cells: list[tuple[str, int]], right: list[bool]) -> float:
    """The class-balanced drop, by a plain loop."""
    drops = []
    for class_id in sorted({class_id for class_id, _ in cells}):
        of = [[r for (c, s), r in zip(cells, right, strict=True) if (c, s) == (class_id, side)] for side in (0, 1)]
        if all(of):
            drops.append(np.mean(of[0]) - np.mean(of[1]))
    return float(np.mean(drops))


@pytest.mark.parametrize("gone", [[("a", 0), ("b", 1)], [("a", 1)] * 3, [("c", 1), ("c", 0), ("b", 0)], [("d", 1)] * 2])
def test_bounds_are_the_extremes_of_all_answers(gone: list[tuple[str, int]]) -> None:
    rng = np.random.default_rng(len(gone))
    here = [("a", 0)] * 3 + [("a", 1)] * 2 + [("b", 0)] * 2 + [("b", 1)] * 4 + [("d", 0)] * 2
    right = rng.random((len(here), 2)) < 0.6
    bounds = drop_bounds(photos(here), right, photos(gone), {})
    # Whether they could not be fetched, or were withdrawn, they are as little known.
    assert np.allclose(bounds, drop_bounds(photos(here), right, photos(gone[1:]), {gone[0]: 1}))
    assert np.allclose(bounds, drop_bounds(photos(here), right, photos([]), Counter(gone)))
    for model in range(2):
        all_drops = [
            drop([*here, *gone], [*right[:, model], *answers])
            for answers in itertools.product([False, True], repeat=len(gone))
        ]
        assert tuple(bounds[model]) == pytest.approx((min(all_drops), max(all_drops)))


def test_an_evaluation_counts_what_earlier_versions_held(small: Any, tmp_path: Path) -> None:
    """The half of an imported release is all; classes that it does not have are in no figure."""
    release = small.load()

    def row() -> dict[str, Any]:
        found = counterset.evaluate(
            release,
            predict=lambda images, labels: [labels[0]] * len(images),
            name="first",
            version="1",
            label_space="classes",
            output=tmp_path,
        )
        return dict(found.metrics.to_pylist()[0])

    before = row()
    assert before["num_vanished"] == 0 and before["drop_lowest"] is None
    cells = [("lion", "counter", 2), ("lion", "common", 1), ("unicorn", "common", 9)]
    told = [{"class_id": c, "split": s, "half": "all", "num_photos": n} for c, s, n in cells]
    release.metadata["takedowns"] = {"withdrawn": told, "bounds": []}
    after = row()
    assert after["num_vanished"] == 3 and after["drop_lowest"] <= after["drop"] <= after["drop_highest"]
    assert after["drop_highest"] - after["drop_lowest"] == pytest.approx((2 / 16 + 1 / 15) / 4)
