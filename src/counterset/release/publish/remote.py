"""Releases on S3: verified where they lie, and made by one conditional write.

    <home>/.parts/<last>/<attempt>/...   a release that is being uploaded, out of everyone's way
    <home>/.next/<last>                  which attempt follows the release <last>; written once
    <home>/<version>/...                 the release; its SHA256SUMS comes last, and makes it visible
    <home>/latest.txt                    the newest version, for hosts whose folders cannot be listed

Of several publishers that build on the same last release, S3 lets one write `.next/<last>`: it is
then the next release, whole, whatever happens to its publisher, and all others are refused, however
long they slept. Only what it names is ever copied to its place, and whoever meets it unfinished finishes
it. So no release is written over, none is forked, and no lease or clock is needed.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from counterset.errors import ReleaseError, WorkspaceError
from counterset.release.checksums import METADATA, SUMS, parse_sums
from counterset.release.schemas import SPLITS
from counterset.release.stated import stated
from counterset.release.table_files import files_of
from counterset.release.versions.last import LastRelease, damaged, opened
from counterset.release.versions.order import POINTER, is_version, newest
from counterset.storage import ObjectPath, fetch
from counterset.tables import sha256_of, write_bytes

NEXT, PARTS = ".next", ".parts"
FIRST = "none"
"""Stands for the last release where there is none."""


@dataclass(frozen=True)
class Head:
    """The last release below `home`, and the state of its mark in which it has no successor yet.

    Attributes:
        home: the address of a name's versions.
        last: the last version, or FIRST.
        etag: of a mark that names a release which was moved away; None = no mark.
    """

    home: ObjectPath
    last: str
    etag: str | None

    @property
    def mark(self) -> ObjectPath:
        return self.home / NEXT / self.last


def fetch_last(home: ObjectPath, folder: Path) -> tuple[Head, LastRelease | None]:
    """The last release below `home`, copied to `folder / <version>` without the splits, all verified.

    These are all that the next version is compared with.

    Raises:
        ReleaseError: it is damaged.
    """
    head = head_of(home)
    highest = newest(_versions(home, METADATA))
    if highest and newest([highest, head.last]) != head.last:
        raise ReleaseError(damaged(str(home / highest), FileNotFoundError(2, "no such object", SUMS)))
    return head, None if head.last == FIRST else _fetch(home / head.last, folder / head.last, home.name)


def copied(head: Head, folder: Path) -> Path | None:
    """All files of the last version, as they are, copied to `folder / <version>`; None without any."""
    if head.last == FIRST:
        return None
    fetch(head.home / head.last, folder / head.last)
    return folder / head.last


def head_of(home: ObjectPath) -> Head:
    """What the next version below `home` follows; what another publisher has begun to put in place is finished first.

    Raises:
        ReleaseError: its mark says nothing.
    """
    while True:
        last = newest(_versions(home, SUMS))
        head = Head(home, last or FIRST, None)
        tagged = head.mark.read_tagged()
        if tagged is None:
            break
        mark = _parsed(head.mark, tagged[0])
        if not any(_parts(head, mark["attempt"]).walk()) and not any((home / mark["version"]).walk()):
            head = Head(home, head.last, tagged[1])  # the release was moved away by hand
            break
        _finish(head, mark)
    return head


def _parsed(path: ObjectPath, content: bytes) -> dict[str, str]:
    """What a mark says.

    Raises:
        ReleaseError: it is none.
    """
    with contextlib.suppress(ValueError):
        said = json.loads(content)
        if isinstance(said, dict) and {"version", "attempt"} == said.keys() and is_version(str(said["version"])):
            return {name: str(value) for name, value in said.items()}
    raise ReleaseError(f"{path} does not say which release comes next; remove it, and run again")


def _versions(home: ObjectPath, name: str) -> list[str]:
    """The folders below `home` that hold the file."""
    return [path.parent.name for path in home.glob(f"*/{name}")]


def _fetch(release: ObjectPath, folder: Path, name: str) -> LastRelease:
    try:
        said = stated(_read(release / METADATA), _read(release / SUMS), str(release))
        splits = {path for split in SPLITS for path in files_of(split, said.digests)}
        for path, digest in said.digests.items():
            if path in splits:
                read = _digest(release / path)
            else:
                write_bytes(_read(release / path), folder / path)
                read = sha256_of(folder / path)
            if read != digest:
                raise ReleaseError(f"{path} does not match {SUMS}")
        write_bytes(_read(release / SUMS), folder / SUMS)
        return opened(folder, said, name)
    except (OSError, ReleaseError) as error:
        raise ReleaseError(damaged(str(release), error)) from error


def _read(path: ObjectPath) -> bytes:
    with _named(path):
        return path.read_bytes()


def _digest(path: ObjectPath) -> str:
    with _named(path):
        return sha256_of(path)


@contextlib.contextmanager
def _named(path: ObjectPath) -> Iterator[None]:
    """pyarrow's error for a missing object does not name it."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(2, "no such object", str(path)) from error


def upload(folder: Path, version: str, head: Head) -> None:
    """Make the content of a folder the release that follows `head.last`.

    Raises:
        ReleaseError: another publisher was first.
    """
    attempt = uuid.uuid4().hex
    parts = _parts(head, attempt)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        write_bytes(path.read_bytes(), parts / path.relative_to(folder).as_posix())
    mark = {"version": version, "attempt": attempt}
    content = json.dumps(mark, sort_keys=True).encode()
    head.mark.write_if(content, head.etag)
    # Read back: a write whose answer was lost is refused when it is sent again, and is ours nevertheless.
    tagged = head.mark.read_tagged()
    if tagged is None or tagged[0] != content:
        _delete(parts)
        raise ReleaseError(
            f"another build published to {head.home} while this one ran, so this one published nothing; run it again"
        )
    _finish(head, mark)


def _finish(head: Head, mark: dict[str, str]) -> None:
    """Put the release that a mark names in its place; any number of publishers may do so at once."""
    parts, target = _parts(head, mark["attempt"]), head.home / mark["version"]
    try:
        sums = _read(parts / SUMS if (parts / SUMS).is_file() else target / SUMS)
        digests = parse_sums(sums.decode("utf-8", errors="replace"), str(target))
        for left in list(target.walk()):
            if left.relative_to(target) not in {*digests, SUMS}:
                left.unlink(missing_ok=True)  # of an upload by earlier code that was cut off
        for path in [*sorted(digests), SUMS]:
            try:
                (parts / path).copy_to(target / path)
            except FileNotFoundError:
                if not (target / path).is_file():  # else another one has put it there
                    raise
    except (OSError, ReleaseError) as error:
        raise ReleaseError(damaged(str(target), error)) from error
    last = newest(_versions(head.home, SUMS))
    with contextlib.suppress(OSError, WorkspaceError):  # the release is there, and a bucket can be listed
        write_bytes(f"{last}\n".encode(), head.home / POINTER)
    # No attempt that follows the same release can win any more.
    _delete(head.home / PARTS / head.last)


def _delete(prefix: ObjectPath) -> None:
    for path in list(prefix.walk()):
        path.unlink(missing_ok=True)


def _parts(head: Head, attempt: str) -> ObjectPath:
    return head.home / PARTS / head.last / attempt
