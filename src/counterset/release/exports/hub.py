"""The Hugging Face hub's layout."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from counterset.errors import ReleaseError
from counterset.licenses import may_share
from counterset.release.exporting import Exported, Notes, Photos, check_any, new_folder, photo_file, without_photos
from counterset.release.publish.files import write_tables
from counterset.release.schemas import SPLITS

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
    notes = Notes()
    columns = ["photo_id", "license", "attribution"]
    rows = {row["photo_id"]: row for split in SPLITS for row in getattr(release, split).select(columns).to_pylist()}

    def photo_bytes(photo_id: str) -> bytes | None:
        return photo_file(release, rows[photo_id], notes)

    tables = {
        split: without_photos(table) for split, table in (("common", release.common), ("counter", release.counter))
    }
    card = card_with(release, _CONFIGS)
    with new_folder(folder) as target:
        version = str(release.metadata["counterset_version"])
        written = write_tables(tables, target, version, photo_bytes, class_names=release.class_names)
        (target / "README.md").write_text(card, encoding="utf-8")
        for photo_id in _not_bundled(target, written):
            may_be = may_share(rows[photo_id]["license"], rows[photo_id]["attribution"])
            why = "it cannot be bundled" if may_be else "its licence does not allow passing it on"
            notes.missing.setdefault(photo_id, why)
        check_any(len(rows), release, {})
    return notes.exported(folder, len(rows) - len(notes.missing))


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


def _not_bundled(folder: Path, paths: Iterable[str]) -> list[str]:
    """The photos of a release's files whose bytes these do not hold."""
    tables = [pq.read_table(folder / path, columns=["photo_id", "bundled_sha256"]) for path in paths]
    return [
        photo_id
        for table in tables
        for photo_id in table.filter(table["bundled_sha256"].is_null())["photo_id"].to_pylist()
    ]
