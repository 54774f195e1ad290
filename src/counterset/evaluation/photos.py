"""The photos that an evaluation asks a model about: those of a release's pairs, and their bytes."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from counterset.errors import PictureError, ReleaseError
from counterset.load import Release
from counterset.pictures import Picture
from counterset.release.questions import even_pairs, figure_half
from counterset.release.schemas import SPLITS
from counterset.schemas import Half, Verdict
from counterset.workspace import digest

logger = logging.getLogger(__name__)

PROBED = 8
"""Photos fetched before all others: if none of them can be fetched, the rest is not tried."""
FETCH_THREADS = 4
FEW = 0.1
"""Share of a release's photos that an evaluation may do without before it is refused."""

Texts = npt.NDArray[np.object_]


@dataclass(frozen=True)
class PairPhotos:
    """Photos of a release's pairs, sorted by photo_id.

    Attributes:
        photo_id, class_id, observer, unit, sha256, half: (N,) texts. In releases without units, the unit is the
            observer.
        side: (N,) 0 = common, 1 = counter.
    """

    photo_id: Texts
    class_id: Texts
    side: npt.NDArray[np.int64]
    half: Texts
    observer: Texts
    unit: Texts
    sha256: Texts

    @property
    def digest(self) -> str:
        """Changes when a photo, its class or its side does."""
        return digest(self.photo_id.tolist(), self.class_id.tolist(), self.side.tolist())

    @functools.cached_property
    def by_sha256(self) -> Mapping[str, str]:
        """sha256 -> a photo with these bytes."""
        return dict(zip(self.sha256.tolist(), self.photo_id.tolist(), strict=True))

    def only(self, kept: npt.NDArray[np.bool_]) -> PairPhotos:
        """Those with a true value in `kept` (N,)."""
        return PairPhotos(
            self.photo_id[kept],
            self.class_id[kept],
            self.side[kept],
            self.half[kept],
            self.observer[kept],
            self.unit[kept],
            self.sha256[kept],
        )

    def as_read(self, release: Release) -> PairPhotos:
        """The same with the sha256 of the bytes that were read, of photos that were taken for their pictures alone."""
        changed = release.changed_photos
        own = zip(self.photo_id.tolist(), self.sha256.tolist(), strict=True)
        read = [changed[photo_id].sha256 if photo_id in changed else sha256 for photo_id, sha256 in own]
        return replace(self, sha256=np.array(read, dtype=object))


def pair_photos(release: Release) -> PairPhotos:
    """All photos of `common` and `counter` under the release's verdicts, without uneven pairs.

    Raises:
        ReleaseError: there are none.
    """
    columns = ["photo_id", "class_id", "half", "observer", "unit", "sha256"]
    parts = [even_pairs(release, getattr(release, split).select(columns)) for split in SPLITS]
    table = pa.concat_tables([part.cast(parts[0].schema) for part in parts])
    if not table.num_rows:
        raise ReleaseError(
            f"{release.name} {release.version} has no pairs that are {' or '.join(release.verdicts)}; "
            "take other verdicts, or a release that found some"
        )
    side = np.repeat([0, 1], [part.num_rows for part in parts])
    table = table.set_column(columns.index("unit"), "unit", pc.coalesce(table["unit"], table["observer"]))
    texts = {name: np.array(table[name].to_pylist(), dtype=object) for name in columns}
    order = np.argsort(texts["photo_id"].astype(str), kind="stable")
    return PairPhotos(side=side[order], **{name: values[order] for name, values in texts.items()})


def fetch(release: Release, photos: PairPhotos, *, are_many: bool) -> dict[str, str]:
    """Bring photos within reach; photo_id -> why, of those that cannot be fetched or do not decode.

    Args:
        release: whose photos.
        photos: those that no earlier run made use of.
        are_many: without them little would be left to evaluate.

    Raises:
        ReleaseError: `are_many`, and not one of the first few can be fetched.
    """
    photo_ids = photos.photo_id.tolist()
    failures = release.photos.fetch(photo_ids[:PROBED], FETCH_THREADS)
    if are_many and failures and len(failures) == len(photo_ids[:PROBED]):
        reason = " ".join(next(iter(failures.values())).split("; give a mirror")[0].split())
        raise ReleaseError(
            f"{release.name} {release.version} holds no photos and they cannot be fetched: {reason}; "
            "give --mirror with a folder or address that holds them, or a release built with_images"
        )
    failures |= release.photos.fetch(photo_ids[PROBED:], FETCH_THREADS)
    failures |= _unreadable(release, [photo_id for photo_id in photo_ids if photo_id not in failures])
    if failures:
        logger.warning("%d of %d photos could not be fetched and are left out", len(failures), len(photo_ids))
    if changed := len(release.changed_photos):
        logger.warning("%d photos have other bytes than the release names and are taken for their pictures", changed)
    return failures


def _unreadable(release: Release, photo_ids: Sequence[str]) -> dict[str, str]:
    """photo_id -> why, of photos that do not decode whole: a release from elsewhere may hold some."""

    def attempt(photo_id: str) -> str:
        try:
            Picture.read(release.photo(photo_id)).rgb(min_side_px=1)
        except (PictureError, ReleaseError) as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(FETCH_THREADS) as pool:
        reasons = zip(photo_ids, pool.map(attempt, photo_ids), strict=True)
        return {photo_id: reason for photo_id, reason in reasons if reason}


TESTED = (Verdict.CONFIRMED.value, Verdict.UNCONFIRMED.value)
"""The classes that figures are over: confirmed ones alone are lucky on every photo that their test saw."""


def default_half(photos: PairPhotos) -> str:
    """`confirm` where the release kept a half out of the choice of pairs, else `all`."""
    return figure_half(photos.half.tolist())


def in_half(photos: PairPhotos, half: str) -> npt.NDArray[np.bool_]:
    """(N,) the photos that metrics are read from."""
    return np.ones(len(photos.photo_id), np.bool_) if half == Half.ALL.value else np.asarray(photos.half == half)


def bytes_of(release: Release, photos: PairPhotos, digests: Sequence[str]) -> list[bytes]:
    """The bytes of photos by sha256, in order."""
    return [release.photo(photos.by_sha256[sha256]) for sha256 in digests]
