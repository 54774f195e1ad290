"""The tables of audits and prunings: columns, types, units and meaning.

Similarities are cosines in [-1, 1] under one model, which the folder's JSON file names.
"""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa

from counterset.schemas import BOOL, CLASS_ID, FLOAT32, FLOAT64, INT64, PHOTO_ID, STRING, Column, TableSchema


class PruneReason(StrEnum):
    """Why a base image was removed."""

    DUPLICATE = "duplicate"
    """Another image of its k-means cluster is more similar than the limit and stands for it."""
    NEAR = "near"
    """Nearer to a query than that query's nearest reference image."""
    FAR = "far"
    """Not among the most similar to the queries that were asked for."""


def queries(embedding_dim: int) -> TableSchema:
    """The queries of one run: photos of releases, or rows of embedding files."""
    return TableSchema(
        "similarity_queries",
        "one query",
        ("query_id", "query_set"),
        (
            Column("query_id", STRING, "photo_id, or the id in the embeddings' files"),
            Column("query_set", STRING, "the release's or the embeddings' name"),
            Column("embedding", pa.list_(FLOAT32, embedding_dim), "of length 1"),
        ),
    )


NEAREST_PARTS = TableSchema(
    "similarity_nearest_parts",
    "one query's most similar vector in one shard",
    ("query",),
    (
        Column("query", INT64, "index of the query"),
        Column("nearest_id", STRING, "the vector's id", True),
        Column("similarity", FLOAT32, "to it; -inf in a shard without rows"),
    ),
)

NEAR_PARTS = TableSchema(
    "similarity_near_parts",
    "one vector of a shard that exceeds a query's threshold",
    ("row",),
    (
        Column("row", INT64, "row in the shard"),
        Column("query", INT64, "index of the query that it exceeds by most; ties to the first"),
        Column("similarity", FLOAT32, "to that query"),
    ),
)

FAR_PARTS = TableSchema(
    "similarity_far_parts",
    "one vector of a shard with its nearest query",
    ("row",),
    (
        Column("row", INT64, "row in the shard"),
        Column("query", INT64, "index of its most similar query; ties to the first"),
        Column("similarity", FLOAT32, "to that query"),
    ),
)

CLUSTER_PARTS = TableSchema(
    "similarity_cluster_parts",
    "one k-means cluster in one shard",
    ("cluster",),
    (Column("cluster", INT64, "index of the centroid"), Column("num_rows", INT64, "vectors of the shard in it")),
)

DUPLICATE_PARTS = TableSchema(
    "similarity_duplicate_parts",
    "one vector that another stands for",
    ("shard", "row"),
    (
        Column("shard", INT64, "index of its shard"),
        Column("row", INT64, "row in it"),
        Column("other_id", STRING, "id of the one that stands for it"),
        Column("similarity", FLOAT32, "of the two"),
    ),
)

BASE_SHARDS = TableSchema(
    "base_shards",
    "one shard of the embeddings that were compared with",
    ("role", "shard"),
    (
        Column("role", STRING, "base or reference"),
        Column("shard", STRING, "path within its folder"),
        Column("num_rows", INT64, "vectors"),
        Column("vectors_sha256", STRING, "of the file of vectors, hex"),
        Column("ids_sha256", STRING, "of the file of ids, hex; the same file for Parquet"),
    ),
)

NEAREST = TableSchema(
    "nearest",
    "one photo of the release with its most similar training image",
    ("photo_id",),
    (
        PHOTO_ID,
        CLASS_ID,
        Column("split", STRING, "common, counter, or null = in no pair", True),
        Column("group", STRING, "background group within the class; null = abstained", True),
        Column("half", STRING, "discover, confirm or all"),
        Column("nearest_id", STRING, "id of the most similar vector of the base; ties to the first"),
        Column("similarity", FLOAT32, "cosine to it"),
        Column("is_near_duplicate", BOOL, "similarity is above the audit's threshold"),
    ),
)

GROUPS = TableSchema(
    "similarity_groups",
    "one class and background group",
    ("class_id", "group"),
    (
        CLASS_ID,
        Column("group", STRING, "background group; '' = the annotator abstained"),
        Column("split", STRING, "common, counter, or null = in no pair", True),
        Column("num_photos", INT64, "photos with an embedding"),
        Column("mean", FLOAT64, "mean similarity to the nearest training image"),
        Column("lower_quartile", FLOAT64, "25 % of photos are below"),
        Column("median", FLOAT64, "half of photos are below"),
        Column("upper_quartile", FLOAT64, "75 % of photos are below"),
        Column("highest", FLOAT64, "largest similarity"),
        Column("num_near_duplicates", INT64, "photos above the audit's threshold"),
    ),
)

BANDS = TableSchema(
    "similarity_bands",
    "one model's drop among the pairs' photos of one similarity band",
    ("model", "band"),
    (
        Column("model", STRING, "the model's name"),
        Column("band", STRING, "1 = farthest from the base; 'all' = not stratified; 'matched' = within all bands"),
        Column("similarity_low", FLOAT64, "lowest similarity of the band"),
        Column("similarity_high", FLOAT64, "highest similarity of the band"),
        Column("num_classes", INT64, "classes with photos on both sides"),
        Column("num_common", INT64, "photos of these classes"),
        Column("num_counter", INT64, "photos of these classes"),
        Column("num_observers", INT64, "observers of these photos"),
        Column("num_units", INT64, "independent units of these photos", True),
        Column("accuracy_common", FLOAT64, "weighted over classes as the drop; null without classes", True),
        Column("accuracy_counter", FLOAT64, "the same of counter", True),
        Column("drop", FLOAT64, "accuracy_common - accuracy_counter", True),
        Column("drop_low", FLOAT64, "lower end of the 95 % interval, over units", True),
        Column("drop_high", FLOAT64, "upper end", True),
    ),
)

OWN_DUPLICATES = TableSchema(
    "own_duplicates",
    "two photos of the release that are nearly the same",
    ("photo_id", "other_id"),
    (
        PHOTO_ID,
        Column("other_id", STRING, "the other photo; comes after photo_id"),
        CLASS_ID,
        Column("other_class_id", STRING, "the other's class"),
        Column("is_across_halves", BOOL, "one is in discover and the other in confirm: a leak"),
        Column("is_same_observer", BOOL, "both by one observer"),
        Column("similarity", FLOAT32, "of the two"),
    ),
)

PRUNE_QUERIES = TableSchema(
    "prune_queries",
    "one query with its nearest reference image",
    ("query_id", "query_set"),
    (
        Column("query_id", STRING, "photo_id, or the id in the embeddings' files"),
        Column("query_set", STRING, "the release's or the embeddings' name"),
        Column("reference_id", STRING, "its most similar reference image; null without --reference", True),
        Column("threshold", FLOAT32, "similarity to that: base images above it are removed", True),
    ),
)

KEPT = TableSchema(
    "kept",
    "one base image that was kept",
    ("id",),
    (
        Column("id", STRING, "the image's id"),
        Column("query_id", STRING, "its most similar query; null unless far-pruned", True),
        Column("query_set", STRING, "that query's set", True),
        Column("similarity", FLOAT32, "to that query", True),
    ),
)

REMOVED = TableSchema(
    "removed",
    "one base image that was removed",
    ("id",),
    (
        Column("id", STRING, "the image's id"),
        Column("reason", STRING, "duplicate, near or far; the first that applies, in this order"),
        Column("query_id", STRING, "near: the query it exceeds by most; far: its most similar query", True),
        Column("query_set", STRING, "that query's set", True),
        Column("duplicate_of", STRING, "the most similar image that stands before it in its cluster", True),
        Column("similarity", FLOAT32, "to that query or image"),
        Column("threshold", FLOAT32, "what that similarity was compared with"),
    ),
)
