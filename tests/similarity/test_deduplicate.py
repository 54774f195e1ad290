"""Duplicates within a cluster equal a loop over all pairs; clusters of equal vectors cost no pairs."""

from __future__ import annotations

import time

import numpy as np
import pytest

from counterset.similarity import deduplicate
from counterset.similarity.deduplicate import duplicates_of_cluster

from .shard_files import brute, unit


def oracle(vectors: np.ndarray, centroid_similarity: np.ndarray, limit: float) -> dict[int, tuple[int, float]]:
    """Member -> (the most similar one before it, similarity), by the definition in the module's words."""
    order = sorted(range(len(vectors)), key=lambda index: (centroid_similarity[index], index))
    similarity = brute(vectors, vectors)
    found: dict[int, tuple[int, float]] = {}
    distinct: list[int] = []
    for index in order:
        copies = [other for other in distinct if (vectors[other] == vectors[index]).all()]
        if copies:
            found[index] = (copies[0], float(similarity[index, copies[0]]))
            continue
        near = [other for other in distinct if similarity[index, other] > np.float32(limit)]
        if near:
            best = min(near, key=lambda other: (-similarity[index, other], other))
            found[index] = (best, float(similarity[index, best]))
        distinct.append(index)
    return found


@pytest.mark.parametrize("limit", [0.5, 0.9, 0.9999])
def test_duplicates_are_brute_force(limit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deduplicate, "_BLOCK", 50)
    generator = np.random.default_rng(1)
    centre = unit(generator.standard_normal((1, 24)))
    vectors = unit(centre + 0.12 * generator.standard_normal((220, 24)))
    vectors[30:60] = unit(vectors[:30] + 0.01 * generator.standard_normal((30, 24)))
    vectors[100:110] = vectors[5]
    vectors[150] = vectors[149]
    centroid_similarity = brute(vectors, centre)[:, 0]
    found = duplicates_of_cluster(vectors, centroid_similarity, limit)
    expected = oracle(vectors, centroid_similarity, limit)
    assert {
        int(member): (int(other), float(similarity)) for member, other, similarity in zip(*found, strict=True)
    } == expected
    assert len(expected) >= 11


def test_a_clump_of_equal_vectors_is_quick() -> None:
    vectors = np.repeat(unit(np.random.default_rng(0).standard_normal((1, 64))), 20_000, axis=0)
    started = time.process_time()
    found = duplicates_of_cluster(vectors, np.ones(len(vectors), np.float32), 0.9)
    assert len(found.member) == 19_999 and set(found.other) == {0}
    assert time.process_time() - started < 10, "200 million pairs were multiplied"
