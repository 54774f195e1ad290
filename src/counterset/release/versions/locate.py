"""Where a release lies: a packaged name, a folder, or an address of https, s3 or the hub (`fetched`).

Nothing here is imported that a folder does not need, for most releases are opened from one.
"""

from __future__ import annotations

from pathlib import Path

from counterset.errors import ReleaseError
from counterset.manifests import manifest_path
from counterset.release.checksums import MAX_RELEASE_BYTES, METADATA
from counterset.release.versions.order import HUB, LATEST, in_order


def find_release(
    name_or_path: str | Path, version: str | None, cache: str | Path | None, max_bytes: int = MAX_RELEASE_BYTES
) -> Path:
    """The local folder of a release.

    Raises:
        ReleaseError: nothing there, no such version, or the remote copy is not what it says.
    """
    text = str(name_or_path)
    if "://" in text or text.startswith(HUB):
        from counterset.release.versions.fetched import fetch_release

        return fetch_release(text, version, cache, max_bytes)
    try:
        return _local(text, None if version == LATEST else version)
    except OSError as error:  # a name too long, a folder that may not be read
        raise ReleaseError(f"no release at {text[:200]}: {error.strerror}; give the folder of one") from error


def _local(text: str, version: str | None) -> Path:
    packaged = manifest_path("releases") / text
    is_name = text not in ("", ".", "..") and "/" not in text and "\\" not in text
    folder = packaged if is_name and packaged.is_dir() and not (Path(text) / METADATA).is_file() else Path(text)
    if (folder / METADATA).is_file():
        return folder
    versions = _versions(folder)
    if version is not None:
        if version not in versions:
            raise ReleaseError(f"{text} has no version {version}; it has {', '.join(versions) or 'none'}")
        return folder / version
    if not versions:
        known = sorted(path.name for path in manifest_path("releases").glob("*") if path.is_dir())
        raise ReleaseError(
            f"no release at {text}; give a release's folder, an https, s3 or hf address, "
            f"or a packaged name ({', '.join(known) or 'none is packaged'})"
        )
    return folder / versions[-1]


def _versions(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return in_order(path.name for path in folder.iterdir() if (path / METADATA).is_file())
