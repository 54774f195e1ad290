"""The tables of evaluations: columns, types, units and meaning."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from counterset.errors import ExtensionError
from counterset.evaluation.metric import Metric
from counterset.evaluation.metrics import METRICS
from counterset.schemas import BOOL, CLASS_ID, FLOAT32, FLOAT64, INT32, INT64, STRING, Column, TableSchema


def vectors(dim: int) -> TableSchema:
    """The schema of a shard of vectors with `dim` dimensions."""
    return TableSchema(
        "vectors",
        "one photo or one label's prompts under one model",
        ("key",),
        (
            Column("key", STRING, "sha256 of the photo as its source serves it, or of the prompts"),
            Column("vector", pa.list_(FLOAT32, dim), "unit-length features, or a classifier's logits"),
        ),
    )


ANSWERS = TableSchema(
    "answers",
    "one photo's answer by a callable",
    ("key",),
    (
        Column("key", STRING, "sha256 of the photo as its source serves it"),
        Column("answer", STRING, "the answer's text; null = it gave scores", True),
        Column(
            "scores", pa.list_(FLOAT64), "one score a candidate, in alphabetical order; null = it gave a text", True
        ),
    ),
)


def metrics(names: Iterable[str] | None = None) -> TableSchema:
    """The schema of the table of metrics.

    Args:
        names: of the metrics that it has; None = all, those of installed packages included.

    Raises:
        ExtensionError: a metric's package cannot be loaded, or its columns are there already.
    """
    columns: list[Column] = list(_ABOUT_MODELS)
    for name in METRICS if names is None else names:
        metric: Metric = METRICS[name]
        taken = {column.name for column in (*columns, *_LINE)} & {column.name for column in metric.columns}
        if taken:
            raise ExtensionError(
                f"the metric {name!r} has the column {min(taken)!r}, which is another's; "
                "update or uninstall the package that it comes from"
            )
        columns += metric.columns
    return TableSchema("metrics", "one model on one release and label space", ("model",), (*columns, *_LINE))


_ABOUT_MODELS = (
    Column("model", STRING, "the model's name"),
    Column("family", STRING, "CLIP, ImageNet (classifiers of its 1000 classes), classifier (of others), other"),
    Column("label_space", STRING, "the candidate labels"),
    Column("is_in_sample", BOOL, "shares weights or training data with the release's selector or annotator"),
    Column("in_sample_reason", STRING, "what it shares with which; null = nothing known", True),
    Column("num_classes", INT64, "classes of the means"),
    Column("num_photos", INT64, "photos of both sides"),
    Column("num_observers", INT64, "observers of both sides"),
    Column("num_units", INT64, "independent units of both sides", True),
    Column("num_unknown", INT64, "answers that name no candidate, counted as wrong"),
    Column("num_vanished", INT64, "photos of the half that were withdrawn or could not be fetched, in no figure", True),
    Column("drop_lowest", FLOAT64, "the drop if all vanished photos spoke against it; null = none vanished", True),
    Column("drop_highest", FLOAT64, "the drop if all vanished photos spoke for it", True),
)

_LINE = (
    Column("line", STRING, "the family whose line `residual` is measured from; null = too few models", True),
    Column("scale", STRING, "the axes that the line is straight on: linear, logit or probit", True),
    Column("residual", FLOAT64, "counter accuracy beyond the line: effective robustness", True),
    Column("residual_low", FLOAT64, "lower end of its 95 % interval, units drawn, line fitted anew", True),
    Column("residual_high", FLOAT64, "upper end", True),
)

COMPARISON = TableSchema(
    "comparison",
    "one class that both the release and the paper have",
    ("class_id",),
    (
        CLASS_ID,
        Column("imagenet_index", INT32, "index in ImageNet-1K"),
        Column("pair", STRING, "same, swapped, one (background of two the same), other, or none (chosen here)"),
        Column("verdict", STRING, "the release's: confirmed, unconfirmed or too_small"),
        Column("common", STRING, "common background here", True),
        Column("counter", STRING, "counter background here", True),
        Column("published_common", STRING, "common background there"),
        Column("published_counter", STRING, "counter background there"),
        Column("drop", FLOAT64, "the selector's drop here; null = none measured", True),
        Column("drop_low", FLOAT64, "lower end of its 95 % interval", True),
        Column("drop_high", FLOAT64, "upper end", True),
        Column("published_drop", FLOAT64, "the published selector's drop there: in-sample, so biased upwards"),
    ),
)

COMPARED_MODELS = TableSchema(
    "compared_models",
    "one class and model, here, there or both",
    ("class_id", "model"),
    (
        CLASS_ID,
        Column("model", STRING, "the model's name here"),
        Column("common", FLOAT64, "accuracy on common here, in [0, 1]", True),
        Column("counter", FLOAT64, "accuracy on counter here", True),
        Column("drop", FLOAT64, "common - counter here", True),
        Column("published_common", FLOAT64, "accuracy on common there, in [0, 1]", True),
        Column("published_counter", FLOAT64, "accuracy on counter there", True),
        Column("published_drop", FLOAT64, "published_common - published_counter", True),
    ),
)
