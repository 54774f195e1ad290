"""SHA-256 of finished files, taken once and kept.

A kept digest counts only while the file is the one that it was taken of: a local file as git's index decides it, by
size, times of content and entry in nanoseconds, and inode; an object on S3 by size and ETag. Where the content was
written so shortly before that a later write could bear the same time, nothing is kept yet. The lines that are kept may
be lost or deleted at any time, at the cost of reading the files once more.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from counterset.errors import WorkspaceError
from counterset.storage import ObjectPath, Place
from counterset.tables import TableRef, read_metadata, sha256_of, write_bytes

_TICK_NS = 20_000_000
"""After a write, until the clock of files has moved on: on Linux it ticks every 10 ms or faster."""
_COARSE_TICK_NS = 2_000_000_000
"""The same where files have times in whole seconds."""
_MAX_STALE = 1_000
"""Lines that say nothing any more, beyond as many as there are files."""


class Mark(NamedTuple):
    """What tells that a file is still the same; the times are 0 and the tag an ETag on S3."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    tag: str


class Digests:
    """The digests of one workspace's files; several threads and processes may ask and add.

    Args:
        root: of the workspace.
        lines: the local file that keeps them.
    """

    def __init__(self, root: Place, lines: Path) -> None:
        self._root, self._lines = str(root), lines
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Mark, TableRef]] = {}
        self._offset = 0
        if self._read_on() > 2 * len(self._known) + _MAX_STALE:
            with contextlib.suppress(WorkspaceError):
                write_bytes(b"".join(_line(name, *kept) for name, kept in self._known.items()), lines)
                self._offset = lines.stat().st_size

    def ref(self, path: Place) -> TableRef:
        """The reference of a finished file of the workspace.

        Raises:
            WorkspaceError: the file is missing or damaged.
        """
        seen_ns, mark = time.time_ns(), mark_of(path)
        name = str(path).removeprefix(self._root)
        if (kept := self._kept(name, mark)) is not None:
            return replace(kept, path=str(path))
        metadata = read_metadata(path)
        version = int((metadata.metadata or {}).get(b"counterset.schema_version", b"0"))
        ref = TableRef(str(path), sha256_of(path), metadata.num_rows, version)
        if mark is not None and mark == mark_of(path):  # nobody wrote it while it was read
            self._keep(name, mark, seen_ns, ref)
        return ref

    def sha256(self, path: Place) -> str | None:
        """The digest that is kept of a file, whatever it holds, if it is still the same; else None."""
        kept = self._kept(str(path).removeprefix(self._root), mark_of(path))
        return None if kept is None else kept.sha256

    def _kept(self, name: str, mark: Mark | None) -> TableRef | None:
        with self._lock:
            if self._known.get(name, (None,))[0] != mark:
                self._read_on()  # another process may have added it
            kept = self._known.get(name)
        return kept[1] if kept is not None and kept[0] == mark else None

    def keep(self, path: Place, sha256: str, before: Mark | None) -> None:
        """Keep the digest of a file, whatever it holds, that was read elsewhere.

        Args:
            path: the file.
            sha256: its digest.
            before: what the file was before it was read; if it is something else now, nothing is kept.
        """
        seen_ns = time.time_ns()
        if before is not None and before == mark_of(path):
            self._keep(str(path).removeprefix(self._root), before, seen_ns, TableRef(str(path), sha256, 0, 0))

    def written(self, ref: TableRef, path: Place) -> TableRef:
        """The reference of a file that this process has just written: its digest is that of the bytes that went in."""
        seen_ns, mark = time.time_ns(), mark_of(path)
        if mark is not None:
            self._keep(str(path).removeprefix(self._root), mark, seen_ns, ref)
        return ref

    def _keep(self, name: str, mark: Mark, seen_ns: int, ref: TableRef) -> None:
        tick = _TICK_NS if mark.mtime_ns % 1_000_000_000 else _COARSE_TICK_NS
        if mark.mtime_ns and mark.mtime_ns > seen_ns - tick:
            return
        with self._lock, contextlib.suppress(OSError):  # a full disk stops the build by itself
            self._known[name] = mark, ref
            self._lines.parent.mkdir(parents=True, exist_ok=True)
            with self._lines.open("ab") as file:
                file.write(_line(name, mark, ref))

    def _read_on(self) -> int:
        """Take in the lines that were added; their number. One that is torn or strange says nothing."""
        try:
            with self._lines.open("rb") as file:
                file.seek(self._offset)
                added = file.read()
        except OSError:
            return 0
        added = added[: added.rfind(b"\n") + 1]
        self._offset += len(added)
        lines = added.splitlines()
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):
                name, mark, (sha256, num_rows, version) = json.loads(line)
                self._known[name] = Mark(*mark), TableRef("", sha256, num_rows, version)
        return len(lines)


def _line(name: str, mark: Mark, ref: TableRef) -> bytes:
    return json.dumps([name, mark, [ref.sha256, ref.num_rows, ref.schema_version]]).encode() + b"\n"


def mark_of(path: Place) -> Mark | None:
    """What a file is now; None where there is none."""
    try:
        if isinstance(path, ObjectPath):
            size_bytes, etag = path.tag()
            return Mark(size_bytes, 0, 0, etag)
        found = path.stat()
    except OSError:
        return None
    return Mark(found.st_size, found.st_mtime_ns, found.st_ctime_ns, str(found.st_ino))
