"""Files by address: a local path, or an object at `s3://bucket/key` through pyarrow.

`place(address)` gives a `Path` for a folder and an `ObjectPath` for s3://, which has the part of
`Path` that this project uses. An object appears whole or not at all: its upload ends with the
write of its last byte. Conditional writes, which pyarrow does not know, go through boto3.
Credentials and region come from the environment as for every S3 tool (AWS_ACCESS_KEY_ID,
AWS_PROFILE, ...); another service than Amazon's is named by AWS_ENDPOINT_URL, or in the address:
`s3://bucket/key?endpoint_override=minio.local:9000&scheme=http`.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from counterset.errors import ConfigError, WorkspaceError
from counterset.fetching.addresses import shown

CHUNK_BYTES = 1 << 20
OPTIONS = ("endpoint_override", "region", "scheme", "allow_bucket_creation", "allow_bucket_deletion")
"""What an s3 address may say after its `?`."""


class ObjectStat(NamedTuple):
    """Bytes of an object, and when it was written by the service's own clock (seconds since the epoch)."""

    st_size: int
    st_mtime: float


@dataclass(frozen=True, order=True)
class ObjectPath:
    """An object or prefix of an S3 bucket.

    Attributes:
        key: bucket and key, `bucket/prefix/name`.
        query: the address's options, "" or e.g. `endpoint_override=127.0.0.1:9000`.
    """

    key: str
    query: str = ""

    def __str__(self) -> str:
        return f"s3://{self.key}" + (f"?{self.query}" if self.query else "")

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(f"{self.key}/{name}", self.query)

    @property
    def name(self) -> str:
        return PurePosixPath(self.key).name

    @property
    def stem(self) -> str:
        return PurePosixPath(self.key).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.key).suffix

    @property
    def parent(self) -> ObjectPath:
        return ObjectPath(str(PurePosixPath(self.key).parent), self.query)

    @property
    def filesystem(self) -> Any:
        """The pyarrow filesystem of this bucket."""
        return _filesystem(self.key.partition("/")[0], self.query, os.environ.get("AWS_ENDPOINT_URL", ""))

    def is_file(self) -> bool:
        return bool(self.filesystem.get_file_info(self.key).is_file)

    exists = is_file

    def is_dir(self) -> bool:
        """Whether there is an object below this prefix."""
        from pyarrow import fs

        return bool(self.filesystem.get_file_info(fs.FileSelector(self.key, allow_not_found=True)))

    def stat(self) -> ObjectStat:
        """Size and time.

        Raises:
            FileNotFoundError: no such object.
        """
        info = self.filesystem.get_file_info(self.key)
        if not info.is_file:
            raise FileNotFoundError(2, "no such object", str(self))
        return ObjectStat(info.size, info.mtime_ns / 1e9)

    def tag(self) -> tuple[int, str]:
        """Size in bytes, and the ETag, the name of this content.

        Raises:
            FileNotFoundError: no such object.
        """
        client, where = self._client()
        try:
            found = client.head_object(**where)
        except _s3_errors() as error:
            if _is_missing(error):
                raise FileNotFoundError(2, "no such object", str(self)) from error
            raise _as_os_error(error, self) from error
        return int(found["ContentLength"]), str(found["ETag"])

    def open(self) -> Any:
        """The object as a readable pyarrow file."""
        return self.filesystem.open_input_file(self.key)

    def read_bytes(self) -> bytes:
        with self.filesystem.open_input_stream(self.key) as stream:
            return bytes(stream.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Write the object, whole or not at all."""
        with self.filesystem.open_output_stream(self.key) as stream:
            stream.write(content)

    def read_tagged(self) -> tuple[bytes, str] | None:
        """The object's bytes and its ETag, the name of this content; None where there is none."""
        client, where = self._client()
        try:
            found = client.get_object(**where)
            return found["Body"].read(), str(found["ETag"])
        except _s3_errors() as error:
            if _is_missing(error):
                return None
            raise _as_os_error(error, self) from error

    def write_if(self, content: bytes, etag: str | None) -> str | None:
        """Write the object if it is what the writer takes it for; its new ETag, or None where it was not.

        S3 decides (a conditional write), so of several writers that saw the same state one writes.

        Args:
            content: the bytes.
            etag: of the object that is to be there now; None = none is to be there.
        """
        client, where = self._client()
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            written = client.put_object(Body=content, **where, **condition)
        except _s3_errors() as error:
            # Gone; another write is under way; another object is there.
            if _is_missing(error) or _status(error) in (409, 412):
                return None
            raise _as_os_error(error, self) from error
        return str(written["ETag"])

    def upload(self, source: Path) -> None:
        """Write the object from a file of any size, whole or not at all."""
        with source.open("rb") as file, self.filesystem.open_output_stream(self.key) as stream:
            shutil.copyfileobj(file, stream, CHUNK_BYTES)

    def download(self, target: Path) -> None:
        """Write a file with the bytes of the object, of any size; its folder is made."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.filesystem.open_input_stream(self.key) as stream, target.open("wb") as file:
            shutil.copyfileobj(stream, file, CHUNK_BYTES)

    def copy_to(self, target: ObjectPath) -> None:
        """Copy the object within its service, whatever its size.

        Raises:
            FileNotFoundError: no such object.
        """
        client, where = self._client()
        _, there = target._client()
        try:
            client.copy(where, there["Bucket"], there["Key"])
        except _s3_errors() as error:
            if _is_missing(error):
                raise FileNotFoundError(2, "no such object", str(self)) from error
            raise _as_os_error(error, self) from error

    def _client(self) -> tuple[Any, dict[str, str]]:
        """boto3's client, which speaks what pyarrow does not, and this object as it names it."""
        bucket, _, key = self.key.partition("/")
        return _boto3_client(self.query, os.environ.get("AWS_ENDPOINT_URL", "")), {"Bucket": bucket, "Key": key}

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            self.filesystem.delete_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def scan(self) -> Iterator[tuple[ObjectPath, ObjectStat]]:
        """All objects below this prefix with size and time, sorted, from one listing."""
        from pyarrow import fs  # half of this module's users read local files only

        infos = self.filesystem.get_file_info(fs.FileSelector(self.key, recursive=True, allow_not_found=True))
        for info in sorted((info for info in infos if info.is_file), key=lambda info: info.path):
            yield ObjectPath(info.path, self.query), ObjectStat(info.size, info.mtime_ns / 1e9)

    def walk(self) -> Iterator[ObjectPath]:
        """All objects below this prefix, sorted."""
        yield from (path for path, _ in self.scan())

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """The objects below this prefix whose relative key has as many parts as the pattern, and matches them."""
        parts = pattern.split("/")
        for found in self.walk():
            names = found.relative_to(self).split("/")
            if len(names) == len(parts) and all(map(fnmatch.fnmatchcase, names, parts)):
                yield found

    def relative_to(self, prefix: ObjectPath) -> str:
        return self.key.removeprefix(prefix.key + "/")


Place = Path | ObjectPath


def place(address: str | Path | ObjectPath) -> Place:
    """The file or folder of an address.

    Raises:
        ConfigError: it is neither a path nor s3://.
    """
    if not isinstance(address, str):
        return address
    scheme, found, rest = address.partition("://")
    if not found:
        return Path(address)
    key, _, query = rest.partition("?")
    key = key.strip("/")
    is_bucket = "@" in key or _BUCKET.fullmatch(key.partition("/")[0])
    if scheme != "s3" or not is_bucket:
        raise ConfigError(f"{shown(address)!r} cannot be written to; give a folder, or s3://bucket/prefix")
    unknown = [name for name in parse_qs(query, keep_blank_values=True) if name not in OPTIONS]
    if "@" in rest or unknown:  # it is printed, logged and recorded
        what = "keys, a user name or a password" if "@" in rest else f"the option {unknown[0]!r}"
        raise ConfigError(
            f"the address {shown(address)!r} may not hold {what}; credentials come from the environment "
            f"(AWS_ACCESS_KEY_ID, AWS_PROFILE, ...), and options are {', '.join(OPTIONS)}"
        )
    return ObjectPath(key, query)


_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")


@functools.lru_cache(maxsize=64)
def _filesystem(bucket: str, query: str, endpoint: str) -> Any:
    """Of one bucket; pyarrow reads the endpoint from the environment, so another one is another filesystem."""
    import pyarrow as pa
    from pyarrow import fs

    try:
        return fs.FileSystem.from_uri(f"s3://{bucket}" + (f"?{query}" if query else ""))[0]
    except (OSError, pa.ArrowException) as error:
        raise WorkspaceError(
            f"s3://{bucket} cannot be reached ({' '.join(str(error).split())[:200]}); "
            "check the bucket's name, your credentials and AWS_ENDPOINT_URL"
        ) from error


@functools.lru_cache(maxsize=64)
def _boto3_client(query: str, endpoint: str) -> Any:
    """Of the service that an address or the environment names, as for pyarrow."""
    import boto3
    from botocore.config import Config

    options = {name: values[0] for name, values in parse_qs(query).items()}
    if "endpoint_override" in options:
        endpoint = f"{options.get('scheme', 'https')}://{options['endpoint_override']}"
    config = Config(
        s3={"addressing_style": "path"} if endpoint else {},
        request_checksum_calculation="when_required",  # services other than Amazon's know no other
        response_checksum_validation="when_required",
    )
    return boto3.client("s3", endpoint_url=endpoint or None, region_name=options.get("region"), config=config)


def _s3_errors() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


def _status(error: Any) -> int:
    return int(getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _is_missing(error: Any) -> bool:
    """Whether the object is; a bucket that is missing is another matter."""
    return _status(error) == 404 and error.response.get("Error", {}).get("Code") != "NoSuchBucket"


def _as_os_error(error: Exception, path: ObjectPath) -> OSError:
    return OSError(f"{path}: {' '.join(str(error).split())[:200]}")


def absolute(path: Place) -> Place:
    """The same place, wherever the process goes."""
    return path.resolve() if isinstance(path, Path) else path


def files_below(folder: Place) -> list[Place]:
    """All files below a folder or prefix, sorted."""
    if isinstance(folder, Path):
        return sorted(path for path in folder.rglob("*") if path.is_file())
    return list(folder.walk())


def name_below(folder: Place, path: Place) -> str:
    """A file's path within a folder or prefix above it, with slashes."""
    if isinstance(path, Path):
        return path.relative_to(str(folder)).as_posix()
    assert isinstance(folder, ObjectPath)
    return path.relative_to(folder)


def cache_folder(cache: str | Path | None = None) -> Path:
    """`cache`, or $COUNTERSET_CACHE, or ~/.cache/counterset."""
    return Path(cache or os.environ.get("COUNTERSET_CACHE") or "~/.cache/counterset").expanduser()


def scratch_of(remote: ObjectPath) -> Path:
    """The local folder for what cannot lie in a remote one: downloads under way, SQLite files."""
    return cache_folder() / "workspaces" / hashlib.sha256(str(remote).encode()).hexdigest()[:16]


def fetch(remote: ObjectPath, local: Path) -> None:
    """Bring a local folder up to a remote one: newer or missing files are copied, others stay."""
    for source, stat in remote.scan():
        target, written = local / source.relative_to(remote), _seconds(stat)
        if target.is_file() and target.stat().st_mtime >= written:
            continue
        aside = target.with_name(f".{target.name}.{os.getpid()}.part")
        source.download(aside)
        os.utime(aside, (written, written))
        aside.replace(target)


def keep(local: Path, remote: ObjectPath) -> None:
    """Copy the files of a local folder that changed since `fetch` or `keep` to the remote one.

    A file that is the same on both sides has the object's time, in whole seconds.
    """
    known = {found.relative_to(remote): _seconds(stat) for found, stat in remote.scan()}
    for source in sorted(path for path in local.rglob("*") if path.is_file()):
        name = source.relative_to(local).as_posix()
        if known.get(name) != source.stat().st_mtime:
            target = remote / name
            target.write_bytes(source.read_bytes())
            written = _seconds(target.stat())
            os.utime(source, (written, written))


def _seconds(stat: ObjectStat) -> float:
    return float(int(stat.st_mtime))
