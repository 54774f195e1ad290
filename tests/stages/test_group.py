"""Background groups on profiles whose clusters are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from counterset.config import GroupConfig
from counterset.stages.annotate import annotate_class
from counterset.stages.group import cluster_counts, group_photos, smallest_cluster, stability

Features = npt.NDArray[np.float32]
NAMES = ["snow", "grass", "water", "sand"]


def blobs(sizes: list[int], spread: float, seed: int = 0) -> tuple[Features, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    profiles = np.eye(len(sizes))[truth] + rng.normal(scale=spread, size=(sum(sizes), len(sizes)))
    return np.asarray(profiles, np.float32), truth


def group(profiles: Features, seed: int = 0, **settings: Any) -> list[str | None]:
    found = annotate_class(profiles, profiles.shape[1], "plain")
    return group_photos(found.profiles, found.margins, NAMES, GroupConfig(**settings), seed=seed)


def test_groups_find_the_blobs_and_repeat_exactly() -> None:
    profiles, truth = blobs([200, 120, 60, 40], 0.12)
    groups = group(profiles, seed=3)
    named = [(name, NAMES[background]) for name, background in zip(groups, truth, strict=True) if name]
    assert len(named) > 0.95 * len(truth)
    assert sum(name == background for name, background in named) > 0.99 * len(named)
    assert groups == group(profiles, seed=3)


def test_a_group_is_never_other_than_the_photos_own_highest_score() -> None:
    profiles, _ = blobs([200, 120, 60, 40], 0.6)
    own = [NAMES[index] for index in profiles.argmax(axis=1)]
    assert all(name in (None, best) for name, best in zip(group(profiles), own, strict=True))


def test_abstaining_is_more_often_wrong_than_keeping() -> None:
    profiles, truth = blobs([300, 200, 100, 60], 0.4)
    own = profiles.argmax(axis=1)
    abstains = np.array([name is None for name in group(profiles)])
    assert 0.01 < abstains.mean() < 0.2
    assert (own != truth)[abstains].mean() > 2 * (own != truth)[~abstains].mean()


def test_clear_photos_keep_their_own_name_in_a_cluster_of_another() -> None:
    profiles, _ = blobs([200, 100, 1, 0], 0.05)
    strict = group(profiles, clear_quantile=1.0)
    assert strict[300] is None
    assert group(profiles, max_distance=1e6)[300] == "water"


def test_a_photo_far_from_every_centre_abstains() -> None:
    profiles, _ = blobs([200, 100, 50, 50], 0.05)
    profiles[0] += np.array([6.0, 0, 0, 0], np.float32)
    assert group(profiles)[0] is None
    assert group(profiles, max_distance=1e6)[0] == "snow"


def test_a_negative_margin_abstains_and_takes_no_part() -> None:
    profiles, _ = blobs([100, 100, 50, 50], 0.1)
    annotation = annotate_class(profiles, 4, "plain")
    margins = annotation.margins.copy()
    margins[::7] = -0.1
    groups = group_photos(profiles, margins, NAMES, GroupConfig(), seed=0)
    rest = np.setdiff1d(np.arange(300), np.arange(0, 300, 7))
    assert not any(groups[::7])
    alone = group_photos(profiles[rest], margins[rest], NAMES, GroupConfig(), seed=0)
    assert [groups[index] for index in rest] == alone
    assert group_photos(profiles, margins * 0 - 1, NAMES, GroupConfig(), seed=0) == [None] * 300


def test_small_classes_are_grouped_too() -> None:
    profiles, truth = blobs([40, 26, 14, 10], 0.15)
    groups = group(profiles)
    kept = [(name, NAMES[background]) for name, background in zip(groups, truth, strict=True) if name]
    assert len(kept) > 0.85 * 90 and all(name == background for name, background in kept)
    assert {name for name, _ in kept} == set(NAMES)


@pytest.mark.parametrize("num_photos", [0, 1, 2, 5])
def test_next_to_no_photos(num_photos: int) -> None:
    profiles, _ = blobs([5, 0, 0, 0], 0.1)
    assert len(group(profiles[:num_photos])) == num_photos


def test_equal_profiles_are_one_group() -> None:
    profiles = np.tile(np.array([[1, 0, 0, 0]], np.float32), (50, 1))
    assert group(profiles) == ["snow"] * 50


def test_numbers_of_clusters_and_their_smallest_size() -> None:
    config = GroupConfig()
    assert cluster_counts(5000, 14, config) == [7, 14, 28, 42]
    assert cluster_counts(300, 14, config) == [7, 14, 28, 30]
    assert cluster_counts(5000, 14, GroupConfig(num_clusters=9)) == [9]
    assert cluster_counts(2, 14, config) == [1]
    assert [smallest_cluster(n, config) for n in (10, 90, 5000)] == [3, 4, 10]


def test_stability_is_one_for_clear_groups_and_less_for_noise() -> None:
    clear, _ = blobs([150, 100, 80, 70], 0.05)
    vague = np.asarray(np.random.default_rng(0).normal(size=(400, 4)), np.float32)
    found = {}
    for name, profiles in (("clear", clear), ("vague", vague)):
        annotation = annotate_class(profiles, 4, "plain")
        found[name] = stability(profiles, annotation.margins, NAMES, GroupConfig(), seed=0)
    assert min(found["clear"]) > 0.97
    assert max(found["vague"]) < min(found["clear"])


@pytest.mark.parametrize(("min_purity", "is_kept"), [(0.5, True), (0.6, False)])
def test_a_cluster_whose_photos_disagree_has_no_name(min_purity: float, is_kept: bool) -> None:
    """One clear cluster, and one of which 55 photos say grass and 45 water, by a hair: that names neither."""
    rng = np.random.default_rng(0)
    clear = np.tile(np.array([1.0, 0, 0, 0]), (100, 1)) + rng.normal(scale=0.01, size=(100, 4))
    vague = np.tile(np.array([0, 1.0, 1.0, 0]), (100, 1)) + rng.normal(scale=0.001, size=(100, 4))
    vague[:55, 1] += 0.01
    vague[55:, 2] += 0.01
    profiles = np.asarray(np.concatenate([clear, vague]), np.float32)
    groups = group(profiles, num_clusters=2, min_purity=min_purity)
    assert groups[:100].count("snow") > 90
    assert groups[100:155].count("grass") > 45 if is_kept else set(groups[100:]) == {None}
