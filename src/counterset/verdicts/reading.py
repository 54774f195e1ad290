"""Reading grouped tables: every row is one that counts, or one that is left out with a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterset.csv_rows import BadLine, Line, header_of, records_of
from counterset.errors import UserError
from counterset.statistics.halves import half_of
from counterset.tables import conform, table_of
from counterset.verdicts.layouts import LAYOUTS, NOTHING, ROLES, Layout
from counterset.verdicts.schemas import GROUPED, LEFT_OUT, RowFault

T = TypeVar("T")

PARQUET = (".parquet", ".pq")
SEPARATORS = (",", ";", "\t", "|")
"""Of a CSV: the first that the header has."""
RIGHT, WRONG = ("1", "true", "t", "yes", "right"), ("0", "false", "f", "no", "wrong")
COIN = "a grouped table"
"""What the coin takes for the class: the same of all classes, so that all rows of a unit have one half."""


class Read(NamedTuple):
    """The rows of a table that count (GROUPED), those that do not (LEFT_OUT), and whether margins were told."""

    rows: pa.Table
    left_out: pa.Table
    has_margins: bool


class _Offered(NamedTuple):
    """Columns of texts with the number of each row in its file, and the lines that are no rows."""

    columns: pa.Table
    number: pa.Array
    malformed: list[tuple[int, str]]


def read_grouped(
    table: pa.Table | str | Path,
    *,
    layout: str = "generic",
    columns: Mapping[str, str] = NOTHING,
    where: tuple[str, str] | None = None,
    predictions: pa.Table | str | Path | None = None,
) -> Read:
    """One row per row of the table, counted or left out.

    Args:
        table: an Arrow table, or a Parquet or CSV file.
        layout: one of LAYOUTS.
        columns: role -> column, where it is another than the layout's.
        where: (column, value) of the rows that count; None = as the layout says.
        predictions: with the columns id and prediction; or a CSV without a header, one prediction per row that
            counts, in the table's order.

    Raises:
        UserError: a file cannot be read, a column that is needed is missing, or no row counts.
    """
    if layout not in LAYOUTS:
        raise UserError(f"layout {layout!r} is unknown; use {', '.join(LAYOUTS)}")
    if unknown := [role for role in columns if role not in ROLES]:
        raise UserError(f"{unknown[0]!r} is nothing that a column can be; use {', '.join(ROLES)}")
    chosen = LAYOUTS[layout]
    what = str(table) if isinstance(table, str | Path) else "the table"
    offered = _offered(table, what)
    names = _column_names(offered.columns, chosen, columns, what, has_predictions=predictions is not None)
    texts = {role: _text(offered.columns[name]) for role, name in names.items()}
    number = offered.number
    ids = texts.get("id", pc.cast(number, pa.string()))
    asked = _asked_for(offered.columns, where or chosen.where, what)
    if predictions is not None:
        texts["prediction"] = _predicted(predictions, ids, asked)
    texts["class"], texts["group"] = (
        _renamed(texts[role], chosen.names.get(role, NOTHING)) for role in ("class", "group")
    )
    correct = _correct(texts) if predictions is None and "correct" in texts else _agrees(texts, chosen, names)
    is_first = np.zeros(len(number), np.bool_)
    counted = np.flatnonzero(asked.to_numpy(zero_copy_only=False))
    is_first[counted[np.unique(ids.take(counted).fill_null("").to_numpy(False), return_index=True)[1]]] = True
    faults = [
        (pc.invert(asked), RowFault.NOT_ASKED_FOR),
        (pc.is_null(ids), RowFault.NO_ID),
        (pa.array(~is_first), RowFault.DUPLICATE_ID),
        (pc.is_null(texts["class"]), RowFault.NO_CLASS),
        (pc.is_null(texts["group"]), RowFault.NO_GROUP),
        (pc.is_null(correct), RowFault.NO_OUTCOME),
    ]
    reason = pa.nulls(len(number), pa.string())
    for is_so, fault in reversed(faults):
        reason = pc.if_else(is_so, fault.value, reason)
    counts = pc.is_null(reason)
    left_out = pa.table({"row": number, "id": ids, "reason": reason}).filter(pc.invert(counts))
    if not pc.any(counts).as_py():
        most = left_out["reason"].value_counts().to_pylist()
        said = ", ".join(f"{each['values']} {each['counts']}" for each in most) or "it is empty"
        raise UserError(f"no row of {what} counts ({said}); see docs/verdict.md for the columns that are needed")
    unit = pc.coalesce(texts["cluster"], ids) if "cluster" in texts else ids
    margin, has_margins = _margins(texts.get("margin"), correct, counts)
    found = {"id": ids, "class_id": texts["class"], "group": texts["group"], "unit": unit, "is_correct": correct}
    rows = pa.table(found | {"margin": margin}).filter(counts)
    rows = rows.append_column("half", _halves(rows["unit"]))
    return Read(conform(rows, GROUPED), _left(left_out, offered), has_margins)


def read_slices(slices: pa.Table | str | Path, rows: pa.Table) -> tuple[dict[str, pa.Array], pa.Table]:
    """Slice -> ids of its rows, of whatever half; and the rows of the table that name no row (LEFT_OUT).

    Args:
        slices: the columns slice and id, one row per slice and row of it.
        rows: GROUPED.

    Raises:
        UserError: the file cannot be read, or lacks a column.
    """
    what = str(slices) if isinstance(slices, str | Path) else "the table of slices"
    offered = _offered(slices, what)
    if missing := [name for name in ("slice", "id") if name not in offered.columns.column_names]:
        raise UserError(f"{what} has no column {missing[0]!r}; give one row per slice and id")
    name, ids = (_text(offered.columns[column]) for column in ("slice", "id"))
    is_known = pc.and_(pc.is_in(ids, rows["id"].combine_chunks()), pc.is_valid(name))
    left_out = pa.table({"row": offered.number, "id": ids}).filter(pc.invert(is_known))
    left_out = left_out.append_column("reason", pa.array([RowFault.UNKNOWN_ID.value] * len(left_out), pa.string()))
    known = ids.filter(is_known).to_numpy(zero_copy_only=False)
    encoded = name.filter(is_known).dictionary_encode()
    codes = encoded.indices.to_numpy()
    parts = np.split(known[np.argsort(codes, kind="stable")], np.cumsum(np.bincount(codes))[:-1])
    names = encoded.dictionary.to_pylist()
    of_slice = {each: pa.array(part, pa.string()) for each, part in zip(names, parts, strict=bool(names))}
    return of_slice, _left(left_out, offered, "slices")


def _offered(table: pa.Table | str | Path, what: str) -> _Offered:
    malformed: list[tuple[int, str]] = []
    if isinstance(table, pa.Table):
        found, number = table, np.arange(1, len(table) + 1)
    elif Path(table).suffix.lower() in PARQUET:
        found = _open(table, pq.read_table)
        number = np.arange(1, len(found) + 1)
    else:
        names, lines = _open(table, _csv)
        rows = [line for line in lines if isinstance(line, Line)]
        malformed = [(line.number - 1, line.fault) for line in lines if isinstance(line, BadLine)]
        cells = zip(*(row.cells for row in rows), strict=True) if rows else [()] * len(names)
        found = pa.Table.from_arrays([pa.array(column, pa.string()) for column in cells], names=names)
        number = np.array([row.number - 1 for row in rows], np.int64)
    if repeated := [name for name in found.column_names if found.column_names.count(name) > 1]:
        raise UserError(f"{what} has two columns {repeated[0]!r}; rename one")
    return _Offered(found, pa.array(number), malformed)


def _csv(path: str | Path) -> tuple[list[str], list[Line | BadLine]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        separator, names = header_of(file.readline(), SEPARATORS, lambda names: len(names) > 1)
        return names, list(records_of(file, names, separator, lambda _: False))


def _open(path: str | Path, read: Callable[[str | Path], T]) -> T:
    try:
        return read(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise UserError(f"cannot read {path}: {said}; give a Parquet file, or a CSV in UTF-8 with a header") from error


def _column_names(
    table: pa.Table, layout: Layout, asked: Mapping[str, str], what: str, *, has_predictions: bool
) -> dict[str, str]:
    """role -> column, of those that are there."""
    named = dict(layout.columns) | dict(asked)
    for role in asked:
        if asked[role] not in table.column_names:
            there = ", ".join(table.column_names)
            raise UserError(f"{what} has no column {asked[role]!r} for the {role}; it has {there}")
    names = {role: named.get(role, role) for role in ROLES if named.get(role, role) in table.column_names}
    needs = ["class", "group"] if has_predictions or "prediction" in names else ["class", "group", "correct"]
    for role in needs:
        if role not in names:
            says = "right or wrong (or predictions, in a column or a file)" if role == "correct" else f"the {role}"
            there = ", ".join(table.column_names)
            raise UserError(
                f"{what} has no column {named.get(role, role)!r} for {says}; name the one of {there} that is, as "
                f"--column {role}=NAME"
            )
    return names


def _asked_for(table: pa.Table, where: tuple[str, str] | None, what: str) -> pa.Array:
    """(N,) which rows count."""
    if where is None:
        return pa.array(np.ones(len(table), np.bool_))
    column, value = where
    if column not in table.column_names:
        raise UserError(
            f"{what} has no column {column!r}, which says what rows count; where all do, use the layout generic and "
            "name the columns"
        )
    return pc.equal(_text(table[column]), value).fill_null(False)


def _text(column: pa.ChunkedArray) -> pa.Array:
    """A column's values as trimmed texts, whole numbers without a decimal point; empty ones are null."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    try:
        texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
    except pa.ArrowException as error:
        raise UserError(f"a column of {column.type} says no class, group or outcome; give texts or numbers") from error
    texts = pc.replace_substring_regex(texts, r"^(-?[0-9]+)\.0+$", r"\1")
    return pc.if_else(pc.is_in(texts, pa.array(["", "nan", "NaN"])), pa.scalar(None, pa.string()), texts)


def _renamed(texts: pa.Array, names: Mapping[str, str]) -> pa.Array:
    for value, name in names.items():
        texts = pc.if_else(pc.equal(texts, value), name, texts)
    return texts


def _correct(texts: Mapping[str, pa.Array]) -> pa.Array:
    said = pc.utf8_lower(texts["correct"])
    is_right, is_wrong = (pc.is_in(said, pa.array(words)) for words in (RIGHT, WRONG))
    return pc.if_else(is_right, True, pc.if_else(is_wrong, False, pa.scalar(None, pa.bool_())))


def _agrees(texts: Mapping[str, pa.Array], layout: Layout, names: Mapping[str, str]) -> pa.Array:
    """(N,) whether what was predicted is the label, or the class where there is no label; predictions may be named."""
    label = texts.get("label", texts["class"])
    if names.get("label", names["class"]) == names["class"]:
        called = layout.names.get("class", NOTHING)
        return pc.equal(_renamed(texts["prediction"], called), texts["class"])
    return pc.equal(texts["prediction"], label)


def _predicted(predictions: pa.Table | str | Path, ids: pa.Array, asked: pa.Array) -> pa.Array:
    """(N,) what was predicted of each row, by id or in order."""
    what = str(predictions) if isinstance(predictions, str | Path) else "the table of predictions"
    is_csv = not isinstance(predictions, pa.Table) and Path(predictions).suffix.lower() not in PARQUET
    if is_csv and len(_open(predictions, _csv)[0]) == 1:
        lines = pa.array(_open(predictions, lambda path: Path(path).read_text("utf-8-sig").splitlines()), pa.string())
        rows = np.flatnonzero(asked.to_numpy(zero_copy_only=False))
        if len(lines) != len(rows):
            raise UserError(
                f"{what} has {len(lines)} predictions in order, for {len(rows)} rows that count; give one per row, or "
                "a file with the columns id and prediction"
            )
        place = np.full(len(ids), -1)
        place[rows] = np.arange(len(rows))
        return _text(lines).take(pa.array(place, mask=place < 0))
    table = _offered(predictions, what).columns
    key = next((name for name in ("id", "img_id") if name in table.column_names), None)
    if key is None or "prediction" not in table.column_names:
        raise UserError(f"{what} has no columns id and prediction; name them so")
    known = _text(table[key])
    if len(pc.unique(known)) != len(known):
        raise UserError(f"{what} has two rows of one id; leave one")
    return _text(table["prediction"]).take(pc.index_in(ids, known))


def _margins(margin: pa.Array | None, correct: pa.Array, counts: pa.Array) -> tuple[pa.Array, bool]:
    """(N,) margins, and whether all that count are told; right or wrong takes their place where one is missing."""
    if margin is not None:
        try:
            told = margin.cast(pa.float64())
        except pa.ArrowInvalid as error:
            raise UserError(f"a margin is no number ({' '.join(str(error).split())[:120]}); correct it") from error
        if pc.all(pc.or_(pc.is_valid(told), pc.invert(counts))).as_py():
            return told, True
    return correct.cast(pa.int8()).cast(pa.float64()), False


def _halves(unit: pa.ChunkedArray) -> pa.Array:
    """(N,) the half of each row, by the coin of its unit."""
    encoded = unit.combine_chunks().dictionary_encode()
    halves = pa.array([half_of(COIN, each).value for each in encoded.dictionary.to_pylist()], pa.string())
    return halves.take(encoded.indices)


def _left(rows: pa.Table, offered: _Offered, table: str = "table") -> pa.Table:
    """LEFT_OUT of rows and of lines that are none."""
    left = [row | {"table": table, "detail": None} for row in rows.to_pylist()]
    left += [
        {"table": table, "row": row, "id": None, "reason": RowFault.MALFORMED.value, "detail": said}
        for row, said in offered.malformed
    ]
    return table_of(LEFT_OUT, left)
