"""The release's tables, made from the stages' tables. Pure: tables in, tables out."""

from __future__ import annotations

import contextlib
from dataclasses import replace

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
from counterset.parquet_sql import spilling
from counterset.release.publish import captions
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.series import replication, with_since
from counterset.release.publish.written import Written, WrittenTable
from counterset.release.schemas import (
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
_BY_PHOTO = ("all_photos", "captions", "attribution")
_COVARIATES_READ = [
    *("photo_id", "class_id", "group", "observer", "width_px", "height_px", "size_bytes", "observed_on", "taxon_name"),
]


def photo_tables(inputs: ReleaseInputs, written: Written) -> ReleaseInputs:
    """Write the tables that have one row per photo or answer; the inputs without what is only read for these."""
    told = _write_photos(inputs, written)
    _write_predictions(inputs, written)
    places = ["photo_id", "place"] if "place" in inputs.members.column_names else ["photo_id"]
    return replace(
        inputs,
        candidates=told,
        members=inputs.members.select(places),
        **{name: getattr(inputs, name).slice(0, 0) for name in ("photos", "backgrounds", "predictions")},
    )


def release_tables(inputs: ReleaseInputs, written: Written) -> None:
    """Write every other table of a release but `tombstones`, conformed to `release.schemas`.

    Args:
        inputs: what `photo_tables` left of them.
        written: with the tables that it wrote.
    """
    pairs = conform(inputs.pairs, PAIRS)
    # Of each photo and answer what is read of it, not the whole rows
    photos = written["all_photos"]
    predictions = written["predictions"].select(
        ["photo_id", "model", "label_space", "predicted", "is_correct", "margin"]
    )
    looks = looks_until(inputs.series.looks, pairs, inputs.series.day or inputs.source_snapshot)
    written.add(
        groups=_groups(inputs, pairs),
        pairs=pairs,
        sensitivity=conform(inputs.sensitivity, SENSITIVITY),
        group_names=conform(inputs.group_names, GROUP_NAMES),
        rejects=conform(inputs.rejects, REJECTS),
        looks=looks,
    )
    for split in SPLITS:
        written.add(**{split: _split(inputs, photos, pairs, split)})
    people = photos.select(["photo_id", "class_id", "split", "unit", "unit_since"])
    selectors = list(inputs.config.models.selectors)
    written.add(replication=replication(people, pairs, predictions, looks, selectors))
    people = photos.select(["photo_id", "class_id", "group", "unit", "observer"])
    wrong = where_errors_go(people, pairs, predictions, inputs.classes, inputs.imagenet_labels)
    written.add(wrong_answers=wrong.by_class, wrong_answers_by_model=wrong.by_model)
    predictions = predictions.drop_columns(["label_space", "predicted"])
    selectors = [model.name for model in inputs.models if model.role == "selector"]
    covariates = covariates_of(
        photos.select(_COVARIATES_READ),
        predictions,
        selectors,
        appearance=inputs.appearance,
        places=_places(inputs),
        animals=inputs.animals,
        told=inputs.candidates,
    )
    written.add(covariates=covariates)
    limits = inputs.config.select
    remains = what_remains(
        photos.select(["photo_id", "class_id", "group", "half", "observer", "unit"]),
        pairs,
        predictions,
        covariates,
        selectors,
        min_photos=limits.min_photos,
        num_permutations=limits.num_permutations,
        seed=inputs.config.seed,
    )
    written.add(balance=remains.balance, decomposition=remains.decomposition, controlled=remains.controlled)


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


def _write_photos(inputs: ReleaseInputs, written: Written) -> pa.Table:
    """Write `all_photos`, `captions` and `attribution`, some photos at a time; what the source tells of all of them
    (photo_id and TOLD)."""
    sql = """
        SELECT m.photo_id, m.class_id, k.class_name, k.imagenet_index,
               CASE b."group" WHEN q.common THEN 'common' WHEN q.counter THEN 'counter' END AS split,
               b."group", b.background, b.margin AS background_margin,
               m.half, m.observer, m.unit, m.unit_since, c.source, c.url,
               p.sha256, p.width_px, p.height_px, p.size_bytes, p.phash,
               c.license, left(c.attribution, $limit) AS attribution, c.observed_on, c.taxon_id, c.taxon_name,
               c.title, c.description, c.tags, c.hour, c.life_stage, c.sex
        FROM (SELECT * FROM members ANTI JOIN withdrawn USING (photo_id)) m
        JOIN photos p USING (photo_id)
        JOIN candidates c USING (photo_id)
        JOIN classes k ON k.class_id = m.class_id
        LEFT JOIN backgrounds b USING (photo_id)
        LEFT JOIN pairs q ON q.class_id = m.class_id
        ORDER BY m.photo_id
        """.replace("$limit", str(MAX_ATTRIBUTION))
    tables = {
        "members": with_since(inputs.members, inputs.series),
        "withdrawn": inputs.rejects.filter(pc.equal(inputs.rejects["stage"], "publish")).select(["photo_id"]),
        "photos": inputs.photos,
        "candidates": inputs.candidates,
        "classes": _class_rows(inputs),
        "backgrounds": inputs.backgrounds.drop_columns(["profile"]),
        "pairs": inputs.pairs,
    }
    told = []
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(spilling())
        for name, table in tables.items():
            connection.register(name, table)
        photos, texts, credits = (stack.enter_context(written.growing(one)) for one in _BY_PHOTO)
        for batch in connection.sql(sql).to_arrow_reader(BATCH_ROWS):
            rows = pa.Table.from_batches([batch])
            photos.add(rows)
            texts.add(_captioned(rows, cue=inputs.cue))
            credits.add(_attribution(rows))
            # Copied, for one column of DuckDB's holds all others of its batch
            told.append(rows.select(["photo_id", *TOLD]).take(pa.array(np.arange(len(rows)))))
    empty = inputs.candidates.select(["photo_id", *TOLD]).slice(0, 0)
    return pa.concat_tables(told) if told else empty


def _split(inputs: ReleaseInputs, photos: WrittenTable, pairs: pa.Table, split: str) -> pa.Table:
    return query(
        f"""
        SELECT a.*, k.class_label, a."group" AS background, q.verdict,
               coalesce(q.naming, '{Naming.UNAUDITED.value}') AS naming
        FROM (SELECT * EXCLUDE (background) FROM {photos.sql}) a
        JOIN pairs q USING (class_id)
        JOIN classes k USING (class_id)
        WHERE a.split = '{split}'
        """,
        split_schema(split),
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


def _write_predictions(inputs: ReleaseInputs, written: Written) -> None:
    """Write the answers about the photos of the release."""
    key = ", ".join(PREDICTIONS.key)
    sql = f"""
        SELECT * FROM predictions SEMI JOIN (SELECT photo_id FROM {written["all_photos"].sql}) USING (photo_id)
        ORDER BY {key}
        """
    with spilling() as connection, written.growing("predictions") as answers:
        connection.register("predictions", inputs.predictions)
        for batch in connection.sql(sql).to_arrow_reader(BATCH_ROWS):
            answers.add(pa.Table.from_batches([batch]))


def _captioned(photos: pa.Table, *, cue: str) -> pa.Table:
    """The captions of some photos, from what the source says of each."""
    title, description = (captions.clean_texts(photos[name].combine_chunks()) for name in ("title", "description"))
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
            "tags": captions.clean_tag_lists(photos["tags"].combine_chunks()),
            "language": captions.guess_languages(title, description),
            "caption_object": pa.array([*map(captions.caption_object, animals)], pa.string()).take(names.indices),
            "caption_object_background": pa.array(both, pa.string()).take(pa.array(pair_of)),
        }
    ).cast(CAPTIONS.arrow())


def _attribution(photos: pa.Table) -> pa.Table:
    """Licence and credit of some photos."""
    kinds = {name: SOURCES[name] for name in photos["source"].unique().to_pylist() if name in SOURCES}
    license_of = {code: license_url(code) for code in photos["license"].unique().to_pylist()}
    columns = (photos[name].to_pylist() for name in ("source", "photo_id", "url"))
    told = [
        kinds[source].page_url(photo_id, url) if source in kinds else None
        for source, photo_id, url in zip(*columns, strict=True)
    ]
    urls = [license_of[code] for code in photos["license"].to_pylist()]
    table = photos.select(["photo_id", "license", "attribution"])
    table = table.append_column("license_url", pa.array(urls, pa.string()))
    return table.append_column("page_url", pa.array(told, pa.string()))
