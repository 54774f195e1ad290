"""The drop over all agreeing splits: against a slow loop, unbiased, surer than the confirm half alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from counterset.statistics import resplit
from counterset.statistics.carving import carved_p_value, moves_until_chosen
from counterset.statistics.choice import Limits, choose, eligible_groups, overlap
from counterset.statistics.halves import DISCOVER_SHARE
from counterset.statistics.intervals import drop_interval
from counterset.statistics.observers import CONFIRM, Dispersion, Results
from counterset.statistics.permutation import selection_test
from counterset.statistics.resplit import estimate_drop, random_splits, share_confirmed

from ..proofs.counted import counted
from ..proofs.worlds import Crowd, Geometric, draw_world

LIMITS = Limits(10, 3)
DISPERSION = Dispersion(0.2, 1.0)


def make(
    accuracy: list[float], photos: int, rng: np.random.Generator, rho: float = 0.2, crossing: float = 0.2
) -> Results:
    crowd = Crowd(rho=rho, sizes=Geometric(), crossing=crossing)
    return counted(draw_world(rng, np.array([accuracy]), photos, crowd), 1, DISCOVER_SHARE)[0].results


def shuffled(results: Results, rng: np.random.Generator) -> np.ndarray:
    """The halves dealt anew to the observers."""
    halves = np.zeros(int(results.observer.max()) + 1, np.int64)
    halves[results.observer] = results.half
    return rng.permutation(halves)[results.observer]


def test_random_splits_keep_the_number_of_units_on_each_half() -> None:
    results = make([0.8, 0.6], 30, np.random.default_rng(0))
    splits = random_splits(results, 2_000, np.random.default_rng(1))
    num_confirm = len(set(results.observer[results.half == CONFIRM].tolist()))
    assert (splits.sum(axis=1) == num_confirm).all()
    share = num_confirm / splits.shape[1]
    assert splits.mean(axis=0) == pytest.approx(np.full(splits.shape[1], share), abs=0.05), "no unit is preferred"


def chosen(results: Results) -> tuple[int, int]:
    weights = DISPERSION.weights(results.num_photos)
    right = weights * results.sum_correct / results.num_photos
    pair = choose(results.by_half(weights), results.by_half(right), eligible_groups(results, LIMITS))
    return int(pair.common), int(pair.counter)


def votes_of(results: Results, dispersion: Dispersion = DISPERSION) -> np.ndarray:
    weights = dispersion.weights(results.num_photos)
    return np.stack([weights, weights * results.sum_correct / results.num_photos])


def confirm_drop(results: Results, half: np.ndarray, pair: tuple[int, int]) -> float:
    weights = DISPERSION.weights(results.num_photos)
    accuracy = []
    for group in pair:
        rows = (half == CONFIRM) & (results.group == group)
        accuracy.append(np.average((results.sum_correct / results.num_photos)[rows], weights=weights[rows]))
    return float(accuracy[0] - accuracy[1])


def test_one_split_is_the_confirm_half() -> None:
    results = make([0.8, 0.6, 0.7], 80, np.random.default_rng(0))
    pair, weights = chosen(results), DISPERSION.weights(results.num_photos)
    found = estimate_drop(
        results, weights, DISPERSION, pair, LIMITS, votes_of(results), np.random.default_rng(0), num_splits=1
    )
    assert found.drop == pytest.approx(confirm_drop(results, results.half, pair))
    assert found.drop == pytest.approx(found.accuracy_common - found.accuracy_counter)


def test_it_is_the_mean_over_splits_that_agree() -> None:
    results = make([0.75, 0.65, 0.7], 60, np.random.default_rng(3))
    pair, weights = chosen(results), DISPERSION.weights(results.num_photos)
    found = estimate_drop(
        results, weights, DISPERSION, pair, LIMITS, votes_of(results), np.random.default_rng(0), num_splits=4_000
    )
    rng, drops = np.random.default_rng(1), []
    for _ in range(4_000):
        half = shuffled(results, rng)
        split = Results(
            results.num_groups,
            results.group,
            half,
            results.observer,
            results.num_photos,
            results.sum_correct,
            results.sum_squares,
        )
        if eligible_groups(split, LIMITS)[list(pair)].all() and chosen(split) == pair:
            drops.append(confirm_drop(results, half, pair))
    assert len(drops) > 300
    assert found.drop == pytest.approx(np.mean(drops), abs=5 * np.std(drops) / np.sqrt(len(drops)))


def test_unbiased_and_surer_where_nothing_differs() -> None:
    rng = np.random.default_rng(5)
    drops, confirm, discover, inside = [], [], [], []
    for _ in range(400):
        results = make([0.7] * 4, 80, rng)
        pair, weights = chosen(results), DISPERSION.weights(results.num_photos)
        found = estimate_drop(results, weights, DISPERSION, pair, LIMITS, votes_of(results), rng, num_splits=200)
        drops.append(found.drop)
        confirm.append(confirm_drop(results, results.half, pair))
        discover.append(confirm_drop(results, 1 - results.half, pair))
        low, high = found.interval()
        inside.append(low <= 0 <= high)
    assert abs(np.mean(drops)) < 3 * np.std(drops) / np.sqrt(len(drops))
    assert np.std(drops) < 0.95 * np.std(confirm)
    assert np.mean(discover) > 0.08
    assert 0.91 <= np.mean(inside) <= 0.98


def slow_estimate(
    results: Results,
    weights: np.ndarray,
    dispersion: Dispersion,
    pair: tuple[int, int],
    limits: Limits,
    votes: np.ndarray,
    rng: np.random.Generator,
    num_splits: int,
) -> tuple[float, float, float, float, float]:
    """Both accuracies, the interval and the share of random splits that agree: one split after the other."""
    splits = random_splits(results, num_splits, rng)
    splits[0, results.observer] = results.half == CONFIRM
    found, num_chosen = [], 0
    for number, split in enumerate(splits):
        is_confirm, sums = split[results.observer], {}
        for half in (False, True):
            for group in range(results.num_groups):
                rows = (is_confirm == half) & (results.group == group)
                share = results.sum_correct[rows] / results.num_photos[rows]
                photos, observers = results.num_photos[rows].sum(), rows.sum()
                is_enough = photos >= limits.min_photos and observers >= limits.min_units
                mean = votes[1][rows].sum() / votes[0][rows].sum() if rows.any() else 0.0
                sums[half, group] = (weights[rows].sum(), (weights[rows] * share).sum(), is_enough, mean)
        asked = [group for group in range(results.num_groups) if sums[False, group][2] and sums[True, group][2]]
        accuracy = {group: sums[False, group][3] for group in asked}
        best = max(asked, key=lambda group: accuracy[group], default=None)
        worst = min(reversed(asked), key=lambda group: accuracy[group], default=None)
        num_chosen += number > 0 and (best, worst) == pair
        if number == 0 or (best, worst) == pair:
            found.append([(sums[True, group][0], sums[True, group][1] / sums[True, group][0]) for group in pair])
    sizes, accuracies = np.array(found).transpose(2, 0, 1)
    common, counter = accuracies.mean(axis=0)
    whole = np.array([weights[results.group == group].sum() for group in pair])
    correlation = dispersion.across_groups * overlap(results, weights, *pair)
    of_photo = np.array([common * (1 - common), counter * (1 - counter)])

    def variance(size: np.ndarray) -> float:
        first, second = of_photo * dispersion.scale / size
        return float(first + second - 2 * correlation * np.sqrt(first * second))

    of_all = variance(whole)
    of_agreeing = np.mean([variance(size) for size in sizes]) - (accuracies[:, 0] - accuracies[:, 1]).var()
    effective = whole / dispersion.scale * of_all / max(of_all, of_agreeing)
    low, high = drop_interval(common, effective[0], counter, effective[1], correlation)
    return common, counter, low, high, num_chosen / (num_splits - 1)


@pytest.mark.parametrize(
    ("accuracy", "photos", "limits", "is_rarely_chosen"),
    [
        ([0.9, 0.5, 0.7], 60, Limits(10, 3), False),
        ([0.75, 0.65, 0.7, 0.72], 40, Limits(10, 3), True),
        ([0.8, 0.6, 0.7], 40, Limits(16, 8), True),
        ([0.8, 0.6, 0.7], 40, Limits(19, 3), True),
    ],
)
def test_drop_and_interval_are_those_of_the_slow_estimate(
    accuracy: list[float], photos: int, limits: Limits, is_rarely_chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(7)
    results = make(accuracy, photos, rng, rho=0.3, crossing=0.5)
    dispersion = Dispersion(0.3, 0.8, across_groups=0.2)
    weights = dispersion.weights(results.num_photos)
    right = results.sum_correct
    # what chooses is not what is measured: it is noisier
    graded = results.sum_correct + rng.normal(0, 0.1, len(right)) * results.num_photos
    votes = np.stack([weights + 0.1, (weights + 0.1) * graded / results.num_photos])
    eligible = eligible_groups(results, limits)
    pair = tuple(map(int, choose(results.by_half(votes[0]), results.by_half(votes[1]), eligible)))
    asked = (results, weights, dispersion, (pair[0], pair[1]), limits, votes)
    *expected, share = slow_estimate(*asked, np.random.default_rng(0), 300)
    assert (share < 0.5) == is_rarely_chosen
    estimate = estimate_drop(*asked, np.random.default_rng(0), num_splits=300)
    assert (*estimate[:2], *estimate.interval()) == pytest.approx(tuple(expected))
    assert estimate.share_chosen == pytest.approx(share)
    assert estimate.drop == pytest.approx(expected[0] - expected[1])
    monkeypatch.setattr(resplit, "CHUNK_ELEMENTS", 1_000)
    assert estimate_drop(*asked, np.random.default_rng(0), num_splits=300) == pytest.approx(estimate)


def test_a_pair_that_is_always_right_is_as_sure_as_its_splits_weights() -> None:
    """Nothing scatters, over splits neither: only how many photos are on confirm makes a difference."""
    results = make([1.0, 1.0, 0.7], 60, np.random.default_rng(2))
    asked = (results, DISPERSION.weights(results.num_photos), DISPERSION, (0, 1), LIMITS, votes_of(results))
    found = estimate_drop(*asked, np.random.default_rng(0))
    low, high = found.interval()
    assert found.drop == 0.0 and low == pytest.approx(-high, rel=0.5) and -0.5 < low < 0 < high < 0.5
    whole = results.by_group(asked[1])
    assert (found.size_common, found.size_counter) < tuple(whole[:2]), "one split, the true one: confirm's photos alone"


def test_the_true_split_counts_whether_it_agrees_or_not() -> None:
    results = make([0.9, 0.4, 0.7], 80, np.random.default_rng(0))
    weights = DISPERSION.weights(results.num_photos)
    found = estimate_drop(
        results, weights, DISPERSION, (1, 0), LIMITS, votes_of(results), np.random.default_rng(0), num_splits=50
    )
    assert found.drop == pytest.approx(confirm_drop(results, results.half, (1, 0)))


def test_the_p_value_is_of_all_photos_and_of_every_split() -> None:
    """By hand from the splits: a clear pair has that of the plain interval, and more luck makes it larger."""
    clear, close = (make(accuracy, 150, np.random.default_rng(2)) for accuracy in ([0.95, 0.3], [0.8, 0.62, 0.75, 0.7]))
    for results, is_clear in ((clear, True), (close, False)):
        pair, votes = chosen(results), votes_of(results)
        weight, right = results.by_group(votes[0]), results.by_group(votes[1])
        (common, counter), sizes = (right / weight)[list(pair)], weight[list(pair)]
        low = drop_interval(common, sizes[0], counter, sizes[1]).low
        error = (common - counter - low) / norm.ppf(0.975)
        asked = (results, votes[0], DISPERSION, pair, LIMITS, votes)
        found = estimate_drop(*asked, np.random.default_rng(0))
        if is_clear:
            assert found.p_value == pytest.approx(norm.sf((common - counter) / error))
            continue
        splits = random_splits(results, 1_000, np.random.default_rng(0))
        splits[0, results.observer] = results.half == CONFIRM
        moves = []
        for on_confirm in splits:
            discover = replace(results, half=on_confirm[results.observer].astype(np.int64))
            means = discover.by_half(votes[1])[0] / discover.by_half(votes[0])[0]
            parts = 1 / sizes / (1 / sizes).sum()  # answers choose here, so a mean rank is an accuracy
            eligible = eligible_groups(discover, LIMITS)
            moves.append(moves_until_chosen(means[None], eligible[None], pair, (parts[0], parts[1]))[0])
        expected = carved_p_value(common - counter, error, np.array(moves))
        assert found.p_value == pytest.approx(expected)
        assert expected > 1.5 * norm.sf((common - counter) / error)


def test_a_pair_that_the_true_split_does_not_choose_is_given() -> None:
    """It was chosen by an earlier release, on other photos: no luck of these is in it."""
    results = make([0.9, 0.4, 0.7], 80, np.random.default_rng(0))
    votes = votes_of(results)
    assert chosen(results) != (0, 2)
    found = estimate_drop(results, votes[0], DISPERSION, (0, 2), LIMITS, votes, np.random.default_rng(0))
    weight, right = results.by_group(votes[0]), results.by_group(votes[1])
    (common, counter), sizes = (right / weight)[[0, 2]], weight[[0, 2]]
    reach = common - counter - drop_interval(common, sizes[0], counter, sizes[1]).low
    assert found.p_value == pytest.approx(norm.sf((common - counter) / reach * norm.ppf(0.975)))


def test_a_thousand_splits_unless_told_otherwise() -> None:
    results = make([0.95, 0.4, 0.7], 60, np.random.default_rng(3))  # nearly every split agrees, so each one counts
    pair, weights = chosen(results), DISPERSION.weights(results.num_photos)
    asked = (results, weights, DISPERSION, pair, LIMITS, votes_of(results))
    found = estimate_drop(*asked, np.random.default_rng(0))
    assert found == estimate_drop(*asked, np.random.default_rng(0), num_splits=1_000)


def test_the_share_of_halvings_that_confirm(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a slow loop: halved anew, chosen anew, tested anew."""
    results = make([0.78, 0.6, 0.7], 60, np.random.default_rng(24))
    pair, votes = chosen(results), votes_of(results)
    monkeypatch.setattr(resplit, "NUM_HALVING_PERMUTATIONS", 400)
    weights = DISPERSION.weights(results.num_photos)
    p_value = selection_test(results, weights, num_permutations=10_000, rng=np.random.default_rng(0)).p_value
    found = share_confirmed(results, votes, pair, LIMITS, p_value, 1.0, np.random.default_rng(0))
    rng, confirmed, same = np.random.default_rng(1), 0, 0
    for _ in range(300):
        half = shuffled(results, rng)
        halved = replace(results, half=half)
        if eligible_groups(halved, LIMITS)[list(pair)].all() and chosen(halved) == pair:
            same += 1
            kept = eligible_groups(halved, LIMITS)
            test = selection_test(halved.only(kept), votes[0][kept[halved.group]], num_permutations=400, rng=rng)
            confirmed += test.p_value <= p_value
    assert 0.1 < confirmed / 300 < same / 300 - 0.05, "the pair is chosen more often than confirmed"
    assert found == pytest.approx(confirmed / 300, abs=0.15)
    far = share_confirmed(results, votes, pair, LIMITS, p_value, 1.3, np.random.default_rng(0))
    assert far == pytest.approx(same / 300, abs=0.12), "far above every critical value no test is repeated"
    halvings = random_splits(results, 200, np.random.default_rng(0))
    halves = [replace(results, half=each[results.observer].astype(np.int64)) for each in halvings]
    one_by_one = [eligible_groups(each, LIMITS)[list(pair)].all() and chosen(each) == pair for each in halves]
    assert far == np.mean(one_by_one)
    monkeypatch.setattr(resplit, "CHUNK_ELEMENTS", 5_000)
    assert share_confirmed(results, votes, pair, LIMITS, p_value, 1.3, np.random.default_rng(0)) == far
