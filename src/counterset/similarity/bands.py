"""Does a drop survive among photos equally far from the training set?

Photos of the pairs are cut into bands of similarity to their nearest training image. Within a
band, and within a class, common is compared with counter; classes are pooled with the weights
of Mantel and Haenszel (1959), n1 n0 / (n1 + n0), so a class weighs by how many photos it has on
both sides. `matched` pools the bands of each class with these weights: the drop that is left when
both sides are equally near. `all` ignores bands. Both are means in which every class weighs
the same, so they differ by what nearness does and not by which classes count. Intervals come
from a Bayesian bootstrap over units (Rubin 1981), weights of classes included, with the same
draws for all models; they are widened where units are few (`few_observers_factor`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from counterset.similarity.schemas import BANDS
from counterset.statistics.intervals import drawn_interval, few_observers_factor
from counterset.statistics.metrics import COMMON, COUNTER, NUM_DRAWS, Outcomes
from counterset.statistics.observers import Floats, Ints
from counterset.tables import table_of

ALL, MATCHED = "all", "matched"


@dataclass(frozen=True)
class _Pooled:
    """(1 + draws,) pooled accuracies of both sides, the first being the plain value; and how much wider than the draws
    an interval must be, for observers are few."""

    common: Floats
    counter: Floats
    factor: float


def cut_bands(similarity: npt.NDArray[np.float32], num_bands: int) -> Ints:
    """(N,) band of each photo, 0 = farthest: bands of equal numbers of photos; ties share a band."""
    edges = np.quantile(similarity, np.arange(1, num_bands) / num_bands, method="higher")
    band = np.searchsorted(np.unique(edges), similarity, side="right")
    return np.unique(band, return_inverse=True)[1].astype(np.int64)  # no band is empty


def band_table(
    outcomes: Outcomes,
    similarity: npt.NDArray[np.float32],
    *,
    num_bands: int,
    seed: int,
    num_draws: int = NUM_DRAWS,
    is_known: npt.NDArray[np.bool_] | None = None,
) -> pa.Table:
    """One row per model and band (`BANDS` schema), with `all` (classes pooled, bands ignored) and `matched`.

    Bands are cut over all photos; a model's numbers are of the photos that it has outcomes of.

    Args:
        outcomes: photos of the pairs.
        similarity: (N,) to the nearest training image.
        num_bands: bands with about equally many photos.
        seed: of the bootstrap.
        num_draws: of the bootstrap.
        is_known: (N, M) the outcomes that are known; None = all.
    """
    band = cut_bands(similarity, num_bands)
    names = {str(number + 1): band == number for number in range(int(band.max()) + 1)}
    everything = np.ones(len(band), np.bool_)
    strata = {name: (kept, outcomes.class_index) for name, kept in names.items()}
    strata |= {
        ALL: (everything, outcomes.class_index),
        MATCHED: (everything, outcomes.class_index * (int(band.max()) + 1) + band),
    }
    num_units = int(outcomes.unit.max()) + 1
    weights = np.random.default_rng(seed).standard_exponential((num_units, num_draws))
    weights = np.hstack([np.ones((num_units, 1)), weights])  # (O, 1 + B)
    rows = []
    for name, (kept, stratum) in strata.items():
        limits = {"similarity_low": float(similarity[kept].min()), "similarity_high": float(similarity[kept].max())}
        for index, model in enumerate(outcomes.models):
            known = kept if is_known is None else kept & is_known[:, index]
            used = known & _has_both(stratum, outcomes.side, known)
            counts = {
                "num_classes": len(np.unique(outcomes.class_index[used])),
                "num_common": int((used & (outcomes.side == COMMON)).sum()),
                "num_counter": int((used & (outcomes.side == COUNTER)).sum()),
                "num_observers": len(np.unique(outcomes.observers[used])),
                "num_units": len(np.unique(outcomes.unit[used])),
            }
            pooled = None
            if used.any():
                pooled = _pool(outcomes, stratum, used, index, weights, by_class=name in (ALL, MATCHED))
            rows.append({"band": name, "model": model, **limits, **counts, **_estimates(pooled)})
    return table_of(BANDS, rows)


def _estimates(pooled: _Pooled | None) -> dict[str, float | None]:
    if pooled is None:
        return dict.fromkeys(("accuracy_common", "accuracy_counter", "drop", "drop_low", "drop_high"))
    drops = pooled.common - pooled.counter
    low, high = drawn_interval(drops[1:], pooled.factor)
    return {
        "accuracy_common": float(pooled.common[0]),
        "accuracy_counter": float(pooled.counter[0]),
        "drop": float(drops[0]),
        "drop_low": float(low),
        "drop_high": float(high),
    }


def _has_both(stratum: Ints, side: Ints, kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(N,) whether the photo's stratum has kept photos on both sides."""
    counts = np.zeros((int(stratum.max()) + 1, 2), np.int64)
    np.add.at(counts, (stratum[kept], side[kept]), 1)
    both = np.asarray((counts > 0).all(axis=1))
    return both[stratum]


def _pool(
    outcomes: Outcomes, stratum: Ints, used: npt.NDArray[np.bool_], model: int, weights: Floats, *, by_class: bool
) -> _Pooled:
    """Strata by their weights; with `by_class` those of each class, and then all classes alike."""
    _, first, number = np.unique(stratum[used], return_index=True, return_inverse=True)
    num_strata = int(number.max()) + 1
    cell = number * 2 + outcomes.side[used]
    shape = (2 * num_strata, len(weights))
    where = (cell, outcomes.unit[used])
    # (2 S, O) @ (O, 1 + B) -> (S, 2, 1 + B)
    counted = sparse.coo_array(sparse.csr_array((np.ones(len(cell)), where), shape=shape))
    photos = (counted @ weights).reshape(num_strata, 2, -1)
    right = outcomes.is_correct[used, model].astype(np.float64)
    correct = (sparse.csr_array((right, where), shape=shape) @ weights).reshape(num_strata, 2, -1)
    accuracy = correct / photos
    weight = photos[:, 0] * photos[:, 1] / photos.sum(axis=1)  # (S, 1 + B)
    kinds = outcomes.class_index[used][first] if by_class else np.zeros(num_strata, np.int64)
    _, kind = np.unique(kinds, return_inverse=True)
    to_kind = sparse.csr_array((np.ones(num_strata), (kind, np.arange(num_strata))))  # (classes or 1, S)
    total = to_kind @ weight
    common, counter = ((to_kind @ (weight * accuracy[:, side]) / total).mean(axis=0) for side in (COMMON, COUNTER))
    return _Pooled(common, counter, few_observers_factor(counted.data, counted.row.astype(np.int64)))
