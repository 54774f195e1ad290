"""The tables that builds pass on, as data: columns, types, units and meaning, by version.

A table is described once, in a module called `schemas`: here, or in the room that alone uses it. Writers stamp name and
version into the Parquet metadata, and readers check them. Accuracies and drops are fractions, never per cent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

SCHEMA_VERSION = 1


class RejectReason(StrEnum):
    """Why a photo was turned away; `detail` in the rejects table says more."""

    LICENSE = "license"
    """The photo's own licence is not among the accepted ones."""
    UNCREDITED = "uncredited"
    """Its licence asks for a credit line, and the source gives none."""
    NOT_RESEARCH_GRADE = "not_research_grade"
    CAPTIVE = "captive"
    NOT_ORGANISM = "not_organism"
    """Annotated as track, scat, feather, bone, ... and not as an organism."""
    DEAD = "dead"
    LIFE_STAGE = "life_stage"
    """Annotated as egg, larva or pupa."""
    HIDDEN = "hidden"
    """Hidden or flagged by the source, or replaced by a placeholder image."""
    URL_REFUSED = "url_refused"
    """No URL, not http(s), a private address, or a host the source does not use; a file that cannot be read."""
    MALFORMED = "malformed"
    """A line of a list that does not keep to the list's format, or a row that names no class."""
    DUPLICATE_ID = "duplicate_id"
    """The same photo was offered before, or for several classes, which says that its class is unknown."""
    UNCLEAR_CLASS = "unclear_class"
    """Its caption names several classes, or what its class excludes."""
    SAME_OBSERVATION = "same_observation"
    """Another photo of the same observation was taken."""
    OBSERVER_DAY_CAP = "observer_day_cap"
    """The observer's photos of this class and day reached the cap."""
    NOT_SAMPLED = "not_sampled"
    """Acceptable, but not among the N chosen for its class."""
    UNIDENTIFIED = "unidentified"
    """The observation has no taxon, or one outside the class."""
    GONE = "gone"
    """The host says that the photo is no longer there (403, 404, 410)."""
    REFUSED = "refused"
    """The host refuses (401, 429, robots headers)."""
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    TOO_LARGE = "too_large"
    """More bytes or more pixels than the cap (decompression bombs)."""
    UNDECODABLE = "undecodable"
    """Not an image, or a truncated or corrupt one."""
    TOO_SMALL = "too_small"
    ASPECT_RATIO = "aspect_ratio"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    BRIDGES_HALVES = "bridges_halves"
    """It would join two units of the last release that are in different halves."""
    WITHDRAWN = "withdrawn"
    """Deleted, re-licensed or re-identified at the source since it was crawled."""
    LABEL_NOISE = "label_noise"
    """A reviewer says that the photo does not show the class."""
    FEATURE_NOISE = "feature_noise"
    """A reviewer says that the picture is corrupted."""
    AMBIGUITY = "ambiguity"
    """A reviewer says that it shows objects of several classes."""
    CLARITY = "clarity"
    """A reviewer says that the class is not the main thing that it shows."""
    SHARD_FAILED = "shard_failed"
    """Its shard failed in a stage three times and was set aside; a later build tries it again."""


class Half(StrEnum):
    """The half an observer belongs to, decided by a hash before any pixel is read."""

    DISCOVER = "discover"
    CONFIRM = "confirm"
    ALL = "all"
    """Both halves together (paper mode, and totals)."""


class Verdict(StrEnum):
    """What is said of a class."""

    CONFIRMED = "confirmed"
    UNCONFIRMED = "unconfirmed"
    TOO_SMALL = "too_small"


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type, whether it may be null, and its meaning with unit."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = False


@dataclass(frozen=True)
class TableSchema:
    """One table: its name, the key its rows are sorted and unique by, its columns."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    version: int = SCHEMA_VERSION

    def arrow(self) -> pa.Schema:
        """The Arrow schema, with docs per field and name and version in its metadata."""
        return pa.schema(
            [
                pa.field(column.name, column.type, nullable=column.nullable, metadata={"doc": column.doc})
                for column in self.columns
            ],
            metadata={"counterset.table": self.name, "counterset.schema_version": str(self.version)},
        )


STRING, INT32, INT64, FLOAT32, FLOAT64, BOOL = (
    pa.string(),
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.bool_(),
)
TEXTS = pa.list_(pa.string())

PHOTO_ID = Column("photo_id", STRING, "<source>-<the source's own id>, e.g. inaturalist-24355315")
CLASS_ID = Column("class_id", STRING, "the class list's class_id, e.g. ice_bear")

CANDIDATES = TableSchema(
    "candidates",
    "one photo offered by a source",
    ("photo_id",),
    (
        PHOTO_ID,
        CLASS_ID,
        Column("source", STRING, "inaturalist, open_data, url_list or folder"),
        Column("url", STRING, "where the photo is downloaded from"),
        Column("license", STRING, "the photo's licence code, lower case (cc-by-nc); null = all rights reserved", True),
        Column("attribution", STRING, "the credit line to show with the photo", True),
        Column("observation_id", STRING, "the source's observation; photos of one observation share it"),
        Column("observer_id", STRING, "the source's user"),
        Column("place", STRING, "salted hash of the cell where it was taken, never published; null = unknown", True),
        Column("observed_on", pa.date32(), "day of observation", True),
        Column("hour", INT64, "of observation, local time, 0 to 23; null = not told", True),
        Column("taxon_id", INT64, "the source's taxon at crawl time", True),
        Column("taxon_name", STRING, "scientific name at crawl time", True),
        Column("life_stage", STRING, "adult, juvenile and the like; null = nobody said", True),
        Column("sex", STRING, "female or male, or as a list says; null = nobody said", True),
        Column("quality_grade", STRING, "research, needs_id or casual", True),
        Column("title", STRING, "the source's own title", True),
        Column("description", STRING, "the observer's own words", True),
        Column("tags", TEXTS, "the observer's own tags", True),
    ),
)

PHOTOS = TableSchema(
    "photos",
    "one downloaded photo that decodes",
    ("photo_id",),
    (
        PHOTO_ID,
        Column("sha256", STRING, "of the bytes as downloaded, hex"),
        Column("width_px", INT32, "pixels of the upright picture"),
        Column("height_px", INT32, "pixels of the upright picture"),
        Column("size_bytes", INT64, "bytes as downloaded"),
        Column("phash", pa.binary(8), "64-bit perceptual hash (DCT) of the upright picture"),
        Column("shard", STRING, "the shard whose images file holds the bytes"),
    ),
)

IMAGES = TableSchema(
    "images",
    "one downloaded photo's bytes",
    ("photo_id",),
    (PHOTO_ID, Column("image", pa.large_binary(), "the bytes as downloaded, never re-encoded")),
)

REJECTS = TableSchema(
    "rejects",
    "one photo turned away, by any stage",
    ("photo_id", "stage"),
    (
        PHOTO_ID,
        Column("class_id", STRING, "the class it was offered for"),
        Column("stage", STRING, "crawl, download, curate, embed or publish"),
        Column("reason", STRING, "a RejectReason"),
        Column("detail", STRING, "what exactly, in words"),
    ),
)

MEMBERS = TableSchema(
    "members",
    "one photo that is kept by curation",
    ("photo_id",),
    (
        PHOTO_ID,
        CLASS_ID,
        Column("observation_id", STRING, "the source's observation"),
        Column("observer", STRING, "salted hash of source and observer_id, 16 hex digits"),
        Column("place", STRING, "as in candidates", True),
        Column("unit", STRING, "opaque number of the independent unit: observers and places that photos connect"),
        Column("half", STRING, "discover or confirm, by hash of the unit"),
        Column("shard", STRING, "the shard that holds its bytes"),
    ),
)


def embeddings(embedding_dim: int, *, with_surroundings: bool = False) -> TableSchema:
    """The embeddings table of a model with `embedding_dim` dimensions.

    Args:
        embedding_dim: D.
        with_surroundings: of an annotator whose method looks past the animal; both vectors are of the whole frame.
    """
    vector = pa.list_(FLOAT32, embedding_dim)
    around = Column("surroundings", vector, "unit-length features of the places around the animal")
    return TableSchema(
        "embeddings",
        "one photo under one model",
        ("photo_id", "model"),
        (
            PHOTO_ID,
            Column("model", STRING, "the model's name in the config"),
            Column("embedding", vector, "unit-length image features"),
            *((around,) if with_surroundings else ()),
        ),
    )


def text_features(embedding_dim: int) -> TableSchema:
    """The zero-shot classifier of a model with `embedding_dim` dimensions."""
    return TableSchema(
        "text_features",
        "one label under one model and one set of prompts",
        ("position",),
        (
            Column("position", INT32, "of the label in its label space"),
            Column("label", STRING, "the label"),
            Column("embedding", pa.list_(FLOAT32, embedding_dim), "unit-length mean over the prompts"),
        ),
    )


BACKGROUNDS = TableSchema(
    "backgrounds",
    "one photo's background",
    ("photo_id",),
    (
        PHOTO_ID,
        CLASS_ID,
        Column("profile", pa.list_(FLOAT32), "one score per background, in the vocabulary's order"),
        Column("background", STRING, "the background of the highest score"),
        Column("margin", FLOAT32, "highest score minus second highest"),
        Column("group", STRING, "the background group within the class; null = abstained", True),
        Column("is_confident", BOOL, "false where the annotator abstains (group is null)"),
        Column("elsewhere", FLOAT32, "share of phrases of other places that suit it better than background", True),
    ),
)

PREDICTIONS = TableSchema(
    "predictions",
    "one photo, one model, one label space",
    ("photo_id", "model", "label_space"),
    (
        PHOTO_ID,
        Column("model", STRING, "the model's name in the config"),
        Column("label_space", STRING, "name of the label space"),
        Column("predicted", STRING, "the label of the highest logit"),
        Column("is_correct", BOOL, "predicted equals the photo's class"),
        Column("rank_of_truth", INT32, "1 = the class has the highest logit"),
        Column("margin", FLOAT32, "cosine of the class minus the best other label; negative when wrong"),
    ),
)

GROUP_ACCURACY = TableSchema(
    "group_accuracy",
    "one class, group, model, half",
    ("class_id", "group", "model", "half"),
    (
        CLASS_ID,
        Column("group", STRING, "background group"),
        Column("model", STRING, "the model's name in the config"),
        Column("half", STRING, "discover, confirm or all"),
        Column("num_photos", INT64, "photos"),
        Column("num_observers", INT64, "distinct observers"),
        Column("num_units", INT64, "distinct units", True),
        Column("num_correct", INT64, "photos predicted right"),
        Column("accuracy", FLOAT64, "num_correct / num_photos, in [0, 1]"),
    ),
)

PAIRS = TableSchema(
    "pairs",
    "one class's chosen pair",
    ("class_id",),
    (
        CLASS_ID,
        Column("verdict", STRING, "confirmed, unconfirmed or too_small"),
        Column("common", STRING, "group of the highest accuracy; null when too small", True),
        Column("counter", STRING, "group of the lowest accuracy; null when too small", True),
        Column("drop_discover", FLOAT64, "accuracy(common) - accuracy(counter) on discover: biased upwards", True),
        Column("drop", FLOAT64, "accuracy_common - accuracy_counter: unbiased; paper mode: over all photos", True),
        Column("drop_low", FLOAT64, "lower end of the 95 % interval of drop", True),
        Column("drop_high", FLOAT64, "upper end", True),
        Column("drop_confirm", FLOAT64, "the plain drop over the confirm half's photos: unbiased, wider", True),
        Column("p_value", FLOAT64, "one-sided, of selector margins that do not differ, choice included", True),
        Column("p_value_drop", FLOAT64, "one-sided, of a drop of 0 or less", True),
        Column("q_value", FLOAT64, "Benjamini-Hochberg over classes, of the larger of both p-values", True),
        Column("drop_shrunken", FLOAT64, "the drop to quote: shrunken by what all tested classes show", True),
        Column("drop_shrunken_low", FLOAT64, "lower end of its 95 % interval", True),
        Column("drop_shrunken_high", FLOAT64, "upper end", True),
        Column("drop_adjusted_low", FLOAT64, "lower end of drop's interval among confirmed classes", True),
        Column("drop_adjusted_high", FLOAT64, "upper end", True),
        Column("share_chosen", FLOAT64, "share of random halvings that would choose this pair, in [0, 1]", True),
        Column("share_confirmed", FLOAT64, "share of them that would confirm it too, of confirmed pairs", True),
        Column("accuracy_common", FLOAT64, "on confirm, over all splits that choose this pair, in [0, 1]", True),
        Column("accuracy_counter", FLOAT64, "the same of counter", True),
        Column("num_common", INT64, "photos of the common group, both halves"),
        Column("num_counter", INT64, "photos of the counter group, both halves"),
        Column("num_observers_common", INT64, "observers of the common group, both halves"),
        Column("num_observers_counter", INT64, "observers of the counter group, both halves"),
        Column("num_units_common", INT64, "units of the common group, both halves", True),
        Column("num_units_counter", INT64, "units of the counter group, both halves", True),
        Column("frequency_common", FLOAT64, "share of the class's grouped photos, in [0, 1]", True),
        Column("frequency_counter", FLOAT64, "share of the class's grouped photos, in [0, 1]", True),
        Column("is_common_rarer", BOOL, "the common group is rarer than its counter"),
        Column("detectable_drop", FLOAT64, "smallest true drop confirmed with power 0.8", True),
        Column("breaking_share", FLOAT64, "share of outcome-dependent mislabels that could explain the drop", True),
        Column("is_fragile", BOOL, "breaking_share is below the config's limit"),
        Column("drop_unsure", FLOAT64, "drop on confirm of photos below their group's median background margin", True),
        Column("drop_sure", FLOAT64, "drop on confirm of the other photos", True),
        Column("drop_lowest_model", FLOAT64, "lowest drop on confirm over all models and prompts", True),
        Column("drop_highest_model", FLOAT64, "highest drop on confirm over all models and prompts", True),
        Column("stability_seeds", FLOAT64, "adjusted Rand index of the class's groups over k-means seeds", True),
        Column("stability_halves", FLOAT64, "the same between groups formed of half of the photos and of all", True),
        Column("unit_correlation", FLOAT64, "of two photos of one unit in one group, over all classes", True),
        Column("unit_correlation_common", FLOAT64, "in the common background of this class, shrunken to all", True),
        Column("unit_correlation_counter", FLOAT64, "the same in the counter background", True),
        Column("unit_correlation_across", FLOAT64, "of two photos of one unit in two groups of this class", True),
        Column("is_uneven", BOOL, "the smaller group has clearly the larger correlation: not confirmed", True),
        Column("observer_correlation", FLOAT64, "the same of one observer", True),
        Column("place_correlation", FLOAT64, "the same of two observers of one unit, whom a place joins", True),
        Column("share_cut", FLOAT64, "share of the pair's photos in a place that holds several units: a leak", True),
        Column("cut_correlation", FLOAT64, "the same of one place and two units, left where a unit was cut", True),
        Column("look", INT32, "number of this release's look in its series; null = not tested", True),
        Column("level", FLOAT64, "largest q-value that this look confirms", True),
        Column("confirmed_look", INT32, "the look that first confirmed this pair", True),
        Column("reason", STRING, "why too_small or unconfirmed, in words", True),
        Column("naming", STRING, "audited, unaudited or failed: how far both names can be trusted", True),
        Column("name_precision_common", FLOAT64, "share of the common group's photos that are rightly named", True),
        Column("name_precision_common_low", FLOAT64, "lower end of its 95 % interval", True),
        Column("name_precision_common_high", FLOAT64, "upper end", True),
        Column("num_labels_common", INT64, "photos of the common group that were labelled blindly", True),
        Column("name_precision_counter", FLOAT64, "the same of the counter group", True),
        Column("name_precision_counter_low", FLOAT64, "lower end of its 95 % interval", True),
        Column("name_precision_counter_high", FLOAT64, "upper end", True),
        Column("num_labels_counter", INT64, "photos of the counter group that were labelled blindly", True),
        Column("drop_corrected", FLOAT64, "drop between photos that truly show common and counter, by labels", True),
        Column("drop_corrected_low", FLOAT64, "lower end of its 95 % interval", True),
        Column("drop_corrected_high", FLOAT64, "upper end", True),
    ),
)

SENSITIVITY = TableSchema(
    "sensitivity",
    "one class's pair under one model and one set of prompts, on confirm",
    ("class_id", "model", "templates"),
    (
        CLASS_ID,
        Column("model", STRING, "the model's name in the config"),
        Column("templates", STRING, "the prompts, as in evaluate.templates"),
        Column("num_common", INT64, "photos of the common group"),
        Column("num_counter", INT64, "photos of the counter group"),
        Column("accuracy_common", FLOAT64, "in [0, 1]"),
        Column("accuracy_counter", FLOAT64, "in [0, 1]"),
        Column("drop", FLOAT64, "accuracy_common - accuracy_counter"),
    ),
)

STABILITY = TableSchema(
    "stability",
    "how much one class's groups depend on chance: 1 = not at all, 0 = they are chance",
    ("class_id",),
    (
        CLASS_ID,
        Column("seeds", FLOAT64, "mean adjusted Rand index between groupings by different k-means seeds"),
        Column("halves", FLOAT64, "the same between the groups of half of the photos, formed alone, and of all"),
    ),
)
