"""The tables of metrics: columns, types, units and meaning."""

from __future__ import annotations

from counterset.schemas import CLASS_ID, FLOAT64, INT64, STRING, Column, TableSchema

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
        Column("low", FLOAT64, "lower end of the 95 % interval, unit = observer"),
        Column("high", FLOAT64, "upper end"),
    ),
)
