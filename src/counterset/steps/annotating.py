"""Backgrounds of members, from files to DuckDB's tables, which lie on disk where there are many photos."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.classes import ClassSpec
from counterset.config_sections import ANNOTATORS
from counterset.models.door import open_text_model
from counterset.models.kept_texts import KeptTexts
from counterset.parquet_sql import add, fill, packed, rows_of, runs, unpacked
from counterset.schemas import BACKGROUNDS, MEMBERS, STABILITY, embeddings
from counterset.stages import annotate, group
from counterset.steps.keys import Build, parts_of
from counterset.storage import place
from counterset.tables import TableRef, feature_matrix, read_table, table_of


def annotate_classes(
    build: Build,
    connection: duckdb.DuckDBPyConnection,
    members: TableRef,
    embedded: list[TableRef],
    specs: Sequence[ClassSpec],
) -> pa.Table:
    """Fill the table `named` with the backgrounds of the members of some classes, none of which depends on another
    class; the classes' stability.
    """
    config = build.config
    method, names = config.annotate.method, [background.name for background in build.vocabulary]
    stability: list[dict[str, object]] = []
    _score_backgrounds(build, connection, members, embedded, specs)
    keep_named(connection, [])
    scored = rows_of(connection, "FROM scores ORDER BY class_number, photo_id")
    for number, own in runs(scored, "class_number"):
        class_id = specs[number].class_id
        annotation = annotate.annotate_class(unpacked(own["scores"]), len(names), method)
        # (N, B) -> (N,)
        share = unpacked(own["elsewhere"])[np.arange(len(own)), annotation.best]
        annotation = annotate.none_of_these(annotation, share, config.annotate.max_elsewhere)
        profiles, margins = annotation.profiles, annotation.margins
        groups = group.group_photos(profiles, margins, names, config.group, seed=config.seed)
        agreement = group.stability(profiles, margins, names, config.group, seed=config.seed, formed=groups)
        stability.append({"class_id": class_id} | agreement._asdict())
        photo_ids = own["photo_id"].combine_chunks()
        named = annotate.background_rows(
            class_id, photo_ids, annotation, groups, names, config.annotate, share_elsewhere=share
        )
        add(connection, "named", _packed(named))
    return table_of(STABILITY, stability)


def keep_named(connection: duckdb.DuckDBPyConnection, parts: Iterable[pa.Table]) -> None:
    """Fill the table `named` with backgrounds, part by part, in any order."""
    fill(connection, "named", map(_packed, itertools.chain([BACKGROUNDS.arrow().empty_table()], parts)))


def named_rows(connection: duckdb.DuckDBPyConnection) -> Iterator[pa.Table]:
    """What the table `named` holds, in parts, in the order of photo_id."""
    for part in rows_of(connection, "FROM named ORDER BY photo_id"):
        if len(part):
            yield _with_profile(part, _lists(unpacked(part["profile"])))


def _packed(named: pa.Table) -> pa.Table:
    profiles = _matrix(named["profile"]) if len(named) else np.zeros((0, 1), np.float32)
    return _with_profile(named, packed(profiles))


def _with_profile(named: pa.Table, column: pa.Array) -> pa.Table:
    return named.set_column(named.column_names.index("profile"), "profile", column)


def _score_backgrounds(
    build: Build,
    connection: duckdb.DuckDBPyConnection,
    members: TableRef,
    embedded: list[TableRef],
    specs: Sequence[ClassSpec],
) -> None:
    """Fill the table `scores` with what is told of each member: number of its class, photo_id, B + E scores, and for
    each of the B backgrounds the share of other places that suit it better. Memory does not grow with D.
    """
    config = build.config
    model = open_text_model(config.models.annotator, config.models.backend)
    encoder = KeptTexts(model, build.texts_folder(model))
    method, num_backgrounds = config.annotate.method, len(build.vocabulary)
    directions = annotate.background_classifiers(
        encoder, build.vocabulary, specs, method, build.templates, are_together=encoder.texts_are_independent
    )
    crowd = annotate.places_and_elsewhere(encoder, build.vocabulary, build.elsewhere, build.templates)
    class_ids = pa.array([spec.class_id for spec in specs])
    looks_around, look = build.places is not None, ANNOTATORS[method].vectors
    schema = embeddings(model.embedding_dim, with_surroundings=looks_around)
    fill(connection, "scores", [_scores([], [], np.zeros((0, 1)), np.zeros((0, 1)))])
    for ref, own in by_shard(connection, members, embedded):
        own = own.filter(pc.is_in(own["class_id"], class_ids))
        if not len(own):
            continue
        table = read_table(ref.path, schema)
        vectors = look(feature_matrix(table), feature_matrix(table, "surroundings") if looks_around else None)
        place_of = pc.index_in(table["photo_id"], own["photo_id"].combine_chunks())
        is_kept = pc.is_valid(place_of).to_numpy()
        own = own.take(place_of.drop_null())
        elsewhere = annotate.shares_elsewhere(vectors, crowd, num_backgrounds)[is_kept]
        vectors, class_of = vectors[is_kept], pc.index_in(own["class_id"], class_ids).to_numpy()
        scores = np.zeros((len(own), len(directions[class_ids[0].as_py()])), np.float32)
        for number in np.unique(class_of):
            rows = class_of == number
            scores[rows] = _products(directions[class_ids[number].as_py()], vectors[rows])
        add(connection, "scores", _scores(class_of, own["photo_id"], scores, elsewhere))


def _scores(class_of: Any, photo_ids: Any, scores: np.ndarray, elsewhere: np.ndarray) -> pa.Table:
    """The rows of (N,) photos with (N, B + E) scores and (N, B) shares."""
    columns = {"class_number": pa.array(class_of, pa.int32()), "photo_id": pa.chunked_array([], pa.string())}
    columns["photo_id"] = photo_ids if len(photo_ids) else columns["photo_id"]
    return pa.table(columns | {"scores": packed(scores), "elsewhere": packed(elsewhere)})


def _lists(values: np.ndarray) -> pa.Array:
    """N lists of K numbers of (N, K)."""
    ends = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(ends, values.reshape(-1))


def _matrix(lists: pa.ChunkedArray) -> np.ndarray:
    """(N, K) of N lists of K numbers."""
    return np.asarray(pc.list_flatten(lists).to_numpy(), np.float32).reshape(len(lists), -1)


def by_shard(
    connection: duckdb.DuckDBPyConnection, members: TableRef, embedded: list[TableRef]
) -> Iterator[tuple[TableRef, pa.Table]]:
    """The file of one shard after the other that holds members, and these: photo_id, class_id, in order of photo_id."""
    fill(connection, "members", parts_of([members], MEMBERS, ["photo_id", "class_id", "shard"]))
    file_of = {place(ref.path).stem: ref for ref in embedded}
    for shard, own in runs(rows_of(connection, "FROM members ORDER BY shard, photo_id"), "shard"):
        if shard in file_of:
            yield file_of[shard], own


def _products(directions: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(K, W) scores, each vector by itself, for one product of all has bits that depend on the others."""
    # (1, W, D) @ (K, D, 1) -> (K, W, 1)
    return np.asarray(np.matmul(directions[None], vectors[:, :, None])[:, :, 0], np.float32)
