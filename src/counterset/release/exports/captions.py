"""Captions for controlled training."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterset.parquet_sql import fill, sorted_rows, spilling
from counterset.release.exporting import Exported, Photos, check_any, new_folder
from counterset.release.schemas import SPLITS

CAPTION_KINDS = ("title", "description", "tags", "object", "object_background")
CAPTION_COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("photo_id", "url", "sha256", "class_id")]
    + [("label", pa.int64()), ("caption", pa.string())]
)

_KINDS = """
    SELECT photo_id, title, description, tags, caption_object AS object, caption_object_background AS object_background
    FROM captions
"""
_COMPLETE = f"""
    SELECT photo_id, url, sha256, class_id, label, {", ".join(CAPTION_KINDS)}
    FROM photos JOIN ({_KINDS}) USING (photo_id) JOIN labels USING (class_id)
    WHERE {" AND ".join(f"{kind} != ''" for kind in CAPTION_KINDS)}
"""


def export(release: Photos, folder: str | Path) -> Exported:
    """One Parquet file per kind of caption (`CAPTION_KINDS`), each with the same photos in the same order.

    For controlled training: the photos are those that have every kind, so that models
    trained on two of the files differ in the captions alone. Columns photo_id, url,
    sha256, class_id, label, caption.
    """
    count, plain = 0, CAPTION_COLUMNS.names[:4]
    texts = ["photo_id", "title", "description", "tags", "caption_object", "caption_object_background"]
    with new_folder(folder) as target, contextlib.ExitStack() as stack:
        connection = stack.enter_context(spilling())
        fill(connection, "photos", (part.select(plain) for split in SPLITS for part in release.parts(split, plain)))
        fill(connection, "captions", map(_with_tags_in_one, release.parts("captions", texts)))
        labels = pa.table({"class_id": [*release.labels], "label": pa.array([*release.labels.values()], pa.int64())})
        connection.register("labels", labels)
        writers = {
            kind: stack.enter_context(pq.ParquetWriter(target / f"{kind}.parquet", CAPTION_COLUMNS, compression="zstd"))
            for kind in CAPTION_KINDS
        }
        for part in sorted_rows(connection, _COMPLETE, ["photo_id"]):
            for kind, writer in writers.items():
                writer.write_table(pa.table([part[name] for name in (*plain, "label", kind)], schema=CAPTION_COLUMNS))
            count += len(part)
        if not count:
            photo_ids = connection.sql("SELECT photo_id FROM photos").to_arrow_table()["photo_id"].to_pylist()
            check_any(count, release, dict.fromkeys(photo_ids, "it has no text of every kind"))
    return Exported(Path(folder), count, {})


def _with_tags_in_one(captions: pa.Table) -> pa.Table:
    tags = pc.binary_join(captions["tags"], ", ")
    return captions.set_column(captions.column_names.index("tags"), "tags", tags)
