"""The verdicts of a grouped table: the select stage's, on rows that no build of ours has made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.config import SelectConfig
from counterset.errors import UserError
from counterset.schemas import PAIRS, Half, Verdict
from counterset.stages.select import select_pairs
from counterset.statistics.observers import Bools, Ints
from counterset.statistics.slices import LEVEL, Judged, judge_slices, unit_correlation
from counterset.tables import conform, table_of
from counterset.verdicts.reading import read_grouped, read_slices
from counterset.verdicts.schemas import LEFT_OUT, SLICES

ANSWERS = "answers"
"""The model and the label space of what a table says."""

Rule: TypeAlias = Callable[[pa.Table], Any]
"""From rows without outcomes to (N,) whether each is in the slice."""
Propose: TypeAlias = Callable[[pa.Table], Mapping[str, Rule]]
"""From the discover half, outcomes included, to slices by name."""


@dataclass(frozen=True)
class GroupedVerdict:
    """What may be said of a grouped table.

    Attributes:
        pairs: one row per class: its pair and verdict (the columns of a release's pairs).
        slices: one row per proposed slice, tested on the confirm half.
        rows: one row per row that counts, with unit and half.
        left_out: one row per row that does not, with its reason.
        group_accuracy: one row per class, group and half.
    """

    pairs: pa.Table
    slices: pa.Table
    rows: pa.Table
    left_out: pa.Table
    group_accuracy: pa.Table


def verdict(
    table: pa.Table | str | Path,
    *,
    layout: str = "generic",
    columns: Mapping[str, str] | None = None,
    where: tuple[str, str] | None = None,
    predictions: pa.Table | str | Path | None = None,
    slices: pa.Table | str | Path | Propose | None = None,
    min_rows: int = 10,
    min_units: int = 3,
    num_permutations: int = 20_000,
    seed: int = 0,
) -> GroupedVerdict:
    """Each class's pair of groups with verdict, drop, interval and breaking point; and each proposed slice's.

    Args:
        table: an Arrow table, or a Parquet or CSV file, one row per answer: class, group, correct (or prediction and
            label); id, cluster and margin if they are known.
        layout: generic, waterbirds or wilds.
        columns: what a column is -> its name, where the layout's is another.
        where: (column, value) of the rows that count; None = as the layout says.
        predictions: a table or file with id and prediction; or a CSV without a header, in the table's order.
        slices: a table or file with slice and id; or a function that is given the discover half and returns rules by
            name, each of which is given the confirm half without outcomes.
        min_rows: a group needs so many on each half, a slice on confirm.
        min_units: a group needs so many units on each half, a slice on confirm.
        num_permutations: of each class's test.
        seed: of all draws.

    Returns:
        Tables of pairs, slices, rows, rows left out, and group accuracies.

    Raises:
        UserError: a table cannot be read, a column that is needed is missing, or no row counts.
    """
    read = read_grouped(table, layout=layout, columns=columns or {}, where=where, predictions=predictions)
    rows, left_out = read.rows, read.left_out
    if min_rows < 1 or min_units < 2 or num_permutations < 100:
        raise UserError("limits below 1 row, 2 units or 100 permutations test nothing; raise them")
    config = SelectConfig(min_photos=min_rows, min_units=min_units, num_permutations=num_permutations)
    found = select_pairs(
        *_tables(rows),
        config,
        selectors=(ANSWERS,),
        label_space=ANSWERS,
        class_ids=tuple(pc.unique(rows["class_id"]).to_pylist()),
        seed=seed,
    )
    pairs = found.pairs
    if not read.has_margins:  # the plan of what could be confirmed takes ranks to be sharper than answers
        number = pairs.column_names.index("detectable_drop")
        pairs = conform(pairs.set_column(number, "detectable_drop", pa.nulls(len(pairs), pa.float64())), PAIRS)
    members: dict[str, Bools] = {}
    confirm = rows.filter(pc.equal(rows["half"], Half.CONFIRM.value))
    if callable(slices):
        members = _by_rules(slices, rows, confirm)
    elif slices is not None:
        of_slice, unknown = read_slices(slices, rows)
        left_out = conform(pa.concat_tables([left_out, unknown]), LEFT_OUT)
        members = {name: _mask(pc.is_in(confirm["id"], ids)) for name, ids in of_slice.items()}
    tested = _test_slices(rows, confirm, members, min_rows, min_units, seed)
    return GroupedVerdict(pairs, tested, rows, left_out, found.group_accuracy)


def _tables(rows: pa.Table) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Members, backgrounds and predictions, as the select stage reads them."""
    ids, ones = rows["id"], pa.array(np.ones(len(rows)))
    answers = pa.array([ANSWERS]).take(pa.array(np.zeros(len(rows), np.int64)))
    members = {"photo_id": ids, "class_id": rows["class_id"], "observer": rows["unit"], "unit": rows["unit"]}
    backgrounds = {"photo_id": ids, "group": rows["group"], "margin": ones}
    said = {"photo_id": ids, "model": answers, "label_space": answers, "is_correct": rows["is_correct"]}
    return (
        pa.table(members | {"half": rows["half"]}),
        pa.table(backgrounds),
        pa.table(said | {"margin": rows["margin"]}),
    )


def _mask(column: Any) -> Bools:
    return np.asarray(column.to_numpy(zero_copy_only=False) if hasattr(column, "to_numpy") else column, np.bool_)


def _by_rules(propose: Propose, rows: pa.Table, confirm: pa.Table) -> dict[str, Bools]:
    """slice -> (N,) confirm rows in it; the rules never see what was right there."""
    shown = confirm.drop_columns(["is_correct", "margin"])
    members = {}
    for name, rule in propose(rows.filter(pc.equal(rows["half"], Half.DISCOVER.value))).items():
        members[name] = _mask(rule(shown))
        if members[name].shape != (len(confirm),):
            raise UserError(f"the rule of slice {name!r} does not say of each of {len(confirm)} rows whether it is in")
    return members


def _test_slices(
    rows: pa.Table, confirm: pa.Table, members: Mapping[str, Bools], min_rows: int, min_units: int, seed: int
) -> pa.Table:
    """SLICES: each proposed one."""
    correct = _mask(confirm["is_correct"])
    stratum, unit = (_codes(confirm[name]) for name in ("class_id", "unit"))
    said: list[dict[str, Any]] = []
    tested: dict[str, Bools] = {}
    for name, is_member in members.items():
        row: dict[str, Any] = {
            "slice": name,
            "num_rows": int(is_member.sum()),
            "num_units": len(np.unique(unit[is_member])),
        }
        rest = np.isin(stratum, stratum[is_member]) & ~is_member
        sides = [(int(side.sum()), len(np.unique(unit[side]))) for side in (is_member, rest)]
        if all(number >= min_rows and units >= min_units for number, units in sides):
            tested[name] = is_member
        else:
            each = f"{min_rows} rows and {min_units} units"
            row |= {"verdict": Verdict.TOO_SMALL.value, "reason": f"slice and rest need {each} on confirm"}
        said.append(row)
    rng = np.random.default_rng([seed, len(tested)])
    judged = judge_slices(correct, stratum, unit, [*tested.values()], correlation=_correlation(rows), rng=rng)
    of_name = dict(zip(tested, judged, strict=True))
    for row in said:
        if (found := of_name.get(row["slice"])) is not None:
            row |= _judged(found, len(tested))
    return table_of(SLICES, said)


def _judged(found: Judged, num_tested: int) -> dict[str, Any]:
    """The columns of a slice that was tested."""
    drop, interval = found.drop, found.drop.interval()
    row = {"accuracy": drop.slice.accuracy, "accuracy_rest": drop.rest.accuracy, "drop": drop.drop}
    row |= {"drop_low": interval.low, "drop_high": interval.high, "p_value": found.p_value}
    if found.is_confirmed:
        ends = {"drop_adjusted_low": found.adjusted.low, "drop_adjusted_high": found.adjusted.high}
        return row | ends | {"verdict": Verdict.CONFIRMED.value}
    if found.p_value > LEVEL:
        reason = f"p = {found.p_value:.3f} is above {LEVEL:g}"
    else:
        reason = f"the drop's interval, adjusted for {num_tested} slices, reaches down to {found.adjusted.low:.3f}"
    return row | {"verdict": Verdict.UNCONFIRMED.value, "reason": reason}


def _codes(column: pa.ChunkedArray) -> Ints:
    return np.asarray(np.unique(column.to_numpy(), return_inverse=True)[1], np.int64)


def _correlation(rows: pa.Table) -> float:
    """Of two rows of one unit in one group, over all rows."""
    pairs = np.stack([_codes(rows[name]) for name in ("class_id", "group")])
    group = np.unique(pairs, axis=1, return_inverse=True)[1].astype(np.int64)
    return unit_correlation(_mask(rows["is_correct"]), group, _codes(rows["unit"]))
