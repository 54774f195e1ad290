"""What is read of a grouped table, what of it is left out, and slices, as data."""

from __future__ import annotations

from enum import StrEnum

from counterset.schemas import BOOL, CLASS_ID, FLOAT64, INT64, STRING, Column, TableSchema


class RowFault(StrEnum):
    """Why a row takes no part."""

    MALFORMED = "malformed"
    """The line has more or fewer cells than the header has names."""
    NOT_ASKED_FOR = "not_asked_for"
    """It has another value in the column that says which rows count, e.g. another split."""
    NO_ID = "no_id"
    DUPLICATE_ID = "duplicate_id"
    """An earlier row has the same id."""
    NO_CLASS = "no_class"
    NO_GROUP = "no_group"
    NO_OUTCOME = "no_outcome"
    """It says neither right nor wrong, or nothing was predicted for it."""
    UNKNOWN_ID = "unknown_id"
    """A row of slices whose id no row of the table has."""


GROUPED = TableSchema(
    "grouped",
    "one row that counts",
    ("id",),
    (
        Column("id", STRING, "the row's own name"),
        CLASS_ID,
        Column("group", STRING, "group within the class"),
        Column("unit", STRING, "rows of one unit are not independent; the id where no clusters are told"),
        Column("half", STRING, "discover or confirm, the same for all rows of a unit"),
        Column("is_correct", BOOL, "whether the model is right"),
        Column("margin", FLOAT64, "how sure the model is of the truth; 1 or 0 where no margins are told"),
    ),
)

LEFT_OUT = TableSchema(
    "left_out",
    "one row that takes no part, with its reason",
    ("table", "row"),
    (
        Column("table", STRING, "table or slices"),
        Column("row", INT64, "number of the row in its file, from 1, the header not counted"),
        Column("id", STRING, "the row's own name", True),
        Column("reason", STRING, "one of RowFault"),
        Column("detail", STRING, "in words", True),
    ),
)

SLICES = TableSchema(
    "slices",
    "one proposed slice, tested on the half whose outcomes had no part in the proposal",
    ("slice",),
    (
        Column("slice", STRING, "its name"),
        Column("verdict", STRING, "confirmed, unconfirmed or too_small"),
        Column("num_rows", INT64, "rows on confirm"),
        Column("num_units", INT64, "units on confirm"),
        Column("accuracy", FLOAT64, "of the slice on confirm, in [0, 1]", True),
        Column("accuracy_rest", FLOAT64, "of other rows of the same classes, weighted as the slice's are", True),
        Column("drop", FLOAT64, "accuracy_rest - accuracy", True),
        Column("drop_low", FLOAT64, "lower end of its 95 % interval", True),
        Column("drop_high", FLOAT64, "upper end", True),
        Column("drop_adjusted_low", FLOAT64, "lower end among confirmed slices", True),
        Column("drop_adjusted_high", FLOAT64, "upper end", True),
        Column("p_value", FLOAT64, "one-sided, adjusted for all slices tested", True),
        Column("reason", STRING, "why too_small or unconfirmed, in words", True),
    ),
)
