"""A folder `<class>/*.jpg` as a source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from counterset.classes import ClassSpec, normal_name
from counterset.config_sections import SourceConfig
from counterset.errors import ConfigError, SourceError
from counterset.schemas import RejectReason
from counterset.sources import Crawl, Foresight, Source
from counterset.sources.candidate_rows import (
    NO_OBSERVERS,
    Refusal,
    candidate,
    check_distinct,
    chosen,
    free_id,
    labels_of,
)
from counterset.sources.settings import LicenseKeys, ObservationKeys, OwnLicenseKeys, PathKeys
from counterset.tables import sha256_of

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
PICTURES = ((b"\xff\xd8\xff", 0), (b"\x89PNG\r\n\x1a\n", 0), (b"GIF8", 0), (b"WEBP", 8))
"""How the files begin that curation decodes (JPEG, PNG, GIF, WebP): bytes, and where they stand."""


class FolderConfig(PathKeys, OwnLicenseKeys, SourceConfig):
    """A folder of photos, `path`, with one sub-folder per class."""

    FORMER = (LicenseKeys, ObservationKeys)

    kind: Literal["folder"] = "folder"


class FolderSource(Source):
    """Photos under `source.path`, one sub-folder per class (named as its class_id or name, whatever the case).

    Every file below a class's folder is a candidate or a reject, except those whose name, or
    whose folder's name, begins with a dot. A file that begins as a JPEG, PNG, GIF or WebP
    picture does is a candidate whatever its name, and so is one named as a picture, for
    curation to decode; all others are rejects.

    A photo's id is the hash of its bytes, so that a renamed file stays the same
    photo and a changed one is another. `url` is the absolute `file://` URI: these
    files are copied by the download stage, never fetched. The licence is `source.license`;
    there is no observer: each photo counts as an observer of its own.

    Raises:
        ConfigError: no path.
    """

    settings = FolderConfig
    config: FolderConfig

    def __init__(self, config: FolderConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        if not config.path or "://" in config.path:
            raise ConfigError("source.kind = 'folder' needs source.path, the folder that holds <class>/*.jpg")
        self._root = Path(config.path).resolve()

    def check(self, specs: tuple[ClassSpec, ...]) -> None:
        """Find every class's folder.

        Raises:
            SourceError: a class has none, or several, or one is of two classes.
        """
        labels = {normal_name(self._folder(spec).name) for spec in specs}
        check_distinct(specs, labels, str(self._root))

    def foresee(self, specs: tuple[ClassSpec, ...]) -> Foresight:
        """The files that would be photos, counted before their bytes are read to the end.

        Raises:
            SourceError: as `check`.
        """
        self.check(specs)
        photos = {spec.class_id: photos_in(self._folder(spec), self._root) for spec in specs}
        counts = {name: len(paths) for name, paths in photos.items()}
        size_bytes = sum(path.stat().st_size for paths in photos.values() for path in paths)
        return Foresight(counts, size_bytes / max(sum(counts.values()), 1), is_local=True, notes=(NO_OBSERVERS,))

    def crawl(self, spec: ClassSpec) -> Crawl:
        """The photos of one class.

        Raises:
            SourceError: as `check`.
        """
        rows: dict[str, dict[str, object]] = {}
        first_of: dict[str, str] = {}
        rejects: dict[str, Refusal] = {}
        for path in _files(self._folder(spec)):
            inner = _text(path.relative_to(self._root))
            refusal = _refusal(path, self._root)
            if refusal is None:
                try:
                    photo_id = f"{self.name}-{sha256_of(path.resolve())[:24]}"
                except OSError as error:
                    refusal = _unreadable(error)
                else:
                    if photo_id not in rows:
                        first_of[photo_id] = inner
                        uri = path.resolve().as_uri()
                        rows[photo_id] = candidate(
                            spec,
                            photo_id,
                            uri,
                            self.name,
                            license_code=self.config.license or None,
                            title=_text(path.stem),
                        )
                        continue
                    refusal = RejectReason.EXACT_DUPLICATE, f"has the bytes of {first_of[photo_id]}"
            rejects[free_id(f"{self.name}-{inner}", rejects)] = refusal
        return chosen(spec, list(rows.values()), rejects, self.config, self.seed)

    def _folder(self, spec: ClassSpec) -> Path:
        if not self._root.is_dir():
            raise SourceError(f"source.path {self._root} is not a folder; put photos there as <class>/*.jpg")
        folders = [
            path for path in sorted(self._root.iterdir()) if path.is_dir() and normal_name(path.name) in labels_of(spec)
        ]
        if len(folders) != 1:
            names = "no folder" if not folders else f"several folders ({', '.join(path.name for path in folders)})"
            raise SourceError(f"class {spec.class_id!r} has {names} in {self._root}; name one of them {spec.class_id}")
        return folders[0]


def photos_in(folder: Path, root: Path) -> list[Path]:
    """The files at or below a class's folder that would be candidates, if their bytes do not repeat."""
    return [path for path in _files(folder) if _refusal(path, root) is None]


def _refusal(path: Path, root: Path) -> Refusal | None:
    """Why a file is turned away before its bytes are read to the end."""
    try:
        real = path.resolve()
        is_loop = real.is_symlink()
    except (OSError, RuntimeError):  # RuntimeError: what Python before 3.13 makes of a loop
        is_loop = True
    if is_loop:
        return RejectReason.URL_REFUSED, "is a link that leads to itself"
    if not real.is_relative_to(root):
        return RejectReason.URL_REFUSED, f"leads out of the folder, to {_text(real)}"
    if not real.exists():
        return RejectReason.URL_REFUSED, "is a link that leads nowhere"
    if real.is_dir():
        return RejectReason.URL_REFUSED, (
            "is a link to a folder, whose photos are not looked at" if path.is_symlink() else "cannot be listed"
        )
    if not real.is_file():
        return RejectReason.URL_REFUSED, "is no file but a pipe, a socket or a device"
    try:
        with real.open("rb") as file:
            start = file.read(12)
    except OSError as error:
        return _unreadable(error)
    is_picture = any(start.startswith(magic, offset) for magic, offset in PICTURES)
    if not is_picture and path.suffix.lower() not in SUFFIXES:
        return RejectReason.UNDECODABLE, "is no JPEG, PNG, GIF or WebP picture; convert it if it is another kind"
    return None


def _files(folder: Path) -> Iterator[Path]:
    """Everything visible below a folder that is no folder to walk through, in the order of names.

    Links to folders are not followed, and given; so is a folder that cannot be listed.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            yield Path(entry.path)


def _unreadable(error: Exception) -> Refusal:
    return RejectReason.URL_REFUSED, f"cannot be read: {getattr(error, 'strerror', None) or error}"


def _text(path: str | Path) -> str:
    """A path as text; bytes of a file name that are not UTF-8 become replacement characters."""
    return os.fsencode(path).decode("utf-8", "replace")


source = FolderSource
