"""A folder `<class>/*.jpg` as a source."""

from __future__ import annotations

import os
from pathlib import Path

from counterset.classes import ClassSpec
from counterset.config import SourceConfig
from counterset.errors import ConfigError, SourceError
from counterset.schemas import RejectReason
from counterset.sources import Crawl
from counterset.sources.own_photos import candidate, check_distinct, chosen, label_of, labels_of
from counterset.tables import sha256_of

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


class FolderSource:
    """Photos under `source.path`, one sub-folder a class (named as its class_id or name, whatever the case).

    A photo's id is the hash of its bytes, so that a renamed file stays the same
    photo and a changed one is another. `url` is the absolute `file://` URI: these
    files are copied by the download stage, never fetched. There is no licence, and
    no observer: each photo counts as an observer of its own.

    Raises:
        ConfigError: no path.
    """

    name = "folder"

    def __init__(self, config: SourceConfig, seed: int = 0) -> None:
        if not config.path or "://" in config.path:
            raise ConfigError("source.kind = 'folder' needs source.path, the folder that holds <class>/*.jpg")
        self._config = config
        self._seed = seed
        self._root = Path(config.path).resolve()

    def check(self, specs: tuple[ClassSpec, ...]) -> None:
        """Find every class's folder.

        Raises:
            SourceError: a class has none, or several, or one is of two classes.
        """
        labels = {label_of(self._folder(spec).name) for spec in specs}
        check_distinct(specs, labels, str(self._root))

    def crawl(self, spec: ClassSpec) -> Crawl:
        """The photos of one class.

        Raises:
            SourceError: as `check`, or a file cannot be read.
        """
        rows: dict[str, dict[str, object]] = {}
        rejects: dict[str, tuple[RejectReason, str]] = {}
        for path in sorted(self._folder(spec).rglob("*")):
            inner = path.relative_to(self._root)
            if path.suffix.lower() not in SUFFIXES or any(part.startswith(".") for part in inner.parts):
                continue
            given = f"{self.name}-{_text(inner)}"
            try:
                real = path.resolve()
            except (OSError, RuntimeError):
                rejects[given] = RejectReason.URL_REFUSED, "is a link that leads to itself"
                continue
            if not real.is_relative_to(self._root) or not real.is_file():
                rejects[given] = RejectReason.URL_REFUSED, f"leads out of the folder, to {_text(real)}"
                continue
            try:
                photo_id = f"{self.name}-{sha256_of(real)[:24]}"
            except OSError as error:
                raise SourceError(f"cannot read {_text(path)}: {error.strerror}; mend or remove the file") from error
            # The same bytes under two names are one photo.
            rows.setdefault(photo_id, candidate(spec, photo_id, real.as_uri(), self.name, title=_text(path.stem)))
        return chosen(spec, list(rows.values()), rejects, self._config, self._seed)

    def _folder(self, spec: ClassSpec) -> Path:
        if not self._root.is_dir():
            raise SourceError(f"source.path {self._root} is not a folder; put photos there as <class>/*.jpg")
        found = [
            path for path in sorted(self._root.iterdir()) if path.is_dir() and label_of(path.name) in labels_of(spec)
        ]
        if len(found) != 1:
            names = "no folder" if not found else f"several folders ({', '.join(path.name for path in found)})"
            raise SourceError(f"class {spec.class_id!r} has {names} in {self._root}; name one of them {spec.class_id}")
        return found[0]


def _text(path: str | Path) -> str:
    """A path as text; bytes of a file name that are not UTF-8 become replacement characters."""
    return os.fsencode(path).decode("utf-8", "replace")
