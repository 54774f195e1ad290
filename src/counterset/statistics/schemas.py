"""The tables of metrics and of series: columns, types, units and meaning."""

from __future__ import annotations

import pyarrow as pa

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

_COMPARED = (
    Column("difference", FLOAT64, "of accuracies or drops, class-balanced"),
    Column("low", FLOAT64, "lower end of its 95 % interval, over units"),
    Column("high", FLOAT64, "upper end"),
    Column("p_value", FLOAT64, "of no difference, two-sided, of this comparison alone"),
    Column("p_adjusted", FLOAT64, "by Holm over all comparisons of the measure"),
    Column(
        "verdict",
        STRING,
        "higher or lower (p_adjusted at most 0.05), undecided, or same: no photo (of releases: no unit) differs",
    ),
    Column("detectable", FLOAT64, "true difference that so many comparisons show with power 0.8 (Bonferroni's level)"),
)
_MEASURE = Column("measure", STRING, "drop, common or counter (accuracies)")

MODEL_PAIRS = TableSchema(
    "model_pairs",
    "two models and a measure: the first less the other, on the same photos",
    ("model", "other", "measure"),
    (
        Column("model", STRING, "a model's name"),
        Column("other", STRING, "another's"),
        _MEASURE,
        Column("num_photos", INT64, "photos of the measure: of one side, or of both"),
        Column("num_model_only", INT64, "of these, where only the first is right"),
        Column("num_other_only", INT64, "where only the other is right; on the rest they tie"),
        *_COMPARED,
    ),
)

MODEL_RANKS = TableSchema(
    "model_ranks",
    "one of the models compared, by its drop",
    ("model",),
    (
        Column("model", STRING, "the model's name"),
        Column("drop", FLOAT64, "class-balanced, common - counter"),
        Column("common", FLOAT64, "accuracy on common, in [0, 1]"),
        Column("counter", FLOAT64, "accuracy on counter, in [0, 1]"),
        Column("rank_low", INT64, "the first rank that the comparisons leave it, 1 = smallest drop"),
        Column("rank_high", INT64, "the last"),
    ),
)

RELEASE_PAIRS = TableSchema(
    "release_pairs",
    "one model and measure: one release less another, over the classes of both",
    ("model", "measure"),
    (
        Column("model", STRING, "the model's name"),
        _MEASURE,
        Column("first", FLOAT64, "in the first release"),
        Column("second", FLOAT64, "in the other"),
        *_COMPARED,
    ),
)

CLOCKS = TableSchema(
    "clocks",
    "one model and measure: photos newer than its training data less older ones, over the classes of both",
    ("model", "measure"),
    (
        Column("model", STRING, "the model's name"),
        _MEASURE,
        Column("trained_until", pa.date32(), "a photo taken later is newer than all of its training data"),
        Column("num_classes", INT64, "classes with photos on both sides among newer and older ones alike"),
        Column("num_newer", INT64, "photos taken later"),
        Column("num_older", INT64, "the others"),
        Column("first", FLOAT64, "on the newer photos"),
        Column("second", FLOAT64, "on the older ones"),
        *_COMPARED,
    ),
)
