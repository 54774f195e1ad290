"""What one photo of the generated world shows, as data: place, animal, where it stands, light and camera.

Nothing is left to chance once a `PhotoSpec` is given. Place and animal are drawn from streams of their own, seeded by
`scene_id` and `animal_id`, so `dataclasses.replace` gives the same animal in the same pose on another background, the
same place with another animal, or the same photo from twice the distance, out of focus, or at night.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from counterset.demo.world.scenes import BACKGROUNDS

Subject = Literal["animal", "track", "egg", "nothing"]
LIGHTS = ("day", "dusk", "night")
LIGHT_SHARES = (0.8, 0.13, 0.07)

_SIZES_PX = ((320, 240), (240, 320), (320, 214), (336, 252), (300, 300), (256, 340))
_SIZE_SHARES = (0.42, 0.12, 0.18, 0.12, 0.1, 0.06)
_FAR_SHARE, _CUT_SHARE = 0.08, 0.1


@dataclass(frozen=True)
class Camera:
    """How a place becomes a picture."""

    gain: float = 1.0
    warmth: float = 0.0
    """Above 0 = yellower, below 0 = bluer; about -0.15 to 0.15."""
    contrast: float = 1.0
    saturation: float = 1.0
    blur_px: float = 0.4
    """Standard deviation of the blur, in pixels; above 2 = out of focus."""
    noise: float = 4.0
    """Standard deviation of the sensor's noise, in 0..255."""


@dataclass(frozen=True)
class Style:
    """What the photos of one observer share: how close they come, their camera, and its files' quality."""

    distance: float = 1.0
    """Animals look so many times smaller."""
    camera: Camera = field(default_factory=Camera)
    quality: int = 84
    """Of the JPEG file."""


@dataclass(frozen=True)
class PhotoSpec:
    """One photo. The same spec gives the same pixels.

    Attributes:
        class_id: a key of `ANIMALS`.
        background: one of `BACKGROUNDS`.
        scene_id: of the place; another one is another place of the same kind.
        animal_id: of the animal, its pose and its coat.
        size_px: width and height.
        scale: height of an animal of body height 1, as a share of the shorter side; 0.3 to 0.65 is usual.
        position: of the animal: 0 = as far left as it fits, 1 = as far right, outside = cut off; and how far down its
            feet are, as a share of the height.
        light: one of `LIGHTS`.
        camera: exposure, focus and noise.
        shot_id: of the sensor's noise.
        frame: number within a burst: frames differ by a small shift, light and noise.
        subject: the animal, its footprints, its eggs, or nothing.
        coat: "" = the animal's own, else the background whose colour and texture it wears.
    """

    class_id: str
    background: str
    scene_id: int
    animal_id: int
    size_px: tuple[int, int] = (320, 240)
    scale: float = 0.45
    position: tuple[float, float] = (0.5, 0.85)
    light: str = "day"
    camera: Camera = field(default_factory=Camera)
    shot_id: int = 0
    frame: int = 0
    subject: Subject = "animal"
    coat: str = ""


def observer_style(observer_id: int) -> Style:
    """The style of an observer; the same for the same id."""
    rng = np.random.default_rng([7301, observer_id])
    return Style(
        distance=float(np.exp(rng.normal(0, 0.22))),
        camera=Camera(
            gain=float(np.exp(rng.normal(0, 0.12))),
            warmth=float(rng.normal(0.01, 0.045)),
            contrast=float(np.exp(rng.normal(0, 0.1))),
            saturation=float(np.clip(rng.normal(0.95, 0.18), 0.35, 1.4)),
            blur_px=float(rng.gamma(2.0, 0.22)),
            noise=float(rng.uniform(2, 9)),
        ),
        quality=int(rng.integers(72, 93)),
    )


def photo_size(seed: int) -> tuple[int, int]:
    """Width and height in pixels of the photo with this seed."""
    return _SIZES_PX[int(np.random.default_rng([11, seed]).choice(len(_SIZES_PX), p=_SIZE_SHARES))]


def usual_spec(class_id: str, background: str, seed: int, style: Style | None = None) -> PhotoSpec:
    """A photo as people take them; `seed` decides all that `style` leaves open (None = an observer of this seed)."""
    style = observer_style(seed) if style is None else style
    rng = np.random.default_rng([12, seed])
    share = float(np.exp(rng.uniform(np.log(0.3), np.log(0.68)))) / style.distance
    share *= 0.5 if rng.random() < _FAR_SHARE else 1.0
    across = float(rng.random())
    if rng.random() < _CUT_SHARE:  # not every photographer gets the whole animal
        across += float(rng.normal(0, 0.8))
    return PhotoSpec(
        class_id,
        background,
        scene_id=seed,
        animal_id=seed,
        size_px=photo_size(seed),
        scale=float(np.clip(share, 0.12, 0.64)),
        position=(across, float(rng.uniform(0.72, 0.96))),
        light=str(rng.choice(LIGHTS, p=LIGHT_SHARES)),
        camera=_shot(rng, style.camera),
        shot_id=seed,
    )


def hard_spec(class_id: str, background: str, seed: int, style: Style | None = None) -> PhotoSpec:
    """A photo whose background is hard to name: the animal fills the frame and wears the look of another background."""
    rng = np.random.default_rng([13, seed])
    others = [name for name in BACKGROUNDS if name != background]
    return replace(
        usual_spec(class_id, background, seed, style),
        scale=float(rng.uniform(0.9, 1.2)),
        position=(0.5, float(rng.uniform(0.9, 1.0))),
        coat=others[int(rng.integers(len(others)))],
    )


def _shot(rng: np.random.Generator, camera: Camera) -> Camera:
    """An observer's camera in one photo."""
    return Camera(
        gain=camera.gain * float(np.exp(rng.normal(0, 0.13))),
        warmth=camera.warmth + float(rng.normal(0, 0.04)),
        contrast=camera.contrast * float(np.exp(rng.normal(0, 0.08))),
        saturation=float(np.clip(camera.saturation + rng.normal(0, 0.08), 0.3, 1.5)),
        blur_px=camera.blur_px * float(rng.uniform(0.5, 1.6)),
        noise=camera.noise,
    )
