"""What a workspace's builds did: a record a run, kept beside the files for `status` and `gc`.

    <workspace>/runs/<time of its start>.json

A record only tells; nothing is decided by it but which files `gc` keeps. Timings stand here and not
in `release.json`, for equal inputs must give equal releases.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
from pydantic import TypeAdapter

from counterset import lease
from counterset.errors import WorkspaceError
from counterset.storage import ObjectPath, Place, place
from counterset.tables import write_bytes
from counterset.workspace import Workspace

logger = logging.getLogger(__name__)

RUNNING, FINISHED, FAILED, KILLED = "running", "finished", "failed", "killed"
RECORDS = ("failed",)
"""Stages that say what was done and hold next to nothing."""
_KEY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Process:
    """The process of a build: who looks sees by it whether the build still runs, without touching its lock.

    Attributes:
        machine: the host, and the container where there is one.
        pid: on it.
        started: when it began, so that another one of the same id is not taken for it.
    """

    machine: str = ""
    pid: int = 0
    started: float = 0.0

    @classmethod
    def this(cls) -> Process:
        """The calling one."""
        return cls(lease.machine(), os.getpid(), lease.started(os.getpid()))

    @property
    def is_here(self) -> bool:
        """Whether this machine can see it."""
        return self.machine == lease.machine()

    @property
    def is_alive(self) -> bool:
        """Whether it runs, on this machine."""
        try:
            return lease.started(self.pid) == self.started
        except (psutil.NoSuchProcess, OSError, ValueError, IndexError):
            return False


@dataclass(frozen=True)
class Run:
    """One build of a workspace.

    Attributes:
        name: the config's name.
        started_at: UTC, ISO 8601.
        ended_at: "" while it runs, and for ever if it was killed.
        state: running, finished or failed; `latest` says killed where a record stayed at running.
        reason: why it failed, in a sentence.
        release: the folder of its release.
        keys: of the stage folders that it used.
        stages: total, done, reused and seconds by stage.
        process: that runs it; records of the first edition name none.
    """

    name: str
    started_at: str
    ended_at: str = ""
    state: str = RUNNING
    reason: str = ""
    release: str = ""
    keys: tuple[str, ...] = ()
    stages: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    process: Process = Process()


class Recorder:
    """Writes one run's record."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self._path = workspace.root / "runs" / f"{now:%Y%m%dT%H%M%S%fZ}.json"
        self._run = Run(name, now.isoformat(timespec="seconds"), process=Process.this())
        self.update({})

    def update(self, stages: Mapping[str, Mapping[str, float]], keys: Iterable[str] = ()) -> None:
        """The stages stand there now, and the run uses these keys."""
        self._write(stages=stages, keys=tuple(sorted({*self._run.keys, *keys})))

    def end(self, state: str, *, reason: str = "", release: str = "") -> None:
        """The run has ended."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._write(state=state, reason=reason, release=release, ended_at=now)

    def _write(self, **changes: Any) -> None:
        self._run = replace(self._run, **changes)
        content = json.dumps(asdict(self._run), indent=1) + "\n"
        # A full disk stops the build by itself; its record need not.
        with contextlib.suppress(WorkspaceError):
            write_bytes(content.encode(), self._path)


def read_runs(workspace: Workspace) -> list[Run]:
    """The records of a workspace, oldest first; a damaged one is left out."""
    found = []
    paths: list[Place] = sorted((workspace.root / "runs").glob("*.json"), key=lambda path: path.name)
    for path in paths:
        try:
            found.append(_RUN.validate_json(path.read_bytes()))
        except (OSError, ValueError):
            logger.warning("%s cannot be read and is passed over", path)
    return found


def latest(workspace: Workspace) -> Run | None:
    """The last run, its state as it is now."""
    runs = read_runs(workspace)
    if not runs:
        return None
    last = runs[-1]
    return replace(last, state=KILLED) if last.state == RUNNING and not _is_running(workspace, last) else last


def _is_running(workspace: Workspace, run: Run) -> bool:
    """Whether a build that has not ended still runs, as far as can be told from here."""
    if run.process.is_here:
        return run.process.is_alive
    if isinstance(workspace.root, ObjectPath):
        return lease.is_held(workspace.root / ".lease")
    return bool(run.process.machine)


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


_RUN, _SET_ASIDE = TypeAdapter(Run), TypeAdapter(SetAside)


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
