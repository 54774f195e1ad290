"""The observers' correlations: against expectations written out photo by photo, and in worlds that have them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import beta

from counterset.statistics import observers
from counterset.statistics.halves import DISCOVER_SHARE
from counterset.statistics.observers import CONFIRM, DISCOVER, Dispersion, Results, estimate_dispersion

from ..proofs.counted import counted
from ..proofs.worlds import Crowd, Geometric, Zipf, draw_world, planted


def results_of(outcomes: dict[int, list[list[float]]]) -> Results:
    """Results from group -> one list of outcomes an observer."""
    rows = [(group, values) for group, observers in outcomes.items() for values in observers]
    return Results(
        len(outcomes),
        np.array([group for group, _ in rows]),
        np.zeros(len(rows), dtype=np.int64),
        np.arange(len(rows)),
        np.array([float(len(values)) for _, values in rows]),
        np.array([float(sum(values)) for _, values in rows]),
        np.array([float(sum(value**2 for value in values)) for _, values in rows]),
    )


def test_no_observer_twice_means_no_correlation() -> None:
    found = estimate_dispersion([results_of({0: [[1.0], [0.0], [1.0]], 1: [[0.5], [1.0]]})])
    assert found.observer_correlation == 0.0


def test_no_class_gives_a_dispersion() -> None:
    assert estimate_dispersion([]) == Dispersion(0.0, 1.0)


@pytest.mark.parametrize("rho", [0.0, 0.1, 0.3])
def test_correlation_is_found_again(rho: float) -> None:
    rng = np.random.default_rng(1)
    accuracies = planted(rng, 45, 6, base=(0.7, 0.7), drop=0.3, num_planted=20)
    world = draw_world(rng, accuracies, 150, Crowd(rho=rho, sizes=Geometric()))
    found = estimate_dispersion(units.results for units in counted(world, 1, 0.5))
    assert found.observer_correlation == pytest.approx(rho, abs=0.02)
    assert found.scale == pytest.approx(1.0)


def test_mean_of_two_selectors_scatters_less() -> None:
    rng = np.random.default_rng(2)
    outcomes = rng.random((400, 2)) < 0.7
    found = estimate_dispersion([results_of({0: [[float(pair.mean())] for pair in outcomes]})])
    assert found.scale == pytest.approx(0.5, abs=0.1)


def test_weights_run_from_photos_to_observers() -> None:
    photos = np.array([1.0, 4.0, 100.0])
    assert Dispersion(0.0, 1.0).weights(photos).tolist() == [1, 4, 100]
    assert Dispersion(1.0, 1.0).weights(photos).tolist() == [1, 1, 1]


Observers = dict[int, dict[int, list[float]]]
"""Group -> observer -> outcomes."""


def observers_of(groups: Observers) -> Results:
    """Results in which observers may have photos in several groups."""
    rows = [(group, observer, values) for group, of in groups.items() for observer, values in of.items()]
    return Results(
        len(groups),
        np.array([group for group, _, _ in rows]),
        np.zeros(len(rows), dtype=np.int64),
        np.array([observer for _, observer, _ in rows]),
        np.array([float(len(values)) for _, _, values in rows]),
        np.array([float(sum(values)) for _, _, values in rows]),
        np.array([float(sum(value**2 for value in values)) for _, _, values in rows]),
    )


class Photos:
    """One group's photos: residuals, and what takes a covariance to that of residuals."""

    def __init__(self, of: dict[int, list[float]], rho: float) -> None:
        self.observer = np.array([observer for observer, values in of.items() for _ in values])
        outcomes = np.array([value for values in of.values() for value in values])
        sizes = np.array([len(values) for values in of.values() for _ in values])
        number = len(outcomes)
        self.residual = outcomes - outcomes.mean()
        self.centred = np.eye(number) - 1 / number
        self.weight = 1 / (1 + (sizes - 1) * rho)
        self.same = (self.observer[:, None] == self.observer).astype(float)
        covariance = np.eye(number) + rho * (self.same - np.eye(number))
        expected = np.trace(self.centred @ covariance @ self.centred)
        self.variance = (self.residual**2).sum() / expected
        self.is_used = len(of) > 1


def slow_correlations(classes: list[Observers], rho: float) -> tuple[float, float]:
    """Within and across groups, from matrices of all photos, the weights and variances being those at `rho`."""
    top = bottom = top_across = bottom_across = 0.0
    for groups in classes:
        kept = [photos for of in groups.values() if (photos := Photos(of, rho)).is_used]
        for number, first in enumerate(kept):
            pairs = np.outer(first.weight, first.weight) * (first.same - np.eye(len(first.same)))
            top += (pairs * np.outer(first.residual, first.residual)).sum()
            top -= first.variance * (pairs * (first.centred @ first.centred)).sum()
            spread = first.centred @ (first.same - np.eye(len(first.same))) @ first.centred
            bottom += first.variance * (pairs * spread).sum()
            for second in kept[:number]:
                shared = (first.observer[:, None] == second.observer).astype(float)
                pairs = np.outer(first.weight, second.weight) * shared
                top_across += (pairs * np.outer(first.residual, second.residual)).sum()
                spread = first.centred @ shared @ second.centred
                bottom_across += np.sqrt(first.variance * second.variance) * (pairs * spread).sum()
    return top / bottom, top_across / bottom_across


def drawn(seed: int, *, num_groups: int = 3, across: float = 0.5) -> Observers:
    """Graded outcomes of 25 observers, in groups of other accuracies and scatter."""
    rng = np.random.default_rng(seed)
    groups: Observers = {group: {} for group in range(num_groups)}
    luck = rng.normal(0, np.sqrt(across), 25)
    for observer in range(25):
        for group in rng.choice(num_groups, rng.integers(1, 3), replace=False).tolist():
            own = luck[observer] + rng.normal(0, np.sqrt(1 - across))
            level = 1 / (1 + np.exp(-(0.8 * own + group - 1)))
            groups[group][observer] = (rng.binomial(2, level, rng.geometric(0.3)) / 2).tolist()
    return groups


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_correlations_are_those_of_all_pairs_of_photos(seed: int) -> None:
    """At the answer, the expectations written out photo by photo give the answer again."""
    classes = [drawn(seed), drawn(seed + 10, num_groups=2)]
    classes[1][2] = {0: [1.0, 0.0, 1.0]}  # a group of one observer takes no part
    found = estimate_dispersion([observers_of(groups) for groups in classes])
    within, across = slow_correlations(classes, found.observer_correlation)
    assert 0.02 < found.observer_correlation < 0.6
    assert found.observer_correlation == pytest.approx(within, abs=1e-5)
    assert (abs(across) < found.observer_correlation) == (seed == 2)
    assert found.across_groups == pytest.approx(np.clip(across, -within, within), abs=1e-4)
    total = sum((Photos(of, 0).residual ** 2).sum() for groups in classes for of in groups.values() if len(of) > 1)
    binomial = 0.0
    for of in (of for groups in classes for of in groups.values() if len(of) > 1):
        values = np.array([value for values in of.values() for value in values])
        binomial += len(values) * values.mean() * (1 - values.mean())
    assert found.scale == pytest.approx(total / binomial)


@pytest.mark.parametrize("num_selectors", [1, 2])
@pytest.mark.parametrize("rho", [0.1, 0.3])
@pytest.mark.parametrize(("easy", "hard"), [(5.0, 5.0), (1.15, 5.0), (5.0, 1.15)])
def test_accuracy_and_photos_per_observer_may_go_together(
    rho: float, easy: float, hard: float, num_selectors: int
) -> None:
    """Half of the classes easy, half hard; one kind has the prolific observers. Sums of squares, pooled, gave
    0.00 and 0.62 at a correlation of 0.1."""
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        classes = []
        for accuracy, mean in ((0.97, easy), (0.5, hard)) * 30:
            sizes = rng.geometric(1 / mean, (4, round(200 / mean))).ravel()
            group = np.repeat(np.arange(4), round(200 / mean))
            observer = np.repeat(np.arange(len(sizes)), sizes)
            level = rng.beta(accuracy * (1 / rho - 1), (1 - accuracy) * (1 / rho - 1), len(sizes))
            outcome = rng.binomial(num_selectors, level[observer]) / num_selectors
            n, right, squares = (
                np.bincount(observer, values) for values in (np.ones_like(outcome), outcome, outcome**2)
            )
            classes.append(Results(4, group, np.zeros_like(group), np.arange(len(sizes)), n, right, squares))
        found.append(estimate_dispersion(classes).observer_correlation)
    # of k selectors that share the observer alone: covariance rho v, variance v (rho + (1 - rho) / k)
    expected = rho / (rho + (1 - rho) / num_selectors)
    assert np.mean(found) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("across", "expected"), [(1.0, 0.3), (0.0, 0.0)])
def test_luck_of_the_trip_is_no_luck_of_the_observer(across: float, expected: float) -> None:
    rng = np.random.default_rng(3)
    classes = []
    for _ in range(30):
        groups: Observers = {group: {} for group in range(3)}
        for observer in range(60):
            luck = rng.random(3) if across == 0 else np.full(3, rng.random())
            for group in range(3):
                level = beta.ppf(luck[group], 0.7 * 7 / 3, 0.3 * 7 / 3)
                groups[group][observer] = rng.binomial(1, level, rng.geometric(0.4)).astype(float).tolist()
        classes.append(observers_of(groups))
    found = estimate_dispersion(classes)
    assert found.observer_correlation == pytest.approx(0.3, abs=0.02)
    assert found.across_groups == pytest.approx(expected, abs=0.02)


def test_backgrounds_have_correlations_of_their_own() -> None:
    """Two of four backgrounds correlate by 0.4."""
    rng = np.random.default_rng(4)
    names = ("grass", "rock", "sand", "snow")

    def class_of() -> Results:
        groups: Observers = {}
        for group, rho in enumerate((0.0, 0.0, 0.4, 0.4)):
            sizes = rng.geometric(0.3, 60)
            level = rng.beta(0.7 * (1 / rho - 1), 0.3 * (1 / rho - 1), 60) if rho else np.full(60, 0.7)
            groups[group] = {
                observer: rng.binomial(1, p, size).astype(float).tolist()
                for observer, (p, size) in enumerate(zip(level, sizes, strict=True))
            }
        return observers_of(groups)

    def found(number: int) -> Dispersion:
        return estimate_dispersion([class_of() for _ in range(number)], [names] * number)

    many = found(40)
    assert list(many.by_background) == sorted(names)
    assert many.correlations(names) == pytest.approx([0.0, 0.0, 0.4, 0.4], abs=0.06)
    assert many.correlations(("snow", "mud"))[1] == many.observer_correlation, (
        "an unknown background has the pooled one"
    )
    assert estimate_dispersion([class_of()]).by_background == {}


def test_one_small_background_of_another_kind_is_not_drawn_to_the_others() -> None:
    """Five large groups in which nobody differs, and a small one with a correlation of 0.6."""
    rng = np.random.default_rng(6)
    found = []
    for _ in range(5):
        classes = []
        for _ in range(30):
            sizes = [rng.geometric(0.25, number // 4) for number in (300,) * 5 + (80,)]
            group = np.repeat(np.arange(6), [len(each) for each in sizes])
            n = np.concatenate(sizes).astype(float)
            level = np.where(group == 5, rng.beta(0.7 * 2 / 3, 0.3 * 2 / 3, len(n)), 0.7)
            right = rng.binomial(n.astype(int), level).astype(float)
            classes.append(Results(6, group, np.zeros_like(group), np.arange(len(n)), n, right, right))
        found.append(estimate_dispersion(classes, [tuple("abcdef")] * 30))
    assert np.mean([one.observer_correlation for one in found]) < 0.1
    assert np.mean([one.by_background["f"] for one in found]) == pytest.approx(0.6, abs=0.05)


def slow_backgrounds(classes: list[Observers], rho: float) -> dict[int, float]:
    """Each group's number is its background: products, errors and their shrinkage, one observer after the other."""
    found = {}
    for background in sorted({group for groups in classes for group in groups}):
        top = bottom = scatter = 0.0
        for of in (groups[background] for groups in classes if len(groups.get(background, {})) > 1):
            photos = Photos(of, rho)
            other = photos.same - np.eye(len(photos.same))
            pairs = np.outer(photos.weight, photos.weight) * other
            top += (pairs * np.outer(photos.residual, photos.residual)).sum()
            top -= photos.variance * (pairs * photos.centred).sum()
            bottom += photos.variance * (pairs * (photos.centred @ other @ photos.centred)).sum()
            for observer in of:
                own = np.outer(photos.observer == observer, photos.observer == observer) * pairs
                beyond = np.outer(photos.residual, photos.residual) - rho * photos.variance
                scatter += (own * beyond).sum() ** 2
        found[background] = (top / bottom, scatter / bottom**2)
    values, variances = np.array(list(found.values())).T

    def excess(between: float) -> float:
        weights = 1 / (between + variances)
        mean = np.average(values, weights=weights)
        return float((weights * (values - mean) ** 2).sum() - (len(values) - 1))

    between = brentq(excess, 0, 10) if excess(0) > 0 else 0.0
    shrunken = rho + (values - rho) * between / (between + variances)
    return dict(zip(found, np.clip(shrunken, 0, 1), strict=True))


def test_a_backgrounds_correlation_is_drawn_to_the_pooled_one_by_its_error() -> None:
    classes = [drawn(seed) for seed in (20, 21, 22)]
    for groups in classes:  # of the last background many are always right, or always wrong
        alike = {observer: [float(observer % 4 == 0)] * len(groups[2][observer]) for observer in groups[2]}
        groups[2] |= {observer: values for observer, values in alike.items() if observer % 2 == 0}
    found = estimate_dispersion([observers_of(groups) for groups in classes], [("a", "b", "c")] * 3)
    expected = slow_backgrounds(classes, found.observer_correlation)
    assert list(found.by_background.values()) == pytest.approx(list(expected.values()), abs=1e-4)
    assert found.observer_correlation + 0.05 < found.by_background["c"] < 0.99
    single = estimate_dispersion([observers_of(classes[0])], [("a", "a", "a")])
    assert single.by_background == pytest.approx({"a": single.observer_correlation}), "one background is the pooled one"


def test_equal_backgrounds_are_given_nearly_the_pooled_correlation() -> None:
    rng = np.random.default_rng(5)
    distance = []
    for _ in range(10):
        classes = counted(draw_world(rng, np.full((15, 6), 0.7), 100, Crowd(sizes=Geometric())), 1, 0.5)
        found = estimate_dispersion([units.results for units in classes], [units.groups for units in classes])
        distance.append(np.abs(found.correlations(classes[0].groups) - found.observer_correlation).max())
    assert np.median(distance) < 0.02


def test_each_class_has_its_correlation_and_equal_ones_nearly_the_pooled_one() -> None:
    def found(rhos: list[float]) -> Dispersion:
        world = draw_world(np.random.default_rng(7), np.full((len(rhos), 6), 0.7), 200, Crowd(rho=0.0, sizes=Zipf(1.2)))
        alike = draw_world(np.random.default_rng(8), np.full((len(rhos), 6), 0.7), 200, Crowd(rho=0.5, sizes=Zipf(1.2)))
        classes = [counted(alike if rho else world, 1, DISCOVER_SHARE)[number] for number, rho in enumerate(rhos)]
        ids = [units.class_id for units in classes]
        return estimate_dispersion([units.results for units in classes], [units.groups for units in classes], ids)

    rhos = [0.0, 0.5] * 8
    unlike, equal = found(rhos), found([0.5] * 16)
    own = np.array([unlike.of_class(name).correlations(("group00",))[0] for name in unlike.by_class])
    assert own.reshape(-1, 2).mean(axis=0) == pytest.approx([0.0, 0.5], abs=0.07)
    assert own == pytest.approx(rhos, abs=0.2)
    assert [unlike.of_class(name).across_groups for name in unlike.by_class] == pytest.approx(own, abs=0.15), (
        "an observer's luck is one in all groups"
    )
    assert list(equal.by_class.values()) == pytest.approx([equal.observer_correlation] * 16, abs=0.08)
    assert unlike.of_class("unseen") == unlike


def test_a_class_moves_all_its_backgrounds_alike_and_none_out_of_range() -> None:
    pooled = Dispersion(0.2, 1.0, 0.1, {"snow": 0.1, "rock": 0.3, "sand": 0.9}, {"a": 0.05, "b": 0.4})
    assert pooled.of_class("a").correlations(("snow", "rock")) == pytest.approx([0.0, 0.15])
    assert pooled.of_class("b").correlations(("snow", "sand")) == pytest.approx([0.3, 1.0])
    assert pooled.of_class("b").across_groups == pytest.approx(0.2)
    assert pooled.of_class("b").observer_correlation == 0.2, "that of all classes"


def test_correlation_stays_in_its_range() -> None:
    alike = estimate_dispersion([results_of({0: [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]})])
    assert alike.observer_correlation == 1.0
    opposed = estimate_dispersion([results_of({0: [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]})])
    assert opposed.observer_correlation == 0.0 and opposed.across_groups == 0.0


def test_outcomes_that_never_differ() -> None:
    all_right = estimate_dispersion([results_of({0: [[1.0, 1.0], [1.0]]})])
    assert all_right == Dispersion(0.0, 1.0)
    in_turns = estimate_dispersion([results_of({0: [[0.5, 0.5], [0.5]]})])
    assert in_turns == Dispersion(0.0, 1e-3), "intervals stay finite"


def test_sums_by_half_and_group() -> None:
    results = Results(
        num_groups=3,
        group=np.array([0, 1, 1, 0, 1]),
        half=np.array([DISCOVER, DISCOVER, CONFIRM, CONFIRM, CONFIRM]),
        observer=np.arange(5),
        num_photos=np.ones(5),
        sum_correct=np.ones(5),
        sum_squares=np.ones(5),
    )
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    assert results.by_half(values).tolist() == [[1, 2, 0], [8, 20, 0]], "discover first, groups without photos too"
    assert results.by_group(values).tolist() == [9, 22, 0]


def test_an_observers_photos_are_worth_less_the_more_they_correlate() -> None:
    assert Dispersion(0.5, 1.0).weights(np.array([1.0, 3.0, 5.0])) == pytest.approx([1, 1.5, 5 / 3])


def test_classes_are_looked_at_some_at_a_time_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    worlds = (
        counted(draw_world(np.random.default_rng(2), np.full((5, 4), 0.7), 60, Crowd(rho=rho, sizes=Zipf(1.2))), 1, 0.5)
        for rho in (0.0, 0.5)
    )
    classes = [units for world in worlds for units in world]
    groups, ids = [units.groups for units in classes], [str(number) for number in range(10)]
    whole = estimate_dispersion([units.results for units in classes], groups, ids)
    assert whole.across_groups != 0 and len(set(whole.by_class.values())) > 5
    monkeypatch.setattr(observers, "PART_ROWS", 300)
    assert estimate_dispersion((units.results for units in classes), groups, ids) == whole
