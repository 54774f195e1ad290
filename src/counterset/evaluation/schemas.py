"""The tables of evaluations: columns, types, units and meaning."""

from __future__ import annotations

import pyarrow as pa

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


def _estimate(name: str, doc: str) -> tuple[Column, Column, Column]:
    return (
        Column(name, FLOAT64, doc),
        Column(f"{name}_low", FLOAT64, "lower end of its 95 % interval, unit = observer"),
        Column(f"{name}_high", FLOAT64, "upper end"),
    )


METRICS = TableSchema(
    "metrics",
    "one model on one release and label space",
    ("model",),
    (
        Column("model", STRING, "the model's name"),
        Column("family", STRING, "CLIP, ImageNet (classifiers of its 1000 classes), classifier (of others), other"),
        Column("label_space", STRING, "the candidate labels"),
        Column("is_in_sample", BOOL, "shares weights or training data with the release's selector or annotator"),
        Column("in_sample_reason", STRING, "what it shares with which; null = nothing known", True),
        Column("num_classes", INT64, "classes of the means"),
        Column("num_photos", INT64, "photos of both sides"),
        Column("num_observers", INT64, "observers of both sides"),
        Column("num_unknown", INT64, "answers that name no candidate, counted as wrong"),
        *_estimate("common", "class-balanced accuracy on common, in [0, 1]"),
        *_estimate("counter", "class-balanced accuracy on counter, in [0, 1]"),
        *_estimate("drop", "common - counter"),
        Column("photo_average_common", FLOAT64, "share of all common photos that are right, in [0, 1]"),
        Column("photo_average_counter", FLOAT64, "the same of counter"),
        *_estimate("photo_average_drop", "photo_average_common - photo_average_counter"),
        Column("top5_common", FLOAT64, "class-balanced, truth among the five highest; null = no scores", True),
        Column("top5_counter", FLOAT64, "the same of counter", True),
        Column("worst_group", FLOAT64, "lowest accuracy of a class and side, in [0, 1]"),
        Column("worst_group_name", STRING, "that class and side, e.g. lion counter"),
        Column("worst_drop", FLOAT64, "largest drop of a class"),
        Column("worst_drop_class", STRING, "that class"),
        Column("line", STRING, "the family whose line `residual` is measured from; null = too few models", True),
        Column("scale", STRING, "the axes that the line is straight on: linear, logit or probit", True),
        Column("residual", FLOAT64, "counter accuracy beyond the line: effective robustness", True),
        Column("residual_low", FLOAT64, "lower end of its 95 % interval, observers drawn, line fitted anew", True),
        Column("residual_high", FLOAT64, "upper end", True),
    ),
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
