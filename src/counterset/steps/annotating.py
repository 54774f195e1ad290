"""Backgrounds of members, shard by shard and then class by class, beside memory where there are many photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.classes import ClassSpec
from counterset.config_sections import ANNOTATORS
from counterset.models.door import open_text_model
from counterset.models.kept_texts import KeptTexts
from counterset.photo_rows import Rows
from counterset.schemas import BACKGROUNDS, MEMBERS, STABILITY, embeddings
from counterset.stages import annotate, group
from counterset.steps.keys import Build
from counterset.storage import place
from counterset.tables import TableRef, feature_matrix, read_parts, read_table, table_of
from counterset.wide_rows import by_number


def annotate_classes(
    build: Build, members: TableRef, embedded: list[TableRef], specs: Sequence[ClassSpec], path: Path
) -> tuple[pa.Table, Rows]:
    """The stability of some classes, none of which depends on another, and their members' backgrounds, for which
    there is a file at `path`.
    """
    stability: list[dict[str, object]] = []
    backgrounds = Rows.sorted(_annotated(build, members, embedded, specs, stability), BACKGROUNDS.arrow(), path)
    return table_of(STABILITY, stability), backgrounds


def _annotated(
    build: Build,
    members: TableRef,
    embedded: list[TableRef],
    specs: Sequence[ClassSpec],
    stability: list[dict[str, object]],
) -> Iterator[pa.Table]:
    """The backgrounds of one class after the other, whose stability is added."""
    config = build.config
    method, names = config.annotate.method, [background.name for background in build.vocabulary]
    for number, own in _scored(build, members, embedded, specs):
        own, class_id = own.sort_by("photo_id"), specs[number].class_id
        annotation = annotate.annotate_class(_matrix(own["scores"]), len(names), method)
        # (N, B) -> (N,)
        share = _matrix(own["elsewhere"])[np.arange(len(own)), annotation.best]
        annotation = annotate.none_of_these(annotation, share, config.annotate.max_elsewhere)
        profiles, margins = annotation.profiles, annotation.margins
        groups = group.group_photos(profiles, margins, names, config.group, seed=config.seed)
        agreement = group.stability(profiles, margins, names, config.group, seed=config.seed, formed=groups)
        stability.append({"class_id": class_id, **agreement._asdict()})
        photo_ids = own["photo_id"].combine_chunks()
        yield annotate.background_rows(
            class_id, photo_ids, annotation, groups, names, config.annotate, share_elsewhere=share
        )


def _scored(
    build: Build, members: TableRef, embedded: list[TableRef], specs: Sequence[ClassSpec]
) -> Iterator[tuple[int, pa.Table]]:
    """What is told of the members of one class after the other, by its number: photo_id, B + E scores, and for each of
    the B backgrounds the share of other places that suit it better. Memory does not grow with D.
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
    num_scores = len(directions[specs[0].class_id])
    told = pa.schema(
        [
            ("class_number", pa.int32()),
            ("photo_id", pa.string()),
            ("scores", pa.list_(pa.float32(), num_scores)),
            ("elsewhere", pa.list_(pa.float32(), num_backgrounds)),
        ]
    )
    with by_number(told, "class_number", len(specs)) as by_class:
        for ref, own in by_shard(members, embedded):
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
            scores = np.zeros((len(own), num_scores), np.float32)
            for number in np.unique(class_of):
                rows = class_of == number
                scores[rows] = _products(directions[class_ids[number].as_py()], vectors[rows])
            columns = {"class_number": class_of, "photo_id": own["photo_id"]}
            columns |= {"scores": _lists(scores), "elsewhere": _lists(elsewhere)}
            by_class.add(pa.table(columns))
        yield from by_class.read()


def _lists(values: np.ndarray) -> pa.Array:
    """N lists of K numbers of (N, K)."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _matrix(lists: pa.ChunkedArray) -> np.ndarray:
    """(N, K) of N such lists."""
    return np.asarray(pc.list_flatten(lists).to_numpy(), np.float32).reshape(len(lists), -1)


def by_shard(members: TableRef, embedded: list[TableRef]) -> Iterator[tuple[TableRef, pa.Table]]:
    """The file of one shard after the other that holds members, and these: photo_id, class_id, in order of photo_id."""
    file_of = {place(ref.path).stem: ref for ref in embedded}
    names = sorted(file_of)
    told = pa.schema([("number", pa.int32()), ("photo_id", pa.string()), ("class_id", pa.string())])
    with by_number(told, "number", len(names)) as shards:
        for part in read_parts(members.path, MEMBERS, ["photo_id", "class_id", "shard"]):
            numbers = pc.index_in(part["shard"], pa.array(names, pa.string()))
            shards.add(part.append_column("number", numbers).filter(pc.is_valid(numbers)))
        for number, own in shards.read():
            yield file_of[names[number]], own


def _products(directions: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(K, W) scores, each vector by itself, for one product of all has bits that depend on the others."""
    # (1, W, D) @ (K, D, 1) -> (K, W, 1)
    return np.asarray(np.matmul(directions[None], vectors[:, :, None])[:, :, 0], np.float32)
