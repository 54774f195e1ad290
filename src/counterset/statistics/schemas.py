"""The tables of metrics and of series: columns, types, units and meaning."""

from __future__ import annotations

from counterset.schemas import CLASS_ID, FLOAT64, INT32, INT64, STRING, Column, TableSchema

CLASS_METRICS = TableSchema(
    "class_metrics",
    "one model's accuracy on one side of one class's pair",
    ("model", "class_id", "side"),
    (
        Column("model", STRING, "the model's name"),
        CLASS_ID,
        Column("side", STRING, "common, counter or drop (common minus counter)"),
        Column("num_photos", INT64, "photos"),
        Column("accuracy", FLOAT64, "in [0, 1]; drops in [-1, 1]"),
        Column("low", FLOAT64, "lower end of the 95 % interval, over units"),
        Column("high", FLOAT64, "upper end"),
    ),
)

LOOKS = TableSchema(
    "looks",
    "one class at one look of its series: this release and those before it",
    ("look", "class_id"),
    (
        Column("look", INT32, "number of the look in the series, from 1"),
        CLASS_ID,
        Column("day", STRING, "the day that the source's answers were of, ISO 8601"),
        Column("level", FLOAT64, "largest q-value that the look confirms: its share of the series' error"),
        Column("q_value", FLOAT64, "as in pairs", True),
        Column("verdict", STRING, "as in pairs"),
        Column("common", STRING, "as in pairs", True),
        Column("counter", STRING, "as in pairs", True),
        Column("drop", FLOAT64, "as in pairs", True),
    ),
)

REPLICATION = TableSchema(
    "replication",
    "one confirmed pair at one later look: its drop on units that had no part in confirming it",
    ("class_id", "look"),
    (
        CLASS_ID,
        Column("confirmed_look", INT32, "the look that confirmed the pair"),
        Column("look", INT32, "the look that first saw these units"),
        Column("day", STRING, "the day that its source's answers were of"),
        Column("num_units", INT64, "units first seen at this look, of either side"),
        Column("num_common", INT64, "their photos of the common group"),
        Column("num_counter", INT64, "their photos of the counter group"),
        Column("drop", FLOAT64, "the selectors' drop over these photos; null = a side has none", True),
        Column("low", FLOAT64, "lower end of its 95 % interval", True),
        Column("high", FLOAT64, "upper end", True),
        Column("num_units_since", INT64, "units first seen at this look or an earlier one after confirmed_look"),
        Column("num_common_since", INT64, "their photos of the common group"),
        Column("num_counter_since", INT64, "their photos of the counter group"),
        Column("drop_since", FLOAT64, "the selectors' drop over these photos", True),
        Column("low_since", FLOAT64, "lower end of its 95 % interval", True),
        Column("high_since", FLOAT64, "upper end", True),
    ),
)
