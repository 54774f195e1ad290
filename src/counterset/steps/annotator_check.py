"""The step that asks, before anything is published, whether the annotator's names say anything. No Prefect here."""

from __future__ import annotations

import heapq
import json
import logging
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.errors import PictureError
from counterset.pictures import Picture
from counterset.schemas import BACKGROUNDS, MEMBERS
from counterset.stages.annotate.information import MAX_PHOTOS, SIDE_PX, Information, edges, information
from counterset.steps.keys import Build
from counterset.steps.table_steps import photo_bytes
from counterset.storage import place
from counterset.tables import TableRef, read_parts, write_bytes
from counterset.workspace import digest

logger = logging.getLogger(__name__)

REVISION = 1
"""Raised by whoever changes what is made of the same tables."""


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


def _look(build: Build, members: TableRef, backgrounds: TableRef) -> Information | None:
    """Look at the edges of at most MAX_PHOTOS photos, chosen by a hash of their ids."""
    read = photo_bytes(build, members)
    photo_ids = (
        one for part in read_parts(members.path, MEMBERS, ["photo_id"]) for one in part["photo_id"].to_pylist()
    )
    chosen = sorted(heapq.nsmallest(MAX_PHOTOS, photo_ids, key=digest))
    rows = {
        row["photo_id"]: row
        for part in read_parts(backgrounds.path, BACKGROUNDS, ["photo_id", "class_id", "profile"])
        for row in part.filter(pc.is_in(part["photo_id"], pa.array(chosen, pa.string()))).to_pylist()
    }
    looks, profiles, classes = [], [], []
    for photo_id in chosen:
        content = read(photo_id)
        if content is None or photo_id not in rows:
            continue
        try:
            looks.append(edges(Picture.read(content).rgb(2 * SIDE_PX)))
        except PictureError:  # it decoded when it was inspected
            continue
        profiles.append(rows[photo_id]["profile"])
        classes.append(rows[photo_id]["class_id"])
    if not looks:
        return None
    return information(
        np.array(profiles, np.float32), np.stack(looks), np.array(classes, np.str_), seed=build.config.seed
    )
