"""Which photos people are asked to label without seeing their name: a random sample with known probabilities.

Each group of each class, and the photos without a group, give so many photos by lot. A photo's lot is a hash, so a
larger sample of the same seed holds the smaller one, and a rebuild asks for few other photos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from counterset.review.schemas import AUDIT_SAMPLE
from counterset.tables import table_of

FOLDER = "audit_samples"
"""Of a workspace; a sample is <sample_id>.parquet in it."""


def draw_sample(
    backgrounds: pa.Table, photos_per_group: int, *, seed: int, class_ids: Collection[str] | None = None
) -> pa.Table:
    """One row per photo to be labelled (AUDIT_SAMPLE schema), class after class.

    Args:
        backgrounds: photo_id, class_id, group are read; photos without a group are a group of their own.
        photos_per_group: of each group of each class; all of a smaller one. `statistics.naming.photos_to_label` says
            how many give a stated precision.
        seed: of the lots; a build's own.
        class_ids: the classes; None = all.
    """
    photo_ids, classes, groups = (backgrounds[name].to_pylist() for name in ("photo_id", "class_id", "group"))
    strata: dict[tuple[str, str | None], list[tuple[bytes, str]]] = {}
    for photo_id, class_id, group in zip(photo_ids, classes, groups, strict=True):
        if class_ids is None or class_id in class_ids:
            strata.setdefault((class_id, group), []).append((_lot(seed, "drawn", photo_id), photo_id))
    rows: list[dict[str, Any]] = []
    for (class_id, _), lots in strata.items():
        drawn = sorted(lots)[:photos_per_group]
        rows += [
            {"class_id": class_id, "photo_id": photo_id, "probability": len(drawn) / len(lots)} for _, photo_id in drawn
        ]
    rows.sort(key=lambda row: (row["class_id"], _lot(seed, "shown", row["photo_id"])))
    said = "\n".join(f"{row['photo_id']} {row['probability']!r}" for row in rows)
    sample_id = hashlib.sha256(said.encode()).hexdigest()[:16]
    return table_of(
        AUDIT_SAMPLE, [row | {"sample_id": sample_id, "position": position} for position, row in enumerate(rows)]
    )


def labels_per_class(group_shares: Collection[float], photos_per_group: int, num_photos: float) -> int:
    """Photos of one class that a sample asks for.

    Args:
        group_shares: of the class's groups among its photos, in [0, 1].
        photos_per_group: as in `draw_sample`.
        num_photos: of the class.
    """
    return int(np.minimum(np.ceil(np.array(list(group_shares), np.float64) * num_photos), photos_per_group).sum())


def _lot(seed: int, use: str, photo_id: str) -> bytes:
    return hashlib.sha256(f"{seed}/{use}/{photo_id}".encode()).digest()
