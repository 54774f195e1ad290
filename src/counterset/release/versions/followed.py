"""The releases that a build stands on: what it reads of their units and looks, so that these go on in the next one."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from counterset.errors import ReleaseError
from counterset.release.bounded import read_files
from counterset.release.checksums import METADATA, SUMS
from counterset.release.stated import stated
from counterset.release.table_files import files_of
from counterset.release.versions.last import damaged
from counterset.release.versions.order import newest
from counterset.storage import Place
from counterset.tables import write_bytes


@dataclass(frozen=True)
class Followed:
    """A release as it was when a build began.

    Attributes:
        folder: where it lies.
        sums_sha256: digest of its SHA256SUMS, and so of all of it.
        metadata: the content of its release.json.
        digests: sha256 of its files by their path.
    """

    folder: Place
    sums_sha256: str
    metadata: Mapping[str, Any]
    digests: Mapping[str, str]
    _tables: dict[str, pa.Table | None] = field(default_factory=dict, repr=False)

    def table(self, name: str) -> pa.Table | None:
        """One of its tables but the two splits, checked against its digest; None where it is older than the table.

        Raises:
            ReleaseError: it is missing or altered.
        """
        if name not in self._tables:
            paths = files_of(name, self.digests)
            self._tables[name] = self._read(name, paths) if paths else None
        return self._tables[name]

    def _read(self, name: str, paths: list[str]) -> pa.Table:
        try:
            with tempfile.TemporaryDirectory(prefix="counterset-") as folder:
                for path in paths:
                    content = (self.folder / path).read_bytes()
                    if hashlib.sha256(content).hexdigest() != self.digests[path]:
                        raise ReleaseError(f"{path} does not match {SUMS}")
                    write_bytes(content, Path(folder) / path)
                return read_files(Path(folder), name, paths)
        except (OSError, ReleaseError) as error:
            raise ReleaseError(damaged(str(self.folder), error)) from error


def newest_release(home: Place) -> Followed | None:
    """The newest release below `home`, the place of a name's versions; None without any.

    Raises:
        ReleaseError: it is damaged.
    """
    last = newest(path.parent.name for path in home.glob(f"*/{SUMS}"))
    return None if last is None else _release_in(home / last)


def earlier_release(home: Place, version: str, sums_sha256: str) -> Followed | None:
    """The release of a version below `home`; None where it is no longer there, or another one lies there.

    Raises:
        ReleaseError: it is damaged.
    """
    if not (home / version / SUMS).is_file():
        return None
    found = _release_in(home / version)
    return found if found.sums_sha256 == sums_sha256 else None


def _release_in(folder: Place) -> Followed:
    try:
        sums = (folder / SUMS).read_bytes()
        said = stated((folder / METADATA).read_bytes(), sums, str(folder))
    except (OSError, ReleaseError) as error:
        raise ReleaseError(damaged(str(folder), error)) from error
    return Followed(folder, hashlib.sha256(sums).hexdigest(), said.metadata, said.digests)
