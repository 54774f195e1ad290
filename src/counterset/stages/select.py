"""Select: choose each class's pair of groups on the discover half, test it, and measure its drop without bias.

Chosen on discover alone, by the ranks of the selectors' margins; tested on all photos by repeating the choice
under permutation of units; measured in right-or-wrong answers on confirm, over every split that makes the same choice.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from statsmodels.stats.multitest import multipletests

from counterset.config import SelectConfig
from counterset.schemas import PAIRS, STABILITY, Verdict
from counterset.statistics.after_selection import confidence_among, shrink
from counterset.statistics.breaking import breaking_share
from counterset.statistics.carving import guarded, joint_p_value
from counterset.statistics.choice import Limits, choose, eligible_groups
from counterset.statistics.class_units import ClassUnits
from counterset.statistics.counts import count, sensitivity, with_spread
from counterset.statistics.likeness import has_places, measure_sharing, say_sharing
from counterset.statistics.observers import CONFIRM, DISCOVER, Bools, Dispersion, Floats, estimate_dispersion
from counterset.statistics.pair_columns import counted, needs, too_small
from counterset.statistics.permutation import SelectionTest, selection_test
from counterset.statistics.power import detectable_drop
from counterset.statistics.resplit import Estimate, estimate_drop, share_confirmed
from counterset.statistics.row_blocks import Rows
from counterset.tables import table_of

logger = logging.getLogger(__name__)

UNEVEN = 0.15
"""Where the smaller group's observers are more alike than the other's by more than this, chance alone makes drops that
the test does not expect; up to it weights by background make up for it (docs/method.md)."""
Z95 = 1.959964
"""Standard errors from an estimate to either end of its 95 % interval."""


class SelectResult(NamedTuple):
    """Tables of the group_accuracy, pairs and sensitivity schemas."""

    group_accuracy: pa.Table
    pairs: pa.Table
    sensitivity: pa.Table


def select_pairs(
    members: Rows,
    backgrounds: Rows,
    predictions: Rows,
    config: SelectConfig,
    *,
    selectors: tuple[str, ...],
    label_space: str,
    class_ids: tuple[str, ...],
    seed: int,
    templates: str = "paper",
    predictions_by_templates: Mapping[str, Rows] = MappingProxyType({}),
    stability: pa.Table | None = None,
    held: Mapping[str, tuple[str, str]] = MappingProxyType({}),
) -> SelectResult:
    """One row per class, group, model and half; one row per class: its pair and verdict; and one row per class,
    model and set of prompts: the pair's drop.

    Args:
        members: photo_id, class_id, observer, place, unit, half are read.
        backgrounds: photo_id, group, margin are read; photos without a group are left out.
        predictions: photo_id, model, label_space, is_correct, margin are read, for every model.
        config: limits and mode.
        selectors: the models whose mean rank chooses; every one must have predicted each photo that counts.
        label_space: the predictions' label space to use.
        class_ids: every class gets exactly one row of pairs, whatever was found.
        seed: of the permutations; each class has draws of its own.
        templates: name of the prompts that `predictions` were made with.
        predictions_by_templates: the selectors' predictions under other prompts, by their name; the
            choice does not see them.
        stability: of the groups (stability schema), to be said beside each pair.
        held: class_id -> (common, counter) of the pairs that an earlier look confirmed: tested again, not chosen.

    Raises:
        WorkspaceError: no photo was predicted by every selector in the label space.
    """
    group_accuracy, classes = count(
        members, backgrounds, predictions, selectors=selectors, label_space=label_space, class_ids=class_ids
    )
    rows = pair_rows(classes, config, seed=seed, held=held)
    del classes  # before photos are read again
    if config.mode == "split" and has_places(members):
        sharing = measure_sharing(members, backgrounds, predictions, selectors=selectors, label_space=label_space)
        say_sharing(rows, group_accuracy, sharing)
    pairs = table_of(PAIRS, rows)
    accuracies = {templates: group_accuracy}
    for name, rows in predictions_by_templates.items():
        accuracies[name], _ = count(
            members, backgrounds, rows, selectors=selectors, label_space=label_space, class_ids=class_ids
        )
    spread = sensitivity(pairs, accuracies)
    stability = table_of(STABILITY, []) if stability is None else stability
    return SelectResult(group_accuracy, with_spread(pairs, spread, stability), spread)


def pair_rows(
    classes: Sequence[ClassUnits],
    config: SelectConfig,
    *,
    seed: int,
    held: Mapping[str, tuple[str, str]] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Rows of pairs from counted outcomes, one per class, in the order given; one class is held at a time."""
    if config.mode == "paper":
        return [_paper_row(found, config) for found in classes]
    names = {found.class_id: found.groups for found in classes}
    dispersions = _Dispersions(
        estimate_dispersion((found.results for found in classes), names.values(), list(names)),
        estimate_dispersion((found.graded for found in classes), names.values(), list(names)),
    )
    logger.info(
        "two photos of one observer correlate by %.3f in one group and by %.3f in two",
        dispersions.answers.observer_correlation,
        dispersions.answers.across_groups,
    )
    return _split_rows(classes, config, dispersions, seed, held)


class _Dispersions(NamedTuple):
    """How outcomes scatter: right-or-wrong answers, which measure; and ranks of margins, which choose and test."""

    answers: Dispersion
    ranks: Dispersion

    def of_class(self, class_id: str) -> _Dispersions:
        """Those of one class."""
        return _Dispersions(self.answers.of_class(class_id), self.ranks.of_class(class_id))


@dataclass
class _Tested:
    """One class's pair with what is known of it before the other classes are looked at."""

    classes: Sequence[ClassUnits]
    place: int
    """The class's, among all."""
    dispersions: _Dispersions
    row: dict[str, Any]
    pair: tuple[int, int]
    estimate: Estimate
    test: SelectionTest
    rng: np.random.Generator

    @property
    def found(self) -> ClassUnits:
        """The class, which is not held meanwhile."""
        return self.classes[self.place]

    @property
    def p_value(self) -> float:
        """Of a drop in answers of 0 or less, if the test of ranks agrees."""
        return joint_p_value(self.estimate.p_value, self.test.p_value)


def _split_rows(
    classes: Sequence[ClassUnits],
    config: SelectConfig,
    dispersions: _Dispersions,
    seed: int,
    held: Mapping[str, tuple[str, str]],
) -> list[dict[str, Any]]:
    """Rows of pairs: chosen on discover, tested by all photos, measured on confirm."""
    limits = Limits(config.min_photos, config.min_units)
    each = f"{config.min_photos} photos and {config.min_units} units on each half"
    tested: list[_Tested] = []
    rows = []
    for place, found in enumerate(classes):
        eligible = eligible_groups(found.results, limits)
        pair = held.get(found.class_id)
        lost = [name for name in pair or () if name not in _names(found, eligible)]
        if lost:
            reason = f"retired: {' and '.join(lost)} no longer {'has' if len(lost) == 1 else 'have'} {each}"
            rows.append(too_small(found, reason))
            continue
        if eligible.sum() < 2:
            rows.append(too_small(found, needs(found, int(eligible.sum()), each)))
            continue
        indices = (found.groups.index(pair[0]), found.groups.index(pair[1])) if pair else None
        rng = _generator(seed, found.class_id)
        of_class = dispersions.of_class(found.class_id)
        tested.append(_test(classes, place, eligible, limits, of_class, config, rng, indices))
        rows.append(tested[-1].row)
    if tested:
        _judge(tested, config, limits)
    return rows


def _votes(found: ClassUnits, dispersions: _Dispersions) -> Floats:
    """(2, C) weights, and weights times ranks, that choose."""
    worth = found.weights(dispersions.ranks)
    return np.stack([worth, worth * found.graded.sum_correct / found.graded.num_photos])


def _test(
    classes: Sequence[ClassUnits],
    place: int,
    eligible: Bools,
    limits: Limits,
    dispersions: _Dispersions,
    config: SelectConfig,
    rng: np.random.Generator,
    held: tuple[int, int] | None,
) -> _Tested:
    """A class's pair, chosen unless it is held, its drop and its test."""
    found = classes[place]
    results, graded = found.results, found.graded
    votes = _votes(found, dispersions)
    chosen = choose(graded.by_half(votes[0]), graded.by_half(votes[1]), eligible)
    pair = held or (int(chosen.common), int(chosen.counter))
    weights = found.weights(dispersions.answers)
    estimate = estimate_drop(results, weights, dispersions.answers, pair, limits, votes, rng)
    test = selection_test(
        graded.only(eligible),
        votes[0][eligible[graded.group]],
        num_permutations=config.num_permutations,
        rng=rng,
        largest_p_value=guarded(config.max_q_value),
        pair=held and (int(eligible[: held[0]].sum()), int(eligible[: held[1]].sum())),
    )
    row = _measured(found, pair, estimate) | {
        "p_value": test.p_value,
        "p_value_drop": estimate.p_value,
        **_correlations(found, pair, weights, dispersions.answers),
    }
    return _Tested(classes, place, dispersions, row, pair, estimate, test, rng)


def _correlations(
    found: ClassUnits, pair: tuple[int, int], weights: Floats, dispersion: Dispersion
) -> dict[str, float | bool]:
    """The columns of pairs that say how alike a unit's photos are."""
    rho, worth = dispersion.correlations(found.groups), found.results.by_group(weights)
    small, large = sorted(pair, key=lambda group: float(worth[group]))
    return {
        "unit_correlation": dispersion.observer_correlation,
        "observer_correlation": dispersion.observer_correlation,
        "unit_correlation_common": float(rho[pair[0]]),
        "unit_correlation_counter": float(rho[pair[1]]),
        "unit_correlation_across": dispersion.across_groups,
        "is_uneven": bool(rho[small] - rho[large] > UNEVEN),
    }


def _measured(found: ClassUnits, pair: tuple[int, int], estimate: Estimate) -> dict[str, Any]:
    """The columns of pairs that measure a pair in right-or-wrong answers."""
    results, (common, counter) = found.results, pair

    def drop(half: int, correct: Floats, photos: Floats) -> float | None:
        """The drop on one half, or nothing where a group is empty."""
        if min(photos[half, common], photos[half, counter]) == 0:
            return None
        return float(correct[half, common] / photos[half, common] - correct[half, counter] / photos[half, counter])

    correct, photos = results.by_half(results.sum_correct), results.by_half(results.num_photos)
    sure_correct, sure = results.by_half(found.correct_sure), results.by_half(found.num_sure)
    low, high = estimate.interval()
    return counted(found, common, counter) | {
        "drop_discover": drop(DISCOVER, correct, photos),
        "drop_confirm": drop(CONFIRM, correct, photos),
        "drop": estimate.drop,
        "drop_low": low,
        "drop_high": high,
        "accuracy_common": estimate.accuracy_common,
        "accuracy_counter": estimate.accuracy_counter,
        "share_chosen": estimate.share_chosen,
        "drop_unsure": drop(CONFIRM, correct - sure_correct, photos - sure),
        "drop_sure": drop(CONFIRM, sure_correct, sure),
        "breaking_share": breaking_share(photos.sum(axis=0), correct.sum(axis=0), common, counter, low),
    }


def _judge(tested: list[_Tested], config: SelectConfig, limits: Limits) -> None:
    """Fill in what depends on all classes: q-values, verdicts, what each class could have confirmed, and what may be
    said of those that were."""
    q_values = multipletests([one.p_value for one in tested], method="fdr_bh")[1]
    num_found = int((q_values <= config.max_q_value).sum())
    needed = config.max_q_value * min(num_found + 1, len(tested)) / len(tested)
    for one, q_value in zip(tested, q_values, strict=True):
        row = one.row
        row["q_value"] = float(q_value)
        row["detectable_drop"] = _detectable_drop(one, needed)
        row["is_fragile"] = row["breaking_share"] < config.fragile_share
        if q_value > config.max_q_value:
            row["reason"] = f"q = {q_value:.3f} is above {config.max_q_value:.3g}"
        elif row["drop_low"] <= 0:
            row["reason"] = f"the drop's interval reaches down to {row['drop_low']:.3f}"
        elif row["is_uneven"]:
            both = sorted((row["unit_correlation_common"], row["unit_correlation_counter"]))
            row["reason"] = (
                f"one observer's photos are more alike in the smaller group ({both[1]:.2f} against {both[0]:.2f}), "
                "and chance makes such drops too easily"
            )
        row["verdict"] = (Verdict.UNCONFIRMED if "reason" in row else Verdict.CONFIRMED).value
    _say_after_selection(tested)
    for one in tested:
        if one.row["verdict"] == Verdict.CONFIRMED.value:
            reached = guarded(config.max_q_value * num_found / len(tested))
            critical = one.test.critical(reached)
            times = one.test.observed / critical if critical > 0 else 1.0
            found = one.found
            votes = _votes(found, one.dispersions)
            one.row["share_confirmed"] = share_confirmed(found.graded, votes, one.pair, limits, reached, times, one.rng)


def _say_after_selection(tested: list[_Tested]) -> None:
    """Fill in every pair's shrunken drop, and confirmed pairs' adjusted intervals."""
    drops, low, high = (np.array([one.row[name] for one in tested]) for name in ("drop", "drop_low", "drop_high"))
    shrunken = shrink(drops, (high - low) / (2 * Z95))
    for one, drop, lower, upper in zip(tested, *shrunken, strict=True):
        one.row |= {
            "drop_shrunken": float(drop),
            "drop_shrunken_low": float(lower),
            "drop_shrunken_high": float(upper),
        }
    confirmed = [one for one in tested if one.row["verdict"] == Verdict.CONFIRMED.value]
    for one in confirmed:
        interval = one.estimate.interval(confidence_among(len(confirmed), len(tested)))
        one.row["drop_adjusted_low"], one.row["drop_adjusted_high"] = interval


def _detectable_drop(one: _Tested, needed: float) -> float:
    """The smallest true drop that the class confirms with power 0.8, where its test has to reach `needed`."""
    found, dispersions = one.found, one.dispersions
    results, graded, pair = found.results, found.graded, list(one.pair)
    accuracy, rank = (float(part.sum_correct.sum() / part.num_photos.sum()) for part in (results, graded))
    weights = results.by_group(found.weights(dispersions.answers))[pair]
    votes = graded.by_group(found.weights(dispersions.ranks))[pair]
    deviation = float(np.sqrt(rank * (1 - rank) * dispersions.ranks.scale))
    return detectable_drop(
        one.test.critical(guarded(needed)) / deviation,
        accuracy,
        float(np.sqrt(accuracy * (1 - accuracy) * dispersions.answers.scale * (1 / weights).sum())),
        float(deviation * np.sqrt((1 / votes).sum())),
        one.test.num_groups,
        needed,
    )


def _paper_row(found: ClassUnits, config: SelectConfig) -> dict[str, Any]:
    """A row of pairs as published: highest and lowest accuracy over all photos, more than `min_drop` apart."""
    photos = found.results.by_group(found.results.num_photos)
    eligible = photos >= config.min_photos
    if eligible.sum() < 2:
        return too_small(found, needs(found, int(eligible.sum()), f"{config.min_photos} photos"))
    accuracy = found.results.by_group(found.results.sum_correct) / photos
    common, counter = map(int, choose(np.tile(photos, (2, 1)), np.tile(photos * accuracy, (2, 1)), eligible))
    drop = float(accuracy[common] - accuracy[counter])
    return counted(found, common, counter) | {
        "verdict": (Verdict.CONFIRMED if drop > config.min_drop else Verdict.UNCONFIRMED).value,
        "drop": drop,
        "accuracy_common": float(accuracy[common]),
        "accuracy_counter": float(accuracy[counter]),
        "reason": None if drop > config.min_drop else f"the drop is not above {config.min_drop:g}",
    }


def _names(found: ClassUnits, eligible: Bools) -> set[str]:
    """The groups that take part."""
    return {found.groups[index] for index in np.flatnonzero(eligible)}


def _generator(seed: int, class_id: str) -> np.random.Generator:
    """A class's own generator: its draws do not change when other classes come or go."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(class_id.encode()).digest()[:8])])
