"""Releases on S3: the last one's tables are fetched, the new one is uploaded with SHA256SUMS last.

A version is there when its SHA256SUMS is; what an upload that was cut off has left is written over.
"""

from __future__ import annotations

from pathlib import Path

from counterset.errors import ReleaseError
from counterset.release.checksums import SUMS, parse_sums, verify_files
from counterset.release.layout import version_key
from counterset.storage import ObjectPath
from counterset.tables import write_bytes


def fetch_last(home: ObjectPath, folder: Path) -> None:
    """Copy the highest version below `home` to `folder / <version>`, without its `data/` files.

    These are all that the next version is compared with.

    Raises:
        ReleaseError: it is damaged.
    """
    versions = [path.parent.name for path in home.glob(f"*/{SUMS}") if version_key(path.parent.name)]
    if not versions:
        return
    last = max(versions, key=lambda version: version_key(version) or (0, 0, 0))
    sums = (home / last / SUMS).read_bytes()
    digests = parse_sums(sums.decode("utf-8", errors="replace"), str(home / last))
    wanted = {path: digest for path, digest in digests.items() if not path.startswith("data/")}
    for path in wanted:
        try:
            write_bytes((home / last / path).read_bytes(), folder / last / path)
        except FileNotFoundError as error:
            raise ReleaseError(
                f"the release {home / last} lacks {path}, which {SUMS} lists; restore it or remove its {SUMS}"
            ) from error
    verify_files(folder / last, wanted)
    write_bytes(sums, folder / last / SUMS)


def upload(folder: Path, target: ObjectPath) -> None:
    """Copy a release folder to a version's address, which is complete when its SHA256SUMS is there.

    Raises:
        ReleaseError: a release is there already.
    """
    if (target / SUMS).is_file():
        raise ReleaseError(f"{target} exists and a release is never rewritten; leave publish.version empty")
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for left in target.walk():
        if left.relative_to(target) not in files:
            left.unlink(missing_ok=True)
    for name in sorted(files, key=lambda name: (name == SUMS, name)):
        write_bytes(files[name].read_bytes(), target / name)
