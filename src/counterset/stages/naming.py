"""Naming: how often each group's name is right, and what that makes of each pair, from labels made without the name.

Labels that were made with the name in view never count, nor do those of photos whose probability of being labelled is
not known: neither is a random sample of what the names are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from counterset.classes import normal_name
from counterset.config_sections import NamingConfig
from counterset.naming.schemas import GROUP_NAMES, Naming
from counterset.schemas import PAIRS
from counterset.statistics.label_errors import COMMON, COUNTER, ELSEWHERE, Groups, Labels, corrected_drop
from counterset.statistics.naming import NameShare, name_share, rightness_correlation
from counterset.statistics.observers import Ints
from counterset.tables import table_of

MODE = "audit"
BETWEEN = "|"
"""Stands between names that are right alike."""
MAX_ELSEWHERE = 0.05
"""Share of phrases of other places that may suit a photo better than its name, for some of them may suit it too."""
EVEN = 0.5
"""Share of the selectors that are right, from which a photo counts as one that they get right."""
MOST = 0.5
"""Share of a group's photos that other places suit better, above which its name is doubted (docs/method.md)."""


class NamingResult(NamedTuple):
    """The pairs with what is known of their names (pairs schema), and every group's name (group_names schema)."""

    pairs: pa.Table
    group_names: pa.Table


class _Photo(NamedTuple):
    """One labelled photo: its class, group (None = without), unit, weight, and each reviewer's names."""

    class_id: str
    group: str | None
    unit: str
    weight: float
    said: tuple[frozenset[str], ...]

    def share_naming(self, group: str | None) -> float:
        """The share of the reviewers who give this name."""
        if group is None:
            return 0.0
        return float(np.mean([normal_name(group) in names for names in self.said]))

    def truth(self, common: str, counter: str) -> list[float]:
        """Shares of the reviewers who say common, counter, and neither. Who says both means the group that the photo
        is in, or half of each."""
        shares = np.zeros(3)
        for names in self.said:
            sides = [side for side, name in ((COMMON, common), (COUNTER, counter)) if normal_name(name) in names]
            own = [side for side in sides if self.group == (common, counter)[side]]
            for side in (own or sides) or [ELSEWHERE]:
                shares[side] += 1 / len(own or sides or [ELSEWHERE])
        return list(shares / len(self.said))


def name_pairs(
    decisions: pa.Table,
    members: pa.Table,
    backgrounds: pa.Table,
    predictions: pa.Table,
    pairs: pa.Table,
    config: NamingConfig,
    *,
    selectors: tuple[str, ...],
    label_space: str,
    seed: int,
) -> NamingResult:
    """Every group's name with its precision and recall, and every pair with what that says of it.

    Args:
        decisions: each reviewer's last word on a photo (decisions schema); only blind ones with a known probability
            are used.
        members: photo_id, class_id, unit are read.
        backgrounds: photo_id, class_id, group, background, elsewhere are read.
        predictions: photo_id, model, label_space, is_correct are read.
        pairs: the chosen pairs.
        config: limits.
        selectors: the models that chose.
        label_space: the predictions' label space to use.
        seed: of the draws behind corrected drops; each class has draws of its own.
    """
    unit_of = dict(zip(members["photo_id"].to_pylist(), members["unit"].to_pylist(), strict=True))
    class_of = dict(zip(members["photo_id"].to_pylist(), members["class_id"].to_pylist(), strict=True))
    group_of = dict(zip(backgrounds["photo_id"].to_pylist(), backgrounds["group"].to_pylist(), strict=True))
    sizes: dict[str, dict[str | None, int]] = {}
    for photo_id, class_id in class_of.items():
        counted = sizes.setdefault(class_id, {})
        counted[group_of.get(photo_id)] = counted.get(group_of.get(photo_id), 0) + 1
    labelled = _labelled(decisions, class_of, group_of, unit_of, sizes)
    correlation = _correlation(labelled.values())
    outcomes = _outcomes(predictions, selectors, label_space)
    by_class: dict[str, dict[str, _Photo]] = {}
    for photo_id, photo in labelled.items():
        by_class.setdefault(photo.class_id, {})[photo_id] = photo
    seen = [(photo, outcomes[photo_id]) for photo_id, photo in labelled.items() if photo_id in outcomes]
    # Photos that the selectors get wrong may be named wrongly together, all of one unit, where others are not.
    by_outcome = (
        _correlation(photo for photo, share in seen if share < EVEN),
        _correlation(photo for photo, share in seen if share >= EVEN),
    )
    by_group = _by_group(class_of, group_of, unit_of, outcomes)
    elsewhere = _shares_elsewhere(backgrounds, class_of)
    named: dict[tuple[str, str], tuple[NameShare | None, NameShare | None]] = {}
    rows = []
    for class_id in sorted(sizes):
        photos = list(by_class.get(class_id, {}).values())
        for group in sorted(name for name in sizes[class_id] if name is not None):
            named[class_id, group] = _precision(photos, group, correlation), _recall(photos, group, correlation)
            row = _name_row(class_id, group, sizes[class_id][group], named[class_id, group])
            rows.append(row | {"share_elsewhere": elsewhere.get((class_id, group))})
    judged = []
    for row in pairs.to_pylist():
        class_id, common, counter = row["class_id"], row["common"], row["counter"]
        if common is not None:
            precisions = [named.get((class_id, group), (None, None))[0] for group in (common, counter)]
            row |= _judged(precisions, [elsewhere.get((class_id, group)) for group in (common, counter)], config)
            own = by_class.get(class_id, {})
            row |= _corrected(row, own, outcomes, by_group.get(class_id, {}), by_outcome, seed)
        judged.append(row)
    return NamingResult(table_of(PAIRS, judged), table_of(GROUP_NAMES, rows))


def _labelled(
    decisions: pa.Table,
    class_of: Mapping[str, str],
    group_of: Mapping[str, str | None],
    unit_of: Mapping[str, str],
    sizes: Mapping[str, Mapping[str | None, int]],
) -> dict[str, _Photo]:
    """photo_id -> the photo, weighted to stand for its class and group; in the order of ids."""
    said: dict[str, dict[str, frozenset[str]]] = {}
    probability: dict[str, float] = {}
    for row in decisions.to_pylist():
        photo_id = row["photo_id"]
        if row["mode"] == MODE and row["probability"] is not None and photo_id in class_of:
            names = (row["said_name"] or "").split(BETWEEN)
            # The log is in the order of time, so of one reviewer's samples the last word counts.
            said.setdefault(photo_id, {})[row["reviewer"]] = frozenset(map(normal_name, names)) - {""}
            # A larger sample of one seed holds the smaller, so a photo of both was as likely as in the larger.
            probability[photo_id] = max(probability.get(photo_id, 0.0), row["probability"])
    totals: dict[tuple[str, str | None], float] = {}
    for photo_id in said:
        stratum = class_of[photo_id], group_of.get(photo_id)
        totals[stratum] = totals.get(stratum, 0.0) + 1 / probability[photo_id]
    photos = {}
    for photo_id in sorted(said):
        class_id, group = class_of[photo_id], group_of.get(photo_id)
        weight = sizes[class_id][group] / probability[photo_id] / totals[class_id, group]
        words = tuple(said[photo_id][reviewer] for reviewer in sorted(said[photo_id]))
        photos[photo_id] = _Photo(class_id, group, unit_of[photo_id], weight, words)
    return photos


def _correlation(photos: Iterable[_Photo]) -> float:
    """Of two photos of one unit in one group in being named rightly, over all groups of all classes."""
    grouped = [photo for photo in photos if photo.group is not None]
    is_right = np.array([photo.share_naming(photo.group) for photo in grouped], np.float64)
    group = _numbers([(photo.class_id, photo.group) for photo in grouped])
    return rightness_correlation(is_right, group, _numbers([(photo.unit,) for photo in grouped]))


def _numbers(keys: list[tuple[Any, ...]]) -> Ints:
    known: dict[tuple[Any, ...], int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys], np.int64)


def _precision(photos: list[_Photo], group: str, correlation: float) -> NameShare | None:
    """Of the photos of the group, the share that truly are of it."""
    own = [photo for photo in photos if photo.group == group]
    return _share(own, [photo.share_naming(group) for photo in own], [photo.weight for photo in own], correlation)


def _recall(photos: list[_Photo], group: str, correlation: float) -> NameShare | None:
    """Of the photos that truly are of the group, the share that is in it; photos without a group are in none."""
    weights = [photo.weight * photo.share_naming(group) for photo in photos]
    return _share(photos, [float(photo.group == group) for photo in photos], weights, correlation)


def _share(photos: list[_Photo], is_right: list[float], weights: list[float], correlation: float) -> NameShare | None:
    unit = _numbers([(photo.unit,) for photo in photos])
    return name_share(np.array(is_right, np.float64), np.array(weights, np.float64), unit, correlation)


def _name_row(
    class_id: str, group: str, num_photos: int, shares: tuple[NameShare | None, NameShare | None]
) -> dict[str, Any]:
    row: dict[str, Any] = {"class_id": class_id, "group": group, "num_photos": num_photos}
    for name, share in zip(("precision", "recall"), shares, strict=True):
        row |= {
            name: share.share if share else None,
            f"{name}_low": share.low if share else None,
            f"{name}_high": share.high if share else None,
            f"num_labels_{name}": share.num_labels if share else 0,
        }
    return row


def _shares_elsewhere(backgrounds: pa.Table, class_of: Mapping[str, str]) -> dict[tuple[str, str], float]:
    """(class_id, group) -> share of its photos that other places suit better than its name, where that is known.

    A photo whose group a reviewer corrected is not counted among them: its share is of the name that it had.
    """
    counts: dict[tuple[str, str], list[int]] = {}
    columns = ("photo_id", "group", "background", "elsewhere")
    for photo_id, group, background, share in zip(*(backgrounds[name].to_pylist() for name in columns), strict=True):
        if group is not None and share is not None and photo_id in class_of:
            counted = counts.setdefault((class_of[photo_id], group), [0, 0])
            counted[0] += background == group and share > MAX_ELSEWHERE
            counted[1] += 1
    return {key: count / total for key, (count, total) in counts.items()}


def is_doubted(share_elsewhere: float | None) -> bool:
    """Whether a group's name is doubted: other places suit most of its photos better."""
    return share_elsewhere is not None and share_elsewhere > MOST


def _judged(
    precisions: list[NameShare | None], shares_elsewhere: list[float | None], config: NamingConfig
) -> dict[str, Any]:
    """The columns of pairs that say how far both names can be trusted."""
    is_right = [share is not None and share.low > config.min_precision for share in precisions]
    is_wrong = [share is not None and share.high < config.min_precision for share in precisions]
    row: dict[str, Any] = {}
    for side, share in zip(("common", "counter"), precisions, strict=True):
        row |= {
            f"name_precision_{side}": share.share if share else None,
            f"name_precision_{side}_low": share.low if share else None,
            f"name_precision_{side}_high": share.high if share else None,
            f"num_labels_{side}": share.num_labels if share else 0,
        }
    naming = Naming.UNAUDITED
    if all(is_right):
        naming = Naming.AUDITED
    elif any(is_wrong) or any(
        is_doubted(elsewhere) and not right for elsewhere, right in zip(shares_elsewhere, is_right, strict=True)
    ):
        naming = Naming.FAILED
    return row | {"naming": naming.value}


def _corrected(
    pair: Mapping[str, Any],
    photos: Mapping[str, _Photo],
    outcomes: Mapping[str, float],
    by_group: Mapping[str | None, list[tuple[str, float]]],
    correlations: Sequence[float],
    seed: int,
) -> dict[str, Any]:
    """The columns of pairs that hold the corrected drop; nothing where it cannot be known."""
    known = {photo_id: photo for photo_id, photo in photos.items() if photo_id in outcomes}
    common, counter = pair["common"], pair["counter"]
    if pair["drop_low"] is None or not known or not {common, counter} <= by_group.keys():
        return {}
    order: list[str | None] = [common, counter]
    order += sorted((name for name in by_group if name not in order), key=lambda name: (name is None, name or ""))
    accuracy = np.array([np.mean([outcome for _, outcome in by_group[name]]) for name in order], np.float64)
    for side, name in enumerate(("common", "counter")):
        by_unit = _weighted(by_group[pair[name]], pair[f"unit_correlation_{name}"] or 0.0)
        # What the choice of the pair added is known of the accuracy over units, and taken from that over photos: a
        # photo named wrongly is often its unit's only one in the group, where it would count for more than its share.
        accuracy[side] = np.clip(accuracy[side] + pair[f"accuracy_{name}"] - by_unit, 0.0, 1.0)
    sizes = np.array([len(by_group[name]) for name in order], np.float64)
    chosen = list(known.values())
    labels = Labels(
        np.array([order.index(photo.group) for photo in chosen], np.int64),
        np.array([photo.truth(common, counter) for photo in chosen], np.float64).reshape(-1, 3),
        np.array([outcomes[photo_id] for photo_id in known], np.float64),
        np.array([photo.weight for photo in chosen], np.float64),
        _numbers([(photo.unit,) for photo in chosen]),
    )
    number = int.from_bytes(hashlib.sha256(pair["class_id"].encode()).digest()[:8])
    rng = np.random.default_rng([seed, 7, number])
    groups = Groups(sizes, accuracy, pair["drop_low"], pair["drop_high"])
    corrected = corrected_drop(groups, labels, correlations, rng)
    if corrected is None:
        return {}
    return {
        "drop_corrected": corrected.drop,
        "drop_corrected_low": corrected.low,
        "drop_corrected_high": corrected.high,
    }


def _weighted(outcomes: list[tuple[str, float]], correlation: float) -> float:
    """The mean outcome of a group's photos as the drop has it, each unit's by what its photos are worth."""
    unit = _numbers([(name,) for name, _ in outcomes])
    num_photos = np.bincount(unit)
    means = np.bincount(unit, [outcome for _, outcome in outcomes]) / num_photos
    return float(np.average(means, weights=num_photos / (1 + (num_photos - 1) * correlation)))


def _outcomes(predictions: pa.Table, selectors: tuple[str, ...], label_space: str) -> dict[str, float]:
    """photo_id -> share of the selectors that are right, of photos that all of them saw."""
    columns = (predictions[name].to_pylist() for name in ("photo_id", "model", "label_space", "is_correct"))
    right: dict[str, list[bool]] = {}
    for photo_id, model, space, is_correct in zip(*columns, strict=True):
        if model in selectors and space == label_space:
            right.setdefault(photo_id, []).append(is_correct)
    return {photo_id: float(np.mean(answers)) for photo_id, answers in right.items() if len(answers) == len(selectors)}


def _by_group(
    class_of: Mapping[str, str],
    group_of: Mapping[str, str | None],
    unit_of: Mapping[str, str],
    outcomes: Mapping[str, float],
) -> dict[str, dict[str | None, list[tuple[str, float]]]]:
    """class_id -> group -> unit and outcome of each of its photos."""
    found: dict[str, dict[str | None, list[tuple[str, float]]]] = {}
    for photo_id, outcome in outcomes.items():
        if photo_id in class_of:
            groups = found.setdefault(class_of[photo_id], {})
            groups.setdefault(group_of.get(photo_id), []).append((unit_of[photo_id], outcome))
    return found
