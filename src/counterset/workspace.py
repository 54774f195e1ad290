"""The workspace: where every stage's finished files lie, and which of them are missing.

    <workspace>/<stage>/<key>/<shard>.parquet

`key` is a digest of all that the stage's output depends on (its part of the config and
the digests of its inputs), so a changed config never meets a stale file and an unchanged
one finds its work done. A file at its final name is finished; there is no other record.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
from pydantic import BaseModel

from counterset.errors import WorkspaceError


def digest(*parts: Any) -> str:
    """16 hex digits that change when any of the JSON-like parts changes."""

    def plain(value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json")
        raise TypeError(f"{type(value)} has no stable digest")

    text = json.dumps(parts, sort_keys=True, default=plain, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Workspace:
    """One folder of finished stage files."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def prepare(self) -> None:
        """Create the folder and see that it can be written.

        Raises:
            WorkspaceError: it cannot.
        """
        probe = self.root / ".writable"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise WorkspaceError(
                f"the workspace {self.root} cannot be written ({error.strerror}); "
                "set 'workspace' in the config to a folder you may write to"
            ) from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the workspace for one build; ends with the process, however it ends.

        Raises:
            WorkspaceError: another build holds it.
        """
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

    def folder(self, stage: str, key: str) -> Path:
        """The folder of a stage's files under one key."""
        return self.root / stage / key

    def file(self, stage: str, key: str, name: str) -> Path:
        """The path of one finished file, there or not."""
        return self.folder(stage, key) / f"{name}.parquet"

    def names(self, stage: str, key: str) -> list[str]:
        """The names of the finished files of a stage under one key, sorted."""
        return sorted(path.stem for path in self.folder(stage, key).glob("*.parquet"))
