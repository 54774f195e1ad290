"""The drop within similarity bands: a drop made by nearness alone vanishes, a true one stays, intervals cover."""

from __future__ import annotations

import numpy as np

from counterset.similarity.audit import NUM_BANDS
from counterset.similarity.bands import band_table, cut_bands
from counterset.statistics.metrics import Outcomes


def world(
    seed: int, *, drop: float, nearness: float, num_photos: int = 1_500, photos_per_observer: float = 1.5
) -> tuple[Outcomes, np.ndarray]:
    """Photos whose accuracy falls by `drop` on counter and rises by `nearness` over the range of similarity,
    while photos of the common side lie nearer to the training set. Observers share luck."""
    generator = np.random.default_rng(seed)
    side = generator.integers(0, 2, num_photos)
    near = generator.integers(0, 4, num_photos)  # four values, so that bands hold equally near photos
    near = np.where((side == 0) & (generator.random(num_photos) < 0.5), 3, near)
    class_index = generator.integers(0, 6, num_photos)
    observer = generator.integers(0, int(num_photos / photos_per_observer), num_photos)
    luck = generator.normal(0, 0.1, observer.max() + 1)[observer]
    chance = 0.5 + 0.03 * (class_index - 2.5) + nearness * (near / 3 - 0.5) - drop * (side - 0.5) + luck
    correct = generator.random(num_photos) < np.clip(chance, 0, 1)
    outcomes = Outcomes(tuple("abcdef"), ("m",), class_index, side, observer, correct[:, None])
    return outcomes, (0.6 + 0.1 * near).astype(np.float32)


def rows_of(outcomes: Outcomes, similarity: np.ndarray, draws: int = 400) -> dict[str, dict[str, float]]:
    table = band_table(outcomes, similarity, num_bands=4, seed=0, num_draws=draws)
    return {row["band"]: row for row in table.to_pylist()}


def test_a_drop_made_by_nearness_vanishes_at_equal_distance() -> None:
    found = rows_of(*world(1, drop=0.0, nearness=0.6, num_photos=6_000))
    assert found["all"]["drop_low"] > 0.05, "nearness alone makes a drop"
    assert found["matched"]["drop_low"] < 0 < found["matched"]["drop_high"]
    assert abs(found["matched"]["drop"]) < 0.03


def test_a_true_drop_survives() -> None:
    found = rows_of(*world(2, drop=0.2, nearness=0.3, num_photos=6_000))
    assert found["matched"]["drop_low"] > 0.1
    assert abs(found["matched"]["drop"] - 0.2) < 0.04
    assert all(found[str(band)]["drop"] > 0.1 for band in (1, 2))


def test_intervals_cover_the_truth() -> None:
    covered, num_worlds = {"matched": 0, "1": 0}, 120
    for seed in range(num_worlds):
        found = rows_of(*world(seed + 100, drop=0.15, nearness=0.3, num_photos=500))
        for band in covered:
            covered[band] += found[band]["drop_low"] <= 0.15 <= found[band]["drop_high"]
    # 95 % of 120 is 114; three standard errors are 7
    assert all(count >= 105 for count in covered.values()), covered


def test_matched_is_the_mantel_haenszel_mean_of_each_class_and_classes_weigh_alike() -> None:
    outcomes, similarity = world(5, drop=0.1, nearness=0.2, num_photos=300)
    band = cut_bands(similarity, 4)
    matched, everything = [], []
    for class_index in range(6):
        drops, weights = [], []
        of_class = outcomes.class_index == class_index
        for number in np.unique(band):
            kept = of_class & (band == number)
            sides = [outcomes.is_correct[kept & (outcomes.side == side), 0] for side in (0, 1)]
            if all(map(len, sides)):
                weights.append(len(sides[0]) * len(sides[1]) / kept.sum())
                drops.append(sides[0].mean() - sides[1].mean())
        matched.append(np.average(drops, weights=weights))
        plain = [outcomes.is_correct[of_class & (outcomes.side == side), 0].mean() for side in (0, 1)]
        everything.append(plain[0] - plain[1])
    found = rows_of(outcomes, similarity)
    assert np.isclose(found["matched"]["drop"], np.mean(matched))
    assert np.isclose(found["all"]["drop"], np.mean(everything))


def test_ten_bands_leave_less_of_a_drop_that_is_all_nearness_than_five() -> None:
    generator = np.random.default_rng(6)
    side, class_index = generator.integers(0, 2, 60_000), generator.integers(0, 6, 60_000)
    near = generator.normal(size=60_000) - 1.5 * side
    correct = generator.random(60_000) < 1 / (1 + np.exp(-0.8 - 2 * near))
    outcomes = Outcomes(tuple("abcdef"), ("m",), class_index, side, np.arange(60_000), correct[:, None])
    left = {}
    for number in (5, NUM_BANDS):
        table = band_table(outcomes, near.astype(np.float32), num_bands=number, seed=0, num_draws=10)
        left[number] = {row["band"]: row["drop"] for row in table.to_pylist()}
    assert left[NUM_BANDS]["all"] == left[5]["all"] > 0.15
    assert left[5]["matched"] > 0.01 and abs(left[NUM_BANDS]["matched"]) < 0.7 * left[5]["matched"]


def test_equal_similarities_share_a_band() -> None:
    similarity = np.array([0.5] * 90 + [0.6] * 5 + [0.7] * 5, np.float32)
    band = cut_bands(similarity, 5)
    assert all(len(set(band[similarity == value])) == 1 for value in np.unique(similarity))


def test_a_band_without_both_sides_has_no_drop() -> None:
    outcomes, similarity = world(7, drop=0.1, nearness=0.0, num_photos=200)
    similarity = np.where(outcomes.side == 0, 0.9, 0.5).astype(np.float32)
    found = rows_of(outcomes, similarity)
    assert found["1"]["drop"] is None and found["matched"]["drop"] is None and found["all"]["drop"] is not None
