"""The Hugging Face hub's layout."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from counterset.errors import ReleaseError
from counterset.licenses import may_share
from counterset.release.exporting import (
    Exported,
    Notes,
    Photos,
    check_any,
    new_folder,
    parts_without_photos,
    photo_file,
)
from counterset.release.publish.files import label_names, with_images, write_parquet
from counterset.release.schemas import SPLITS, split_schema
from counterset.release.table_files import ROWS_PER_SHARD_WITH_IMAGES, file_names
from counterset.tables import in_groups

_CONFIGS = """\
configs:
- config_name: default
  data_files:
  - split: common
    path: data/common-*.parquet
  - split: counter
    path: data/counter-*.parquet
"""


def export(release: Photos, folder: str | Path) -> Exported:
    """The Hugging Face hub's layout: card and the two splits, with an `image` column.

    Photos are bundled without metadata, and only where their licence allows passing them
    on; the other rows keep their URL and an empty `image`, and are `missing`.
    """
    notes, count = Notes(), 0
    card = card_with(release, _CONFIGS)
    with new_folder(folder) as target:
        for split in SPLITS:
            num_rows = sum(part.num_rows for part in release.parts(split, ["photo_id"]))
            paths = file_names(split, num_rows, ROWS_PER_SHARD_WITH_IMAGES, is_split=True)
            shards = in_groups(parts_without_photos(release, split), ROWS_PER_SHARD_WITH_IMAGES)
            for path, shard in itertools.zip_longest(paths, shards):
                _write(release, split, shard, target / path, notes)
            count += num_rows
        (target / "README.md").write_text(card, encoding="utf-8")
        check_any(count, release, {})
    return notes.exported(folder, count - len(notes.missing))


def _write(release: Photos, split: str, shard: pa.Table | None, path: Path, notes: Notes) -> None:
    """One file of a split, with its photos; those that it does not hold are missing. No shard = a file without rows."""
    schema = split_schema(split, with_images=True)
    of_photos = [] if shard is None else shard.select(["photo_id", "license", "attribution"]).to_pylist()
    rows = {row["photo_id"]: row for row in of_photos}
    parts = [] if shard is None else with_images(shard, lambda photo_id: photo_file(release, rows[photo_id], notes))
    version = str(release.metadata["counterset_version"])
    write_parquet(parts, schema, path, version, label_names(release.class_names))
    written = pq.read_table(path, columns=["photo_id", "bundled_sha256"])
    for photo_id in written.filter(written["bundled_sha256"].is_null())["photo_id"].to_pylist():
        may_be = may_share(rows[photo_id]["license"], rows[photo_id]["attribution"])
        why = "it cannot be bundled" if may_be else "its licence does not allow passing it on"
        notes.missing.setdefault(photo_id, why)


def card_with(release: Photos, configs: str) -> str:
    """The release's card with the configurations of an export, which holds other files.

    Raises:
        ReleaseError: it cannot be read.
    """
    try:
        card = (release.path / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ReleaseError(f"the card of {release.path} cannot be read ({error}); fetch the release again") from error
    return re.sub(r"^configs:\n(?:(?:- | ).*\n)*", configs, card, count=1, flags=re.MULTILINE)
