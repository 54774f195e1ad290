"""The test of a chosen pair's drop: against plain integrals, and uniform in normal worlds whatever margins do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, norm

from counterset.statistics.carving import (
    GUARD,
    carved_p_value,
    guarded,
    joint_p_value,
    moves_until_chosen,
    rank_per_answer,
    weighted_residuals,
)
from counterset.statistics.observers import Results


def test_it_is_the_normal_law_weighed_by_the_chance_to_be_chosen() -> None:
    drop, error = 0.2, 0.08
    moves = np.array([-0.3, -0.05, 0.0, 0.02, 0.15, np.inf])
    grid = np.linspace(-1, 2, 600_001)
    share = (moves[:, None] <= grid - drop).mean(axis=0)
    density = norm.pdf(grid / error) * share
    expected = density[grid >= drop].sum() / density.sum()
    assert carved_p_value(drop, error, moves) == pytest.approx(expected, rel=1e-3)


def test_a_clear_choice_costs_nothing_and_a_close_one_does() -> None:
    plain = norm.sf(0.2 / 0.08)
    clear, close = (carved_p_value(0.2, 0.08, np.full(100, move)) for move in (-5.0, -0.01))
    assert clear == pytest.approx(plain)
    assert close > 0.5, "the pair would hardly have been chosen with a smaller drop"
    half = np.where(np.arange(100) < 50, -5.0, np.inf)
    assert carved_p_value(0.2, 0.08, half) == pytest.approx(plain), "a split that never chooses it says nothing"


def test_moves_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    means, eligible = rng.random((300, 5)), rng.random((300, 5)) < 0.8
    rises, falls = 0.7, 0.4
    moves = moves_until_chosen(means, eligible, (3, 1), (rises, falls))

    def is_chosen(number: int, move: float) -> bool:
        now = means[number] + move * np.array([0, -falls, 0, rises, 0])
        asked = np.flatnonzero(eligible[number])
        return {1, 3} <= set(asked) and (asked[now[asked].argmax()], asked[now[asked].argmin()]) == (3, 1)

    for number, move in enumerate(moves):
        if np.isinf(move):
            assert not {1, 3} <= set(np.flatnonzero(eligible[number]))
        else:
            assert is_chosen(number, move + 1e-9) and not is_chosen(number, move - 1e-9)
    assert (moves < 0).any() and (moves > 0).any() and np.isinf(moves).any()
    two = moves_until_chosen(means[:, :2], np.ones((300, 2), np.bool_), (0, 1), (rises, falls))
    assert two == pytest.approx((means[:, 1] - means[:, 0]) / (rises + falls)), "no other group is in the way"


def test_ranks_that_never_follow_answers_are_moved_by_no_drop() -> None:
    moves = moves_until_chosen(np.array([[0.6, 0.4], [0.4, 0.6]]), np.ones((2, 2), np.bool_), (0, 1), (0.0, 0.0))
    assert carved_p_value(0.1, 0.05, moves) == pytest.approx(norm.sf(2.0))


def test_slope_is_that_of_least_squares_over_observers() -> None:
    rng = np.random.default_rng(0)
    group, n = rng.integers(0, 3, 400), rng.integers(1, 5, 400).astype(float)
    answers = np.array([0.3, 0.5, 0.9])[group] + rng.normal(0, 0.2, 400)
    ranks = np.array([0.9, 0.1, 0.4])[group] + 0.6 * answers + rng.normal(0, 0.05, 400)
    weights = n / (1 + 0.2 * (n - 1))
    residuals = []
    for outcome in (answers, ranks):
        results = Results(3, group, np.zeros(400, np.int64), np.arange(400), n, outcome * n, outcome**2 * n)
        residuals.append(weighted_residuals(results, weights))
        for number in range(3):
            own = group == number
            expected = weights[own] * (outcome[own] - np.average(outcome[own], weights=weights[own]))
            assert residuals[-1][own] == pytest.approx(expected)
    assert rank_per_answer(*residuals) == pytest.approx(0.6, abs=0.03)
    assert rank_per_answer(residuals[0], -residuals[1]) == 0.0
    assert rank_per_answer(np.zeros(400), residuals[1]) == 0.0, "answers that are all alike"


@pytest.mark.parametrize("apart", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("share", [0.5, 0.75])
def test_p_values_are_uniform_whatever_margins_do(apart: float, share: float) -> None:
    """Normal groups whose answers do not differ, while the ranks of the first and the last are `apart` errors apart.

    Of all photos a random split's discover means are normal around the whole means: what is left out of them.
    """
    rng = np.random.default_rng(1)
    like, num_groups, worlds = 0.8, 4, 3_000
    truth = np.linspace(apart / 2, -apart / 2, num_groups)
    answers = rng.standard_normal((worlds, num_groups))
    ranks = truth + like * answers + np.sqrt(1 - like**2) * rng.standard_normal((worlds, num_groups))
    scatter = np.sqrt(1 / share - 1)
    p_values = []
    for answer, rank in zip(answers, ranks, strict=True):
        discover = rank + scatter * rng.standard_normal((300, num_groups))
        pair = int(discover[0].argmax()), int(discover[0].argmin())
        moves = moves_until_chosen(discover, np.ones(discover.shape, np.bool_), pair, (like / 2, like / 2))
        p_values.append(carved_p_value(float(answer[pair[0]] - answer[pair[1]]), np.sqrt(2), moves))
    assert kstest(p_values, "uniform").pvalue > 0.001
    assert np.mean(np.array(p_values) <= 0.01) == pytest.approx(0.01, abs=0.0055)
    chosen = np.take_along_axis(answers, ranks.argmax(axis=1)[:, None], 1) - np.take_along_axis(
        answers, ranks.argmin(axis=1)[:, None], 1
    )
    if apart == 0:
        assert np.mean(norm.sf(chosen / np.sqrt(2)) <= 0.01) > 0.03, "without the choice in it the test would be wrong"


def test_the_test_of_ranks_guards_at_three_times_the_level() -> None:
    assert joint_p_value(0.01, 0.02) == 0.01
    assert joint_p_value(0.01, 0.06) == pytest.approx(0.02)
    assert guarded(0.01) == GUARD * 0.01
    assert 0.99 < guarded(0.4) < 1
    for p_value in (0.001, 0.04):
        assert joint_p_value(0.0, guarded(p_value)) == pytest.approx(p_value)
