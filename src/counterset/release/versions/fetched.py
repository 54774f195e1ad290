"""Copies of releases that lie at an address of https, s3 or the hub.

What a remote release states of itself is checked before anything is written. A copy is made file by
file beside its final name, each no longer than stated and checked against SHA256SUMS, and becomes the
release by a rename; its folder is named by the digest of SHA256SUMS, so a changed remote release never
meets an older copy.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from counterset.errors import ReleaseError, WorkspaceError
from counterset.fetching.addresses import is_loopback, shown
from counterset.release.checksums import MAX_LISTING_BYTES, MAX_RELEASE_BYTES, METADATA, SUMS, verify_files
from counterset.release.hub import credentials, files_at, is_hub, refusal
from counterset.release.versions.order import LATEST, POINTER, is_version, newest
from counterset.storage import cache_folder, place

_FREE_BYTES = 1_000_000_000
"""Bytes of the cache's disk that are left free."""
_TIMEOUT_S = 60
_CHUNK = 1 << 20


def fetch_release(address: str, version: str | None, cache: str | Path | None, max_bytes: int) -> Path:
    """The local copy of the release at an address, or of one of the versions there.

    Raises:
        ReleaseError: nothing there, no such version, or it is not what it says.
    """
    if is_hub(address):
        return _fetched(files_at(address, version), cache_folder(cache), max_bytes, hub=address)
    version = None if version == LATEST else version
    try:
        return _fetched(_at(address, version or ""), cache_folder(cache), max_bytes)
    except _NotThere:
        last = None if version else _newest_at(address)
        if last is None:
            raise
    return _fetched(_at(address, last), cache_folder(cache), max_bytes)


class _NotThere(ReleaseError):
    """An address has no such file."""


def _newest_at(address: str) -> str | None:
    """The newest of the versions at an address, as its bucket lists them or its host says; None = it says nothing."""
    if address.lower().startswith("s3://"):
        home = place(address)
        try:
            return newest(path.parent.name for path in home.glob(f"*/{SUMS}"))
        except (OSError, WorkspaceError):  # what cannot be listed has no newest; why not was said of the address itself
            return None
    try:
        said = _read(_http(_at(address, POINTER)), address).decode("ascii", errors="replace").strip()
    except ReleaseError:
        return None
    return said if is_version(said) else None


def _at(address: str, name: str) -> str:
    """A file below an address, before the options or the token that follow its `?`."""
    base, mark, options = address.partition("?")
    return "/".join(filter(None, (base.rstrip("/"), name))) + mark + options


def _fetched(address: str, cache: Path, max_bytes: int, hub: str = "") -> Path:
    """The copy of the release at an address; `hub` = what was asked for, of an address of the hub's files."""
    from counterset.release.stated import Stated, stated

    scheme = address.partition("://")[0].lower()
    if scheme == "https" or (scheme == "http" and is_loopback(address)):
        opener: Callable[[str], Iterator[bytes]] = functools.partial(_http, hub=hub) if hub else _http
    elif scheme == "s3":
        opener = _s3
        place(address)  # an address that holds keys is refused
    else:
        raise ReleaseError(f"releases are not read from {scheme}://; use https://, s3:// or hf://, or a local folder")

    def read(name: str) -> Iterator[bytes]:
        return opener(_at(address, name))

    where = shown(address)
    sums = _read(read(SUMS), f"{where}/{SUMS}")
    target = cache / "releases" / hashlib.sha256(sums).hexdigest()[:32]
    metadata = _read(read(METADATA), f"{where}/{METADATA}")
    said: Stated = stated(metadata, sums, where)
    _check(hashlib.sha256(metadata).hexdigest(), said.digests[METADATA], f"{where}/{METADATA}")
    if target.is_dir():
        try:
            verify_files(target, said.digests)
            return target
        except ReleaseError:  # the copy was altered since
            shutil.rmtree(target, ignore_errors=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        _check_room(sum(entry.size_bytes for entry in said.files.values()), aside, where, max_bytes)
        (aside / METADATA).write_bytes(metadata)
        (aside / SUMS).write_bytes(sums)
        for path, entry in sorted(said.files.items()):
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            with (aside / path).open("wb") as file:
                digest = _copy(read(path), file, entry.size_bytes, f"{where}/{path}")
            _check(digest, entry.sha256, f"{where}/{path}")
        try:
            aside.rename(target)
        except OSError:
            # Another process was first; its copy holds the same bytes.
            if not target.is_dir():
                raise
    except OSError as error:
        raise ReleaseError(f"cannot keep {where} in {cache}: {error}; free space or give another cache") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _check_room(size_bytes: int, folder: Path, address: str, max_bytes: int) -> None:
    """See that a release states no more bytes than may be fetched, and no more than there is room for."""
    if size_bytes > max_bytes:
        raise ReleaseError(
            f"{address} says that it has {size_bytes:,} bytes, more than the {max_bytes:,} that are fetched; "
            "give counterset.load a larger max_bytes, or fetch it by another program and give its folder"
        )
    free = shutil.disk_usage(folder).free - _FREE_BYTES
    if size_bytes > free:
        raise ReleaseError(
            f"{address} says that it has {size_bytes:,} bytes and there is room for {max(free, 0):,}; "
            "free space or give another cache"
        )


def _check(actual: str, expected: str, where: str) -> None:
    if actual != expected:
        raise ReleaseError(f"{where} does not match {SUMS}; the release is altered or changed while it was read")


def _read(chunks: Iterator[bytes], where: str) -> bytes:
    parts, size = [], 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_LISTING_BYTES:
            raise ReleaseError(f"{where} is larger than {MAX_LISTING_BYTES} bytes; it is no release of counterset")
        parts.append(chunk)
    return b"".join(parts)


def _copy(chunks: Iterator[bytes], file: IO[Any], limit: int, where: str) -> str:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise ReleaseError(f"{where} is larger than release.json says; the release is altered")
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest()


def _http(url: str, hub: str = "") -> Iterator[bytes]:
    from counterset.fetching.addresses import HostRules, netloc
    from counterset.fetching.gate import FetchFailed, Gate, user_agent
    from counterset.schemas import RejectReason  # brings pyarrow

    # The address is trusted as typed; where it redirects to must be public.
    gate = Gate(HostRules((netloc(url),), ("*",)), user_agent(), timeout_s=_TIMEOUT_S)
    try:
        yield from gate.stream(url, MAX_RELEASE_BYTES, credentials() if hub else {})
    except FetchFailed as failure:
        if hub and (refused := refusal(hub, failure.status)):
            raise ReleaseError(refused) from None
        kind = _NotThere if failure.reason == RejectReason.GONE else ReleaseError
        raise kind(f"cannot read {shown(url)} ({failure}); check the address and the network") from None


def _s3(url: str) -> Iterator[bytes]:
    import pyarrow as pa

    try:
        filesystem, path = _s3_file(url)
        with filesystem.open_input_stream(path) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except (OSError, pa.ArrowException) as error:
        kind = _NotThere if isinstance(error, FileNotFoundError) else ReleaseError
        raise kind(f"cannot read {shown(url)} ({str(error)[:200]}); check the address and your credentials") from error


def _s3_file(url: str) -> tuple[Any, str]:
    from pyarrow import fs

    filesystem, path = fs.FileSystem.from_uri(url)
    return filesystem, path
