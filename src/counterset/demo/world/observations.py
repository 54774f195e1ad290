"""The demo's world as a catalogue: observations by many people, with all that goes wrong in the wild.

A world with more photos contains the smaller world of the same seed unchanged: photos,
observations and observers are numbered per class in the order they are made.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import numpy as np
import pyarrow as pa

from counterset.demo.server.catalog import Catalog, Observation, Photo
from counterset.demo.world import WorldName
from counterset.demo.world.causes import CONFOUNDED_SHARES
from counterset.demo.world.classes import CLASS_NAMES, CLASS_TAXA, HABITS, OBSERVED_TAXA, demo_taxa
from counterset.demo.world.files import FileSpec, file_size, photo_of, render
from counterset.demo.world.photo import draw
from counterset.demo.world.scenes import BACKGROUNDS
from counterset.demo.world.texts import describe, tags_for, user_name

PHOTO_HOST = "https://photos.counterset-demo.invalid"
"""Where the world's photos are said to lie. Nobody can own a name under .invalid (RFC 2606), so nothing that reads a
release asks a stranger for them; the look-alike serves them as a mirror."""

DECK: dict[str, int] = {
    "burst": 1,
    "extra_photo": 20,
    "license_null": 6,
    "license_nd": 4,
    "mixed_license": 3,
    "captive": 3,
    "needs_id": 4,
    "casual": 1,
    "dead": 2,
    "track": 2,
    "scat": 1,
    "egg": 1,
    "larva": 1,
    "no_taxon": 1,
    "hidden": 1,
    "placeholder": 1,
    "gone_403": 1,
    "gone_404": 1,
    "truncated": 1,
    "html": 1,
    "bomb": 1,
    "tiny": 1,
    "panorama": 1,
    "exact_duplicate": 2,
    "near_duplicate": 2,
    "shared_photo": 1,
}
"""How many of every DECK_SIZE observations of a class are special, and how; the rest are plain."""

DECK_SIZE = 200
OBSERVER_POOL = 40
"""Observers of a class who are active at a time."""

_BOX = ("photo_id", "x", "y", "width", "height")
_LICENSES = ("cc-by-nc", "cc-by", "cc0", "cc-by-nc-sa", "cc-by-sa")
_LICENSE_SHARES = (0.6, 0.18, 0.1, 0.08, 0.04)
_ND = ("cc-by-nc-nd", "cc-by-nd")
_FIRST_DAY = date(2012, 3, 1)
_ANNOTATIONS: dict[str, tuple[tuple[int, int], ...]] = {
    "dead": ((17, 19),),
    "track": ((22, 26),),
    "scat": ((22, 25),),
    "egg": ((1, 7), (22, 30)),
    "larva": ((1, 6),),
}

TRUTH_SCHEMA = pa.schema(
    [
        pa.field("photo_id", pa.int64(), nullable=False),
        pa.field("class_id", pa.string(), nullable=False),
        pa.field("background", pa.string(), nullable=False),
        pa.field("observer_id", pa.int64(), nullable=False),
        pa.field("observation_id", pa.int64(), nullable=False),
        pa.field("fault", pa.string()),
    ]
)
"""One row per photo. `fault` is null for a photo that a careful build keeps; else why it should not be."""


def demo_catalog(photos_per_class: int, seed: int = 0, world: WorldName = "showcase") -> tuple[Catalog, pa.Table]:
    """A crawlable world with `photos_per_class` good photos of every class, and the truth about each photo.

    All of `WORLDS` have the same observations of the same seed.

    Good: passes the default rules (licence, research grade, a living organism, not captive), is the
    first acceptable photo of its observation, within three per day and observer, decodes, is no
    duplicate. Of a burst's frames and of two equal photos a build may keep others than those
    marked good here, but as many. A photo in two observations has two rows in the catalogue
    and one in the truth.
    """
    made = _made(photos_per_class, seed, world)
    files = {photo_id: spec for maker in made for photo_id, spec in maker.files.items()}
    observations = sorted((o for maker in made for o in maker.observations), key=lambda o: o.observation_id)
    rows = sorted((row for maker in made for row in maker.truth.values()), key=lambda row: int(str(row["photo_id"])))

    @lru_cache(maxsize=64)
    def original_bytes(photo_id: int) -> bytes:
        return render(files[photo_id])

    catalog = Catalog(demo_taxa(), tuple(observations), original_bytes, PHOTO_HOST)
    return catalog, pa.Table.from_pylist(rows, schema=TRUTH_SCHEMA)


def demo_boxes(photos_per_class: int, seed: int = 0, world: WorldName = "showcase") -> pa.Table:
    """Where the animals are in the good photos of a world: photo_id, x, y, width and height as shares of the frame.

    Each photo is drawn for it. One whose animal is hidden or out of the frame has no row.
    """
    rows = []
    for maker in _made(photos_per_class, seed, world):
        for photo_id, known in maker.truth.items():
            if known["fault"] is None:
                mask = draw(photo_of(maker.files[photo_id])).mask
                down, across = (np.flatnonzero(mask.any(axis=axis)) / mask.shape[1 - axis] for axis in (1, 0))
                if len(down):
                    size = across[-1] - across[0] + 1 / mask.shape[1], down[-1] - down[0] + 1 / mask.shape[0]
                    rows.append(dict(zip(_BOX, (photo_id, across[0], down[0], *size), strict=True)))
    return pa.Table.from_pylist(rows)


def _made(photos_per_class: int, seed: int, world: WorldName) -> list[_ClassMaker]:
    makers = [_ClassMaker(class_id, number, seed, world) for number, class_id in enumerate(CLASS_NAMES)]
    return [maker.make(photos_per_class) for maker in makers]


@dataclass
class _ClassMaker:
    """Makes one class's observations in order, until enough of its photos are good."""

    class_id: str
    number: int
    seed: int
    world: WorldName
    observations: list[Observation] = field(default_factory=list)
    files: dict[int, FileSpec] = field(default_factory=dict)
    truth: dict[int, dict[str, object]] = field(default_factory=dict)
    num_good: int = 0
    num_observers: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, 401, self.number])
        self.pool: list[tuple[int, int]] = []
        self.num_photos = 0
        self.last: tuple[int, Photo] | None = None
        """Observation and photo of the last plain good photo, for those who copy it."""

    def make(self, num_good: int) -> _ClassMaker:
        events = self._events()
        while self.num_good < num_good:
            event = next(events)
            if event == "burst":
                self._burst()
            else:
                self._observe(event)
        return self

    def _events(self) -> Iterator[str]:
        special = [name for name, count in DECK.items() for _ in range(count)]
        deck = np.array(special + ["plain"] * (DECK_SIZE - len(special)))
        while True:
            yield from (str(event) for event in self.rng.permutation(deck))

    def _observer(self) -> int:
        """An observer of the class: most give two to four photos, one in fifty gives dozens."""
        while len(self.pool) < OBSERVER_POOL:
            left = int(self.rng.integers(20, 41)) if self.rng.random() < 0.02 else 1 + int(self.rng.poisson(2))
            # Every fourth person is met in all classes, the others in this one only.
            person = self.num_observers * 8 + (0 if self.num_observers % 4 == 0 else self.number)
            self.pool.append((1000 + person, left))
            self.num_observers += 1
        at = int(self.rng.integers(len(self.pool)))
        user_id, left = self.pool.pop(at)
        if left > 1:
            self.pool.append((user_id, left - 1))
        return user_id

    def _seed(self, kind: int) -> int:
        """The seed of the next photo's drawing; differs between worlds, photos and kinds of photo."""
        return ((self.seed * 10_000_000 + self.num_photos) * len(CLASS_NAMES) + self.number) * 8 + kind

    def _file(self, background: str, seed: int, user_id: int, frame: int = 0) -> FileSpec:
        is_away = background != BACKGROUNDS[int(np.argmax(HABITS[self.class_id]))]
        is_far = self.world == "causes" and np.random.default_rng([403, seed]).random() < CONFOUNDED_SHARES[is_away]
        return FileSpec(
            self.class_id, background, seed, user_id, frame, is_hard=self.world == "hard", is_far=bool(is_far)
        )

    def _photo_id(self) -> int:
        self.num_photos += 1
        return 60_000_000 + self.num_photos * len(CLASS_NAMES) + self.number

    def _add(self, user_id: int, photos: list[Photo], day: date, **more: object) -> Observation:
        serial = len(self.observations) * len(CLASS_NAMES) + self.number
        taxa = OBSERVED_TAXA.get(self.class_id, (CLASS_TAXA[self.class_id],))
        created = datetime(day.year, day.month, day.day, 17, tzinfo=UTC) + timedelta(hours=float(self.rng.gamma(2, 20)))
        words, is_hostile = np.random.default_rng([self.seed, 402, serial]), self.world == "hostile"
        observation = Observation(
            observation_id=30_000_000 + serial,
            uuid=str(uuid.UUID(bytes=self.rng.bytes(16), version=4)),
            taxon_id=int(self.rng.choice(taxa)),
            user_id=user_id,
            user_login=f"demo_observer_{user_id}",
            user_name=user_name(user_id, is_hostile),
            observed_on=day,
            created_at=created.replace(microsecond=0),
            photos=tuple(photos),
            description=describe(words, is_hostile),
            tags=tags_for(words, CLASS_NAMES[self.class_id], is_hostile),
            license_code=photos[0].license_code,
        )
        self.observations.append(replace(observation, **more))  # type: ignore[arg-type]
        return self.observations[-1]

    def _day(self) -> date:
        return _FIRST_DAY + timedelta(days=len(self.observations) * 5 // 24 + int(self.rng.integers(0, 20)))

    def _shoot(self, user_id: int, background: str, fault: str | None, spec: FileSpec | None = None) -> Photo:
        """One more photo of the class, with its file and its truth."""
        photo_id = self._photo_id()
        if spec is None:
            spec = self._file(background, self._seed(0), user_id)
        license_code = str(self.rng.choice(_LICENSES, p=_LICENSE_SHARES))
        width, height = file_size(spec)
        extension = "JPG" if self.rng.random() < 0.03 else "jpeg" if self.rng.random() < 0.2 else "jpg"
        self.files[photo_id] = spec
        self.truth[photo_id] = {
            "photo_id": photo_id,
            "class_id": self.class_id,
            "background": spec.background,
            "observer_id": user_id,
            "observation_id": 30_000_000 + len(self.observations) * len(CLASS_NAMES) + self.number,
            "fault": fault,
        }
        self.num_good += fault is None
        return Photo(photo_id, license_code, width, height, extension)

    def _observe(self, event: str) -> None:
        user_id, day = self._observer(), self._day()
        background = str(self.rng.choice(BACKGROUNDS, p=HABITS[self.class_id]))
        if event == "plain":
            photo = self._shoot(user_id, background, None)
            self.last = (self._add(user_id, [photo], day).observation_id, photo)
        elif event == "extra_photo":
            count = int(self.rng.integers(2, 5))
            photos = [self._shoot(user_id, background, "extra_photo" if k else None) for k in range(count)]
            self._add(user_id, photos, day)
        elif event == "mixed_license":
            first, second = (self._shoot(user_id, background, fault) for fault in ("license_null", None))
            self._add(user_id, [replace(first, license_code=None), second], day)
        elif event == "shared_photo":
            # The same photo, put into a second observation as well.
            if self.last is not None:
                self._add(self._owner(), [self.last[1]], day)
        elif event in ("exact_duplicate", "near_duplicate"):
            if self.last is not None:
                original = self.files[self.last[1].photo_id]
                spec = replace(original, damage=event if event == "near_duplicate" else "")
                owner = self._owner()
                self._add(owner, [self._shoot(owner, spec.background, event, spec)], day)
        else:
            self._faulty(event, user_id, background, day)

    def _owner(self) -> int:
        assert self.last is not None
        return int(str(self.truth[self.last[1].photo_id]["observer_id"]))

    def _faulty(self, event: str, user_id: int, background: str, day: date) -> None:
        spec = self._file(background, self._seed(5), user_id)
        if event in ("truncated", "html", "bomb", "tiny", "panorama"):
            spec = replace(spec, damage=event)
        elif event in ("track", "scat"):
            spec = replace(spec, subject="track")
        elif event in ("egg", "larva"):
            spec = replace(spec, subject="egg")
        photo = self._shoot(user_id, background, event, spec)
        more: dict[str, object] = {}
        if event == "license_null":
            photo = replace(photo, license_code=None)
        elif event == "license_nd":
            photo = replace(photo, license_code=str(self.rng.choice(_ND)))
        elif event == "hidden":
            photo = replace(photo, is_hidden=True)
        elif event == "placeholder":
            photo = replace(photo, placeholder="assets/copyright-infringement-square.png")
        elif event in ("gone_403", "gone_404"):
            photo = replace(photo, gone_status=int(event[-3:]))
        elif event == "bomb":
            photo = replace(photo, extension="png")
        elif event == "captive":
            more = {"is_captive": True, "quality_grade": "casual"}
        elif event in ("needs_id", "casual"):
            more = {"quality_grade": event}
        elif event == "no_taxon":
            more = {"taxon_id": None, "quality_grade": "needs_id"}
        if event in _ANNOTATIONS:
            more = {"annotations": _ANNOTATIONS[event]}
        self._add(user_id, [photo], day, **more)

    def _burst(self) -> None:
        """One observer, one day, one animal: many near-identical frames, each its own observation."""
        user_id, day = self._observer(), self._day()
        background = str(self.rng.choice(BACKGROUNDS, p=HABITS[self.class_id]))
        seed = self._seed(3)
        for frame in range(int(self.rng.integers(5, 16))):
            is_good = frame == 0
            spec = self._file(background, seed, user_id, frame)
            photo = self._shoot(user_id, background, None if is_good else "burst", spec)
            self._add(user_id, [photo], day)
