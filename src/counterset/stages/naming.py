"""Naming: how often each group's name is right, and what that makes of each pair, from labels made without the name.

Labels that were made with the name in view never count, nor do those of photos whose probability of being labelled is
not known: neither is a random sample of what the names are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from counterset.classes import normal_name
from counterset.config_sections import NamingConfig
from counterset.naming.schemas import GROUP_NAMES, Naming
from counterset.parquet_sql import fill, runs, sorted_rows, spilling
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
    members: Iterable[pa.Table],
    backgrounds: Iterable[pa.Table],
    predictions: Iterable[pa.Table],
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
        members: in parts, at least one; photo_id, class_id, unit are read.
        backgrounds: the same; photo_id, group, background, elsewhere are read.
        predictions: the same; photo_id, model, label_space, is_correct are read, where there are labels.
        pairs: the chosen pairs.
        config: limits.
        selectors: the models that chose.
        label_space: the predictions' label space to use.
        seed: of the draws behind corrected drops; each class has draws of its own.
    """
    with spilling() as connection:
        _fill_photos(connection, members, backgrounds)
        sizes = _sizes(connection)
        elsewhere = _shares_elsewhere(connection)
        labelled = _labelled(decisions, _labelled_photos(connection, decisions), sizes)
        by_class: dict[str, dict[str, _Photo]] = {}
        for photo_id, photo in labelled.items():
            by_class.setdefault(photo.class_id, {})[photo_id] = photo
        corrected: dict[str, dict[str, Any]] = {}
        if labelled:
            _fill_outcomes(connection, predictions, selectors, label_space)
            corrected = _corrected_pairs(connection, pairs, labelled, by_class, seed)
    correlation = _correlation(labelled.values())
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
            row |= corrected.get(class_id, {})
        judged.append(row)
    return NamingResult(table_of(PAIRS, judged), table_of(GROUP_NAMES, rows))


def _fill_photos(
    connection: duckdb.DuckDBPyConnection, members: Iterable[pa.Table], backgrounds: Iterable[pa.Table]
) -> None:
    """Fill the table `photos` with each member's class, unit, group, and whether other places suit it better than the
    name of its group (null = not known). A photo whose group a reviewer corrected is not among these: its share is of
    the name that it had.
    """
    fill(connection, "members", (part.select(["photo_id", "class_id", "unit"]) for part in members))
    columns = ["photo_id", "group", "background", "elsewhere"]
    fill(connection, "backgrounds", (part.select(columns) for part in backgrounds))
    connection.execute(f"""CREATE TABLE photos AS
        SELECT photo_id, class_id, unit, "group",
               CASE WHEN elsewhere IS NOT NULL
                   THEN background = "group" AND elsewhere::DOUBLE > {MAX_ELSEWHERE}::DOUBLE END AS is_elsewhere
        FROM members LEFT JOIN backgrounds USING (photo_id)""")
    connection.execute("DROP TABLE members; DROP TABLE backgrounds")


def _sizes(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str | None, int]]:
    """class_id -> group -> number of its photos."""
    sizes: dict[str, dict[str | None, int]] = {}
    counted = connection.sql('SELECT class_id, "group", count(*) FROM photos GROUP BY ALL ORDER BY ALL').fetchall()
    for class_id, group, num_photos in counted:
        sizes.setdefault(class_id, {})[group] = num_photos
    return sizes


def _labelled_photos(connection: duckdb.DuckDBPyConnection, decisions: pa.Table) -> dict[str, tuple[str, Any, str]]:
    """photo_id -> class, group and unit of the members that decisions are about."""
    fill(connection, "decided", [decisions.select(["photo_id"])])
    query = 'SELECT photo_id, class_id, "group", unit FROM photos WHERE photo_id IN (FROM decided)'
    return {row[0]: (row[1], row[2], row[3]) for row in connection.sql(query).fetchall()}


def _labelled(
    decisions: pa.Table,
    photos_of: Mapping[str, tuple[str, Any, str]],
    sizes: Mapping[str, Mapping[str | None, int]],
) -> dict[str, _Photo]:
    """photo_id -> the photo, weighted to stand for its class and group; in the order of ids."""
    said: dict[str, dict[str, frozenset[str]]] = {}
    probability: dict[str, float] = {}
    for row in decisions.to_pylist():
        photo_id = row["photo_id"]
        if row["mode"] == MODE and row["probability"] is not None and photo_id in photos_of:
            names = (row["said_name"] or "").split(BETWEEN)
            # The log is in the order of time, so of one reviewer's samples the last word counts.
            said.setdefault(photo_id, {})[row["reviewer"]] = frozenset(map(normal_name, names)) - {""}
            # A larger sample of one seed holds the smaller, so a photo of both was as likely as in the larger.
            probability[photo_id] = max(probability.get(photo_id, 0.0), row["probability"])
    totals: dict[tuple[str, str | None], float] = {}
    for photo_id in said:
        stratum = photos_of[photo_id][:2]
        totals[stratum] = totals.get(stratum, 0.0) + 1 / probability[photo_id]
    photos = {}
    for photo_id in sorted(said):
        class_id, group, unit = photos_of[photo_id]
        weight = sizes[class_id][group] / probability[photo_id] / totals[class_id, group]
        words = tuple(said[photo_id][reviewer] for reviewer in sorted(said[photo_id]))
        photos[photo_id] = _Photo(class_id, group, unit, weight, words)
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


def _shares_elsewhere(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], float]:
    """(class_id, group) -> share of its photos that other places suit better than its name, where that is known."""
    query = """SELECT class_id, "group", count(*) FILTER (is_elsewhere), count(*) FROM photos
        WHERE "group" IS NOT NULL AND is_elsewhere IS NOT NULL GROUP BY ALL"""
    return {(class_id, group): count / total for class_id, group, count, total in connection.sql(query).fetchall()}


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


def _fill_outcomes(
    connection: duckdb.DuckDBPyConnection,
    predictions: Iterable[pa.Table],
    selectors: tuple[str, ...],
    label_space: str,
) -> None:
    """Fill the table `outcomes` with the share of the selectors that are right, of the photos that all of them saw."""
    columns = ["photo_id", "model", "label_space", "is_correct"]
    fill(connection, "predictions", (part.select(columns) for part in predictions))
    connection.execute(
        """CREATE TABLE outcomes AS
        SELECT photo_id, (count(*) FILTER (is_correct))::DOUBLE / count(*) AS outcome FROM predictions
        WHERE label_space = $space AND model IN (SELECT unnest($selectors))
        GROUP BY photo_id HAVING count(*) = len($selectors)""",
        {"space": label_space, "selectors": list(selectors)},
    )


def _corrected_pairs(
    connection: duckdb.DuckDBPyConnection,
    pairs: pa.Table,
    labelled: Mapping[str, _Photo],
    by_class: Mapping[str, Mapping[str, _Photo]],
    seed: int,
) -> dict[str, dict[str, Any]]:
    """class_id -> the columns of pairs that hold the corrected drop."""
    told = connection.sql("SELECT photo_id, outcome FROM outcomes WHERE photo_id IN (FROM decided)").fetchall()
    outcomes = {photo_id: outcome for photo_id, outcome in told if photo_id in labelled}
    seen = [(photo, outcomes[photo_id]) for photo_id, photo in labelled.items() if photo_id in outcomes]
    # Photos that the selectors get wrong may be named wrongly together, all of one unit, where others are not.
    by_outcome = (
        _correlation(photo for photo, share in seen if share < EVEN),
        _correlation(photo for photo, share in seen if share >= EVEN),
    )
    rows = {row["class_id"]: row for row in pairs.to_pylist() if row["common"] is not None}
    fill(connection, "asked", [pa.table({"class_id": pa.array(sorted(by_class.keys() & rows.keys()), pa.string())})])
    query = """SELECT class_id, photo_id, "group", unit, outcome FROM photos JOIN outcomes USING (photo_id)
        WHERE class_id IN (FROM asked)"""
    corrected = {}
    for class_id, own in runs(sorted_rows(connection, query, ["class_id", "photo_id"]), "class_id"):
        by_group: dict[str | None, list[tuple[str, float]]] = {}
        for group, *photo in zip(*(own[name].to_pylist() for name in ("group", "unit", "outcome")), strict=True):
            by_group.setdefault(group, []).append((photo[0], photo[1]))
        corrected[class_id] = _corrected(rows[class_id], by_class[class_id], outcomes, by_group, by_outcome, seed)
    return corrected
