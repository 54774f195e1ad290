"""Where Prefect and others write besides the workspace: seen to before Prefect is imported.

A container that runs under another user id has no home folder it may write to; a read-only one has nothing but its
mounts. What only needs some place then gets a temporary one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from counterset.errors import WorkspaceError

logger = logging.getLogger(__name__)

ROOM_BYTES = 32 * 2**20
"""Free space that a start needs: Prefect's new database and its journal take 6 MB."""


OTHERS = (Path("/var/tmp"), Path())
"""Folders for temporary files where the usual one and Prefect's home lack something; the last is the current one."""


@contextlib.contextmanager
def writable() -> Iterator[None]:
    """See that Prefect's home, the cache and the folder of temporary files can be written to in the block.

    One that cannot is replaced by a new folder elsewhere, which goes with the block.

    Raises:
        WorkspaceError: no place at all can be written to.
    """
    usual = Path(next((os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)), "/tmp"))
    home = _prefect_home()
    home_fault = fault(home)
    temp = next((folder.absolute() for folder in (usual, home, *OTHERS) if not fault(folder)), None)
    if temp is None:
        raise WorkspaceError(
            f"there is no place for temporary files: {usual} {fault(usual)}, {home} {home_fault}; "
            "set TMPDIR to a folder that can be written to, with some free space"
        )
    with contextlib.ExitStack() as stack:
        if temp != usual:
            logger.warning("temporary files go to %s: %s %s", temp, usual, fault(usual))
            temp = _folder(stack, temp)
            _set(stack, "TMPDIR", temp)
            stack.callback(setattr, tempfile, "tempdir", tempfile.tempdir)
            tempfile.tempdir = str(temp)
        if home_fault:
            logger.warning("Prefect keeps no record of this run: %s %s", home, home_fault)
            _set(stack, "PREFECT_HOME", _folder(stack, temp))
        if not os.environ.get("COUNTERSET_CACHE") and not _may_write("~/.cache/counterset"):
            _set(stack, "COUNTERSET_CACHE", _folder(stack, temp))
        yield


def fault(folder: Path) -> str:
    """Why a folder is none to work in; "" when it is. It is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"counterset")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"cannot be written to ({error.strerror or error})"
    return "" if free >= ROOM_BYTES else f"has only {free / 1e6:.0f} MB free"


def _prefect_home() -> Path:
    try:
        return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    except RuntimeError:  # a user without a home
        os.environ["HOME"] = "/nonexistent"  # what others make of that is then the same everywhere
        return Path("/nonexistent/.prefect")


def _may_write(address: str) -> bool:
    """Whether a folder can be written to, or be made."""
    folder = Path(address).expanduser()
    return os.access(next(path for path in (folder, *folder.parents) if path.exists()), os.W_OK)


def _folder(stack: contextlib.ExitStack, place: Path) -> Path:
    """A new folder, which goes with the stack."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="counterset-", dir=place)))


def _set(stack: contextlib.ExitStack, name: str, value: Path) -> None:
    """Set a variable until the stack ends."""
    before = os.environ.get(name)
    os.environ[name] = str(value)
    stack.callback(os.environ.pop, name, None) if before is None else stack.callback(os.environ.update, {name: before})
