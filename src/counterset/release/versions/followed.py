"""The releases that a build stands on: what it reads of their units and looks, so that these go on in the next one."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from counterset.errors import ReleaseError
from counterset.release.bounded import read_parts
from counterset.release.checksums import METADATA, SUMS
from counterset.release.stated import stated
from counterset.release.table_files import files_of
from counterset.release.versions.last import damaged
from counterset.release.versions.order import newest
from counterset.storage import ObjectPath, Place
from counterset.tables import sha256_of


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
        """One of its small tables, as `parts`; None where it is older than the table.

        Raises:
            ReleaseError: it is missing or altered.
        """
        if name not in self._tables:
            parts = list(self.parts(name))
            self._tables[name] = pa.concat_tables(parts) if parts else None
        return self._tables[name]

    def parts(self, name: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """One of its tables but the two splits in its order, in parts, each file checked against its digest before it
        is read; no part where the release is older than the table. `columns` = only those, in their order.

        Raises:
            ReleaseError: a file is missing or altered.
        """
        try:
            for path in files_of(name, self.digests):
                with self._checked(path) as file:
                    for part in read_parts(file.parent, name, [file.name], columns):
                        yield part if columns is None else part.select(columns)
        except (OSError, ReleaseError) as error:
            raise ReleaseError(damaged(str(self.folder), error)) from error

    @contextlib.contextmanager
    def _checked(self, path: str) -> Iterator[Path]:
        """One of its files as a file of this machine, which is what the release says."""
        with tempfile.TemporaryDirectory(prefix="counterset-") as scratch:
            file = self.folder / path
            if isinstance(file, ObjectPath):
                there, file = file, Path(scratch) / path
                there.download(file)
            if sha256_of(file) != self.digests[path]:
                raise ReleaseError(f"{path} does not match {SUMS}")
            yield file


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
