"""The step that asks, before anything is published, whether the annotator's names say anything. No Prefect here."""

from __future__ import annotations

import hashlib
import heapq
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from json.encoder import encode_basestring_ascii
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.causes.schemas import EDGES
from counterset.errors import PictureError, SchemaError, WorkspaceError
from counterset.pictures import DECODER_VERSION, Picture
from counterset.schemas import BACKGROUNDS, MEMBERS
from counterset.stages.annotate.information import MAX_PHOTOS, SIDE_PX, Information, edges, information
from counterset.steps.keys import Build
from counterset.steps.table_steps import photo_bytes
from counterset.storage import place
from counterset.tables import TableRef, read_parts, read_table, table_of, write_bytes, write_table
from counterset.workspace import digest, versions

logger = logging.getLogger(__name__)

REVISION = 1
"""Raised by whoever changes what is made of the same tables."""
PACKAGES = ("pillow", "numpy")
"""Packages whose version may change the edges."""


def check_annotator(build: Build, members: TableRef, backgrounds: TableRef) -> Information | None:
    """What the names of a build say beyond the class, kept beside its backgrounds; a warning where that is nothing.

    Returns:
        None where nothing can be said: of one class, or of few photos.
    """
    key = place(backgrounds.path).parent.name
    path = build.workspace.folder("annotator", key) / f"{REVISION}-{members.sha256[:16]}.json"
    if not path.is_file():
        found = _look(build, members, backgrounds)
        write_bytes((json.dumps(asdict(found) if found else None, sort_keys=True) + "\n").encode(), path)
    stated = json.loads(path.read_text())
    found = Information(**stated) if stated else None
    if found is not None and found.is_empty:
        logger.warning(
            "the names that %s gives say nothing of the backgrounds (of %d photos, those with like surroundings are "
            "scored hardly more alike than others: %.3f), so `load` gives no pair of this release unless asked to; "
            "choose another annotator, or another annotate.method or vocabulary",
            build.config.models.annotator,
            found.num_photos,
            found.value,
        )
    return found


def _drawn_by(photo_id: str) -> bytes:
    """`digest` of an id, as bytes: the same order, a quarter of the time."""
    return hashlib.sha256(f"[{encode_basestring_ascii(photo_id)}]".encode()).digest()[:8]


def _look(build: Build, members: TableRef, backgrounds: TableRef) -> Information | None:
    """Look at the edges of at most MAX_PHOTOS photos, chosen by a hash of their ids."""
    photo_ids = (
        one for part in read_parts(members.path, MEMBERS, ["photo_id"]) for one in part["photo_id"].to_pylist()
    )
    chosen = sorted(heapq.nsmallest(MAX_PHOTOS, photo_ids, key=_drawn_by))
    rows = {
        row["photo_id"]: row
        for part in read_parts(backgrounds.path, BACKGROUNDS, ["photo_id", "class_id", "profile"])
        for row in part.filter(pc.is_in(part["photo_id"], pa.array(chosen, pa.string()))).to_pylist()
    }
    looks, profiles, classes = [], [], []
    for photo_id, look in _edges(build, chosen, photo_bytes(build, members)):
        if photo_id in rows:
            looks.append(look)
            profiles.append(rows[photo_id]["profile"])
            classes.append(rows[photo_id]["class_id"])
    if not looks:
        return None
    return information(
        np.array(profiles, np.float32), np.stack(looks), np.array(classes, np.str_), seed=build.config.seed
    )


def edges_key() -> str:
    """Of photos' edges: nothing but their bytes decides them."""
    return digest("edges", REVISION, versions(*PACKAGES), DECODER_VERSION)


def _edges(
    build: Build, photo_ids: Iterable[str], read: Callable[[str], bytes | None]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Photos that decode with their edges, which are kept for the next look: it looks at nearly the same photos. A
    damaged file of them is as if it were not there."""
    path = build.workspace.file("edges", edges_key(), "all")
    kept = EDGES.arrow().empty_table()
    if path.is_file():
        try:
            kept = read_table(path, EDGES)
        except (SchemaError, WorkspaceError) as error:
            logger.warning("%s; its edges are computed again", error)
    known = dict(zip(kept["sha256"].to_pylist(), kept["edges"].to_pylist(), strict=True))
    used: dict[str, Any] = {}
    for photo_id in photo_ids:
        content = read(photo_id)
        if content is None:
            continue
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 not in known:
            try:
                known[sha256] = edges(Picture.read(content).rgb(2 * SIDE_PX))
            except PictureError:  # it decoded when it was inspected
                continue
        used[sha256] = known[sha256]
        yield photo_id, np.asarray(known[sha256], np.float32)
    if used.keys() != set(kept["sha256"].to_pylist()):
        write_table(table_of(EDGES, {"sha256": list(used), "edges": list(used.values())}), EDGES, path)
