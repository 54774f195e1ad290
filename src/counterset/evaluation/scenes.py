"""Photos whose animals are cut out, whose place each is given, and the composites that are drawn of them."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from counterset.causes import composites
from counterset.causes.composites import Subject
from counterset.causes.effects import RENDERED
from counterset.errors import ReleaseError, UserError
from counterset.evaluation.photos import PairPhotos
from counterset.licenses import may_adapt
from counterset.load import Release
from counterset.pictures import DECODER_VERSION, Picture
from counterset.places import Places
from counterset.tables import write_bytes

Segmenter = Callable[[Image.Image], Any]
"""An upright RGB photo -> (height, width) values in [0, 1], 1 where the animal is; None = there is none."""

_RENDER: Mapping[str, composites.Render] = {
    "unchanged": composites.unchanged,
    "animal_alone": composites.animal_alone,
    "background_alone": composites.background_alone,
    "own_background": composites.pasted,
    "other_background": composites.pasted,
    "other_class_background": composites.pasted,
    "smaller": composites.smaller,
    "moved": composites.moved,
}
DONOR_OF = {name: "own_background" for name in ("own_background", "smaller", "moved")} | {
    name: name for name in ("other_background", "other_class_background")
}
"""Rendered -> whose place it takes; the others take none."""

NO_COVER = "nothing says where its animal is"
NO_DONOR = "its class has too few photos of other photographers whose places it could be given"


def covers_of(
    release: Release, photos: PairPhotos, places: Places | Segmenter, left_out: dict[str, str]
) -> dict[str, bytes]:
    """photo_id -> its packed cover; whoever has none goes to `left_out`, with the reason."""
    covers = {}
    for photo_id in photos.photo_id.tolist():
        if photo_id in left_out:
            continue
        picture = Picture.read(release.photo(photo_id))
        size = composites.size_of(picture.width_px, picture.height_px)
        if isinstance(places, Places):
            cover = places.cover(photo_id, *size)
        else:
            cover = _segmented(places(picture.rgb()), (picture.width_px, picture.height_px), size)
        reason = NO_COVER if cover is None else composites.why_not(cover)
        if cover is None or reason:
            left_out[photo_id] = reason
        else:
            covers[photo_id] = composites.packed(cover)
    return covers


def _segmented(given: Any, size: tuple[int, int], wanted: tuple[int, int]) -> composites.Cover | None:
    """A segmenter's answer at the size of composites.

    Raises:
        UserError: it is of another shape, or not in [0, 1].
    """
    if given is None:
        return None
    cover = np.asarray(given, np.float32)
    if cover.shape != (size[1], size[0]) or not ((cover >= 0) & (cover <= 1)).all():
        raise UserError(
            f"the segmenter must give None or values in [0, 1] of the photo's shape, {(size[1], size[0])}; it gave "
            f"shape {cover.shape}"
        )
    shrunk = Image.fromarray(cover).resize(wanted, Image.Resampling.BOX)
    return np.asarray(shrunk, np.float32)


@dataclass(frozen=True)
class Scenes:
    """Photos whose animals are cut out, and whose place each is given.

    Attributes:
        photos: (N,) sorted by photo_id.
        donors: rendered -> (N,) position of the photo whose place is taken, in `photos`.
    """

    release: Release
    photos: PairPhotos
    covers: Mapping[str, bytes]
    donors: Mapping[str, npt.NDArray[np.int64]]

    @functools.cached_property
    def class_ids(self) -> list[str]:
        """Sorted."""
        return sorted(set(self.photos.class_id.tolist()))

    @functools.cached_property
    def rendered(self) -> tuple[str, ...]:
        """What is drawn of each photo."""
        return tuple(name for name in RENDERED if DONOR_OF.get(name, name) in {*self.donors, *RENDERED[:3]})

    def key(self, name: str, place: int) -> str:
        """64 digits that change when anything does that decides a composite."""
        sources = [place] if name not in DONOR_OF else [place, int(self.donors[DONOR_OF[name]][place])]
        parts: list[Any] = [name, composites.REVISION, DECODER_VERSION]
        for source in sources:
            cover = hashlib.sha256(self.covers[self.photos.photo_id[source]]).hexdigest()
            parts += [self.photos.sha256[source], cover]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @functools.cached_property
    def subject(self) -> Callable[[int], Subject]:
        """position -> its photo taken apart; the last ones are kept."""

        def subject(place: int) -> Subject:
            photo_id = self.photos.photo_id[place]
            photo = Picture.read(self.release.photo(photo_id)).rgb(composites.SIDE_PX)
            return composites.take_apart(np.asarray(photo), composites.unpacked(self.covers[photo_id]))

        return functools.lru_cache(maxsize=64)(subject)

    def draw(self, name: str, place: int) -> composites.Pixels:
        """One composite."""
        donor = self.donors[DONOR_OF[name]][place] if name in DONOR_OF else place
        return _RENDER[name](self.subject(place), self.subject(int(donor)))


def scenes_of(
    release: Release, photos: PairPhotos, covers: Mapping[str, bytes], left_out: dict[str, str], seed: int
) -> Scenes:
    """Deal places to animals: each is given as often as any other, and none to a photo of its own unit.

    Raises:
        ReleaseError: no class has animals and places of several units on both sides.
    """
    photos = photos.only(np.array([photo_id in covers for photo_id in photos.photo_id], np.bool_))
    while True:
        donors = dict(dealt(photos, np.random.default_rng([seed, 417])))
        alone = (donors["own_background"] < 0) | (donors["other_background"] < 0)
        if not alone.any():
            break
        left_out |= dict.fromkeys(photos.photo_id[alone].tolist(), NO_DONOR)
        photos = photos.only(~alone)
    if not len(photos.photo_id):
        why = next(iter(sorted(left_out.items())), ("", ""))
        raise ReleaseError(
            f"no photo of {release.name} {release.version} has an animal that can be cut out"
            + (f" ({why[0]}: {why[1]})" if why[0] else "")
            + "; give masks or boxes that are named by the release's photo ids"
        )
    if (donors["other_class_background"] < 0).any():
        del donors["other_class_background"]
    return Scenes(release, photos, covers, donors)


def dealt(photos: PairPhotos, rng: np.random.Generator) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Rendered -> (N,) position of each photo's donor; -1 = there is none."""
    unit = np.unique(photos.unit.astype(str), return_inverse=True)[1]
    own, other, foreign = (np.full(len(unit), -1) for _ in range(3))

    def deal(into: npt.NDArray[np.int64], takers: npt.NDArray[np.int64], givers: npt.NDArray[np.int64]) -> None:
        order = rng.permutation(givers)
        for turn, taker in enumerate(takers):
            from_here = np.roll(order, -turn)
            free = np.flatnonzero(unit[from_here] != unit[taker])
            if len(free):
                into[taker] = from_here[free[0]]

    for class_id in sorted(set(photos.class_id.tolist())):
        in_class = photos.class_id == class_id
        sides = [np.flatnonzero(in_class & (photos.side == side)) for side in (0, 1)]
        for side in (0, 1):
            deal(own, sides[side], sides[side])
            deal(other, sides[side], sides[1 - side])
        deal(foreign, np.flatnonzero(in_class), np.flatnonzero(~in_class))
    yield from {"own_background": own, "other_background": other, "other_class_background": foreign}.items()


def save_examples(scenes: Scenes, number: int, folder: Path) -> None:
    """All composites of some photos, side by side, and whose photos they are made of."""
    names = ("photo_id", "license")
    licenses = dict(zip(*(scenes.release.all_photos[name].to_pylist() for name in names), strict=True))
    lines = io.StringIO()
    told = csv.writer(lines)
    told.writerow(["file", "made_of", "license"])
    for place, made_of in itertools.islice(may_be_shown(scenes, licenses), number):
        file = f"{scenes.photos.photo_id[place]}.jpg"
        strip = np.concatenate([scenes.draw(name, place) for name in scenes.rendered], axis=1)
        write_bytes(composites.encoded(strip), folder / file)
        told.writerows([file, photo_id, licenses[photo_id]] for photo_id in made_of)
    write_bytes(lines.getvalue().encode(), folder / "made_of.csv")


def may_be_shown(scenes: Scenes, licenses: Mapping[str, str | None]) -> Iterator[tuple[int, list[str]]]:
    """Position of each photo, and the photos that its composites are made of, where all licences allow derivatives.

    In an order by chance, the same each time.
    """
    for place in np.random.default_rng(417).permutation(len(scenes.photos.photo_id)).tolist():
        sources = [place, *(int(donor[place]) for donor in scenes.donors.values())]
        made_of = [str(scenes.photos.photo_id[source]) for source in sources]
        if all(may_adapt(licenses[photo_id]) for photo_id in made_of):
            yield place, made_of
