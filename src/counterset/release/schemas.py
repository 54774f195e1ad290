"""The tables of a release: columns, types, units and meaning.

Rows of `common` and `counter` say nothing of any model's outcome: whoever joins
`predictions` by `photo_id` does so knowingly.
"""

from __future__ import annotations

import pyarrow as pa

from counterset.causes.schemas import (
    BALANCE,
    CONTROLLED,
    COVARIATES,
    DECOMPOSITION,
    WRONG_ANSWERS,
    WRONG_ANSWERS_BY_MODEL,
)
from counterset.naming.schemas import GROUP_NAMES
from counterset.schemas import (
    CLASS_ID,
    FLOAT32,
    FLOAT64,
    INT32,
    INT64,
    PAIRS,
    PHOTO_ID,
    PREDICTIONS,
    REJECTS,
    SENSITIVITY,
    STRING,
    TEXTS,
    Column,
    TableSchema,
)
from counterset.statistics.schemas import LOOKS, REPLICATION

SPLITS = ("common", "counter")

IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
"""A bundled photo, in the form that Hugging Face `datasets` decodes: no other, so its offsets have 32 bits, and files
of photos are written and read in parts of `publish.files.BYTES_PER_PART`."""

_CLASS_NAME = Column("class_name", STRING, "the class's name as prompts say it")
_IMAGENET_INDEX = Column("imagenet_index", INT32, "index in ImageNet-1K; null = not one of its classes", True)
_CLASS_LABEL = Column(
    "class_label",
    INT64,
    "number of the class in release.json, from 0, of which hubs show the name; null = not said",
    True,
)
_URL = Column("url", STRING, "where the photo lies")
_SHA256 = Column("sha256", STRING, "of the bytes at url, hex")
_WIDTH = Column("width_px", INT32, "pixels of the upright picture")
_HEIGHT = Column("height_px", INT32, "pixels of the upright picture")
_LICENSE = Column("license", STRING, "licence code, lower case; null = all rights reserved", True)
_ATTRIBUTION = Column("attribution", STRING, "the credit line to show with the photo", True)
_OBSERVER = Column("observer", STRING, "salted hash of the observer")
_UNIT = Column(
    "unit",
    STRING,
    "opaque number of the independent unit of all statistics: observers joined by the places that they share; "
    "null = before units, where the observer is the unit",
    True,
)
_HALF = Column(
    "half", STRING, "discover (the pair was chosen on it), confirm (kept out of the choice) or all (imported)"
)

_SPLIT_COLUMNS = (
    PHOTO_ID,
    CLASS_ID,
    _CLASS_NAME,
    _IMAGENET_INDEX,
    _CLASS_LABEL,
    Column("background", STRING, "the background group, the same for all rows of a class in one split"),
    Column("verdict", STRING, "confirmed or unconfirmed: what was found of the class's pair"),
    Column(
        "naming", STRING, "audited, unaudited or failed: how far the names of the class's pair can be trusted", True
    ),
    _HALF,
    _OBSERVER,
    _UNIT,
    _URL,
    _SHA256,
    _WIDTH,
    _HEIGHT,
    _LICENSE,
    _ATTRIBUTION,
)

_BUNDLED = (
    Column("image", IMAGE, "the photo without metadata; null where its licence forbids passing it on", True),
    Column("bundled_sha256", STRING, "of the bytes in image, hex", True),
)
BUNDLED_COLUMNS = tuple(column.name for column in _BUNDLED)
"""The columns that a release without photos lacks."""


def split_schema(split: str, with_images: bool = False) -> TableSchema:
    """The schema of `common` or `counter`: one photo of a chosen pair."""
    columns = (*_SPLIT_COLUMNS, *_BUNDLED) if with_images else _SPLIT_COLUMNS
    return TableSchema(split, f"one photo of a class's {split} background", ("class_id", "photo_id"), columns)


ALL_PHOTOS = TableSchema(
    "all_photos",
    "one photo that curation kept, in a pair or not",
    ("photo_id",),
    (
        PHOTO_ID,
        CLASS_ID,
        _CLASS_NAME,
        _IMAGENET_INDEX,
        Column("split", STRING, "common, counter, or null = in no pair", True),
        Column("group", STRING, "background group within the class; null = the annotator abstained", True),
        Column("background", STRING, "background of the highest score", True),
        Column("background_margin", FLOAT32, "highest score minus second highest", True),
        _HALF,
        _OBSERVER,
        _UNIT,
        Column("unit_since", INT32, "the look of the series that first saw the unit; null = before series", True),
        Column("source", STRING, "where the photo was found"),
        _URL,
        _SHA256,
        _WIDTH,
        _HEIGHT,
        Column("size_bytes", INT64, "bytes at url"),
        Column("phash", pa.binary(8), "64-bit perceptual hash (DCT)"),
        _LICENSE,
        _ATTRIBUTION,
        Column("observed_on", pa.date32(), "day of observation", True),
        Column("taxon_id", INT64, "the source's taxon", True),
        Column("taxon_name", STRING, "scientific name", True),
    ),
)

GROUPS = TableSchema(
    "groups",
    "one class, background group, model and half",
    ("class_id", "group", "model", "half"),
    (
        CLASS_ID,
        Column("group", STRING, "background group"),
        Column("model", STRING, "the model's name"),
        Column("half", STRING, "discover, confirm or all"),
        Column("split", STRING, "common, counter, or null = not chosen", True),
        Column("num_photos", INT64, "photos"),
        Column("num_observers", INT64, "distinct observers"),
        Column("num_units", INT64, "distinct units; null = before units, where the observer is the unit", True),
        Column("num_correct", INT64, "photos predicted right"),
        Column("accuracy", FLOAT64, "num_correct / num_photos, in [0, 1]"),
        Column("frequency", FLOAT64, "num_photos / all grouped photos of the class and half, in [0, 1]"),
    ),
)

CAPTIONS = TableSchema(
    "captions",
    "one photo's texts: the source's own, stripped of personal data, and two templated ones",
    ("photo_id",),
    (
        PHOTO_ID,
        CLASS_ID,
        Column("title", STRING, "the source's own title", True),
        Column("description", STRING, "the observer's own words", True),
        Column("tags", TEXTS, "the observer's own tags"),
        Column("language", STRING, "guessed ISO 639-1 code of title and description; null = no guess", True),
        Column("caption_object", STRING, "templated: the animal alone"),
        Column("caption_object_background", STRING, "templated: the animal and its background; null = abstained", True),
    ),
)

ATTRIBUTION = TableSchema(
    "attribution",
    "one photo's licence and credit line",
    ("photo_id",),
    (
        PHOTO_ID,
        _LICENSE,
        Column("license_url", STRING, "the licence's text; null = all rights reserved", True),
        _ATTRIBUTION,
        Column("page_url", STRING, "the photo's own page at its source", True),
    ),
)

TOMBSTONES = TableSchema(
    "tombstones",
    "one photo that an earlier version held and this one does not: id and reason, no content",
    ("photo_id",),
    (
        PHOTO_ID,
        CLASS_ID,
        Column("version", STRING, "the first version without it"),
        Column("reason", STRING, "a reject reason, or 'not_in_build' when the build gave none"),
    ),
)

TABLES: dict[str, TableSchema] = {
    table.name: table
    for table in (
        ALL_PHOTOS,
        GROUPS,
        PAIRS,
        PREDICTIONS,
        SENSITIVITY,
        WRONG_ANSWERS,
        WRONG_ANSWERS_BY_MODEL,
        COVARIATES,
        BALANCE,
        DECOMPOSITION,
        CONTROLLED,
        GROUP_NAMES,
        CAPTIONS,
        REJECTS,
        ATTRIBUTION,
        LOOKS,
        REPLICATION,
        TOMBSTONES,
    )
}
"""The tables beside the two splits; `<name>.parquet` each."""

ADDED = (
    "group_names",
    "wrong_answers",
    "wrong_answers_by_model",
    "covariates",
    "balance",
    "decomposition",
    "controlled",
    "looks",
    "replication",
)
"""Tables that releases of earlier versions lack: they are read as empty."""
