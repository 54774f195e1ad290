"""How far groups' names can be trusted, as data."""

from __future__ import annotations

from enum import StrEnum

from counterset.schemas import CLASS_ID, FLOAT64, INT64, STRING, Column, TableSchema


class Naming(StrEnum):
    """How far the names of a pair's two groups can be trusted, by labels made without seeing them."""

    AUDITED = "audited"
    """Both names are right more often than the config's limit, by the lower ends of their intervals."""
    UNAUDITED = "unaudited"
    """There are no labels, or too few to tell."""
    FAILED = "failed"
    """One of them is right less often, by the upper end of its interval; or other places suit most of its photos better
    than the name, and no labels say that it is right."""


GROUP_NAMES = TableSchema(
    "group_names",
    "one class's group: how often its name is right, by photos that were labelled blindly",
    ("class_id", "group"),
    (
        CLASS_ID,
        Column("group", STRING, "background group"),
        Column("num_photos", INT64, "photos of the group"),
        Column("precision", FLOAT64, "share of the group's photos that truly are of it, in [0, 1]", True),
        Column("precision_low", FLOAT64, "lower end of its 95 % interval", True),
        Column("precision_high", FLOAT64, "upper end", True),
        Column("num_labels_precision", INT64, "labelled photos behind it"),
        Column("recall", FLOAT64, "share of the class's photos that truly are of the group and are in it", True),
        Column("recall_low", FLOAT64, "lower end of its 95 % interval", True),
        Column("recall_high", FLOAT64, "upper end", True),
        Column("num_labels_recall", INT64, "labelled photos that truly are of the group"),
        Column(
            "share_elsewhere", FLOAT64, "share of the group's photos that other places suit better than its name", True
        ),
    ),
)
