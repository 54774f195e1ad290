"""What a release says of itself in release.json, checked before anything of it is read or written.

Whoever made a release may be anyone: its name becomes part of paths, its sizes bound what is
fetched, its rows what is read. A statement that is not of the declared form, or that differs from
SHA256SUMS, is refused.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from counterset.errors import ReleaseError
from counterset.release.checksums import MAX_LISTING_BYTES, METADATA, SUMS, parse_sums
from counterset.release.versions.order import PATTERN
from counterset.schemas import SCHEMA_VERSION, Verdict

FORMAT = "counterset-release"

MAX_NAME = 200
"""Characters of a release's name or a class id, which name folders."""

_Sha256 = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
_Count = Annotated[int, Field(ge=0, lt=1 << 62)]


class _Statement(BaseModel):
    """What is not declared may stand beside it: later versions say more."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)


class StatedFile(_Statement):
    """One file of a release: its bytes, and its table and rows where it holds one."""

    sha256: _Sha256
    size_bytes: _Count
    table: str | None = None
    num_rows: _Count | None = None


class _Class(_Statement):
    class_id: Annotated[str, Field(pattern=r"\A[\w-]+\z", max_length=MAX_NAME)]
    name: str
    imagenet_index: _Count | None


class _Model(_Statement):
    name: str
    role: str
    weights_sha256: str


class _Models(_Statement):
    selectors: list[str]


class _Evaluate(_Statement):
    label_space: str
    templates: str


class _Config(_Statement):
    models: _Models
    evaluate: _Evaluate


class _Counts(_Statement):
    common: _Count
    counter: _Count


class _Base(_Statement):
    version: Annotated[str, Field(pattern=rf"\A{PATTERN}\z")]
    sha256sums: _Sha256


class _Series(_Statement):
    look: _Count
    made_from: str
    base: _Base | None


class _Release(_Statement):
    name: Annotated[str, Field(pattern=r"\A[a-z0-9][a-z0-9-]*\z", max_length=MAX_NAME)]
    version: Annotated[str, Field(pattern=rf"\A{PATTERN}\z")]
    counterset_version: str
    default_verdicts: list[Verdict]
    classes: list[_Class]
    models: list[_Model]
    config: _Config
    counts: _Counts
    series: _Series | None = None


@dataclass(frozen=True)
class Stated:
    """What a release states.

    Attributes:
        metadata: the content of release.json.
        files: path -> size and digest (and table and rows) of every file but release.json and SHA256SUMS.
        digests: path -> sha256 of every file but SHA256SUMS.
    """

    metadata: Mapping[str, Any]
    files: Mapping[str, StatedFile]
    digests: Mapping[str, str]


def read_stated(folder: Path) -> Stated:
    """What the release in a folder states.

    Raises:
        ReleaseError: one of the two files is missing or too large, or as `stated`.
    """
    return stated(_listing(folder / METADATA), _listing(folder / SUMS), str(folder))


def stated(metadata: bytes, sums: bytes, where: str) -> Stated:
    """What release.json and SHA256SUMS state.

    Args:
        metadata: the bytes of release.json.
        sums: the bytes of SHA256SUMS.
        where: the release's folder or address, for errors.

    Raises:
        ReleaseError: they are damaged, of something else, of a newer version, or contradict each other.
    """
    try:
        digests = parse_sums(sums.decode("utf-8"), where)
        if METADATA not in digests:
            raise ReleaseError(f"{where}: {SUMS} does not list {METADATA}; fetch the release again")
        if hashlib.sha256(metadata).hexdigest() != digests[METADATA]:
            raise ReleaseError(f"the release {where} is altered: {METADATA} does not match {SUMS}; fetch it again")
        said = pydantic_core.from_json(metadata, allow_inf_nan=True)  # bounds the depth, unlike json
    except ValueError as error:
        raise ReleaseError(f"the release {where} cannot be read ({error}); fetch the release again") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise ReleaseError(f"{where} holds no release of counterset; give the folder of one")
    version = said.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ReleaseError(
            f"{where} has schema version {str(version)[:50]}, newer than {SCHEMA_VERSION}; upgrade counterset"
        )
    try:
        # As JSON: an enum or a tuple is written as the text or list that the file holds.
        _Release.model_validate_json(metadata)
        files = TypeAdapter(dict[str, StatedFile]).validate_python(said.get("files"))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ReleaseError(
            f"{METADATA} of {where} says {_short(first['input'])} for {key or 'files'!r} ({first['msg']}); "
            "do not use this release, or fetch it again"
        ) from error
    listed = {path: entry.sha256 for path, entry in files.items()}
    for path in sorted({*listed, *digests} - {METADATA}):
        if listed.get(path) != digests.get(path):
            raise ReleaseError(
                f"{METADATA} and {SUMS} of {where} state different things of {path!r}; fetch the release again"
            )
    if METADATA in listed:
        raise ReleaseError(f"{where}: {METADATA} lists itself; do not use this release")
    return Stated(said, files, digests)


def check_sizes(folder: Path, files: Mapping[str, StatedFile]) -> None:
    """See that every stated file is there, in the folder itself, and as large as stated.

    Raises:
        ReleaseError: one is not.
    """
    root = folder.resolve()
    for path in sorted(files):
        try:
            real = (folder / path).resolve(strict=True)
            status = real.stat()
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a loop
            raise ReleaseError(
                f"the release {folder} lacks {path}, which {SUMS} lists; fetch the release again"
            ) from error
        if not real.is_relative_to(root):
            raise ReleaseError(f"{folder / path} is a link out of the release; copy the file itself into the release")
        if not stat.S_ISREG(status.st_mode):
            raise ReleaseError(f"{folder / path} is no file; fetch the release again")
        if status.st_size != files[path].size_bytes:
            raise ReleaseError(
                f"the release {folder} is altered: {path} has {status.st_size} bytes and {METADATA} says "
                f"{files[path].size_bytes}; fetch the release again"
            )


def _listing(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ReleaseError(f"the release {path.parent} cannot be read (it has no file {path.name}); fetch it again")
        with path.open("rb") as file:
            content = file.read(MAX_LISTING_BYTES + 1)
    except OSError as error:
        raise ReleaseError(f"the release {path.parent} cannot be read ({error}); fetch the release again") from error
    if len(content) > MAX_LISTING_BYTES:
        raise ReleaseError(f"{path} is larger than {MAX_LISTING_BYTES} bytes; it is no release of counterset")
    return content


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
