"""What all exports of a release share: which photos there are, and a folder that appears whole.

Every export holds the same photos (those of the release's chosen verdicts) and says which
could not be fetched; tests read each one back and compare. Readers of these layouts need not know of orientation
tags: photos that have one are turned, and written as PNG, where their licence allows changing them. An export
is written into the hidden folder `UNFINISHED` of its own and moved up when it is whole; the next export
overwrites what a killed one left there.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import filelock
import pyarrow as pa

from counterset.errors import PictureError, ReleaseError
from counterset.licenses import may_adapt
from counterset.outputs import check_output
from counterset.pictures import Picture
from counterset.release.bundle import for_plain_readers, suffix_of
from counterset.release.schemas import split_schema

logger = logging.getLogger(__name__)

UNFINISHED = ".unfinished-export"


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
    def parts(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]: ...
    @property
    def labels(self) -> dict[str, int]: ...
    @property
    def class_names(self) -> dict[str, str]: ...
    def photo(self, photo_id: str) -> bytes: ...
    @property
    def changed_photos(self) -> Mapping[str, Any]: ...


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
        changed: photos that were taken for their pictures, though their bytes are others than the release names
            (`load(..., accept_changed=True)`).
    """

    path: Path
    num_photos: int
    missing: dict[str, str]
    as_stored: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Notes:
    """What an export reports of its photos."""

    missing: dict[str, str] = field(default_factory=dict)
    as_stored: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def exported(self, folder: str | Path, num_photos: int) -> Exported:
        if self.as_stored:
            logger.warning(
                "%d photos keep their orientation tag or 16 bits, for their licence forbids any change: "
                "turn them when reading (PIL.ImageOps.exif_transpose), or leave them out",
                len(self.as_stored),
            )
        return Exported(Path(folder), num_photos, self.missing, tuple(self.as_stored), tuple(self.changed))


def check_any(num_photos: int, release: Photos, missing: Mapping[str, str]) -> None:
    """See that an export holds a photo; called before it is there.

    Raises:
        ReleaseError: it does not, with the reason and what helps.
    """
    if num_photos:
        return
    if not missing:
        raise ReleaseError(
            f"{release.name} has no photo of a class with the wanted verdicts, so nothing was exported; ask for other "
            "verdicts (--verdict unconfirmed; counterset.load(..., verdicts=...))"
        )
    photo_id, reason = next(iter(missing.items()))
    raise ReleaseError(
        f"none of the {len(missing)} photos could be exported, so nothing was written; the first, {photo_id}: {reason}"
    )


def parts_without_photos(release: Photos, split: str) -> Iterator[pa.Table]:
    """The rows of a split without the photos that it may bundle, a few thousand at a time; at least one part."""
    return release.parts(split, split_schema(split).arrow().names)


def rows_with_photos(release: Photos, split: str, notes: Notes) -> Iterator[tuple[dict[str, Any], bytes, str]]:
    """Row, bytes and file suffix of every photo that can be read; the others go to the notes."""
    for part in parts_without_photos(release, split):
        for row in part.to_pylist():
            content = photo_file(release, row, notes)
            if content is not None:
                yield row, content, suffix_of(content) or "jpg"


def photo_file(release: Photos, row: Mapping[str, Any], notes: Notes) -> bytes | None:
    """A photo's file in which plain readers see what is evaluated, where its licence allows that."""
    photo_id, may_change = row["photo_id"], may_adapt(row["license"])
    try:
        content = for_plain_readers(release.photo(photo_id), may_adapt=may_change)
        if not may_change and not Picture.read(content).is_plain:
            notes.as_stored.append(photo_id)
        if photo_id in release.changed_photos:
            notes.changed.append(photo_id)
    except (ReleaseError, PictureError) as error:
        notes.missing[photo_id] = str(error)
        return None
    return content


def safe_name(name: str) -> str:
    """A file name that leaves no folder and holds no dot; other characters become their code point.

    A long name ends in its digest, so that two of them stay different.
    """
    plain = re.sub(r"[^A-Za-z0-9_\- ]", lambda match: f"%{ord(match[0]):02X}", name) or "%"
    # With a suffix it is at most 100 characters, all that a plain archive holds.
    return plain if len(plain) <= 90 else f"{plain[:64]}-{hashlib.sha256(name.encode()).hexdigest()[:24]}"


@contextlib.contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
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
            try:
                yield content
            except ReleaseError:  # nothing is worth keeping of it
                shutil.rmtree(aside, ignore_errors=True)
                with contextlib.suppress(OSError):
                    target.rmdir()
                raise
            for path in sorted(content.iterdir()):
                path.rename(target / path.name)
        shutil.rmtree(aside)
    except filelock.Timeout as error:
        raise ReleaseError(f"another export is being written into {target}; wait until it ends") from error
    except OSError as error:
        raise ReleaseError(
            f"cannot write {target}: {error.strerror or error}; free space or choose another folder"
        ) from error
