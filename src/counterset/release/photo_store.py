"""A release's photos, fetched when asked for: bundled, cached, from a mirror, or by their URL.

However they came, bytes are returned only if their sha256 is the release's, or, where that was asked for, if they show
the same picture. Mirrors are trusted as typed; a release's own URLs and mirrors are outside text, and only what the
gate allows is fetched.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from counterset.errors import PictureError, ReleaseError
from counterset.fetching.addresses import netloc, shown
from counterset.release.bounded import BoundedFile, naming
from counterset.release.schemas import TABLES
from counterset.schemas import RejectReason

if TYPE_CHECKING:
    from counterset.fetching.gate import Gate

logger = logging.getLogger(__name__)

_TRIES = 3
_MAX_PHOTO_BYTES = 200_000_000
"""The most bytes that are fetched of one photo, even if a release states more."""
_AHEAD = 10_000
"""Photos that a pool is given at once."""
_MAX_KEPT_BYTES = 200_000_000
"""Of the rows of photos that stay in memory: about 1,200,000. Splits go class by class, so each class asks for all."""


class BundledPhotos:
    """The photos that a release itself holds: photo ids, and the `image` columns they lie in."""

    def __init__(self, splits: Iterable[pa.Table]) -> None:
        self._places: dict[str, tuple[pa.ChunkedArray, int, str | None]] = {}
        for table in splits:
            if "image" in table.column_names:
                images = table["image"]
                present = images.is_valid().to_pylist()
                # Releases of the first edition have no digests of what they bundle.
                has_digests = "bundled_sha256" in table.column_names
                digests = table["bundled_sha256"].to_pylist() if has_digests else [None] * table.num_rows
                for row, photo_id in enumerate(table["photo_id"].to_pylist()):
                    if present[row]:
                        self._places[photo_id] = (images, row, digests[row])

    def get(self, photo_id: str) -> bytes | None:
        """The photo's bytes, or None when it is not bundled.

        Raises:
            ReleaseError: they are not those that the release names.
        """
        if photo_id not in self._places:
            return None
        images, row, sha256 = self._places[photo_id]
        content: bytes = images[row].as_py()["bytes"]
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise ReleaseError(
                f"photo {photo_id} in the release has other bytes than it names; fetch the release again"
            )
        return content


PhotoRow = tuple[str, str, int, bytes]
"""url, sha256, size_bytes, phash"""
_PHOTO_COLUMNS = ["photo_id", "url", "sha256", "size_bytes", "phash"]


@dataclass(frozen=True)
class Changed:
    """A photo that was taken for its picture, though its bytes are others than the release names.

    Attributes:
        sha256: of the bytes that were taken.
        num_bits: of the 64 of its perceptual hash that differ from the release's.
    """

    sha256: str
    num_bits: int


class StoredRows(Mapping[str, PhotoRow]):
    """photo_id -> its row in a release's `all_photos`, read a row group at a time; the last ones stay in memory.

    It may be asked by several threads, and be sent to other processes.

    Args:
        folder: of the release.
        paths: of the files in it, whose rows are sorted by photo_id, so that few row groups may hold one.

    Raises:
        ReleaseError: a file is damaged, or is no table of photos.
    """

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        self._paths = [folder / path for path in paths]
        self._length = 0
        self._groups: list[tuple[int, int, str, str | None]] = []
        """File, row group, least and greatest id."""
        self.__setstate__({})
        for file in range(len(paths)):
            metadata = self._opened(file).metadata
            self._length += metadata.num_rows
            column = metadata.schema.names.index("photo_id")
            for number in range(metadata.num_row_groups):
                self._groups.append((file, number, *_bounds(metadata.row_group(number).column(column).statistics)))

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_files", "_kept", "_kept_bytes", "_lock")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._files: dict[int, BoundedFile] = {}
        self._kept: OrderedDict[tuple[int, int], tuple[pa.Table, int]] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def __getitem__(self, photo_id: str) -> PhotoRow:
        for file, number, first, last in self._groups:
            if first <= photo_id and (last is None or photo_id <= last):
                photo_ids, *columns = (column.chunk(0) for column in self._group(file, number).columns)
                row = bisect.bisect_left(range(len(photo_ids)), photo_id, key=lambda row: str(photo_ids[row]))
                if row < len(photo_ids) and str(photo_ids[row]) == photo_id:
                    url, sha256, size_bytes, phash = (column[row].as_py() for column in columns)
                    return url, sha256, size_bytes, phash
        raise KeyError(photo_id)

    def __iter__(self) -> Iterator[str]:
        for file, number, *_ in self._groups:
            yield from self._group(file, number)["photo_id"].to_pylist()

    def __len__(self) -> int:
        return self._length

    def _group(self, file: int, number: int) -> pa.Table:
        place = file, number
        with self._lock:  # of two that want the same row group, one reads it
            if place not in self._kept:
                with naming(self._paths[file]):
                    table = self._opened(file).read(number).select(_PHOTO_COLUMNS).combine_chunks()
                self._kept[place] = table, table.nbytes
                self._kept_bytes += table.nbytes
            table, _ = self._kept[place]
            self._kept.move_to_end(place)
            while len(self._kept) > 1 and self._kept_bytes > _MAX_KEPT_BYTES:
                self._kept_bytes -= self._kept.popitem(last=False)[1][1]
            return table

    def _opened(self, file: int) -> BoundedFile:
        if file not in self._files:
            with naming(self._paths[file]):
                self._files[file] = BoundedFile(self._paths[file], TABLES["all_photos"], columns=_PHOTO_COLUMNS)
        return self._files[file]


def _bounds(statistics: pq.Statistics | None) -> tuple[str, str | None]:
    """The least and greatest text of a row group; None = not known."""
    if statistics is None or not statistics.has_min_max:
        return "", None
    return statistics.min, statistics.max


class PhotoStore:
    """Bytes by photo id.

    Args:
        rows: photo_id -> (url, sha256, size_bytes, phash).
        cache: folder in which fetched photos are kept by their sha256.
        mirrors: asked before the photo's own URL; each a folder or address with the
            placeholders `{photo_id}`, `{sha256}` and `{path}` (the URL's path), or a folder or
            address that holds files named by their sha256.
        allowed_hosts: private hosts (`host` or `host:port`) that photos may come from.
        bundled: photos that the release itself holds, without metadata; checked against the
            sha256 of their own that the release names.
        own_mirrors: those that the release names, asked after the photo's own URL; web addresses only.
        max_bits: of a photo whose bytes have changed everywhere, the perceptual hash may differ from the release's in
            this many of 64 bits, and it is taken and stands in `changed`; None = no such photo is taken.

    Attributes:
        changed: photo_id -> what was taken for its picture so far.
    """

    def __init__(
        self,
        rows: Mapping[str, PhotoRow],
        cache: Path,
        mirrors: Sequence[str] = (),
        allowed_hosts: Sequence[str] = (),
        bundled: BundledPhotos | None = None,
        *,
        own_mirrors: Sequence[str] = (),
        max_bits: int | None = None,
    ) -> None:
        self.changed: dict[str, Changed] = {}
        self._own_mirrors = tuple(own_mirrors)
        self._max_bits = max_bits
        self._rows = rows
        self._cache = cache
        self._mirrors = tuple(mirrors)
        self._allowed = tuple(allowed_hosts)
        self._bundled = bundled

    def at_hand(self, photo_id: str) -> bytes | None:
        """The photo's bytes where they are bundled or were fetched before; nothing is asked of the network.

        Raises:
            ReleaseError: the release has no such photo, or bundles other bytes than it names.
        """
        held = self._bundled.get(photo_id) if self._bundled else None
        if held is not None:
            return held
        return self._cached(self._row(photo_id)[1])

    def _row(self, photo_id: str) -> PhotoRow:
        row = self._rows.get(photo_id)
        if row is None:
            raise ReleaseError(f"the release has no photo {photo_id!r}; use a photo_id of its tables")
        return row

    def _cached(self, sha256: str) -> bytes | None:
        kept = self._kept(sha256)
        content = kept.read_bytes() if kept.is_file() else b""
        return content if hashlib.sha256(content).hexdigest() == sha256 else None

    def _kept(self, sha256: str) -> Path:
        """Where a photo lies once it was fetched."""
        return self._cache / "photos" / sha256[:2] / sha256

    def get(self, photo_id: str) -> bytes:
        """The photo's bytes.

        Raises:
            ReleaseError: the release has no such photo, or no place gives the right bytes.
        """
        held = self._bundled.get(photo_id) if self._bundled else None
        if held is not None:
            return held
        url, sha256, size_bytes, _ = self._row(photo_id)
        held = self._cached(sha256)
        if held is not None:
            return held
        kept_changed = self._kept(sha256).with_suffix(".changed")
        if self._max_bits is not None and kept_changed.is_file():
            held = kept_changed.read_bytes()
            if self._shows_the_same(photo_id, held):
                return held
        failures, changed = [], None
        places = [
            *((self._at_mirror(mirror, photo_id, url, sha256), True) for mirror in self._mirrors),
            (url, False),
            *((self._at_mirror(mirror, photo_id, url, sha256), False) for mirror in self._own_mirrors),
        ]
        for place, is_mirror in places:
            content, failure = self._read(place, size_bytes, is_mirror)
            if content is not None and hashlib.sha256(content).hexdigest() == sha256:
                _keep(content, self._kept(sha256))
                return content
            if changed is None and content is not None and self._max_bits is not None:
                if self._shows_the_same(photo_id, content):
                    changed = content  # unless another place has the photo itself
                else:
                    failure = "another picture than the release's"
            failures.append(f"{shown(place)}: {failure or 'other bytes than the release names'}")
        if changed is not None:
            _keep(changed, kept_changed)
            return changed
        raise ReleaseError(
            f"photo {photo_id} could not be fetched ({'; '.join(failures)[:500]}); give a mirror that holds it, "
            "or leave it out"
        )

    def _shows_the_same(self, photo_id: str, content: bytes) -> bool:
        """Whether other bytes show the release's picture, as far as perceptual hashes tell; then they are `changed`."""
        from counterset.pictures import Picture

        try:
            phash = Picture.read(content).phash()
        except PictureError:
            return False
        num_bits = (int.from_bytes(phash) ^ int.from_bytes(self._rows[photo_id][3])).bit_count()
        if self._max_bits is None or num_bits > self._max_bits:
            return False
        if photo_id not in self.changed:
            logger.warning("photo %s has other bytes than the release names; it is taken for its picture", photo_id)
        self.changed[photo_id] = Changed(hashlib.sha256(content).hexdigest(), num_bits)
        return True

    def fetch(self, photo_ids: Iterable[str], threads: int) -> dict[str, str]:
        """Fetch photos into the cache, `threads` at a time; photo_id -> why, for those that could not be fetched."""

        def attempt(photo_id: str) -> str:
            try:
                self.get(photo_id)
            except ReleaseError as error:
                return str(error)
            return ""

        failed: dict[str, str] = {}
        wanted = iter(photo_ids)
        with ThreadPoolExecutor(max(threads, 1)) as pool:
            while some := list(itertools.islice(wanted, _AHEAD)):  # a pool holds all that it is given
                reasons = zip(some, pool.map(attempt, some), strict=True)
                failed |= {photo_id: reason for photo_id, reason in reasons if reason}
        return failed

    def _at_mirror(self, mirror: str, photo_id: str, url: str, sha256: str) -> str:
        # The release fills the gaps, so nothing that it says may lead out of the mirror.
        def name(text: str) -> str:
            part = quote(text, safe="") if "://" in mirror else text.replace("/", "_").replace("\\", "_")
            return part if part not in (".", "..") else ""

        if "{" not in mirror:
            return f"{mirror.rstrip('/')}/{name(sha256)}"
        parts = (urlsplit(url).path if "://" in url else url).split("/")
        path = "/".join(part for part in parts if part not in ("", ".", ".."))
        filled = mirror
        for key, value in (("photo_id", name(photo_id)), ("sha256", name(sha256)), ("path", path)):
            filled = filled.replace("{" + key + "}", value)
        return filled

    def _read(self, place: str, size_bytes: int, is_mirror: bool) -> tuple[bytes | None, str]:
        from counterset.fetching.gate import FetchFailed

        # The same picture may take more bytes, if it was encoded anew.
        size_bytes = _MAX_PHOTO_BYTES if self._max_bits is not None else min(size_bytes, _MAX_PHOTO_BYTES)
        if place.startswith(("http://", "https://")):
            try:
                return (self._mirror_gate if is_mirror else self._gate).get(place, size_bytes).content, ""
            except FetchFailed as failure:
                is_large = failure.reason == RejectReason.TOO_LARGE
                return None, "more bytes than the release names" if is_large else str(failure)
        # Only a mirror, which the user named, may be a file; a release's URL never.
        if not is_mirror or "://" in place:
            return None, "not an http or https address"
        try:
            if not Path(place).is_file():
                return None, "no such file"
            with Path(place).open("rb") as file:
                return file.read(size_bytes + 1), ""
        except (OSError, ValueError) as error:
            return None, str(error)

    @functools.cached_property
    def _gate(self) -> Gate:
        return _gate(self._allowed)

    @functools.cached_property
    def _mirror_gate(self) -> Gate:
        return _gate((*self._allowed, *map(netloc, self._mirrors)))


def _gate(hosts: Iterable[str]) -> Gate:
    from counterset.fetching.addresses import HostRules
    from counterset.fetching.gate import Gate, user_agent

    return Gate(HostRules((), ("*", *hosts)), user_agent(), tries=_TRIES)


def _keep(content: bytes, path: Path) -> None:
    """Keep a fetched photo, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    aside.write_bytes(content)
    aside.replace(path)
