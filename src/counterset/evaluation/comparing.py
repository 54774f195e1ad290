"""Models against each other on one release, or on two: from evaluations to differences and their plot.

<output>/<release>-<version>/<label space>-<templates>/
    model_pairs.parquet  model_ranks.parquet  models.svg  models.png        of one release
    release_pairs.parquet  releases.svg  releases.png                       of two, in the folder of the first
    clocks.parquet  clocks.svg  clocks.png                                  of newer and older photos
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.errors import UserError
from counterset.evaluation.comparison_plot import Bar, draw_bars
from counterset.evaluation.evaluate import Evaluation, evaluate
from counterset.evaluation.measures import outcomes_of, two_sided
from counterset.evaluation.models import full_name
from counterset.evaluation.photos import TESTED, PairPhotos, in_half, pair_photos
from counterset.load import Release, load
from counterset.models.lineage import trained_until
from counterset.statistics.comparison import between_parts, model_pairs, model_ranks
from counterset.statistics.intervals import drawn_interval
from counterset.statistics.metrics import COMMON, COUNTER, Draws, draw_observers
from counterset.statistics.schemas import CLOCKS, MODEL_PAIRS, MODEL_RANKS, RELEASE_PAIRS
from counterset.tables import table_of, write_bytes, write_table


@dataclass(frozen=True)
class ModelsCompared:
    """Models on one release.

    Attributes:
        evaluation: of these models, and of others that its folder holds.
        pairs: one row per two models and measure (model_pairs schema).
        ranks: one row per model (model_ranks schema).
        num_photos, num_units, num_classes: behind every figure.
    """

    evaluation: Evaluation
    pairs: pa.Table
    ranks: pa.Table
    num_photos: int
    num_units: int
    num_classes: int


@dataclass(frozen=True)
class ReleasesCompared:
    """Models on two releases.

    Attributes:
        here, there: their evaluations.
        pairs: one row per model and measure (release_pairs schema).
        class_ids: the classes that both have, over which all figures are.
        num_shared_units: units with photos in both.
    """

    here: Evaluation
    there: Evaluation
    pairs: pa.Table
    class_ids: tuple[str, ...]
    num_shared_units: int


def compare_models(release: Release | str | Path, models: Sequence[str], **settings: Any) -> ModelsCompared:
    """Every difference between two of some models on a release; what was not evaluated before is evaluated.

    Args:
        release: as `evaluate` takes it.
        models: at least two names.
        settings: of `evaluate`.

    Raises:
        UserError: fewer than two models, or as `evaluate`.
    """
    names = tuple(dict.fromkeys(map(full_name, models)))
    if len(names) < 2:
        raise UserError("nothing to compare: name at least two models, or --published")
    release = release if isinstance(release, Release) else load(release, verdicts=TESTED)
    evaluation = evaluate(release, names, **settings)
    photos, _ = two_sided(_photos(release, evaluation))
    outcomes = outcomes_of(photos, evaluation.predictions, names)
    draws = list(draw_observers(outcomes, seed=evaluation.record["seed"]))
    pairs = model_pairs(outcomes, draws)
    ranks = model_ranks(outcomes, draws, pairs)
    bars = []
    for row in sorted(ranks.to_pylist(), key=lambda row: (row["drop"], row["model"])):
        one = draws[names.index(row["model"])]
        low, high = drawn_interval(one.balanced[1:, COMMON] - one.balanced[1:, COUNTER], one.widening)
        place = f"{row['rank_low']}" if row["rank_low"] == row["rank_high"] else f"{row['rank_low']}–{row['rank_high']}"
        bars.append(Bar(row["model"], row["drop"], float(low), float(high), f"rank {place}"))
    title = f"{release.name} {release.version}, {evaluation.record['label_space']}"
    _write(evaluation.folder, {MODEL_PAIRS: pairs, MODEL_RANKS: ranks})
    _draw(evaluation.folder, "models", title, "drop from common to counter, points (95 % interval)", bars)
    return ModelsCompared(
        evaluation, pairs, ranks, len(photos.photo_id), len(set(photos.unit.tolist())), len(outcomes.class_ids)
    )


def compare_releases(
    release: Release | str | Path, other: Release | str | Path, models: Sequence[str], **settings: Any
) -> ReleasesCompared:
    """How much larger some models' drops and accuracies are on one release than on another, over the classes of both.

    A unit that has photos in both weighs the same in both in each draw, so that photos which both have cancel.

    Args:
        release: as `evaluate` takes it.
        other: the same.
        models: names.
        settings: of `evaluate`.

    Raises:
        UserError: they have no tested class in common, or as `evaluate`.
    """
    names = tuple(dict.fromkeys(map(full_name, models)))
    opened = [one if isinstance(one, Release) else load(one, verdicts=TESTED) for one in (release, other)]
    found = [evaluate(one, names, **settings) for one in opened]
    photos = [two_sided(_photos(one, evaluation))[0] for one, evaluation in zip(opened, found, strict=True)]
    shared = sorted(set(photos[0].class_id.tolist()) & set(photos[1].class_id.tolist()))
    called = [f"{one.name} {one.version}" for one in opened]
    if not shared:
        raise UserError(f"{called[0]} and {called[1]} have no tested class in common; compare releases that have")
    photos = [one.only(np.isin(one.class_id.astype(str), shared)) for one in photos]
    draws = _draws_of_parts(photos, [one.predictions for one in found], names, found[0].record["seed"])
    rows = between_parts([(name, one, len(shared)) for name, one in zip(names, draws, strict=True)])
    pairs = table_of(RELEASE_PAIRS, rows)
    bars = [
        Bar(
            row["model"],
            row["difference"],
            row["low"],
            row["high"],
            f"{100 * row['first']:.1f} and {100 * row['second']:.1f}",
        )
        for row in pairs.to_pylist()
        if row["measure"] == "drop"
    ]
    _write(found[0].folder, {RELEASE_PAIRS: pairs})
    label = f"drop in {called[0]} less drop in {called[1]}, points (95 % interval)"
    _draw(found[0].folder, "releases", f"{len(shared)} classes of both releases", label, bars)
    units = [set(one.unit.tolist()) for one in photos]
    return ReleasesCompared(found[0], found[1], pairs, tuple(shared), len(units[0] & units[1]))


@dataclass(frozen=True)
class ClocksCompared:
    """Models on photos that are newer than their training data, and on older ones.

    Attributes:
        evaluation: of these models.
        clocks: one row per model and measure (clocks schema).
        without: model -> why it has no row.
        num_undated: photos whose day is not known, which are in neither part.
    """

    evaluation: Evaluation
    clocks: pa.Table
    without: Mapping[str, str]
    num_undated: int


def compare_clocks(
    release: Release | str | Path,
    models: Sequence[str],
    *,
    until: Mapping[str, date] = MappingProxyType({}),
    **settings: Any,
) -> ClocksCompared:
    """How much larger models' drops and accuracies are on photos newer than their training data than on older ones.

    A newer photo cannot have been in the training data; an older one may have been. The two differ in more than that
    (cameras, seasons, photographers), so a difference is no proof that photos were seen.

    Args:
        release: as `evaluate` takes it.
        models: names.
        until: model -> a day after which no photo that it was trained on was taken, where its lineage has none.
        settings: of `evaluate`.

    Raises:
        UserError: as `evaluate`, or `until` names another model.
    """
    names = tuple(dict.fromkeys(map(full_name, models)))
    known = {full_name(model): day for model, day in until.items()}
    if other := sorted(known.keys() - set(names)):
        raise UserError(f"a day of training is given for {other[0]}, which is not compared; give it for {names[0]}")
    release = release if isinstance(release, Release) else load(release, verdicts=TESTED)
    evaluation = evaluate(release, names, **settings)
    photos = _photos(release, evaluation)
    dated = dict(zip(*(release.all_photos[name].to_pylist() for name in ("photo_id", "observed_on")), strict=True))
    days = [dated.get(photo_id) for photo_id in photos.photo_id.tolist()]
    parts, about, without = [], {}, {}
    for name in names:
        day = known.get(name) or trained_until(name)
        if day is None:
            without[name] = "no day is known after which it was not trained; give --trained-until"
            continue
        newer = photos.only(np.array([taken is not None and taken > day for taken in days], np.bool_))
        older = photos.only(np.array([taken is not None and taken <= day for taken in days], np.bool_))
        shared = sorted(_both_sides(newer) & _both_sides(older))
        if not shared:
            without[name] = (
                f"no class has newer and older photos on both sides: {len(newer.photo_id)} are newer than {day}, "
                f"{len(older.photo_id)} are not"
            )
            continue
        two = [one.only(np.isin(one.class_id.astype(str), shared)) for one in (newer, older)]
        [draws] = _draws_of_parts(two, [evaluation.predictions] * 2, [name], evaluation.record["seed"])
        parts.append((name, draws, len(shared)))
        about[name] = {
            "trained_until": day,
            "num_classes": len(shared),
            "num_newer": len(two[0].photo_id),
            "num_older": len(two[1].photo_id),
        }
    clocks = table_of(CLOCKS, [{**row, **about[row["model"]]} for row in between_parts(parts)])
    _write(evaluation.folder, {CLOCKS: clocks})
    bars = [
        Bar(row["model"], row["difference"], row["low"], row["high"], f"since {row['trained_until']}")
        for row in clocks.to_pylist()
        if row["measure"] == "drop"
    ]
    if bars:
        title = f"{release.name} {release.version}: photos newer than the training data"
        _draw(evaluation.folder, "clocks", title, "drop on newer photos less drop on older ones, points", bars)
    return ClocksCompared(evaluation, clocks, without, days.count(None))


def _both_sides(photos: PairPhotos) -> set[str]:
    """The classes with photos on both sides."""
    sides = [set(photos.class_id[photos.side == side].tolist()) for side in (COMMON, COUNTER)]
    return sides[0] & sides[1]


def _photos(release: Release, evaluation: Evaluation) -> PairPhotos:
    """Those that an evaluation's figures are read from."""
    photos, missing = pair_photos(release), evaluation.record["missing_photos"]
    photos = photos.only(np.array([photo_id not in missing for photo_id in photos.photo_id], np.bool_))
    return photos.only(in_half(photos, evaluation.record["half"]))


def _draws_of_parts(
    photos: Sequence[PairPhotos], predictions: Sequence[pa.Table], models: Sequence[str], seed: int
) -> list[Draws]:
    """Each model's draws over the classes of two parts, those of the first part first; units keep their names."""
    parts = []
    for number, one in enumerate(photos):
        own = {name: np.array([f"{number} {text}" for text in getattr(one, name)], object) for name in _OWN}
        parts.append({field.name: getattr(one, field.name) for field in fields(one)} | own)
    joined = PairPhotos(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    tables = [
        table.set_column(
            table.column_names.index("photo_id"),
            "photo_id",
            pc.binary_join_element_wise(str(number), table["photo_id"], " "),
        )
        for number, table in enumerate(predictions)
    ]
    return list(draw_observers(outcomes_of(joined, pa.concat_tables(tables), models), seed=seed))


_OWN = ("photo_id", "class_id")
"""Names that may stand in both parts without meaning the same thing."""


def _write(folder: Path, tables: Mapping[Any, pa.Table]) -> None:
    for schema, table in tables.items():
        write_table(table, schema, folder / f"{schema.name}.parquet")


def _draw(folder: Path, name: str, title: str, label: str, bars: Sequence[Bar]) -> None:
    for suffix, content in draw_bars(bars, title, label).items():
        write_bytes(content, folder / f"{name}.{suffix}")
