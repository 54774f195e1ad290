"""The workspace: where every stage's finished files lie, and which of them are missing.

    <workspace>/<stage>/<key>/<shard>.parquet

The workspace is a folder, or a prefix at `s3://`; what must be local then (downloads under
way, the budget, the crawl's state) lies in a scratch folder of the machine.

`key` is a digest of all that the stage's output depends on (its part of the config and
the digests of its inputs), so a changed config never meets a stale file and an unchanged
one finds its work done. A file at its final name is finished; there is no other record.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
from pydantic import BaseModel

from counterset import lease
from counterset.content import content
from counterset.errors import WorkspaceError
from counterset.storage import ObjectPath, Place, fetch, keep, place, scratch_of


def digest(*parts: Any) -> str:
    """16 hex digits that change when any of the JSON-like parts changes."""

    def plain(value: Any) -> Any:
        if isinstance(value, BaseModel):
            return content(value)
        raise TypeError(f"{type(value)} has no stable digest")

    text = json.dumps(parts, sort_keys=True, default=plain, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of packages that a file's bytes depend on; "" where one is not installed."""
    return {package: version_of(package) for package in packages}


@functools.cache  # it parses all that a package says of itself, and hundreds of keys ask
def version_of(package: str) -> str:
    """The installed version of a package; "" where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def check_writable(root: Place, setting: str) -> None:
    """See that a folder or bucket can be written, or that the folder can be made; nothing is left behind.

    Args:
        root: where.
        setting: the config's key, for the error.

    Raises:
        WorkspaceError: it cannot.
    """
    folder = root
    if isinstance(root, Path):
        folder = next(path for path in (root, *root.absolute().parents) if os.path.lexists(path))
    probe = folder / f".writable-{uuid.uuid4().hex[:8]}"  # another build may look at the same moment
    try:
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:200]
        raise WorkspaceError(
            f"the {setting} at {root} cannot be written ({reason}); "
            f"set '{setting}' in the config to a folder or bucket you may write to"
        ) from error


class Workspace:
    """One folder of finished stage files.

    Attributes:
        root: where they lie.
        local: `root`, or a folder of this machine where `root` is remote.
    """

    def __init__(self, root: str | Path) -> None:
        self.root: Place = place(root)
        self.local: Path = scratch_of(self.root) if isinstance(self.root, ObjectPath) else self.root

    def prepare(self) -> None:
        """Create the folder and see that it can be written.

        Raises:
            WorkspaceError: it cannot.
        """
        check_writable(self.root, "workspace")
        if isinstance(self.root, Path):
            self.root.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the workspace for one build; ends with the process, however it ends.

        On S3 this is a lease (see `lease`), with a race that it states.

        Raises:
            WorkspaceError: another build holds it.
        """
        if isinstance(self.root, ObjectPath):
            with lease.held(self.root / ".lease", str(self.root)):
                yield
            return
        lock = filelock.FileLock(self.root / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise WorkspaceError(
                f"another build is running in {self.root}; wait until it ends, or give this one its own workspace"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def folder(self, stage: str, key: str) -> Place:
        """The folder of a stage's files under one key."""
        return self.root / stage / key

    def file(self, stage: str, key: str, name: str) -> Place:
        """The path of one finished file, there or not."""
        return self.folder(stage, key) / f"{name}.parquet"

    def other_keys(self, stage: str, key: str) -> bool:
        """Whether a stage has finished files under other keys and none under this one."""
        if next(iter(self.folder(stage, key).glob("*.parquet")), None) is not None:
            return False
        return next(iter((self.root / stage).glob("*/*.parquet")), None) is not None

    def names(self, stage: str, key: str) -> list[str]:
        """The names of the finished files of a stage under one key, sorted."""
        return sorted(path.stem for path in self.folder(stage, key).glob("*.parquet"))

    def scratch(self, stage: str, key: str) -> Path:
        """A folder of this machine for a stage's unfinished work."""
        return self.local / stage / key

    def fetch_scratch(self, stage: str, key: str) -> None:
        """Bring a scratch folder up to what `keep_scratch` kept of it, on whatever machine."""
        if isinstance(self.root, ObjectPath):
            fetch(self.root / stage / key, self.scratch(stage, key))

    def keep_scratch(self, stage: str, key: str) -> None:
        """Keep a scratch folder with the workspace."""
        if isinstance(self.root, ObjectPath):
            keep(self.scratch(stage, key), self.root / stage / key)
