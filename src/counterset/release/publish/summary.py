"""A release's figures in one record: what the card, the report and `release.json` all say."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from counterset.naming.schemas import Naming
from counterset.naming.words import NAMINGS, named
from counterset.release.publish.inputs import ModelRecord
from counterset.release.publish.written import WrittenTable, asked
from counterset.schemas import Half, Verdict

WHICH_PHOTOS = (
    "Figures are over all tested pairs, confirmed or not, on photos of the confirm half, which chose no pair, but not "
    "over uneven ones, whose smaller group moves more by chance than is assumed, nor over those whose names failed; "
    "`load` gives all photos of the confirmed pairs."
)
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval; all in [-1, 1]."""

    value: float
    low: float
    high: float
    num_classes: int


@dataclass(frozen=True)
class ModelScore:
    """One model's class-balanced accuracies over the confirmed classes (all with a pair when none is).

    Attributes:
        common, counter: unweighted means over classes, in [0, 1].
        is_in_sample: the model chose the pairs, so its drop is flattered upwards.
    """

    name: str
    role: str
    family: str
    common: float
    counter: float
    num_classes: int
    is_in_sample: bool

    @property
    def drop(self) -> float:
        """common - counter."""
        return self.common - self.counter


@dataclass(frozen=True)
class UnitSummary:
    """The independent units of a release, and how alike two photos of one group are that share something.

    Attributes:
        number: units, over all classes.
        share_placed: photos whose place is known, in [0, 1]; 0 = every observer is a unit.
        correlation: of two photos of one unit; None = nothing was tested, or there are no two such photos.
        of_observer: of one observer.
        of_place: of two observers of one unit.
        across_cuts: of one place and two units, where a unit was too large and was cut.
    """

    number: int
    share_placed: float
    correlation: float | None
    of_observer: float | None
    of_place: float | None
    across_cuts: float | None


@dataclass(frozen=True)
class Summary:
    """Counts and results of one release."""

    num_photos: int
    num_common: int
    num_counter: int
    num_observers: int
    units: UnitSummary
    verdicts: dict[str, int]
    mean_drop: Estimate | None
    mean_drop_confirmed: Estimate | None
    mean_drop_shrunken: float | None
    scores: tuple[ModelScore, ...]
    score_half: str
    namings: dict[str, int]
    licenses: dict[str, int]
    rejects: tuple[tuple[str, str, int], ...]
    funnel: dict[str, int]

    @property
    def which_photos(self) -> str:
        """What models' figures are over, in a sentence."""
        return WHICH_PHOTOS if self.score_half == Half.CONFIRM.value else "Figures are over all pairs and all photos."

    @property
    def num_pairs(self) -> int:
        """Classes with a pair, confirmed or not."""
        return self.num_classes - self.verdicts[Verdict.TOO_SMALL.value]

    @property
    def named(self) -> str:
        """How far the names of the pairs' groups can be trusted, in a few words."""
        return named(self.namings)

    @functools.cached_property
    def num_classes(self) -> int:
        """Classes with a verdict."""
        return sum(self.verdicts.values())


def summarise(
    tables: Mapping[str, Any],
    models: tuple[ModelRecord, ...],
    funnel: Mapping[str, int],
    mode: str = "split",
    share_placed: float = 0.0,
) -> Summary:
    """The figures of a release's tables.

    Models are scored on the confirm half of all tested pairs, confirmed or not: confirmed ones are lucky on every
    photo that the test saw. In paper mode they are scored on all photos.

    `share_placed` of the photos have a place that the source told of.
    """
    pairs = tables["pairs"]
    reasons = asked(tables["rejects"], "SELECT stage, reason, count(*) AS number FROM rows GROUP BY ALL").to_pylist()
    verdicts = Counter(pairs["verdict"].to_pylist())
    half = score_half(mode)
    return Summary(
        num_photos=tables["all_photos"].num_rows,
        num_common=tables["common"].num_rows,
        num_counter=tables["counter"].num_rows,
        num_observers=_number(tables["all_photos"], "observer"),
        units=_units(tables, share_placed),
        verdicts={verdict.value: verdicts[verdict] for verdict in Verdict},
        mean_drop=mean_drop(pairs),
        mean_drop_confirmed=mean_drop(pairs, Verdict.CONFIRMED),
        mean_drop_shrunken=_mean_shrunken(pairs),
        scores=_scores(tables, models, half),
        score_half=half,
        namings=_namings(pairs),
        licenses=_licenses(tables["all_photos"]),
        rejects=tuple(sorted((row["stage"], row["reason"], row["number"]) for row in reasons)),
        funnel=dict(funnel),
    )


def score_half(mode: str) -> str:
    """Whose photos models' figures are over, by how pairs were chosen."""
    return Half.ALL.value if mode == "paper" else Half.CONFIRM.value


def _units(tables: Mapping[str, pa.Table], share_placed: float) -> UnitSummary:
    number = _number(tables["all_photos"], "class_id, coalesce(unit, observer)")
    columns = ("unit_correlation", "observer_correlation", "place_correlation", "cut_correlation")
    return UnitSummary(number, share_placed, *(pc.max(tables["pairs"][name]).as_py() for name in columns))


def mean_drop(pairs: pa.Table, verdict: str | None = None) -> Estimate | None:
    """The unweighted mean of the classes' drops with its 95 % interval; None without any.

    Classes are independent, so the standard error of the mean is
    `sqrt(sum(se_i ** 2)) / n` with `se_i` read from each class's 95 % interval as
    `(high - low) / (2 * 1.96)` (normal approximation). Over all classes the mean is
    unbiased by the verdict; over confirmed classes alone it is somewhat too large,
    for the verdict was read from the same photos.
    """
    rows = [
        row
        for row in pairs.to_pylist()
        if row["drop"] is not None and verdict in (None, row["verdict"]) and not _is_left_out(row)
    ]
    if not rows:
        return None
    value = math.fsum(row["drop"] for row in rows) / len(rows)
    if any(row["drop_low"] is None or row["drop_high"] is None for row in rows):
        return Estimate(value, math.nan, math.nan, len(rows))
    errors = [(row["drop_high"] - row["drop_low"]) / (2 * _Z95) for row in rows]
    margin = _Z95 * math.sqrt(math.fsum(error**2 for error in errors)) / len(rows)
    return Estimate(value, value - margin, value + margin, len(rows))


def _is_left_out(row: Mapping[str, Any]) -> bool:
    """Whether a pair takes no part in headline figures; what decides it knows no outcome of the pair."""
    return bool(row.get("is_uneven")) or row.get("naming") == Naming.FAILED.value


def _namings(pairs: pa.Table) -> dict[str, int]:
    """Pairs by how far their names can be trusted; those of which nothing is said are unaudited."""
    found = Counter(
        row["naming"] or Naming.UNAUDITED.value
        for row in pairs.select(["common", "naming"]).to_pylist()
        if row["common"] is not None
    )
    return {naming: found[naming] for naming in NAMINGS}


def _mean_shrunken(pairs: pa.Table) -> float | None:
    """The mean shrunken drop of the confirmed classes; None without any."""
    rows = pairs.select(["verdict", "drop_shrunken"]).to_pylist()
    drops = [
        row["drop_shrunken"]
        for row in rows
        if row["verdict"] == Verdict.CONFIRMED.value and row["drop_shrunken"] is not None
    ]
    return math.fsum(drops) / len(drops) if drops else None


def _scores(tables: Mapping[str, pa.Table], models: tuple[ModelRecord, ...], half: str) -> tuple[ModelScore, ...]:
    accuracy: dict[str, dict[str, dict[str, float]]] = {}
    pairs = tables["pairs"].select(["class_id", "is_uneven", "naming"]).to_pylist()
    left_out = {row["class_id"] for row in pairs if _is_left_out(row)}
    for row in tables["groups"].select(["class_id", "model", "half", "split", "accuracy"]).to_pylist():
        if row["half"] == half and row["split"] and row["class_id"] not in left_out:
            accuracy.setdefault(row["model"], {}).setdefault(row["class_id"], {})[row["split"]] = row["accuracy"]
    roles: dict[str, ModelRecord] = {}
    for model in models:
        if model.role != "annotator" and not (model.name in roles and roles[model.name].role == "selector"):
            roles[model.name] = model
    scores = []
    for name in sorted(accuracy):
        both = [sides for sides in accuracy[name].values() if len(sides) == 2]
        if both:
            record = roles.get(name, ModelRecord(name, "evaluator"))
            scores.append(
                ModelScore(
                    name,
                    record.role,
                    record.family,
                    math.fsum(sides["common"] for sides in both) / len(both),
                    math.fsum(sides["counter"] for sides in both) / len(both),
                    len(both),
                    record.role == "selector",
                )
            )
    return tuple(scores)


def _number(photos: pa.Table | WrittenTable, columns: str) -> int:
    """Different values of some columns, as SQL says them."""
    number: int = asked(photos, f"SELECT count(*) AS number FROM (SELECT DISTINCT {columns} FROM rows)")["number"][
        0
    ].as_py()
    return number


def _licenses(photos: pa.Table | WrittenTable) -> dict[str, int]:
    """Photos by licence, the most frequent first."""
    rows = asked(
        photos, "SELECT coalesce(license, '') AS license, count(*) AS number FROM rows GROUP BY ALL"
    ).to_pylist()
    return {row["license"]: row["number"] for row in sorted(rows, key=lambda row: (-row["number"], row["license"]))}
