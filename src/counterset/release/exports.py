"""A loaded release in other programs' layouts, photos included.

Every export holds the same photos (those of the release's chosen verdicts) and says which
could not be had; tests read each one back and compare. Readers of these layouts need not know of orientation
tags: photos that have one are turned, and written as PNG, where their licence allows changing them. An export
is written into the hidden folder `UNFINISHED` of its own and moved up when it is whole; what a killed one left
there is written again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import filelock
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from counterset.errors import PictureError, ReleaseError
from counterset.licenses import may_adapt, may_share
from counterset.outputs import check_output
from counterset.pictures import Picture
from counterset.release.bundle import for_plain_readers, suffix_of
from counterset.release.files import write_tables
from counterset.release.layout import BUNDLED_COLUMNS, SPLITS
from counterset.spreadsheet import safe_table

logger = logging.getLogger(__name__)

UNFINISHED = ".unfinished-export"
PHOTOS_PER_TAR = 1_000
CAPTION_KINDS = ("title", "description", "tags", "object", "object_background")
CAPTION_COLUMNS = pa.schema(
    [(name, pa.string()) for name in ("photo_id", "url", "sha256", "class_id")]
    + [("label", pa.int64()), ("caption", pa.string())]
)


class Photos(Protocol):
    """A loaded release, as far as exports need it."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...
    @property
    def common(self) -> pa.Table: ...
    @property
    def counter(self) -> pa.Table: ...
    @property
    def captions(self) -> pa.Table: ...
    @property
    def labels(self) -> dict[str, int]: ...
    @property
    def class_names(self) -> dict[str, str]: ...
    def photo(self, photo_id: str) -> bytes: ...


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        path: its folder.
        num_photos: photos written, both splits.
        missing: photo_id -> why, of the photos that were not: they could not be fetched, are no image file, or
            may not be passed on.
        as_stored: photos whose licence forbids any change, so that only readers of orientation tags and
            of 16 bits see what is evaluated.
    """

    path: Path
    num_photos: int
    missing: dict[str, str]
    as_stored: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Notes:
    """What an export has to say of its photos."""

    missing: dict[str, str] = field(default_factory=dict)
    as_stored: list[str] = field(default_factory=list)

    def exported(self, folder: str | Path, num_photos: int) -> Exported:
        if self.as_stored:
            logger.warning(
                "%d photos keep their orientation tag or 16 bits, for their licence forbids any change: "
                "turn them when reading (PIL.ImageOps.exif_transpose), or leave them out",
                len(self.as_stored),
            )
        return Exported(Path(folder), num_photos, self.missing, tuple(self.as_stored))


def export_imagefolder(release: Photos, folder: str | Path) -> Exported:
    """`<class_id>/common-<background>/<photo_id>.jpg` and `counter-`: CounterAnimal's published layout,
    which torchvision's ImageFolder reads."""
    notes, count = _Notes(), 0
    with _new(folder) as target:
        for split in SPLITS:
            for row, content, suffix in _rows_with_photos(release, split, notes):
                place = target / _safe(row["class_id"]) / f"{split}-{_safe(row['background'])}"
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{_safe(row['photo_id'])}.{suffix}").write_bytes(content)
                count += 1
    return notes.exported(folder, count)


def export_webdataset(release: Photos, folder: str | Path) -> Exported:
    """Two sets, `<name>-common` and `<name>-counter`, as CLIP_benchmark reads them.

    Each has `classnames.txt`, `zeroshot_classification_templates.txt`, `test/nshards.txt` and
    `test/<n>.tar` of `<photo_id>.jpg`, `.cls` (the label) and `.json` (the row). Where every class has an
    ImageNet index, labels are these and all 1000 class names are kept.
    """
    notes, count = _Notes(), 0
    names = _label_names(release)
    with _new(folder) as target:
        for split in SPLITS:
            place = target / f"{release.name}-{split}"
            (place / "test").mkdir(parents=True)
            shards = 0
            for shard in _chunks(_rows_with_photos(release, split, notes), PHOTOS_PER_TAR):
                with tarfile.open(place / "test" / f"{shards}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
                    for row, content, suffix in shard:
                        # WebDataset takes everything after the first dot for the field's name.
                        key = _safe(row["photo_id"])
                        label = str(release.labels[row["class_id"]]).encode()
                        _add(tar, f"{key}.{suffix}", content)
                        _add(tar, f"{key}.cls", label)
                        _add(tar, f"{key}.json", json.dumps(row, sort_keys=True, default=str).encode())
                        count += 1
                shards += 1
            (place / "test" / "nshards.txt").write_text(f"{shards}\n", encoding="utf-8")
            (place / "classnames.txt").write_text("".join(f"{_line(name)}\n" for name in names), encoding="utf-8")
            (place / "zeroshot_classification_templates.txt").write_text(
                "".join(f"{template}\n" for template in _templates(release)), encoding="utf-8"
            )
    return notes.exported(folder, count)


def export_hub(release: Photos, folder: str | Path) -> Exported:
    """The Hugging Face hub's layout: card and the two splits, with an `image` column.

    Photos are bundled without metadata, and only where their licence allows passing them
    on; the other rows keep their URL and an empty `image`, and are `missing`.
    """
    notes = _Notes()
    columns = ["photo_id", "license", "attribution"]
    rows = {row["photo_id"]: row for split in SPLITS for row in getattr(release, split).select(columns).to_pylist()}

    def photo_bytes(photo_id: str) -> bytes | None:
        return _photo(release, rows[photo_id], notes)

    tables = {
        split: _without_photos(table) for split, table in (("common", release.common), ("counter", release.counter))
    }
    try:
        card = (release.path / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ReleaseError(f"the card of {release.path} cannot be read ({error}); fetch the release again") from error
    # The card's other configurations name files that this export does not hold.
    card = re.sub(r"- config_name: (?!default\b)\w+\n  data_files:\n  - split: train\n    path: \S+\n", "", card)
    with _new(folder) as target:
        written = write_tables(tables, target, str(release.metadata["counterset_version"]), photo_bytes)
        (target / "README.md").write_text(card, encoding="utf-8")
        for photo_id in _not_bundled(target, written):
            may_be = may_share(rows[photo_id]["license"], rows[photo_id]["attribution"])
            why = "it cannot be bundled" if may_be else "its licence does not allow passing it on"
            notes.missing.setdefault(photo_id, why)
    return notes.exported(folder, len(rows) - len(notes.missing))


def _not_bundled(folder: Path, paths: Iterable[str]) -> list[str]:
    """The photos of a release's files whose bytes these do not hold."""
    tables = [pq.read_table(folder / path, columns=["photo_id", "bundled_sha256"]) for path in paths]
    return [
        photo_id
        for table in tables
        for photo_id in table.filter(table["bundled_sha256"].is_null())["photo_id"].to_pylist()
    ]


def export_csv(release: Photos, folder: str | Path) -> Exported:
    """`common.csv` and `counter.csv`: the rows, photos by URL. Texts that a spreadsheet would take for a formula
    stand behind an apostrophe."""
    count = 0
    with _new(folder) as target:
        for split in SPLITS:
            table = _without_photos(getattr(release, split))
            pa.csv.write_csv(safe_table(table), target / f"{split}.csv")
            count += table.num_rows
    return Exported(Path(folder), count, {})


def export_captions(release: Photos, folder: str | Path) -> Exported:
    """One Parquet file a kind of caption (`CAPTION_KINDS`), each with the same photos in the same order.

    For controlled training: the photos are those that have every kind, so that models
    trained on two of the files differ in the captions alone. Columns photo_id, url,
    sha256, class_id, label, caption.
    """
    photos = pa.concat_tables([_plain_columns(release.common), _plain_columns(release.counter)]).to_pylist()
    texts = {row["photo_id"]: _captions(row) for row in release.captions.to_pylist()}
    photos = sorted(
        (row for row in photos if all(texts.get(row["photo_id"], {}).get(kind) for kind in CAPTION_KINDS)),
        key=lambda row: str(row["photo_id"]),
    )
    with _new(folder) as target:
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


def _without_photos(table: pa.Table) -> pa.Table:
    return table.select([name for name in table.column_names if name not in BUNDLED_COLUMNS])


def _rows_with_photos(release: Photos, split: str, notes: _Notes) -> Iterator[tuple[dict[str, Any], bytes, str]]:
    """Row, bytes and file suffix of every photo that can be had; the others go to the notes."""
    for row in _without_photos(getattr(release, split)).to_pylist():
        content = _photo(release, row, notes)
        if content is not None:
            yield row, content, suffix_of(content) or "jpg"


def _photo(release: Photos, row: Mapping[str, Any], notes: _Notes) -> bytes | None:
    """A photo's file in which plain readers see what is evaluated, where its licence allows that."""
    photo_id, may_change = row["photo_id"], may_adapt(row["license"])
    try:
        content = for_plain_readers(release.photo(photo_id), may_adapt=may_change)
        if not may_change and not Picture.read(content).is_plain:
            notes.as_stored.append(photo_id)
    except (ReleaseError, PictureError) as error:
        notes.missing[photo_id] = str(error)
        return None
    return content


def _label_names(release: Photos) -> list[str]:
    classes = release.metadata["classes"]
    if not all(row["imagenet_index"] is not None for row in classes):
        return list(release.class_names.values())
    from open_clip import IMAGENET_CLASSNAMES

    return list(IMAGENET_CLASSNAMES)


def _templates(release: Photos) -> list[str]:
    if release.metadata["config"]["evaluate"]["templates"] == "openai80":
        from open_clip import OPENAI_IMAGENET_TEMPLATES

        return [template("{c}") for template in OPENAI_IMAGENET_TEMPLATES]
    return ["A photo of {c}."]


def _chunks(
    rows: Iterator[tuple[dict[str, Any], bytes, str]], size: int
) -> Iterator[Iterator[tuple[dict[str, Any], bytes, str]]]:
    """The rows in runs of `size`, each read while it is written."""
    for first in rows:

        def run(first: tuple[dict[str, Any], bytes, str] = first) -> Iterator[tuple[dict[str, Any], bytes, str]]:
            yield first
            for _, row in zip(range(size - 1), rows, strict=False):
                yield row

        yield run()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file with no time and no owner, so that the same photos give the same archive."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _safe(name: str) -> str:
    """A file name that leaves no folder and holds no dot; other characters become their code point.

    Of long names the end is their digest, so that two of them stay two.
    """
    plain = re.sub(r"[^A-Za-z0-9_\- ]", lambda match: f"%{ord(match[0]):02X}", name) or "%"
    # With a suffix it is at most 100 characters, all that a plain archive holds.
    return plain if len(plain) <= 90 else f"{plain[:64]}-{hashlib.sha256(name.encode()).hexdigest()[:24]}"


def _line(name: str) -> str:
    return " ".join(name.split())


@contextlib.contextmanager
def _new(folder: str | Path) -> Iterator[Path]:
    """Where an export is written; at the end of the block it becomes the content of `folder`.

    Raises:
        ReleaseError: `folder` holds anything but an unfinished export, another export is being
            written there, or the disk is full.
        WorkspaceError: `folder` cannot be written.
    """
    target = Path(folder)
    aside = target / UNFINISHED
    try:
        if target.exists() and (not target.is_dir() or {path.name for path in target.iterdir()} - {UNFINISHED}):
            raise ReleaseError(f"{target} exists and is not empty; export into a new folder")
        check_output(target)
        aside.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(aside / ".lock", timeout=0):
            content = aside / "content"
            shutil.rmtree(content, ignore_errors=True)
            content.mkdir()
            yield content
            for path in sorted(content.iterdir()):
                path.rename(target / path.name)
        shutil.rmtree(aside)
    except filelock.Timeout as error:
        raise ReleaseError(f"another export is being written into {target}; wait until it ends") from error
    except OSError as error:
        raise ReleaseError(
            f"cannot write {target}: {error.strerror or error}; free space or choose another folder"
        ) from error
