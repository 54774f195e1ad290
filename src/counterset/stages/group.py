"""Group: the photos of one class into background groups, by k-means on their profiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import faiss
import numpy as np
import numpy.typing as npt

from counterset.config import GroupConfig
from counterset.statistics.agreement import adjusted_rand_index, mean_agreement

Features = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

ABSTAINED = -1
NUM_REPEATS = 3
"""Seeds over which stability is measured."""


class Stability(NamedTuple):
    """Mean adjusted Rand index of a class's groups, abstaining photos counted as one more group.

    Attributes:
        seeds: between groupings by different seeds.
        halves: between the groups of a random half of the photos, formed alone, and the same
            photos' groups formed with all; the mean of both halves.
    """

    seeds: float
    halves: float


class _Clusters(NamedTuple):
    names: Indices
    """(N,) name of the nearest cluster that has one; ABSTAINED where none has."""
    distances: Features
    """(N,) to that cluster's centre."""


def group_photos(
    profiles: Features, margins: Features, names: Sequence[str], config: GroupConfig, *, seed: int
) -> list[str | None]:
    """The group of each photo of one class, or None where it abstains.

    FAISS k-means on the profiles. A cluster is named by the background that is the
    highest score of most of its photos; clusters that are too small (`smallest_cluster`), or
    where fewer than `min_purity` of the photos agree with the name, are dissolved: their
    photos go to the nearest that is left. Of k = B / 2, B, 2 B, 3 B (B backgrounds) that k is taken
    for which most photos' highest score is their cluster's name; of equal ones the smallest.

    A photo's group is its own highest score, unless
    - an excluded phrase is likelier (its margin is below 0),
    - its cluster has another name and its margin is small, below the `clear_quantile` of
      the margins of the photos that agree with their cluster, or
    - it lies further from its centre than the median of the class's photos by more than
      `max_distance` times their spread (1.4826 median absolute deviations).

    A small margin alone does not abstain: what a model finds clear is not a random part of
    a group, and abstaining by margin biases group accuracies (docs/method.md).

    Args:
        profiles: (N, B) background scores.
        margins: (N,) highest score minus the highest other.
        names: the B backgrounds.
        config: clusters, purity, smallest cluster, and when a photo abstains.
        seed: of the k-means.
    """
    taking_part = np.flatnonzero(margins >= 0)
    groups = np.full(len(profiles), ABSTAINED, np.int64)
    if len(taking_part):
        groups[taking_part] = _group(profiles[taking_part], margins[taking_part], config, seed)
    return [None if group == ABSTAINED else names[group] for group in groups.tolist()]


def stability(
    profiles: Features,
    margins: Features,
    names: Sequence[str],
    config: GroupConfig,
    *,
    seed: int,
    formed: Sequence[str | None] | None = None,
) -> Stability:
    """How much the groups of one class depend on the seed and on which photos there are.

    Args:
        profiles: as for `group_photos`, like all others.
        margins: (N,).
        names: the B backgrounds.
        config: how groups are formed.
        seed: the first of NUM_REPEATS seeds, and of the halves.
        formed: what `group_photos` gives for `seed`, where it is known already.
    """
    first = group_photos(profiles, margins, names, config, seed=seed) if formed is None else formed
    others = [group_photos(profiles, margins, names, config, seed=seed + repeat) for repeat in range(1, NUM_REPEATS)]
    repeats = [first, *others]
    order = np.random.default_rng(seed).permutation(len(profiles))
    halves = []
    for half in (np.sort(order[::2]), np.sort(order[1::2])):
        alone = group_photos(profiles[half], margins[half], names, config, seed=seed)
        halves.append(adjusted_rand_index(alone, [repeats[0][index] for index in half]))
    return Stability(mean_agreement(repeats), float(np.mean(halves)))


def _group(profiles: Features, margins: Features, config: GroupConfig, seed: int) -> Indices:
    """(N,) group of photos that take part, or ABSTAINED."""
    own = profiles.argmax(axis=1)
    # Shape, not level, tells backgrounds apart: a photo's mean score is removed.
    points = np.ascontiguousarray(profiles - profiles.mean(axis=1, keepdims=True), np.float32)
    tried = [_clusters(points, own, k, config, seed) for k in cluster_counts(len(own), profiles.shape[1], config)]
    best = max(tried, key=lambda clusters: int((clusters.names == own).sum()))
    agrees = best.names == own
    # Where no cluster is left, the clear photos are all there is to go by.
    reference = margins[agrees] if agrees.any() else margins
    is_clear = margins >= np.quantile(reference, config.clear_quantile)
    spread = 1.4826 * np.median(np.abs(best.distances - np.median(best.distances)))
    is_near = best.distances <= np.median(best.distances) + config.max_distance * spread
    return np.where((agrees | is_clear) & is_near, own, ABSTAINED)


def smallest_cluster(num_photos: int, config: GroupConfig) -> int:
    """Photos that a cluster needs: `min_photos`, in classes of fewer than 20 times as many a twentieth (at least 3)."""
    return max(3, min(config.min_photos, num_photos // 20))


def cluster_counts(num_photos: int, num_backgrounds: int, config: GroupConfig) -> list[int]:
    """The numbers of clusters that are tried, in order."""
    most = max(1, num_photos // smallest_cluster(num_photos, config))
    wanted = [config.num_clusters] if config.num_clusters else [num_backgrounds * part // 2 for part in (1, 2, 4, 6)]
    return sorted({min(count, most) for count in wanted})


def _clusters(points: Features, own: Indices, num_clusters: int, config: GroupConfig, seed: int) -> _Clusters:
    kmeans = faiss.Kmeans(
        points.shape[1],
        num_clusters,
        niter=25,
        nredo=3,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(points),
    )
    kmeans.train(points)
    assert kmeans.centroids is not None
    _, nearest = kmeans.index.search(points, 1)
    # (k, B): photos of each cluster by their own highest score
    num_names = points.shape[1]
    counts = np.bincount(nearest[:, 0] * num_names + own, minlength=num_clusters * num_names)
    counts = counts.reshape(num_clusters, num_names)
    sizes = counts.sum(axis=1)
    is_large = sizes >= smallest_cluster(len(points), config)
    kept = np.flatnonzero(is_large & (counts.max(axis=1) >= config.min_purity * sizes))
    if not len(kept):
        return _Clusters(np.full(len(points), ABSTAINED, np.int64), np.zeros(len(points), np.float32))
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(np.ascontiguousarray(kmeans.centroids[kept]))
    squares, positions = index.search(points, 1)
    names = counts[kept].argmax(axis=1)[positions[:, 0]]
    return _Clusters(names, np.sqrt(np.maximum(squares[:, 0], 0)))
