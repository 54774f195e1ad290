"""What a change in a column of a release means for the next version: one table, complete by default.

Every column of every table is compared. One that is not named here is content: when it changes
in a row that both releases hold, that row was edited, and the next version is a major one.
"""

from __future__ import annotations

from enum import StrEnum

from counterset.release.schemas import ADDED, TABLES


class Meaning(StrEnum):
    """What changed when a column's value did."""

    CONTENT = "content"
    """The row was edited: major."""
    RESULT = "result"
    """A figure over many photos. It moves when photos, classes or models come, and is then part of
    that addition; alone it makes a major version."""
    SCORE = "score"
    """A model's raw score. It differs in its last digits from one machine to another; what is decided
    by it (background, group, predicted label) is a column of its own. Minor."""
    RECORD = "record"
    """Says how the build went, of photos that the release does not hold: minor."""


_TABLES = {"groups": Meaning.RESULT, "pairs": Meaning.RESULT, "sensitivity": Meaning.RESULT, "rejects": Meaning.RECORD}

_COLUMNS = {
    ("all_photos", "background_margin"): Meaning.SCORE,
    ("all_photos", "unit"): Meaning.RESULT,
    ("all_photos", "unit_since"): Meaning.RESULT,
    ("predictions", "margin"): Meaning.SCORE,
    ("pairs", "common"): Meaning.CONTENT,
    ("pairs", "counter"): Meaning.CONTENT,
    ("pairs", "verdict"): Meaning.CONTENT,
}

COMPARED = tuple(name for name in TABLES if name not in ("tombstones", *ADDED))
"""Tables that a difference is read from. Tombstones follow from it; where wrong answers go follows from photos and
predictions, looks and replication from photos and pairs, and how often names are right from labels; rows of `common`
and `counter` are those of `all_photos` and `pairs`, and how the same photos are bundled with them is packaging."""


def meaning(table: str, column: str) -> Meaning:
    """What a change of this column means."""
    return _COLUMNS.get((table, column), _TABLES.get(table, Meaning.CONTENT))
