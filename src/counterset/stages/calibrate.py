"""Calibrate: the abstain threshold that gives a stated precision on labelled photos."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from counterset.classes import normal_name, tidy_name
from counterset.errors import ConfigError
from counterset.manifests import read_csv
from counterset.statistics.breaking import found_share
from counterset.statistics.calibration import Threshold, thresholds

LOW_COVERAGE = 0.9
UNSURE = ("", "x", "?")

logger = logging.getLogger(__name__)


class Calibration(NamedTuple):
    """The threshold for a stated precision.

    Attributes:
        chosen: the one of most coverage whose lower bound reaches the stated precision.
        tried: all of them, most coverage first.
        num_labelled: labelled photos that the build has.
        num_grouped: of these, those that grouping did not make abstain.
        least_covered: the labelled background of which the smallest share is kept.
        least_coverage: that share of its labelled photos.
    """

    chosen: Threshold
    tried: tuple[Threshold, ...]
    num_labelled: int
    num_grouped: int
    least_covered: str
    least_coverage: float


def read_labels(path: Path) -> dict[str, frozenset[str]]:
    """photo_id -> its right backgrounds, from a CSV with the columns photo_id and background.

    Several right names are separated by |. Photos without a name, or with X or ?, are left out.

    Raises:
        ConfigError: no such file, not CSV in UTF-8, or a column is missing.
    """
    rows = read_csv(path, "the labels", "give a CSV file")
    if not rows or not {"photo_id", "background"} <= rows[0].keys():
        raise ConfigError(f"the labels {path} need the columns photo_id and background, and at least one row")
    named = {
        row["photo_id"].strip(): frozenset(tidy_name(part) for part in row["background"].split("|")) for row in rows
    }
    unsure = {photo_id for photo_id, names in named.items() if any(_says(names, name) for name in UNSURE)}
    return {photo_id: names for photo_id, names in named.items() if photo_id and photo_id not in unsure}


def labels_of_log(words: pa.Table) -> tuple[dict[str, frozenset[str]], dict[str, float]]:
    """photo_id -> the backgrounds that half of its reviewers name at least; and -> its weight, one over the probability
    with which an audit's sample held it.

    Args:
        words: each reviewer's last word on a photo (decisions schema); those that were said blindly are read, of
            photos whose probability is known.
    """
    said: dict[str, dict[str, list[str]]] = {}
    weights: dict[str, float] = {}
    for row in words.to_pylist():
        if row["mode"] == "audit" and row["probability"] is not None:
            said.setdefault(row["photo_id"], {})[row["reviewer"]] = (row["said_name"] or "").split("|")
            weights[row["photo_id"]] = min(weights.get(row["photo_id"], math.inf), 1 / row["probability"])
    labels = {}
    for photo_id, by_reviewer in said.items():
        counts = Counter(tidy_name(name) for names in by_reviewer.values() for name in names)
        labels[photo_id] = frozenset(name for name, count in counts.items() if 2 * count >= len(by_reviewer))
    return labels, weights


def _says(names: frozenset[str], group: str) -> bool:
    """Whether a group is among the names, in the form in which names are compared."""
    return normal_name(group) in map(normal_name, names)


def calibrate(
    labels: Mapping[str, frozenset[str]],
    backgrounds: pa.Table,
    *,
    precision: float,
    confidence: float = 0.95,
    weights: Mapping[str, float] | None = None,
) -> Calibration:
    """The smallest `annotate.min_margin` at which the groups are right as often as stated.

    Photos that grouping made abstain are not counted as kept; the table must come from a
    build with `annotate.min_margin` = 0, for what that leaves out is not seen. Warns when less than
    LOW_COVERAGE is kept: what is left out by margin is not a random part of a group, and
    group accuracies over the rest are biased (docs/method.md).

    Args:
        labels: photo_id -> right backgrounds, as `read_labels` gives them; a random sample of
            the photos, or the precision is not that of the build.
        backgrounds: of the build (backgrounds schema).
        precision: the share of grouped photos that is to be right.
        confidence: with which the bound holds.
        weights: photo_id -> what it stands for; None = all alike, as in a plain random sample.

    Raises:
        ConfigError: too few photos are labelled, or no threshold reaches the precision.
    """
    photo_ids, groups = backgrounds["photo_id"].to_pylist(), backgrounds["group"].to_pylist()
    margins = backgrounds["margin"].to_pylist()
    rows = [row for row in zip(photo_ids, groups, margins, strict=True) if row[0] in labels]
    grouped = [row for row in rows if row[1] is not None]
    if not grouped:
        raise ConfigError("none of the labelled photos is in a group of this build; label photos that the build has")
    kept_margins = np.array([margin for _, _, margin in grouped], np.float64)
    is_right = np.array([_says(labels[photo_id], group) for photo_id, group, _ in grouped])
    worth = None if weights is None else np.array([weights[photo_id] for photo_id, _, _ in grouped], np.float64)
    tried = tuple(thresholds(kept_margins, is_right, confidence, worth))
    enough = [threshold for threshold in tried if threshold.precision_low >= precision]
    if not enough:
        best = max(tried, key=lambda threshold: threshold.precision_low)
        raise ConfigError(
            f"no margin gives a precision of {precision:.3g} with {confidence:.0%} confidence on {len(grouped)} "
            f"labelled photos (at best {best.precision:.3g}, at least {best.precision_low:.3g}); label more photos "
            "or state a lower precision"
        )
    chosen = enough[0]
    covered: dict[str, list[bool]] = {}
    for photo_id, group, margin in rows:
        for name in sorted(labels[photo_id]):
            covered.setdefault(name, []).append(group is not None and margin >= chosen.min_margin)
    shares = {name: float(np.mean(kept)) for name, kept in covered.items()}
    least = min(sorted(shares), key=shares.__getitem__)
    if chosen.coverage < LOW_COVERAGE:
        logger.warning(
            "min_margin = %.4g leaves out %.0f %% of the labelled photos; accuracies over the rest are biased",
            chosen.min_margin,
            100 * (1 - chosen.coverage),
        )
    return Calibration(chosen, tried, len(rows), len(grouped), least, shares[least])


def audit_pairs(
    labels: Mapping[str, frozenset[str]], photos: pa.Table, predictions: pa.Table, pairs: pa.Table, *, selector: str
) -> list[dict[str, Any]]:
    """One row per class with labelled photos, and one for all of them: the share of outcome-dependent
    mislabels found, beside the share that would explain the class's drop away.

    Args:
        labels: photo_id -> right backgrounds, of a random sample of the photos.
        photos: photo_id, class_id, group are read; photos without a group are left out.
        predictions: photo_id, model, is_correct are read.
        pairs: the chosen pairs.
        selector: the model that chose them.

    Returns:
        Rows of class_id ("" = all), num_labelled, found, found_low, found_high, breaking_share (None for all).
    """
    correct = {row["photo_id"]: row["is_correct"] for row in predictions.to_pylist() if row["model"] == selector}
    chosen = {row["class_id"]: row for row in pairs.to_pylist() if row["common"] is not None}
    audited: dict[str, list[tuple[bool, bool, bool, bool]]] = {}
    for row in photos.select(["photo_id", "class_id", "group"]).to_pylist():
        names, pair = labels.get(row["photo_id"]), chosen.get(row["class_id"])
        if names is None or pair is None or row["group"] is None or row["photo_id"] not in correct:
            continue
        group = row["group"]
        facts = (group == pair["counter"], group == pair["common"], _says(names, group), correct[row["photo_id"]])
        audited.setdefault(row["class_id"], []).append(facts)
    rows = []
    everything = [facts for _, of_class in sorted(audited.items()) for facts in of_class]
    for class_id, rated in [*sorted(audited.items()), *([("", everything)] if everything else [])]:
        # (N, 4) -> 4 x (N,)
        share = found_share(*np.array(rated, np.bool_).T)
        rows.append(
            {
                "class_id": class_id,
                "num_labelled": len(rated),
                "found": share.share if share else None,
                "found_low": share.low if share else None,
                "found_high": share.high if share else None,
                "breaking_share": chosen[class_id]["breaking_share"] if class_id else None,
            }
        )
    return rows
