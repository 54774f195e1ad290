"""Captions for controlled training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counterset.release.exporting import Exported, Photos, check_any, new_folder

CAPTION_KINDS = ("title", "description", "tags", "object", "object_background")
CAPTION_COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("photo_id", "url", "sha256", "class_id")]
    + [("label", pa.int64()), ("caption", pa.string())]
)


def export(release: Photos, folder: str | Path) -> Exported:
    """One Parquet file per kind of caption (`CAPTION_KINDS`), each with the same photos in the same order.

    For controlled training: the photos are those that have every kind, so that models
    trained on two of the files differ in the captions alone. Columns photo_id, url,
    sha256, class_id, label, caption.
    """
    photos = pa.concat_tables([_plain_columns(release.common), _plain_columns(release.counter)]).to_pylist()
    texts = {row["photo_id"]: _captions(row) for row in release.captions.to_pylist()}
    missing = {str(row["photo_id"]): "it has no text of every kind" for row in photos}
    photos = sorted(
        (row for row in photos if all(texts.get(row["photo_id"], {}).get(kind) for kind in CAPTION_KINDS)),
        key=lambda row: str(row["photo_id"]),
    )
    with new_folder(folder) as target:
        check_any(len(photos), release, missing)
        for kind in CAPTION_KINDS:
            columns = {name: [row[name] for row in photos] for name in ("photo_id", "url", "sha256", "class_id")}
            columns["label"] = [release.labels[row["class_id"]] for row in photos]
            columns["caption"] = [texts[row["photo_id"]][kind] for row in photos]
            pq.write_table(pa.table(columns, schema=CAPTION_COLUMNS), target / f"{kind}.parquet", compression="zstd")
    return Exported(Path(folder), len(photos), {})


def _captions(row: Mapping[str, Any]) -> dict[str, str | None]:
    return {
        "title": row["title"],
        "description": row["description"],
        "tags": ", ".join(row["tags"]),
        "object": row["caption_object"],
        "object_background": row["caption_object_background"],
    }


def _plain_columns(table: pa.Table) -> pa.Table:
    return table.select(["photo_id", "url", "sha256", "class_id"])
