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
from typing import Any

from pydantic_core import CoreSchema, SchemaValidator, ValidationError, from_json
from pydantic_core import core_schema as kind

from counterset.errors import ReleaseError
from counterset.release.checksums import MAX_LISTING_BYTES, METADATA, SUMS, parse_sums
from counterset.release.versions.order import PATTERN
from counterset.schemas import SCHEMA_VERSION, Verdict

FORMAT = "counterset-release"

MAX_NAME = 200
"""Characters of a release's name or a class id, which name folders."""


def _statement(*, may_lack: Mapping[str, CoreSchema] | None = None, **said: CoreSchema) -> CoreSchema:
    """An object that says all of `said`; what is not declared may stand beside it, for later versions say more."""
    fields = {name: kind.typed_dict_field(schema) for name, schema in said.items()}
    fields |= {name: kind.typed_dict_field(schema, required=False) for name, schema in (may_lack or {}).items()}
    return kind.typed_dict_schema(fields, extra_behavior="ignore")


# pydantic-core's own schemas: importing pydantic and making its classes of these took a third of the time in which a
# release's first row is read.
_TEXT = kind.str_schema()
_COUNT = kind.int_schema(ge=0, lt=1 << 62)
_SHARE = kind.float_schema(ge=-1, le=1)
_SHA256 = kind.str_schema(pattern=r"\A[0-9a-f]{64}\z")
_VERSION = kind.str_schema(pattern=rf"\A{PATTERN}\z")
_FILE = _statement(
    sha256=_SHA256,
    size_bytes=_COUNT,
    may_lack={"table": kind.nullable_schema(_TEXT), "num_rows": kind.nullable_schema(_COUNT)},
)
_CLASS = _statement(
    class_id=kind.str_schema(pattern=r"\A[\w-]+\z", max_length=MAX_NAME),
    name=_TEXT,
    imagenet_index=kind.nullable_schema(_COUNT),
)
_BASE = _statement(version=_VERSION, sha256sums=_SHA256)
_RELEASE = SchemaValidator(
    _statement(
        name=kind.str_schema(pattern=r"\A[a-z0-9][a-z0-9-]*\z", max_length=MAX_NAME),
        version=_VERSION,
        counterset_version=_TEXT,
        default_verdicts=kind.list_schema(kind.literal_schema([verdict.value for verdict in Verdict])),
        classes=kind.list_schema(_CLASS),
        models=kind.list_schema(_statement(name=_TEXT, role=_TEXT, weights_sha256=_TEXT)),
        config=_statement(
            models=_statement(selectors=kind.list_schema(_TEXT)),
            evaluate=_statement(label_space=_TEXT, templates=_TEXT),
            may_lack={"publish": _statement(may_lack={"mirrors": kind.list_schema(_TEXT, max_length=10)})},
        ),
        counts=_statement(common=_COUNT, counter=_COUNT),
        files=kind.dict_schema(_TEXT, _FILE),
        may_lack={
            "takedowns": _statement(
                withdrawn=kind.list_schema(
                    _statement(
                        class_id=_TEXT,
                        split=kind.literal_schema(["common", "counter"]),
                        half=_TEXT,
                        num_photos=_COUNT,
                    )
                ),
                bounds=kind.list_schema(
                    _statement(version=_VERSION, model=_TEXT, drop=_SHARE, lowest=_SHARE, highest=_SHARE)
                ),
            ),
            "series": kind.nullable_schema(
                _statement(look=_COUNT, made_from=_TEXT, base=kind.nullable_schema(_BASE)),
            ),
        },
    )
)


@dataclass(frozen=True)
class StatedFile:
    """One file of a release: its bytes, and its table and rows where it holds one."""

    sha256: str
    size_bytes: int
    table: str | None = None
    num_rows: int | None = None


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
        said = from_json(metadata, allow_inf_nan=True)  # bounds the depth, unlike json
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
        release = _RELEASE.validate_json(metadata, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ReleaseError(
            f"{METADATA} of {where} says {_short(first['input'])} for {key!r} ({first['msg']}); "
            "do not use this release, or fetch it again"
        ) from error
    files = {path: StatedFile(**entry) for path, entry in release["files"].items()}
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
