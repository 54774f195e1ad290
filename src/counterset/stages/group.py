"""Group: the photos of one class into background groups, by k-means on their profiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import faiss
import numpy as np
import numpy.typing as npt

from counterset.config import GroupConfig

Features = npt.NDArray[np.float32]


def group_photos(profiles: Features, names: Sequence[str], config: GroupConfig, *, seed: int) -> list[str | None]:
    """The group of each photo of one class, or None where it abstains.

    FAISS k-means on the profiles; each cluster is named by the background that is the
    highest score of most of its photos, clusters of one name are merged. Clusters with
    fewer than `min_photos` photos, or where fewer than `min_purity` of them agree with
    the name, are dissolved: their photos abstain. So does a photo whose own highest
    score is not its cluster's name.

    Args:
        profiles: (N, B) background scores.
        names: the B backgrounds.
        config: number of clusters, purity, smallest cluster.
        seed: of the k-means.
    """
    num_photos = len(profiles)
    own = profiles.argmax(axis=1) if num_photos else np.zeros(0, np.int64)
    num_clusters = config.num_clusters or 2 * len(names)
    num_clusters = max(1, min(num_clusters, num_photos // config.min_photos))
    if num_photos < config.min_photos:
        return [None] * num_photos
    # Shape, not level, tells backgrounds apart: a photo's mean score is removed.
    points = np.ascontiguousarray(profiles - profiles.mean(axis=1, keepdims=True), np.float32)
    kmeans = faiss.Kmeans(
        points.shape[1],
        num_clusters,
        niter=50,
        nredo=5,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=num_photos,
    )
    kmeans.train(points)
    _, nearest = kmeans.index.search(points, 1)
    clusters = nearest[:, 0]
    groups: list[str | None] = [None] * num_photos
    for cluster in range(num_clusters):
        members = np.flatnonzero(clusters == cluster)
        if len(members) < config.min_photos:
            continue
        # most_common keeps first-seen order on ties, so ties go to the earlier photo: deterministic
        [(name_index, count)] = Counter(own[members].tolist()).most_common(1)
        if count < config.min_purity * len(members):
            continue
        for member in members:
            if own[member] == name_index:
                groups[member] = names[name_index]
    return groups
