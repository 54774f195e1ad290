"""Where a release lies: a packaged name, a folder, an https address or s3; remote ones are copied to the cache.

A copy is made file by file beside its final name, each checked against SHA256SUMS, and
becomes the release by a rename; its folder is named by the digest of SHA256SUMS, so a
changed remote release never meets an older copy.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from counterset.errors import ReleaseError
from counterset.manifests import manifest_path
from counterset.release.checksums import SUMS, parse_sums
from counterset.storage import cache_folder

_METADATA = "release.json"
_MAX_LISTING = 50_000_000
"""Bytes of SHA256SUMS or release.json at most."""
_TIMEOUT_S = 60
_CHUNK = 1 << 20


def find_release(name_or_path: str | Path, version: str | None, cache: str | Path | None) -> Path:
    """The local folder of a release.

    Raises:
        ReleaseError: nothing there, no such version, or the remote copy is not what it says.
    """
    text = str(name_or_path)
    if "://" in text:
        address = text.rstrip("/") + (f"/{version}" if version else "")
        return _fetched(address, cache_folder(cache))
    packaged = manifest_path("releases") / text
    is_name = text not in ("", ".", "..") and "/" not in text and "\\" not in text
    folder = packaged if is_name and packaged.is_dir() and not (Path(text) / _METADATA).is_file() else Path(text)
    if (folder / _METADATA).is_file():
        return folder
    versions = _versions(folder)
    if version is not None:
        if version not in versions:
            raise ReleaseError(f"{text} has no version {version}; it has {', '.join(versions) or 'none'}")
        return folder / version
    if not versions:
        known = sorted(path.name for path in manifest_path("releases").glob("*") if path.is_dir())
        raise ReleaseError(
            f"no release at {text}; give a release's folder, an https or s3 address, "
            f"or a packaged name ({', '.join(known) or 'none is packaged'})"
        )
    return folder / versions[-1]


def _versions(folder: Path) -> list[str]:
    def key(name: str) -> tuple[int, ...] | None:
        parts = name.split(".")
        return tuple(map(int, parts)) if len(parts) == 3 and all(part.isdecimal() for part in parts) else None

    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if key(path.name) and (path / _METADATA).is_file()]
    return sorted(names, key=lambda name: key(name) or ())


def _fetched(address: str, cache: Path) -> Path:
    scheme = urlsplit(address).scheme
    if scheme == "https" or (scheme == "http" and urlsplit(address).hostname in ("127.0.0.1", "localhost")):
        opener: Callable[[str], Iterator[bytes]] = _http
    elif scheme == "s3":
        opener = _s3
    else:
        raise ReleaseError(f"releases are not read from {scheme}://; use https:// or s3://, or a local folder")
    sums = _read(opener(f"{address}/{SUMS}"), _MAX_LISTING, f"{address}/{SUMS}")
    target = cache / "releases" / hashlib.sha256(sums).hexdigest()[:32]
    if target.is_dir():
        return target
    digests = parse_sums(sums.decode("utf-8", errors="replace"), address)
    if _METADATA not in digests:
        raise ReleaseError(f"{address} is not a release: {SUMS} does not list {_METADATA}; check the address")
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        content = _read(opener(f"{address}/{_METADATA}"), _MAX_LISTING, f"{address}/{_METADATA}")
        _check(hashlib.sha256(content).hexdigest(), digests[_METADATA], f"{address}/{_METADATA}")
        (aside / _METADATA).write_bytes(content)
        (aside / SUMS).write_bytes(sums)
        sizes = _sizes(content)
        for path in sorted(set(digests) - {_METADATA}):
            limit = sizes.get(path, _MAX_LISTING)
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            with (aside / path).open("wb") as file:
                digest = _copy(opener(f"{address}/{path}"), file, limit, f"{address}/{path}")
            _check(digest, digests[path], f"{address}/{path}")
        try:
            aside.rename(target)
        except OSError:
            # Another process was first; its copy holds the same bytes.
            if not target.is_dir():
                raise
    except OSError as error:
        raise ReleaseError(f"cannot keep {address} in {cache}: {error}; free space or give another cache") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _sizes(metadata: bytes) -> dict[str, int]:
    """Bytes by file, as far as release.json states them."""
    try:
        files = json.loads(metadata).get("files", {})
        return {str(path): int(entry["size_bytes"]) for path, entry in files.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ReleaseError(f"{_METADATA} of the remote release cannot be read ({error}); check the address") from error


def _check(found: str, expected: str, where: str) -> None:
    if found != expected:
        raise ReleaseError(f"{where} does not match {SUMS}; the release is altered or changed while it was read")


def _read(chunks: Iterator[bytes], limit: int, where: str) -> bytes:
    parts, size = [], 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise ReleaseError(f"{where} is larger than {limit} bytes; it is no release of counterset")
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


def _http(url: str) -> Iterator[bytes]:
    import requests

    try:
        with requests.get(url, stream=True, timeout=_TIMEOUT_S) as answer:
            answer.raise_for_status()
            yield from answer.iter_content(_CHUNK)
    except requests.RequestException as error:
        raise ReleaseError(f"cannot read {url} ({type(error).__name__}); check the address and the network") from error


def _s3(url: str) -> Iterator[bytes]:
    import pyarrow as pa

    try:
        filesystem, path = _s3_file(url)
        with filesystem.open_input_stream(path) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except (OSError, pa.ArrowException) as error:
        raise ReleaseError(f"cannot read {url} ({str(error)[:200]}); check the address and your credentials") from error


def _s3_file(url: str) -> tuple[Any, str]:
    from pyarrow import fs

    filesystem, path = fs.FileSystem.from_uri(url)
    return filesystem, path
