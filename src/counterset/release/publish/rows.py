"""The release's tables, made from the stages' tables. Pure: tables in, tables out."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.causes.wrong_answers import errors_of
from counterset.config_sections import SOURCES
from counterset.licenses import license_url
from counterset.naming.schemas import GROUP_NAMES, Naming
from counterset.parquet_sql import spilling
from counterset.photo_rows import Beside, Rows, alongside
from counterset.release.publish import captions
from counterset.release.publish.causes import write_causes
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.series import replication, seen_before
from counterset.release.publish.written import Written
from counterset.release.schemas import (
    CAPTIONS,
    GROUPS,
    SPLITS,
    split_schema,
)
from counterset.schemas import PAIRS, SENSITIVITY, TableSchema
from counterset.statistics.series import looks_until
from counterset.tables import conform
from counterset.wide_rows import ByNumber, by_number

MAX_ATTRIBUTION = 1_000
"""Characters kept of a credit line."""
_BY_PHOTO = ("all_photos", "captions", "attribution")


def photo_tables(inputs: ReleaseInputs, written: Written) -> None:
    """Write the tables that have one row per photo or answer."""
    with tempfile.TemporaryDirectory(prefix="counterset-") as folder:
        _write_photos(inputs, seen_before(inputs.rows("members"), inputs.series, Path(folder)), written)
    with written.growing("predictions") as answers:
        for part in inputs.rows("predictions").among(written["all_photos"].rows).read(None):
            answers.add(part)
    with written.growing("rejects") as rejects:
        for part in inputs.rows("rejects").read(None):
            rejects.add(part)


def release_tables(inputs: ReleaseInputs, written: Written) -> None:
    """Write every other table of a release but `tombstones`, conformed to `release.schemas`.

    Args:
        inputs: the same.
        written: with the tables that it wrote.
    """
    pairs = conform(inputs.pairs, PAIRS)
    looks = looks_until(inputs.series.looks, pairs, inputs.series.day or inputs.source_snapshot)
    written.add(
        groups=_groups(inputs, pairs),
        pairs=pairs,
        sensitivity=conform(inputs.sensitivity, SENSITIVITY),
        group_names=conform(inputs.group_names, GROUP_NAMES),
        looks=looks,
    )
    photos, answers = written["all_photos"].rows, written["predictions"].rows
    selectors = list(inputs.config.models.selectors)
    written.add(replication=replication(photos, pairs, answers, looks, selectors))
    read = ["class_id", "group", "unit", "observer"], ["model", "label_space", "predicted", "is_correct"]
    wrong = errors_of(alongside(photos, read[0], answers, read[1]), pairs, inputs.classes, inputs.imagenet_labels)
    written.add(wrong_answers=wrong.by_class, wrong_answers_by_model=wrong.by_model)
    write_causes(inputs, written, pairs)


def query(sql: str, schema: TableSchema, **tables: pa.Table) -> pa.Table:
    """`sql` over `tables` (each by its name), conformed to `schema`."""
    with spilling() as connection:
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


_OF_CANDIDATES = [
    *("source", "url", "license", "attribution", "observed_on", "taxon_id", "taxon_name"),
    *("title", "description", "tags"),
]
_OF_PHOTOS = ["sha256", "width_px", "height_px", "size_bytes", "phash"]


def _write_photos(inputs: ReleaseInputs, seen: Rows, written: Written) -> None:
    """Write `all_photos`, `captions` and `attribution`, some photos at a time, and then the splits, class by class."""
    withdrawn = Beside(inputs.rows("rejects").where("stage", "publish"), [])
    photos, candidates = Beside(inputs.rows("photos"), _OF_PHOTOS), Beside(inputs.rows("candidates"), _OF_CANDIDATES)
    backgrounds, since = (
        Beside(inputs.rows("backgrounds"), ["group", "background", "margin"]),
        Beside(seen, ["unit_since"]),
    )
    sides = _Sides(inputs)
    with contextlib.ExitStack() as stack:
        splits = {split: stack.enter_context(sides.by_class(split)) for split in SPLITS}
        all_photos, texts, credits = (stack.enter_context(written.growing(one)) for one in _BY_PHOTO)
        for own in inputs.rows("members").read(["photo_id", "class_id", "half", "observer", "unit"]):
            ids = own["photo_id"]
            found, told, seen_as = photos.of(ids), candidates.of(ids), backgrounds.of(ids)
            columns = {name: own[name] for name in own.column_names}
            columns |= sides.of(own["class_id"], seen_as["group"])
            columns |= {name: found[name] for name in _OF_PHOTOS} | {name: told[name] for name in _OF_CANDIDATES}
            columns |= {
                "group": seen_as["group"],
                "background": seen_as["background"],
                "background_margin": seen_as["margin"],
                "unit_since": pc.fill_null(since.of(ids)["unit_since"], inputs.series.look),
                "attribution": pc.utf8_slice_codeunits(told["attribution"], 0, MAX_ATTRIBUTION),
            }
            is_there = [found["photo_id"], told["photo_id"], columns["class_name"]]
            keep = functools.reduce(pc.and_, map(pc.is_valid, is_there))
            keep = pc.and_(keep, pc.is_null(withdrawn.of(ids)["photo_id"]))
            rows = pa.table(columns)
            rows = (rows if pc.all(keep).as_py() else rows.filter(keep)).combine_chunks()
            all_photos.add(rows)
            texts.add(_captioned(rows, cue=inputs.cue))
            credits.add(_attribution(rows))
            for split, of_split in splits.items():
                of_split.add(sides.rows_of(split, rows))
        for split, of_split in splits.items():
            written.add(**{split: (own for _, own in of_split.read())})


class _Sides:
    """The classes of a release and their pairs, for photos."""

    def __init__(self, inputs: ReleaseInputs) -> None:
        classes, pairs = _class_rows(inputs).sort_by("class_id"), conform(inputs.pairs, PAIRS)
        row = pc.index_in(classes["class_id"], pairs["class_id"].combine_chunks())
        for name in (*SPLITS, "verdict", "naming"):
            classes = classes.append_column(name, pairs[name].take(row))
        self._classes = classes

    def of(self, class_ids: pa.ChunkedArray, groups: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
        """Of each photo its class's name (null = no class of the release) and ImageNet index, and its split."""
        own = self._classes.take(self._row(class_ids))
        common, counter = (pc.equal(groups, own[split]) for split in SPLITS)
        split = pc.if_else(common, SPLITS[0], pc.if_else(counter, SPLITS[1], None))
        return {name: own[name] for name in ("class_name", "imagenet_index")} | {"split": split}

    def by_class(self, split: str) -> contextlib.AbstractContextManager[ByNumber]:
        """For the rows of a split, in order of photo_id."""
        schema = pa.schema([pa.field("class_number", pa.int32()), *split_schema(split).arrow()])
        return by_number(schema, "class_number", len(self._classes))

    def rows_of(self, split: str, photos: pa.Table) -> pa.Table:
        """The rows of a split among photos, with the numbers of their classes."""
        photos = photos.filter(pc.equal(photos["split"], split))
        row = self._row(photos["class_id"])
        own = self._classes.take(row)
        naming = pc.fill_null(own["naming"], Naming.UNAUDITED.value)
        columns: dict[str, Any] = {name: photos[name] for name in photos.column_names}
        columns |= {"class_number": row, "background": photos["group"], "naming": naming}
        return pa.table(columns | {name: own[name] for name in ("class_label", "verdict")})

    def _row(self, class_ids: pa.ChunkedArray) -> pa.ChunkedArray:
        return pc.index_in(class_ids, self._classes["class_id"].combine_chunks())


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
