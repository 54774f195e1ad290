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
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from counterset.errors import WorkspaceError
from counterset.storage import ObjectPath, Place, place
from counterset.tables import write_bytes
from counterset.workspace import Workspace

logger = logging.getLogger(__name__)

RUNNING, FINISHED, FAILED, KILLED = "running", "finished", "failed", "killed"
RECORDS = ("failed", "published")
"""Stages that say what was done and hold next to nothing."""
_KEY = re.compile(r"[0-9a-f]{16}")


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
    """

    name: str
    started_at: str
    ended_at: str = ""
    state: str = RUNNING
    reason: str = ""
    release: str = ""
    keys: tuple[str, ...] = ()
    stages: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Recorder:
    """Writes one run's record."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self._path = workspace.root / "runs" / f"{now:%Y%m%dT%H%M%S%fZ}.json"
        self._run = Run(name, now.isoformat(timespec="seconds"))
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
            found.append(Run(**json.loads(path.read_text())))
        except (ValueError, TypeError):
            logger.warning("%s cannot be read and is passed over", path)
    return found


def latest(workspace: Workspace) -> Run | None:
    """The last run, its state as it is now."""
    runs = read_runs(workspace)
    if not runs:
        return None
    if runs[-1].state == RUNNING and not workspace.is_locked():
        return replace(runs[-1], state=KILLED)
    return runs[-1]


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
    for path, (stage, key, *_) in _files(workspace):
        if stage not in RECORDS and _KEY.fullmatch(key) and key not in needed:
            found.setdefault(stage, []).append((path, path.stat().st_size))
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
    for path, (stage, *_) in _files(workspace):
        number, size = found.get(stage, (0, 0))
        found[stage] = number + 1, size + path.stat().st_size
    return dict(sorted(found.items()))


def failures(workspace: Workspace) -> list[dict[str, Any]]:
    """The records of shards that were set aside, by stage and shard."""
    found = [json.loads(path.read_text()) for path, (stage, *_) in _files(workspace) if stage == "failed"]
    return sorted(found, key=lambda record: (record["stage"], record["shard"]))


def _files(workspace: Workspace) -> Iterable[tuple[Place, list[str]]]:
    """Every file at <stage>/<key>/..., with the parts of its path."""
    root = workspace.root
    if isinstance(root, ObjectPath):
        paths: Iterable[tuple[Place, str]] = ((path, path.relative_to(root)) for path in root.walk())
    else:
        paths = ((path, path.relative_to(root).as_posix()) for path in sorted(root.rglob("*")) if path.is_file())
    for path, name in paths:
        parts = name.split("/")
        if len(parts) >= 3:
            yield path, parts


def _is_there(release: str) -> bool:
    return bool(release) and (place(release) / "SHA256SUMS").is_file()
