"""What a workspace's builds did: one record per run, kept beside the files for `status` and `gc`.

    <workspace>/runs/<time of its start>.json

Nothing is decided by a record except which files `gc` keeps (`workspace_files`). Timings stand here and not in
`release.json`, for equal inputs must give equal releases.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import psutil
from pydantic import TypeAdapter

from counterset import lease
from counterset.errors import WorkspaceError
from counterset.storage import ObjectPath, Place
from counterset.tables import write_bytes
from counterset.workspace import Workspace

logger = logging.getLogger(__name__)

RUNNING, FINISHED, FAILED, KILLED = "running", "finished", "failed", "killed"


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
        classes: name by class_id, in the class list's order.
        vocabulary: names of the backgrounds.
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
    classes: Mapping[str, str] = field(default_factory=dict)
    vocabulary: tuple[str, ...] = ()


class Recorder:
    """Writes one run's record."""

    def __init__(
        self, workspace: Workspace, name: str, classes: Mapping[str, str] | None = None, vocabulary: Iterable[str] = ()
    ) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self._path = workspace.root / "runs" / f"{now:%Y%m%dT%H%M%S%fZ}.json"
        self._run = Run(
            name,
            now.isoformat(timespec="seconds"),
            process=Process.this(),
            classes=classes or {},
            vocabulary=tuple(vocabulary),
        )
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


_RUN = TypeAdapter(Run)
