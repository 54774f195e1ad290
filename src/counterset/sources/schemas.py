"""Tables of `counterset balance`."""

from __future__ import annotations

from enum import StrEnum

from counterset.schemas import FLOAT64, INT32, INT64, STRING, Column, TableSchema


class NotKept(StrEnum):
    """Why a row of a list is not among the balanced ones."""

    MALFORMED = "malformed"
    """A line that does not keep to the list's format."""
    NO_TEXT = "no_text"
    """Its title, description and tags are empty."""
    NO_ENTRY = "no_entry"
    """Its text names no entry."""
    NOT_DRAWN = "not_drawn"
    """No draw of an entry that it names succeeded."""


ENTRIES = TableSchema(
    "entries",
    "one entry that texts were balanced over",
    ("entry",),
    (
        Column("entry", STRING, "as its file has it; of several with the same words, the first"),
        Column("num_texts", INT64, "texts that name it"),
        Column("probability", FLOAT64, "that a draw of it succeeds: t / max(num_texts, t)"),
        Column("num_kept", INT64, "texts kept that name it, by whichever entry's draw"),
    ),
)

NOT_KEPT = TableSchema(
    "not_kept",
    "one row of a list that is not among the balanced ones",
    ("file", "row"),
    (
        Column("file", INT32, "number of its file as given, from 0"),
        Column("row", INT64, "number of the row, or of the line in a text, from 1"),
        Column("reason", STRING, "one of NotKept"),
    ),
)
