"""The last release of a name, verified whole before the next one is compared with it or built on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from counterset.errors import ReleaseError
from counterset.release.bounded import read_parts
from counterset.release.checksums import METADATA, SUMS, verify_files
from counterset.release.stated import Stated, read_stated
from counterset.release.table_files import files_of
from counterset.release.versions.order import newest
from counterset.tables import read_metadata


@dataclass(frozen=True)
class LastRelease:
    """A verified release.

    Attributes:
        path: its folder.
        metadata: the content of its release.json.
    """

    path: Path
    metadata: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def version(self) -> str:
        return self.path.name

    @property
    def changelog(self) -> str:
        return (self.path / "CHANGELOG.md").read_text(encoding="utf-8")

    def table(self, name: str) -> pa.Table:
        """One of its tables other than the two splits, of which all is in memory."""
        return pa.concat_tables(self.parts(name))

    def parts(self, name: str) -> Iterator[pa.Table]:
        """The same in parts, at least one."""
        return read_parts(self.path, name, files_of(name, self.metadata["files"]))

    def num_rows(self, name: str) -> int:
        """The rows of one of its tables."""
        paths = files_of(name, self.metadata["files"])
        return sum(int(read_metadata(self.path / path).num_rows) for path in paths)


def read_last(home: Path, name: str) -> LastRelease | None:
    """The release of the highest version in the folder `home` of the versions of `name`; None without any.

    Raises:
        ReleaseError: a file of it is missing or altered.
    """
    last = newest([path.name for path in home.iterdir() if path.is_dir()] if home.is_dir() else [])
    if last is None:
        return None
    folder = home / last
    try:
        stated = read_stated(folder)
        verify_files(folder, stated.digests)
        return opened(folder, stated, name)
    except (OSError, ReleaseError) as error:
        raise ReleaseError(damaged(str(folder), error)) from error


def opened(folder: Path, stated: Stated, name: str) -> LastRelease:
    """The release `name` in a folder whose files were verified against what it states.

    Raises:
        ReleaseError: it is another release, or lacks its history.
    """
    said = stated.metadata["name"], stated.metadata["version"]
    if said != (name, folder.name):
        raise ReleaseError(f"{METADATA} is of {' '.join(said)}")
    # These carry a name's history from one release to the next
    for path in ("CHANGELOG.md", *(files_of("tombstones", stated.files) or ["tombstones.parquet"])):
        if path not in stated.files:
            raise ReleaseError(f"{SUMS} does not list {path}")
    return LastRelease(folder, stated.metadata)


def damaged(where: str, error: Exception) -> str:
    """One sentence about a last release that cannot be built upon."""
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        reason = error.strerror or " ".join(str(error).split())[:200]
        return f"the last release {where} cannot be read ({reason}), so no other is built on it; check the place"
    missing = isinstance(error, FileNotFoundError) and error.filename
    reason = str(error).partition("; ")[0].removeprefix(f"the release {where} ")
    if missing:
        reason = f"{PurePosixPath(str(missing)).name} is missing"
    return (
        f"the last release {where} is damaged ({reason}), so no other is built on it; "
        "restore it from a copy, or move it away"
    )
