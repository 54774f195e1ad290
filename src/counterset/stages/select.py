"""Select: choose each class's pair of groups on the discover half, test it, and measure its drop without bias.

Chosen on discover alone; tested on all photos by repeating the choice under permutation of
observers; measured on confirm, over every split that makes the same choice.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from statsmodels.stats.multitest import multipletests

from counterset.config import SelectConfig
from counterset.schemas import PAIRS, STABILITY, Verdict
from counterset.statistics.breaking import breaking_share
from counterset.statistics.choice import Limits, choose, eligible_groups
from counterset.statistics.counts import ClassUnits, Rows, count, sensitivity, with_spread
from counterset.statistics.observers import CONFIRM, DISCOVER, Bools, Dispersion, Floats, Results, estimate_dispersion
from counterset.statistics.permutation import SelectionTest, selection_test
from counterset.statistics.power import detectable_drop
from counterset.statistics.resplit import estimate_drop
from counterset.tables import table_of

logger = logging.getLogger(__name__)


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
) -> SelectResult:
    """One row per class, group, model and half; one row per class: its pair and verdict; and one row per class,
    model and set of prompts: the pair's drop.

    Args:
        members: photo_id, class_id, observer, half are read.
        backgrounds: photo_id, group, margin are read; photos without a group are left out.
        predictions: photo_id, model, label_space, is_correct are read, for every model.
        config: limits and mode.
        selectors: the models whose mean accuracy chooses; every one must have predicted each photo that counts.
        label_space: the predictions' label space to use.
        class_ids: every class gets exactly one row of pairs, whatever was found.
        seed: of the permutations; each class has draws of its own.
        templates: name of the prompts that `predictions` were made with.
        predictions_by_templates: the selectors' predictions under other prompts, by their name; the
            choice does not see them.
        stability: of the groups (stability schema), to be said beside each pair.

    Raises:
        WorkspaceError: no photo was predicted by every selector in the label space.
    """
    group_accuracy, classes = count(
        members, backgrounds, predictions, selectors=selectors, label_space=label_space, class_ids=class_ids
    )
    pairs = table_of(PAIRS, pair_rows(classes, config, seed=seed))
    accuracies = {templates: group_accuracy}
    for name, rows in predictions_by_templates.items():
        accuracies[name], _ = count(
            members, backgrounds, rows, selectors=selectors, label_space=label_space, class_ids=class_ids
        )
    spread = sensitivity(pairs, accuracies)
    stability = table_of(STABILITY, []) if stability is None else stability
    return SelectResult(group_accuracy, with_spread(pairs, spread, stability), spread)


def pair_rows(classes: list[ClassUnits], config: SelectConfig, *, seed: int) -> list[dict[str, Any]]:
    """Rows of pairs from counted outcomes, one a class, in the order given."""
    if config.mode == "paper":
        return [_paper_row(found, config) for found in classes]
    dispersion = estimate_dispersion((found.results for found in classes), (found.groups for found in classes))
    logger.info(
        "two photos of one observer correlate by %.3f in one group and by %.3f in two",
        dispersion.observer_correlation,
        dispersion.across_groups,
    )
    return _split_rows(classes, config, dispersion, seed)


def _split_rows(
    classes: list[ClassUnits], config: SelectConfig, dispersion: Dispersion, seed: int
) -> list[dict[str, Any]]:
    """Rows of pairs: chosen on discover, tested by all photos, measured on confirm."""
    limits = Limits(config.min_photos, config.min_observers)
    tested: list[tuple[ClassUnits, dict[str, Any], SelectionTest]] = []
    rows = []
    for found in classes:
        eligible = eligible_groups(found.results, limits)
        if eligible.sum() < 2:
            each = f"{config.min_photos} photos and {config.min_observers} observers on each half"
            rows.append(_too_small(found, int(eligible.sum()), each))
            continue
        rng = _generator(seed, found.class_id)
        row = _measured(found, eligible, limits, dispersion, rng)
        weights = found.weights(dispersion)[eligible[found.results.group]]
        test = selection_test(
            _only(found.results, eligible), weights, num_permutations=config.num_permutations, rng=rng
        )
        rows.append(row)
        tested.append((found, row, test))
    if tested:
        _judge(tested, config, dispersion)
    return rows


def _measured(
    found: ClassUnits, eligible: Bools, limits: Limits, dispersion: Dispersion, rng: np.random.Generator
) -> dict[str, Any]:
    """A class's pair and its drops, not judged yet."""
    results = found.results
    weights = found.weights(dispersion)
    weight = results.by_half(weights)
    right = results.by_half(weights * results.sum_correct / results.num_photos)
    common, counter = map(int, choose(weight, right, eligible))
    estimate = estimate_drop(results, weights, dispersion, (common, counter), limits, rng)

    def drop(half: int, correct: Floats, photos: Floats) -> float | None:
        """The drop on one half, or nothing where a group is empty."""
        if min(photos[half, common], photos[half, counter]) == 0:
            return None
        return float(correct[half, common] / photos[half, common] - correct[half, counter] / photos[half, counter])

    correct, photos = results.by_half(results.sum_correct), results.by_half(results.num_photos)
    sure_correct, sure = results.by_half(found.correct_sure), results.by_half(found.num_sure)
    return _counted(found, common, counter) | {
        "drop_discover": drop(DISCOVER, right, weight),
        "drop_confirm": drop(CONFIRM, correct, photos),
        "drop": estimate.drop,
        "drop_low": estimate.low,
        "drop_high": estimate.high,
        "accuracy_common": estimate.accuracy_common,
        "accuracy_counter": estimate.accuracy_counter,
        "drop_unsure": drop(CONFIRM, correct - sure_correct, photos - sure),
        "drop_sure": drop(CONFIRM, sure_correct, sure),
        "breaking_share": breaking_share(photos.sum(axis=0), correct.sum(axis=0), common, counter, estimate.low),
        "observer_correlation": dispersion.observer_correlation,
    }


def _judge(
    tested: list[tuple[ClassUnits, dict[str, Any], SelectionTest]], config: SelectConfig, dispersion: Dispersion
) -> None:
    """Fill in what depends on all classes: q-values, verdicts, and what each class could have confirmed."""
    q_values = multipletests([test.p_value for _, _, test in tested], method="fdr_bh")[1]
    rank = min(int((q_values <= config.max_q_value).sum()) + 1, len(tested))
    needed = config.max_q_value * rank / len(tested)
    for (found, row, test), q_value in zip(tested, q_values, strict=True):
        weight = found.results.by_group(found.weights(dispersion))
        row["p_value"], row["q_value"] = test.p_value, float(q_value)
        row["detectable_drop"] = detectable_drop(
            test.critical(needed),
            float(found.results.sum_correct.sum() / found.results.num_photos.sum()),
            float(weight[found.groups.index(row["common"])]),
            float(weight[found.groups.index(row["counter"])]),
            dispersion.scale,
            test.num_groups,
            needed,
        )
        row["is_fragile"] = row["breaking_share"] < config.fragile_share
        if q_value > config.max_q_value:
            row["reason"] = f"q = {q_value:.3f} is above {config.max_q_value:g}"
        elif row["drop_low"] <= 0:
            row["reason"] = f"the drop's interval reaches down to {row['drop_low']:.3f}"
        row["verdict"] = (Verdict.UNCONFIRMED if "reason" in row else Verdict.CONFIRMED).value


def _paper_row(found: ClassUnits, config: SelectConfig) -> dict[str, Any]:
    """A row of pairs as published: highest and lowest accuracy over all photos, more than `min_drop` apart."""
    photos = found.results.by_group(found.results.num_photos)
    eligible = photos >= config.min_photos
    if eligible.sum() < 2:
        return _too_small(found, int(eligible.sum()), f"{config.min_photos} photos")
    accuracy = found.results.by_group(found.results.sum_correct) / photos
    common, counter = map(int, choose(np.tile(photos, (2, 1)), np.tile(photos * accuracy, (2, 1)), eligible))
    drop = float(accuracy[common] - accuracy[counter])
    return _counted(found, common, counter) | {
        "verdict": (Verdict.CONFIRMED if drop > config.min_drop else Verdict.UNCONFIRMED).value,
        "drop": drop,
        "accuracy_common": float(accuracy[common]),
        "accuracy_counter": float(accuracy[counter]),
        "reason": None if drop > config.min_drop else f"the drop is not above {config.min_drop:g}",
    }


def _counted(found: ClassUnits, common: int, counter: int) -> dict[str, Any]:
    """The columns of pairs that name and count."""
    photos = found.results.by_group(found.results.num_photos)
    observers = found.results.by_group(np.ones_like(found.results.num_photos))
    return {
        "class_id": found.class_id,
        "common": found.groups[common],
        "counter": found.groups[counter],
        "num_common": int(photos[common]),
        "num_counter": int(photos[counter]),
        "num_observers_common": int(observers[common]),
        "num_observers_counter": int(observers[counter]),
        "frequency_common": float(photos[common] / photos.sum()),
        "frequency_counter": float(photos[counter] / photos.sum()),
        "is_common_rarer": bool(photos[common] < photos[counter]),
        "is_fragile": False,
    }


def _too_small(found: ClassUnits, num_eligible: int, needs: str) -> dict[str, Any]:
    counts = ("num_common", "num_counter", "num_observers_common", "num_observers_counter")
    return {
        "class_id": found.class_id,
        "verdict": Verdict.TOO_SMALL.value,
        **dict.fromkeys(counts, 0),
        "is_common_rarer": False,
        "is_fragile": False,
        "reason": f"{num_eligible} of {len(found.groups)} groups have {needs}; two are needed",
    }


def _only(results: Results, eligible: Bools) -> Results:
    """The results of the eligible groups, groups numbered anew."""
    kept = eligible[results.group]
    number = np.cumsum(eligible) - 1
    return Results(
        int(eligible.sum()),
        number[results.group[kept]],
        results.half[kept],
        results.observer[kept],
        results.num_photos[kept],
        results.sum_correct[kept],
        results.sum_squares[kept],
    )


def _generator(seed: int, class_id: str) -> np.random.Generator:
    """A class's own generator: its draws do not change when other classes come or go."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(class_id.encode()).digest()[:8])])
