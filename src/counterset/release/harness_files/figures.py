"""The figures of counterset from one answer per photo, for harnesses; it needs the standard library alone.

Each answer is a mapping with `split` (common or counter), `class_id`, `unit` (whose photos are not independent of each
other) and `is_correct`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Answers = Sequence[Mapping[str, Any]]


def common(answers: Answers) -> float:
    """Accuracy on the common side: the unweighted mean over classes, in [0, 1]."""
    return _mean(_by_class(answers, "common").values())


def counter(answers: Answers) -> float:
    """Accuracy on the counter side: the unweighted mean over classes, in [0, 1]."""
    return _mean(_by_class(answers, "counter").values())


def drop(answers: Answers) -> float:
    """common - counter."""
    return common(answers) - counter(answers)


def drop_stderr(answers: Answers) -> float:
    """Standard error of the drop, clustered by unit; NaN with fewer than two units."""
    means = {split: _by_class(answers, split) for split in ("common", "counter")}
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for answer in answers:
        counts[answer["split"], answer["class_id"]] += 1
    moved: dict[Any, float] = defaultdict(float)
    for answer in answers:
        split, class_id = answer["split"], answer["class_id"]
        residual = float(answer["is_correct"]) - means[split][class_id]
        sign = 1 if split == "common" else -1
        moved[answer["unit"]] += sign * residual / (counts[split, class_id] * len(means[split]))
    num_units = len(moved)
    if num_units < 2:
        return math.nan
    return math.sqrt(num_units / (num_units - 1) * sum(value**2 for value in moved.values()))


def photo_average(answers: Answers) -> float:
    """Accuracy over the photos that are given, whatever their class, in [0, 1]."""
    return _mean(float(answer["is_correct"]) for answer in answers)


def _by_class(answers: Answers, split: str) -> dict[str, float]:
    """class_id -> accuracy on one side."""
    own: dict[str, list[float]] = defaultdict(list)
    for answer in answers:
        if answer["split"] == split:
            own[answer["class_id"]].append(float(answer["is_correct"]))
    return {class_id: _mean(values) for class_id, values in own.items()}


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return math.fsum(values) / len(values) if values else math.nan
