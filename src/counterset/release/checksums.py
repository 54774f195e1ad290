"""SHA256SUMS, which `sha256sum -c` reads: a release that does not match it is refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from counterset.errors import ReleaseError

METADATA, SUMS = "release.json", "SHA256SUMS"
MAX_LISTING_BYTES = 10_000_000
"""The most bytes that either may have: enough for some 50,000 files."""
MAX_RELEASE_BYTES = 100_000_000_000
"""The most bytes that a remote release may have, unless the caller says otherwise."""
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,150}"
_PATH = re.compile(rf"{_NAME}(?:/{_NAME}){{0,4}}")


def render_sums(digests: Mapping[str, str]) -> str:
    """The text of SHA256SUMS: one `<sha256>  <path>` line per file, sorted by path."""
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests))


def parse_sums(text: str, where: str) -> dict[str, str]:
    """Digest by path. Paths are relative and stay inside the release.

    Raises:
        ReleaseError: a line that is no checksum, a path that leaves the folder or is listed twice.
    """
    digests: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if not match:
            raise ReleaseError(f"{where}: {SUMS} has a line that is no checksum; fetch the release again")
        digest, path = match[1], match[2]
        if not is_inside(path) or path in digests:
            raise ReleaseError(f"{where}: {SUMS} names {path!r}, which no release may hold; do not use this release")
        digests[path] = digest
    return digests


def is_inside(path: str) -> bool:
    """Whether a path is one that a release may hold: relative, in one spelling, of plain names, none hidden."""
    return bool(_PATH.fullmatch(path))


def verify_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Check every listed file of a release folder.

    Raises:
        ReleaseError: a file is missing or altered.
    """
    missing = [path for path in sorted(digests) if not (folder / path).is_file()]
    if missing:
        raise ReleaseError(f"the release {folder} lacks {_some(missing)}, which {SUMS} lists; fetch the release again")
    with ThreadPoolExecutor(4) as pool:
        actual = pool.map(lambda path: _digest(folder / path), sorted(digests))
        altered = [path for path, digest in zip(sorted(digests), actual, strict=True) if digest != digests[path]]
    if altered:
        raise ReleaseError(
            f"the release {folder} is altered: {_some(altered)} does not match {SUMS}; fetch the release again"
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _some(paths: list[str]) -> str:
    return paths[0] + (f" (and {len(paths) - 1} more)" if len(paths) > 1 else "")
