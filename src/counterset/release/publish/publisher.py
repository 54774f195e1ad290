"""The one publisher of releases, audits and prunings: a version is there whole or not at all, and is never rewritten.

A version is written into a folder aside and gets its SHA256SUMS last. On disk it becomes the version by a rename, under
a lock; on S3 by one conditional write (`remote`). What a killed publisher left aside is cleared away by the next one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock

from counterset.errors import ReleaseError, WorkspaceError
from counterset.release.checksums import SUMS, render_sums
from counterset.release.publish import remote
from counterset.release.versions.last import LastRelease, read_last
from counterset.release.versions.order import POINTER, newest
from counterset.storage import ObjectPath, Place
from counterset.tables import write_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Turn:
    """One publisher's turn at the versions below a folder or address.

    Attributes:
        home: the folder or address that holds the versions.
        aside: an empty folder on disk, in which the next version is written.
        head: of an address, what the next version follows.
    """

    home: Place
    aside: Path
    head: remote.Head | None = None

    def commit(self, version: str, digests: Mapping[str, str]) -> Place:
        """Make what lies aside the version `version`; `digests` are the sha256 of all its files, by path.

        Raises:
            ReleaseError: the version exists, or another publisher was first.
        """
        target = self.home / version
        if target.exists() if isinstance(target, Path) else (target / SUMS).is_file():
            raise ReleaseError(
                f"{target} exists and no version is ever rewritten; leave publish.version empty, or move it away"
            )
        write_bytes(render_sums(digests).encode(), self.aside / SUMS)
        if isinstance(target, Path):
            _sync(self.aside)
            self.aside.rename(target)
            with contextlib.suppress(WorkspaceError):  # the version is there, and folders can be listed
                write_bytes(f"{version}\n".encode(), self.home / POINTER)
        else:
            assert self.head is not None
            remote.upload(self.aside, version, self.head)
        logger.info("published %s", target)
        return target


@contextmanager
def turn_at(home: Path, setting: str) -> Iterator[Turn]:
    """One publisher's turn at a folder of versions: while the block runs, no other has one.

    Args:
        home: the folder.
        setting: what the user sets to choose another, for errors.

    Raises:
        ReleaseError: another publisher has its turn, or the folder cannot be written.
    """
    aside = home / ".part"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(home / ".lock", timeout=0):
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            try:
                yield Turn(home, aside)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    except filelock.Timeout as error:
        raise ReleaseError(f"another run is publishing to {home}; wait until it ends") from error
    except OSError as error:
        raise ReleaseError(
            f"cannot write {home}: {error.strerror or error}; free space, or set {setting} to another folder"
        ) from error


@contextmanager
def results_turn(home: Place, kind: str) -> Iterator[tuple[Turn, Path | None]]:
    """One publisher's turn at the versions of a kind of results, and the newest version's folder, a copy of it for S3.

    Raises:
        ReleaseError: as `turn_at`; the bucket cannot be read or written.
    """
    if isinstance(home, Path):
        with turn_at(home, "--output") as turn:
            last = newest(path.parent.name for path in home.glob(f"*/{kind}.json"))
            yield turn, home / last if last else None
        return
    with _on_s3(home) as folder:
        head = remote.head_of(home)
        yield Turn(home, _aside(folder), head), remote.copied(head, folder)


@contextmanager
def release_turn(home: Place, name: str) -> Iterator[tuple[Turn, LastRelease | None]]:
    """One publisher's turn at the releases of `name`, and the last of them, verified whole.

    Raises:
        ReleaseError: as `turn_at`; the last release is damaged, or the bucket cannot be read or written.
    """
    if isinstance(home, Path):
        with turn_at(home, "`releases`") as turn:
            yield turn, read_last(home, name)
        return
    with _on_s3(home) as folder:
        head, last = remote.fetch_last(home, folder)
        yield Turn(home, _aside(folder), head), last


@contextmanager
def _on_s3(home: ObjectPath) -> Iterator[Path]:
    """A folder of this machine for one turn at an address."""
    try:
        with tempfile.TemporaryDirectory(prefix="counterset-") as folder:
            yield Path(folder)
    except OSError as error:
        reason = " ".join(str(error).split())[:300]
        raise ReleaseError(f"cannot publish to {home} ({reason}); check the bucket and your credentials") from error


def _aside(folder: Path) -> Path:
    aside = folder / ".part"
    aside.mkdir()
    return aside


def _sync(folder: Path) -> None:
    """Have the disk hold every file before the rename makes them the version."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
