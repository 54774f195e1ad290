"""What users do with a release of any size, for `scale.py`: each a function of a release's folder and of an empty one.

Photos are not read but made up, one small picture for all, for what grows with the photos is the tables: exports that
hold photos write it once per photo.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

OPTIONS = ("this animal", "a dog", "a cat", "a bird")
"""What harnesses ask about every photo."""


class Pictured:
    """A release with the photos of every verdict, each of which is the same picture."""

    changed_photos: Mapping[str, Any] = {}

    def __init__(self, folder: Path) -> None:
        from PIL import Image

        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), (90, 120, 60)).save(buffer, "JPEG")
        self._photo, self._release = buffer.getvalue(), opened(folder)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._release, name)

    def photo(self, photo_id: str) -> bytes:
        return self._photo


def opened(folder: Path, *, verify: bool = False) -> Any:
    """The release with the rows of every verdict."""
    from counterset.load import load

    return load(folder, verify=verify, verdicts=("confirmed", "unconfirmed", "too_small"), cache=folder / "no-cache")


def load_and_verify(folder: Path, scratch: Path) -> int:
    """Every file against its digest, and the first row."""
    release = opened(folder, verify=True)
    return int(any(part.num_rows for part in release.parts("all_photos")) and release.metadata["counts"]["photos"])


def look_up(folder: Path, scratch: Path) -> int:
    """Every photo of the two splits in the photo store, which has none of them at hand."""
    release = opened(folder)
    parts = (part["photo_id"].to_pylist() for split in ("common", "counter") for part in release.parts(split))
    return sum(release.photos.at_hand(photo_id) is None for photo_ids in parts for photo_id in photo_ids)


def compare(folder: Path, scratch: Path) -> int:
    """The release with itself."""
    from counterset.release.versions.diff import diff_releases

    return sum(diff_releases(opened(folder), opened(folder)).counts.values())


def credit(folder: Path, scratch: Path) -> int:
    """Every photo's credit."""
    return sum(part.num_rows for part in opened(folder).parts("attribution"))


def export(layout: str) -> Callable[[Path, Path], int]:
    """The release in another layout; photos written."""

    def run(folder: Path, scratch: Path) -> int:
        from counterset.release.exports import EXPORTS, asks
        from counterset.release.questions import Candidates

        release = Pictured(folder)
        asked = [dict.fromkeys(release.class_names, Candidates(OPTIONS, OPTIONS[0]))] if asks(layout) else []
        return int(EXPORTS[layout](release, scratch / layout, *asked).num_photos)

    return run


LAYOUTS = ("captions", "csv", "imagefolder", "webdataset", "hub", "inspect_ai", "lmms_eval", "vlmevalkit", "hub_eval")
USES: dict[str, Callable[[Path, Path], int]] = {
    "verify": load_and_verify,
    "photos": look_up,
    "diff": compare,
    "attribution": credit,
    **{layout: export(layout) for layout in LAYOUTS},
}
"""By name; each gives how many photos it was about."""


def imports() -> None:
    """What all of these import."""
    import counterset.load
    import counterset.release.photo_store
    import counterset.release.questions
    import counterset.release.versions.diff  # noqa: F401
    from counterset.release.exports import EXPORTS

    for layout in LAYOUTS:
        EXPORTS[layout]
