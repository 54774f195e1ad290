"""One build at a time where there are no file locks: a lease object on S3.

A holder writes an object with its name and renews it every RENEW_S seconds. A lease that was not
renewed for EXPIRES_S seconds, by the service's own clock, is of a build that died: the next one
takes it. On the same machine a dead holder is seen at once, by its process id.

Every write is conditional on the lease that its writer saw, so of builds that begin at once one
holds it. One that slept past its lease goes on beside the build that took it: nothing is damaged, for
files have names that follow from their content's inputs and are written whole, but work may be done
twice. Releases need no lease (see `release.publish.remote`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from counterset.errors import WorkspaceError
from counterset.storage import ObjectPath

logger = logging.getLogger(__name__)

RENEW_S = 15.0
EXPIRES_S = 60.0


def machine() -> str:
    """The name under which process ids mean something: the host, and the container where there is one."""
    namespace = Path("/proc/self/ns/pid")
    number = f"/{namespace.stat().st_ino}" if namespace.exists() else ""
    return socket.gethostname() + number


def started(pid: int) -> float:
    """When a process began, so that its id is not mistaken for an earlier one's; no clock that may be set.

    Raises:
        OSError, psutil.NoSuchProcess: it is gone, or ended and nobody asked how: where a container's first process does
            not ask, a killed build stays so for ever.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        state, *told = stat.read_text().rpartition(")")[2].split()
        if state in "ZX":
            raise ProcessLookupError(f"process {pid} has ended")
        return float(told[18])
    process = psutil.Process(pid)
    if process.status() == psutil.STATUS_ZOMBIE:
        raise psutil.ZombieProcess(pid)
    return process.create_time()


@contextlib.contextmanager
def held(path: ObjectPath, what: str) -> Iterator[None]:
    """Hold the lease at `path` for a `with` block.

    Args:
        path: the lease object.
        what: is being held, for the error.

    Raises:
        WorkspaceError: another build holds it.
    """
    mine = {
        "owner": uuid.uuid4().hex,
        "host": machine(),
        "pid": os.getpid(),
        "started": started(os.getpid()),
    }
    content = json.dumps(mine, sort_keys=True).encode()
    seen = path.read_tagged()
    if seen:
        _refuse_if_held(path, _parsed(seen[0]), what)
    path.write_if(content, seen[1] if seen else None)
    taken = path.read_tagged()  # a write whose answer was lost is refused when sent again, and is ours nevertheless
    if taken is None or taken[0] != content:
        raise WorkspaceError(f"another build has just begun in {what}; wait until it ends")
    ended = threading.Event()
    renewer = threading.Thread(target=_renew, args=(path, *taken, ended), name="lease", daemon=True)
    renewer.start()
    try:
        yield
    finally:
        ended.set()
        renewer.join()
        if _read(path).get("owner") == mine["owner"]:
            path.unlink(missing_ok=True)


def is_held(path: ObjectPath) -> bool:
    """Whether a build that lives, as far as can be told, holds the lease at `path`."""
    found = _read(path)
    if not found or _is_dead(found):
        return False
    return bool(_now(path) - path.stat().st_mtime < EXPIRES_S)


def _refuse_if_held(path: ObjectPath, lease: dict[str, Any], what: str) -> None:
    if not lease or _is_dead(lease):
        return
    age_s = _now(path) - path.stat().st_mtime
    if age_s < EXPIRES_S:
        raise WorkspaceError(
            f"another build (process {lease.get('pid')} on {lease.get('host')}) is running in {what}; wait until it "
            f"ends; if it was killed, its claim ends in {EXPIRES_S - age_s:.0f} s"
        )


def _is_dead(lease: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is gone."""
    if lease.get("host") != machine():
        return False
    try:
        return bool(started(int(lease["pid"])) != lease["started"])
    except (psutil.NoSuchProcess, OSError, KeyError, ValueError):
        return True


def _renew(path: ObjectPath, content: bytes, etag: str, ended: threading.Event) -> None:
    while not ended.wait(RENEW_S):
        try:
            written = path.write_if(content, etag)
            if written is None:
                logger.warning("another build took over %s; work may be done twice", path)
            etag = written or etag
        except OSError as error:
            logger.warning("the lease %s could not be renewed: %s", path, error)


def _read(path: ObjectPath) -> dict[str, Any]:
    try:
        return _parsed(path.read_bytes())
    except FileNotFoundError:
        return {}


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _now(path: ObjectPath) -> float:
    """The time by the service's clock, from an object written now."""
    probe = ObjectPath(f"{path.key}-clock-{uuid.uuid4().hex[:8]}", path.query)
    probe.write_bytes(b"")
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
