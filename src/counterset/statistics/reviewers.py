"""How far reviewers agree beyond chance: Cohen's and Fleiss' kappa, and Krippendorff's alpha of names.

The kappas are `statsmodels`'; alpha, for which no package at hand has a light one, is here.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa

from counterset.classes import normal_name


class Agreement(NamedTuple):
    """How far the reviewers of one kind of labels agree; None where it is not defined.

    Attributes:
        mode: audit or review.
        num_photos: that two reviewers or more said something of.
        num_reviewers: of these photos.
        same: share of pairs of reviewers of one photo that say the same, in [0, 1].
        cohen: mean of Cohen's kappa over pairs of reviewers (Cohen 1960; Light 1971).
        fleiss: Fleiss' kappa over the photos that all reviewers saw (Fleiss 1971).
        alpha: Krippendorff's alpha of nominal values, over all (Krippendorff 2011).
    """

    mode: str
    num_photos: int
    num_reviewers: int
    same: float | None
    cohen: float | None
    fleiss: float | None
    alpha: float | None


def agreements(words: pa.Table) -> list[Agreement]:
    """One row per mode, of those in which photos were looked at by several.

    Args:
        words: each reviewer's last word on a photo (decisions schema).
    """
    said: dict[str, dict[str, dict[str, Hashable]]] = {}
    for row in words.to_pylist():
        name = row["shown_name"] if row["answer"] == "right" else row["said_name"]
        value = (row["answer"] if name is None else "name", normal_name(name or ""))
        said.setdefault(row["mode"], {}).setdefault(row["photo_id"], {})[row["reviewer"]] = value
    return [_agreement(mode, by_photo) for mode, by_photo in sorted(said.items())]


def _agreement(mode: str, by_photo: dict[str, dict[str, Hashable]]) -> Agreement:
    shared = {photo_id: by_reviewer for photo_id, by_reviewer in by_photo.items() if len(by_reviewer) > 1}
    reviewers = sorted({reviewer for by_reviewer in shared.values() for reviewer in by_reviewer})
    pairs = [a == b for by_reviewer in shared.values() for a, b in combinations(by_reviewer.values(), 2)]
    table = [[by_reviewer.get(reviewer) for reviewer in reviewers] for _, by_reviewer in sorted(shared.items())]
    kappas = [cohen(table, one, two) for one, two in combinations(range(len(reviewers)), 2)]
    return Agreement(
        mode,
        len(shared),
        len(reviewers),
        _mean([float(is_same) for is_same in pairs]),
        _mean([kappa for kappa in kappas if kappa is not None]),
        fleiss(table),
        krippendorff_alpha(table),
    )


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


Values = Sequence[Sequence[Hashable | None]]
"""One row per photo, one column per reviewer; None = not said."""


def cohen(values: Values, one: int, two: int) -> float | None:
    """Cohen's kappa of two columns, over the rows in which both say something; None where it is not defined."""
    both = [(row[one], row[two]) for row in values if row[one] is not None and row[two] is not None]
    known = sorted({value for row in both for value in row}, key=str)
    if len(known) < 2:
        return None
    counts = np.zeros((len(known), len(known)))
    for first, second in both:
        counts[known.index(first), known.index(second)] += 1
    return float(cohens_kappa(counts, return_results=False))


def fleiss(values: Values) -> float | None:
    """Fleiss' kappa over the rows in which all say something; None where it is not defined."""
    whole = [row for row in values if None not in row]
    known = sorted({value for row in whole for value in row}, key=str)
    if len(known) < 2:
        return None
    counts = np.array([[list(row).count(value) for value in known] for row in whole])
    return float(fleiss_kappa(counts))


def krippendorff_alpha(values: Values) -> float | None:
    """Alpha of nominal values, from the matrix of coincidences (Krippendorff 2011, section C); None without two values.

    Rows in which fewer than two say something do not count.
    """
    rows = [[value for value in row if value is not None] for row in values]
    rows = [row for row in rows if len(row) > 1]
    known = sorted({value for row in rows for value in row}, key=str)
    if len(known) < 2:
        return None
    # (N, V) how often each row has each value
    counts = np.array([[row.count(value) for value in known] for row in rows], np.float64)
    size = counts.sum(axis=1, keepdims=True)
    coincidences = (counts.T @ (counts / (size - 1))) - np.diag((counts / (size - 1)).sum(axis=0))
    of_value = coincidences.sum(axis=1)
    total = of_value.sum()
    observed = total - np.trace(coincidences)
    expected = (total**2 - (of_value**2).sum()) / (total - 1)
    return float(1 - observed / expected)
