"""The release's tables, made from the stages' tables. Pure: tables in, tables out."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.causes.controlled import what_remains
from counterset.causes.covariates import TOLD, covariates_of
from counterset.causes.wrong_answers import where_errors_go
from counterset.config_sections import SOURCES
from counterset.licenses import license_url
from counterset.naming.schemas import GROUP_NAMES, Naming
from counterset.release.publish import captions
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.series import replication, with_since
from counterset.release.schemas import (
    ALL_PHOTOS,
    ATTRIBUTION,
    CAPTIONS,
    GROUPS,
    SPLITS,
    split_schema,
)
from counterset.schemas import PAIRS, PREDICTIONS, REJECTS, SENSITIVITY, TableSchema
from counterset.statistics.series import looks_until
from counterset.tables import conform

BATCH_ROWS = 20_000
"""Photos whose rows are Python's at a time."""
MAX_ATTRIBUTION = 1_000
"""Characters kept of a credit line."""


def release_tables(inputs: ReleaseInputs) -> dict[str, pa.Table]:
    """Every table of a release but `tombstones`, by name, conformed to `release.schemas`."""
    all_photos = _all_photos(inputs)
    pairs = conform(inputs.pairs, PAIRS)
    predictions = _predictions(inputs, all_photos)
    wrong = where_errors_go(all_photos, pairs, predictions, inputs.classes, inputs.imagenet_labels)
    looks = looks_until(inputs.series.looks, pairs, inputs.series.day or inputs.source_snapshot)
    selectors = [model.name for model in inputs.models if model.role == "selector"]
    limits = inputs.config.select
    covariates = covariates_of(
        all_photos,
        predictions,
        selectors,
        appearance=inputs.appearance,
        places=_places(inputs),
        animals=inputs.animals,
        told=inputs.candidates.select(["photo_id", *TOLD]),
    )
    remains = what_remains(
        all_photos,
        pairs,
        predictions,
        covariates,
        selectors,
        min_photos=limits.min_photos,
        num_permutations=limits.num_permutations,
        seed=inputs.config.seed,
    )
    tables = {
        "all_photos": all_photos,
        "groups": _groups(inputs, pairs),
        "pairs": pairs,
        "predictions": predictions,
        "sensitivity": conform(inputs.sensitivity, SENSITIVITY),
        "wrong_answers": wrong.by_class,
        "wrong_answers_by_model": wrong.by_model,
        "covariates": covariates,
        "balance": remains.balance,
        "decomposition": remains.decomposition,
        "controlled": remains.controlled,
        "group_names": conform(inputs.group_names, GROUP_NAMES),
        "captions": _captions(inputs, all_photos),
        "rejects": conform(inputs.rejects, REJECTS),
        "looks": looks,
        "replication": replication(all_photos, pairs, inputs.predictions, looks, list(inputs.config.models.selectors)),
        "attribution": _attribution(all_photos),
    }
    for split in SPLITS:
        tables[split] = _split(inputs, all_photos, pairs, split)
    return tables


def _places(inputs: ReleaseInputs) -> pa.Table | None:
    """Where photos were taken, as hashes that stay here; None where the source tells no places."""
    names = inputs.members.column_names
    return inputs.members.select(["photo_id", "place"]) if "place" in names else None


def query(sql: str, schema: TableSchema, **tables: pa.Table) -> pa.Table:
    """`sql` over `tables` (each by its name), conformed to `schema`."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        for name, table in tables.items():
            connection.register(name, table)
        return conform(connection.sql(sql).to_arrow_table(), schema)


def _class_rows(inputs: ReleaseInputs) -> pa.Table:
    return pa.table(
        {
            "class_id": pa.array([spec.class_id for spec in inputs.classes], pa.string()),
            "class_name": pa.array([spec.name for spec in inputs.classes], pa.string()),
            "imagenet_index": pa.array([spec.imagenet_index for spec in inputs.classes], pa.int32()),
            "class_label": pa.array(range(len(inputs.classes)), pa.int64()),
        }
    )


def _all_photos(inputs: ReleaseInputs) -> pa.Table:
    return query(
        """
        SELECT m.photo_id, m.class_id, k.class_name, k.imagenet_index,
               CASE b."group" WHEN q.common THEN 'common' WHEN q.counter THEN 'counter' END AS split,
               b."group", b.background, b.margin AS background_margin,
               m.half, m.observer, m.unit, m.unit_since, c.source, c.url,
               p.sha256, p.width_px, p.height_px, p.size_bytes, p.phash,
               c.license, c.attribution, c.observed_on, c.taxon_id, c.taxon_name
        FROM (SELECT * FROM members ANTI JOIN withdrawn USING (photo_id)) m
        JOIN photos p USING (photo_id)
        JOIN (SELECT * REPLACE (left(attribution, $limit) AS attribution) FROM candidates) c USING (photo_id)
        JOIN classes k ON k.class_id = m.class_id
        LEFT JOIN backgrounds b USING (photo_id)
        LEFT JOIN pairs q ON q.class_id = m.class_id
        """.replace("$limit", str(MAX_ATTRIBUTION)),
        ALL_PHOTOS,
        members=with_since(inputs.members, inputs.series),
        withdrawn=inputs.rejects.filter(pc.equal(inputs.rejects["stage"], "publish")).select(["photo_id"]),
        photos=inputs.photos,
        candidates=inputs.candidates,
        classes=_class_rows(inputs),
        backgrounds=inputs.backgrounds.drop_columns(["profile"]),
        pairs=inputs.pairs,
    )


def _split(inputs: ReleaseInputs, all_photos: pa.Table, pairs: pa.Table, split: str) -> pa.Table:
    return query(
        f"""
        SELECT a.*, k.class_label, a."group" AS background, q.verdict,
               coalesce(q.naming, '{Naming.UNAUDITED.value}') AS naming
        FROM (SELECT * EXCLUDE (background) FROM all_photos) a
        JOIN pairs q USING (class_id)
        JOIN classes k USING (class_id)
        WHERE a.split = '{split}'
        """,
        split_schema(split),
        all_photos=all_photos,
        pairs=pairs,
        classes=_class_rows(inputs).select(["class_id", "class_label"]),
    )


def _groups(inputs: ReleaseInputs, pairs: pa.Table) -> pa.Table:
    return query(
        """
        SELECT g.*, CASE g."group" WHEN q.common THEN 'common' WHEN q.counter THEN 'counter' END AS split,
               num_photos / sum(num_photos) OVER (PARTITION BY class_id, model, half) AS frequency
        FROM groups g LEFT JOIN pairs q USING (class_id)
        """,
        GROUPS,
        groups=inputs.group_accuracy,
        pairs=pairs,
    )


def _predictions(inputs: ReleaseInputs, all_photos: pa.Table) -> pa.Table:
    return query(
        "SELECT p.* FROM predictions p SEMI JOIN all_photos USING (photo_id)",
        PREDICTIONS,
        predictions=inputs.predictions,
        all_photos=all_photos,
    )


def _captions(inputs: ReleaseInputs, all_photos: pa.Table) -> pa.Table:
    place = pc.index_in(all_photos["photo_id"], inputs.candidates["photo_id"].combine_chunks())
    texts = inputs.candidates.select(["title", "description", "tags"]).take(place)
    photos = all_photos.select(["photo_id", "class_id", "class_name", "group"])
    parts = [CAPTIONS.arrow().empty_table()]
    for start in range(0, len(photos), BATCH_ROWS):
        own, said = (table.slice(start, BATCH_ROWS).combine_chunks() for table in (photos, texts))
        parts.append(_captioned(own, *(said[name].combine_chunks() for name in said.column_names), cue=inputs.cue))
    return conform(pa.concat_tables(parts), CAPTIONS)


def _captioned(photos: pa.Table, titles: pa.Array, descriptions: pa.Array, tags: pa.ListArray, *, cue: str) -> pa.Table:
    """The captions of some photos, from what the source says of each."""
    title, description = captions.clean_texts(titles), captions.clean_texts(descriptions)
    names, groups = (photos[name].combine_chunks().dictionary_encode() for name in ("class_name", "group"))
    animals, backgrounds = names.dictionary.to_pylist(), [*groups.dictionary.to_pylist(), None]
    group = pc.fill_null(groups.indices, len(groups.dictionary)).to_numpy()
    pairs, pair_of = np.unique(names.indices.to_numpy() * len(backgrounds) + group, return_inverse=True)
    both = [
        captions.caption_object_background(animals[pair // len(backgrounds)], backgrounds[pair % len(backgrounds)], cue)
        for pair in pairs.tolist()
    ]
    return pa.table(
        {
            "photo_id": photos["photo_id"],
            "class_id": photos["class_id"],
            "title": title,
            "description": description,
            "tags": captions.clean_tag_lists(tags),
            "language": captions.guess_languages(title, description),
            "caption_object": pa.array([*map(captions.caption_object, animals)], pa.string()).take(names.indices),
            "caption_object_background": pa.array(both, pa.string()).take(pa.array(pair_of)),
        }
    ).cast(CAPTIONS.arrow())


def _attribution(all_photos: pa.Table) -> pa.Table:
    kinds = {name: SOURCES[name] for name in all_photos["source"].unique().to_pylist() if name in SOURCES}
    license_of = {code: license_url(code) for code in all_photos["license"].unique().to_pylist()}
    pages, licenses = [], []
    for batch in all_photos.select(["source", "photo_id", "url", "license"]).to_batches(max_chunksize=BATCH_ROWS):
        rows = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        told = [kinds[source].page_url(photo_id, url) if source in kinds else None for source, photo_id, url, _ in rows]
        pages.append(pa.array(told, pa.string()))
        licenses.append(pa.array([license_of[code] for *_, code in rows], pa.string()))
    table = all_photos.select(["photo_id", "source", "license", "attribution"])
    for name, chunks in (("license_url", licenses), ("page_url", pages)):
        table = table.append_column(name, pa.chunked_array(chunks, pa.string()))
    return conform(table, ATTRIBUTION)
