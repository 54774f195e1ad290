"""A release's photos, fetched when asked for: bundled, cached, from a mirror, or by their URL.

Whatever the way, bytes are given only if their sha256 is the release's. A manifest's URLs
are outside text: only http and https, no private address unless its host is named, and
redirects are followed one checked step at a time.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import pyarrow as pa

from counterset.errors import ReleaseError

if TYPE_CHECKING:
    import requests

_LOCAL = threading.local()
_TIMEOUT_S = 30
_MAX_REDIRECTS = 3
_CHUNK = 1 << 16


class BundledPhotos:
    """The photos that a release itself holds: photo ids, and the `image` columns they lie in."""

    def __init__(self, splits: Iterable[pa.Table]) -> None:
        self._places: dict[str, tuple[pa.ChunkedArray, int]] = {}
        for table in splits:
            if "image" in table.column_names:
                images = table["image"]
                present = images.is_valid().to_pylist()
                for row, photo_id in enumerate(table["photo_id"].to_pylist()):
                    if present[row]:
                        self._places[photo_id] = (images, row)

    def get(self, photo_id: str) -> bytes | None:
        """The photo's bytes, or None when it is not bundled."""
        if photo_id not in self._places:
            return None
        images, row = self._places[photo_id]
        content: bytes = images[row].as_py()["bytes"]
        return content


class PhotoStore:
    """Bytes by photo id.

    Args:
        rows: photo_id -> (url, sha256, size_bytes).
        cache: folder in which fetched photos are kept by their sha256.
        mirrors: asked before the photo's own URL; each a folder or address with the
            placeholders `{photo_id}`, `{sha256}` and `{path}` (the URL's path), or a folder or
            address that holds files named by their sha256.
        allowed_hosts: private hosts (`host` or `host:port`) that photos may come from.
        bundled: photos that the release itself holds, without metadata; their integrity
            is that of the Parquet file.
        user_agent: sent with each request.
    """

    def __init__(
        self,
        rows: Mapping[str, tuple[str, str, int]],
        cache: Path,
        mirrors: Sequence[str] = (),
        allowed_hosts: Sequence[str] = (),
        bundled: BundledPhotos | None = None,
        user_agent: str = "counterset",
    ) -> None:
        self._rows = rows
        self._cache = cache
        self._mirrors = tuple(mirrors)
        self._allowed = tuple(allowed_hosts)
        self._bundled = bundled
        self._user_agent = user_agent

    def get(self, photo_id: str) -> bytes:
        """The photo's bytes.

        Raises:
            ReleaseError: the release has no such photo, or no place gives the right bytes.
        """
        held = self._bundled.get(photo_id) if self._bundled else None
        if held is not None:
            return held
        if photo_id not in self._rows:
            raise ReleaseError(f"the release has no photo {photo_id!r}; use a photo_id of its tables")
        url, sha256, size_bytes = self._rows[photo_id]
        kept = self._cache / "photos" / sha256[:2] / sha256
        if kept.is_file():
            content = kept.read_bytes()
            if hashlib.sha256(content).hexdigest() == sha256:
                return content
        failures = []
        places = [(self._at_mirror(mirror, photo_id, url, sha256), True) for mirror in self._mirrors]
        for place, may_be_file in (*places, (url, False)):
            found, failure = self._read(place, size_bytes, may_be_file)
            if found is not None and hashlib.sha256(found).hexdigest() == sha256:
                _keep(found, kept)
                return found
            failures.append(f"{place}: {failure or 'other bytes than the release names'}")
        raise ReleaseError(
            f"photo {photo_id} cannot be had ({'; '.join(failures)[:500]}); give a mirror that holds it, "
            "or leave it out"
        )

    def fetch(self, photo_ids: Iterable[str], threads: int) -> dict[str, str]:
        """Bring photos into the cache, `threads` at a time; photo_id -> why, of those that cannot be had."""

        def attempt(photo_id: str) -> str:
            try:
                self.get(photo_id)
            except ReleaseError as error:
                return str(error)
            return ""

        wanted = list(photo_ids)
        with ThreadPoolExecutor(max(threads, 1)) as pool:
            found = zip(wanted, pool.map(attempt, wanted), strict=True)
            return {photo_id: reason for photo_id, reason in found if reason}

    def _at_mirror(self, mirror: str, photo_id: str, url: str, sha256: str) -> str:
        if "{" not in mirror:
            return f"{mirror.rstrip('/')}/{sha256}"
        parts = [
            part for part in (urlsplit(url).path if "://" in url else url).split("/") if part not in ("", ".", "..")
        ]
        filled, path = mirror, "/".join(parts)
        for key, value in (("photo_id", photo_id), ("sha256", sha256), ("path", path)):
            filled = filled.replace("{" + key + "}", value)
        return filled

    def _read(self, place: str, size_bytes: int, may_be_file: bool) -> tuple[bytes | None, str]:
        if place.startswith(("http://", "https://")):
            return self._fetch(place, size_bytes)
        # Only a mirror, which the user named, may be a file; a manifest's URL never.
        if not may_be_file or "://" in place:
            return None, "not an http or https address"
        try:
            with Path(place).open("rb") as file:
                return file.read(size_bytes + 1), ""
        except (OSError, ValueError) as error:
            return None, str(error)

    def _fetch(self, url: str, size_bytes: int) -> tuple[bytes | None, str]:
        import requests

        from counterset.sources.hosts import HostRules

        rules = HostRules((), ("*", *self._allowed, *self._mirror_hosts()))
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                refusal = rules.refusal(url)
                if refusal:
                    return None, refusal
                with _session().get(
                    url,
                    stream=True,
                    timeout=_TIMEOUT_S,
                    allow_redirects=False,
                    headers={"User-Agent": self._user_agent},
                ) as answer:
                    if answer.is_redirect:
                        url = urljoin(url, answer.headers["Location"])
                        continue
                    if answer.status_code != 200:
                        return None, f"status {answer.status_code}"
                    return _at_most(answer.iter_content(_CHUNK), size_bytes)
        except requests.RequestException as error:
            return None, type(error).__name__
        return None, "too many redirects"

    def _mirror_hosts(self) -> tuple[str, ...]:
        return tuple(urlsplit(mirror).netloc for mirror in self._mirrors if mirror.startswith(("http://", "https://")))


def _session() -> requests.Session:
    """One session a thread, so that photos of one host share a connection."""
    import requests

    if not hasattr(_LOCAL, "session"):
        _LOCAL.session = requests.Session()
    session: requests.Session = _LOCAL.session
    return session


def _at_most(chunks: Iterator[bytes], size_bytes: int) -> tuple[bytes | None, str]:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > size_bytes:
            return None, "more bytes than the release names"
    return bytes(content), ""


def _keep(content: bytes, path: Path) -> None:
    """Keep a fetched photo, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    aside.write_bytes(content)
    aside.replace(path)
