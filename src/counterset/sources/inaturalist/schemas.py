"""The table of what iNaturalist tells: columns, types, units and meaning."""

from __future__ import annotations

import pyarrow as pa

from counterset.schemas import INT64, STRING, TEXTS, Column, TableSchema

OFFERS = TableSchema(
    "offers",
    "one photo of one observation, as the API told of it",
    ("uuid", "position"),
    (
        Column("observation_id", INT64, "integer id of the observation; null where only the bulk tables told", True),
        Column("uuid", STRING, "of the observation; the one id that API and bulk tables share"),
        Column("position", pa.int32(), "0 = the observation's first photo"),
        Column("photo_id", INT64, "integer id of the photo; null where the service gives none", True),
        Column("license", STRING, "its code; what is not understood, in lower case; null = all rights reserved", True),
        Column("url", STRING, "as given; null or a placeholder for bad photos", True),
        Column("attribution", STRING, "as given", True),
        Column("is_hidden", pa.bool_(), "hidden, or with an unresolved flag, or by a suspended user"),
        Column("observer_id", STRING, "integer id of the user, as text"),
        Column("observer_name", STRING, "the user's name, or else login"),
        Column("place", STRING, "salted hash of the cell of the globe; null = unknown, coarse or obscured", True),
        Column("observed_on", pa.date32(), "day of observation", True),
        Column("hour", INT64, "of observation, local time as given, 0 to 23; null = only the day is known", True),
        Column("taxon_id", INT64, "the observation's taxon", True),
        Column("taxon_name", STRING, "its scientific name", True),
        Column("ancestor_ids", pa.list_(INT64), "of the taxon, with itself"),
        Column("quality_grade", STRING, "research, needs_id or casual", True),
        Column("is_captive", pa.bool_(), "captive or cultivated"),
        Column("annotations", TEXTS, "'attribute|value' with a vote score of 0 or more"),
        Column("title", STRING, "species_guess", True),
        Column("description", STRING, "the observer's own words", True),
        Column("tags", TEXTS, "the observer's own tags"),
    ),
)
