"""The first edition's way with a world, so that what changed is measured on the same worlds.

Right-or-wrong answers choose, test and measure; the observers' correlation is of sums of squares pooled over groups,
one for all backgrounds, and is taken to hold between groups too; half of the observers choose; the verdict asks for
the q-value of the permutation test and for an interval above zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from statsmodels.stats.multitest import multipletests

from counterset.config import SelectConfig
from counterset.statistics.choice import Limits, choose, eligible_groups
from counterset.statistics.class_units import ClassUnits
from counterset.statistics.observers import CONFIRM, Dispersion, Results
from counterset.statistics.permutation import selection_test
from counterset.statistics.resplit import estimate_drop

from .counted import NUM_SPLITS

DISCOVER_SHARE = 0.5


def sums_of_squares(classes: Iterable[Results]) -> Dispersion:
    """The analysis-of-variance estimate of the correlation (Donner 1986), its sums pooled over all groups."""
    between = within = binomial = size = df_between = df_within = 0.0
    for results in classes:
        n, s = results.num_photos, results.sum_correct
        used = results.by_group(np.ones_like(n)) > 1
        photos, observers, correct, means, squares, of_squares = (
            results.by_group(values)[used] for values in (n, np.ones_like(n), s, s * s / n, results.sum_squares, n * n)
        )
        between += float((means - correct**2 / photos).sum())
        within += float((squares - means).sum())
        binomial += float((correct - correct**2 / photos).sum())
        size += float((photos - of_squares / photos).sum())
        df_between += float((observers - 1).sum())
        df_within += float((photos - observers).sum())
    scale = (between + within) / binomial
    inside = within / df_within
    beyond = (between - df_between * inside) / size
    rho = float(np.clip(beyond / (beyond + inside), 0.0, 1.0))
    return Dispersion(rho, scale, rho)


def first_rows(classes: list[ClassUnits], config: SelectConfig, *, seed: int) -> list[dict[str, Any]]:
    """One row per tested class, with the columns of pairs that tallies read."""
    limits = Limits(config.min_photos, config.min_units)
    dispersion = sums_of_squares(found.results for found in classes)
    rows, p_values = [], []
    for found in classes:
        results = found.results
        eligible = eligible_groups(results, limits)
        if eligible.sum() < 2:
            continue
        digest = hashlib.sha256(found.class_id.encode()).digest()
        rng = np.random.default_rng([seed, int.from_bytes(digest[:8])])
        weights = dispersion.weights(results.num_photos)
        votes = np.stack([weights, weights * results.sum_correct / results.num_photos])
        chosen = choose(results.by_half(votes[0]), results.by_half(votes[1]), eligible)
        pair = int(chosen.common), int(chosen.counter)
        estimate = estimate_drop(results, weights, dispersion, pair, limits, votes, rng, NUM_SPLITS)
        test = selection_test(
            results.only(eligible),
            weights[eligible[results.group]],
            num_permutations=config.num_permutations,
            rng=rng,
        )
        p_values.append(test.p_value)
        low, high = estimate.interval()
        right, photos = (results.by_half(part)[CONFIRM] for part in (results.sum_correct, results.num_photos))
        accuracy = right[list(pair)] / photos[list(pair)]
        row = {"class_id": found.class_id, "common": found.groups[pair[0]], "counter": found.groups[pair[1]]}
        row |= {"drop": estimate.drop, "drop_low": low, "drop_high": high}
        row |= {"drop_confirm": float(accuracy[0] - accuracy[1])}
        rows.append(row | {"observer_correlation": dispersion.observer_correlation})
    for row, q_value in zip(rows, multipletests(p_values, method="fdr_bh")[1], strict=True):
        is_confirmed = q_value <= config.max_q_value and row["drop_low"] > 0
        row["verdict"] = "confirmed" if is_confirmed else "unconfirmed"
    return rows
