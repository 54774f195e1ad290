"""What lies in a workspace: sizes by stage, shards that were set aside, and files that no release needs any more."""

from __future__ import annotations

import contextlib
import logging
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from counterset.build_records import FINISHED, read_runs
from counterset.errors import WorkspaceError
from counterset.storage import ObjectPath, Place, place
from counterset.workspace import Workspace

logger = logging.getLogger(__name__)

RECORDS = ("failed",)
"""Stages that say what was done and hold next to nothing."""
_KEY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Unneeded:
    """Files of one stage that no release needs."""

    stage: str
    files: tuple[Place, ...]
    size_bytes: int


def unneeded(workspace: Workspace) -> list[Unneeded]:
    """The files of a workspace that were made for no release that is still there, nor for the last finished run.

    Raises:
        WorkspaceError: no run of it has finished, so that nothing is known of what is needed.
    """
    runs = [run for run in read_runs(workspace) if run.state == FINISHED]
    if not runs:
        raise WorkspaceError(
            f"no build has finished in {workspace.root}, so nothing can be called unneeded; finish one first"
        )
    needed = {key for run in runs if run is runs[-1] or _is_there(run.release) for key in run.keys}
    found: dict[str, list[tuple[Place, int]]] = {}
    for path, size, (stage, key, *_) in _files(workspace):
        if stage not in RECORDS and _KEY.fullmatch(key) and key not in needed:
            found.setdefault(stage, []).append((path, size))
    return [
        Unneeded(stage, tuple(path for path, _ in files), sum(size for _, size in files))
        for stage, files in sorted(found.items())
    ]


def free(found: Iterable[Unneeded]) -> None:
    """Delete the files, and the folders that are empty then."""
    for stage in found:
        for path in stage.files:
            path.unlink(missing_ok=True)
        for folder in sorted({path.parent for path in stage.files if not isinstance(path, ObjectPath)}, reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()


def sizes(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """Number of files and their bytes, by stage."""
    found: dict[str, tuple[int, int]] = {}
    for _, size, (stage, *_) in _files(workspace):
        number, total = found.get(stage, (0, 0))
        found[stage] = number + 1, total + size
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class SetAside:
    """What a build records of a shard that it goes on without (`counterset.steps.failures`)."""

    stage: str
    shard: str
    model: str
    reason: str
    attempts: int


def failures(workspace: Workspace) -> list[SetAside]:
    """The shards that were set aside, by stage and shard; a damaged record is left out."""
    found = []
    for path, _, (stage, *_) in _files(workspace):
        if stage == "failed":
            try:
                found.append(_SET_ASIDE.validate_json(path.read_bytes()))
            except (OSError, ValueError):
                logger.warning("%s cannot be read and is passed over", path)
    return sorted(found, key=lambda record: (record.stage, record.shard))


_SET_ASIDE = TypeAdapter(SetAside)


def _files(workspace: Workspace) -> Iterator[tuple[Place, int, list[str]]]:
    """Every file at <stage>/<key>/..., with its bytes and the parts of its path; a build may run meanwhile."""
    root = workspace.root
    if isinstance(root, ObjectPath):
        found: Iterable[tuple[Place, int, str]] = (
            (path, seen.st_size, path.relative_to(root)) for path, seen in root.scan()
        )
    else:
        found = _local_files(root)
    for path, size, name in found:
        parts = name.split("/")
        if len(parts) >= 3:
            yield path, size, parts


def _local_files(root: Path) -> Iterator[tuple[Path, int, str]]:
    for path in sorted(root.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            found = path.stat()
            if stat.S_ISREG(found.st_mode):
                yield path, found.st_size, path.relative_to(root).as_posix()


def _is_there(release: str) -> bool:
    return bool(release) and (place(release) / "SHA256SUMS").is_file()
