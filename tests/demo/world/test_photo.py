"""Drawn photos: what they say they are, place and animal apart, and masks that are exact."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from counterset.demo.world.animals import ANIMALS
from counterset.demo.world.photo import _LIGHT, Picture, cut_out, draw, draw_photo
from counterset.demo.world.scenes import BACKGROUNDS
from counterset.demo.world.spec import (
    LIGHT_SHARES,
    LIGHTS,
    Camera,
    PhotoSpec,
    hard_spec,
    observer_style,
    photo_size,
    usual_spec,
)

CLEAN = Camera(blur_px=0.0, noise=0.0)
BEAR = PhotoSpec("ice_bear", "grass", scene_id=77, animal_id=78, camera=CLEAN)


def area(picture: Picture) -> float:
    return float(picture.mask.mean())


def core(picture: Picture) -> np.ndarray:
    """The mask without its rim, where edges are smooth and furry."""
    return cv2.erode(picture.mask.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)


def test_same_spec_same_pixels_and_other_ids_others() -> None:
    first = draw(BEAR)
    again = draw(replace(BEAR))
    assert np.array_equal(first.pixels, again.pixels) and np.array_equal(first.mask, again.mask)
    for name in ("scene_id", "animal_id"):
        assert not np.array_equal(first.pixels, draw(replace(BEAR, **{name: 5})).pixels), name
    assert first.pixels.shape == (240, 320, 3) and first.mask.shape == (240, 320)
    assert draw_photo("lion", "sand", 5).size == photo_size(5)


@pytest.mark.parametrize("class_id", ANIMALS)
def test_the_same_animal_stands_on_every_background(class_id: str) -> None:
    pictures = {b: draw(replace(BEAR, class_id=class_id, background=b)) for b in BACKGROUNDS}
    # Water hides feet, and blades and drifts a little more; the rest is the same pose at the same place.
    union = np.any([picture.mask for picture in pictures.values()], axis=0)
    for background, picture in pictures.items():
        assert picture.mask.sum() > 0.55 * union.sum() > 100, background
        inner = core(picture) & core(pictures["sand"])
        one, other = picture.pixels[inner].astype(float), pictures["sand"].pixels[inner].astype(float)
        # The coat is the same but for the ground's light upon it.
        assert abs(np.corrcoef(one.mean(1), other.mean(1))[0, 1]) > 0.9, background


def test_the_same_place_lies_behind_every_animal() -> None:
    empty = draw(replace(BEAR, subject="nothing"))
    assert not empty.mask.any()
    for class_id in ("ice_bear", "flamingo"):
        picture = draw(replace(BEAR, class_id=class_id, position=(0.5, 0.85), scale=0.3))
        changed = np.abs(picture.pixels.astype(int) - empty.pixels.astype(int)).sum(2) > 0
        assert changed[:, :40].mean() < 0.02, "far from the animal nothing changes"
        assert changed.any()


def test_masks_are_where_the_animal_is_seen() -> None:
    for background in BACKGROUNDS:
        own = draw(replace(BEAR, background=background))
        # What changes with the coat, and with nothing else, is the animal; on water its reflection changes as well.
        dyed = draw(replace(BEAR, background=background, coat="tree" if background != "tree" else "snow"))
        assert (own.mask ^ dyed.mask).sum() < 0.01 * own.mask.sum()  # a blade may chance upon the very colour of a coat
        changed = np.abs(own.pixels.astype(int) - dyed.pixels.astype(int)).sum(2) > 12
        if background != "water":
            overlap = (changed & own.mask).sum() / (changed | own.mask).sum()
            assert overlap > (0.8 if background == "grass" else 0.9), (
                background,
                overlap,
            )  # blades let some coat through
        assert changed[core(own)].mean() > 0.95, background


@pytest.mark.parametrize("background", ["grass", "water"])
def test_a_cut_out_animal_keeps_its_own_pixels_before_any_place(background: str) -> None:
    spec = replace(BEAR, background=background, camera=Camera(noise=6.0, blur_px=0.8))
    picture, cutout = draw(spec), cut_out(spec)
    inner, shape = core(picture), picture.mask.shape
    assert cutout.cover[inner].min() > 0.95 and 0 < cutout.cover.mean() < 1.3 * picture.mask.mean()
    for other in (background, "snow"):
        empty = draw(replace(spec, background=other, subject="nothing")).pixels
        made = cutout.before(empty)
        assert made.shape == (*shape, 3)
        np.testing.assert_array_equal(made[cutout.cover == 0], empty[cutout.cover == 0])
        assert np.abs(made[inner].astype(int) - picture.pixels[inner]).mean() < 1.5, "lit as at its own place"
    relit = draw(replace(spec, background="snow")).pixels
    assert np.abs(relit[inner].astype(int) - picture.pixels[inner]).mean() > 3, "which another place would do otherwise"


def test_what_stands_before_the_animal_is_no_part_of_its_mask() -> None:
    on_grass, on_water = draw(BEAR), draw(replace(BEAR, background="water"))
    on_sand = draw(replace(BEAR, background="sand"))
    assert area(on_grass) < area(on_sand) and area(on_water) < area(on_sand)


def test_far_blurred_moved_and_dark_are_one_change_each() -> None:
    usual = draw(BEAR)
    far = draw(replace(BEAR, scale=BEAR.scale / 2))
    assert area(far) == pytest.approx(area(usual) / 4, rel=0.25)
    left, right = (draw(replace(BEAR, scale=0.3, position=(x, 0.85))) for x in (0.0, 1.0))
    assert np.flatnonzero(left.mask.any(0)).mean() + 40 < np.flatnonzero(right.mask.any(0)).mean()
    blurred = draw(replace(BEAR, camera=replace(CLEAN, blur_px=4.0)))
    assert np.array_equal(blurred.mask, usual.mask)
    sharpness = [cv2.Laplacian(picture.pixels, cv2.CV_64F).var() for picture in (blurred, usual)]
    assert sharpness[0] < 0.2 * sharpness[1]
    brightness = [draw(replace(BEAR, light=light)).pixels.mean() for light in LIGHTS]
    assert brightness[0] > 1.2 * brightness[1] > 1.4 * brightness[2]
    assert set(_LIGHT) == set(LIGHTS) and sum(LIGHT_SHARES) == pytest.approx(1)


def test_hard_photos_fill_the_frame_in_a_borrowed_coat() -> None:
    hard = [hard_spec(class_id, background, 31) for class_id in ANIMALS for background in BACKGROUNDS]
    usual = [usual_spec(class_id, background, 31) for class_id in ANIMALS for background in BACKGROUNDS]
    assert all(spec.coat in BACKGROUNDS and spec.coat != spec.background for spec in hard)
    assert np.mean([area(draw(s)) for s in hard]) > 2 * np.mean([area(draw(s)) for s in usual])
    assert [replace(h, scale=0, position=(0, 0), coat="") for h in hard] == [
        replace(u, scale=0, position=(0, 0)) for u in usual
    ]


def test_every_class_draws_on_every_background_with_an_animal_in_it() -> None:
    for class_id in ANIMALS:
        for background in BACKGROUNDS:
            share = area(draw(replace(BEAR, class_id=class_id, background=background)))
            assert 0.01 < share < 0.5, (class_id, background, share)


def test_backgrounds_differ_in_colour_as_their_names_say() -> None:
    mean = {
        b: np.mean(
            [
                draw(replace(usual_spec("red_fox", b, s), light="day", camera=CLEAN)).pixels.reshape(-1, 3).mean(0)
                for s in range(12)
            ],
            axis=0,
        )
        for b in BACKGROUNDS
    }
    assert mean["snow"].min() > max(mean[b].mean() for b in ("grass", "water", "rock", "tree"))
    assert mean["grass"][1] > mean["grass"][0] and mean["grass"][1] > mean["grass"][2]
    assert mean["water"][2] > mean["water"][0]
    assert mean["sand"][0] > mean["sand"][2] + 30
    assert mean["tree"].mean() < mean["rock"].mean()


def test_an_observers_photos_share_their_light() -> None:
    def brightness(observer: int, seed: int) -> float:
        spec = usual_spec("cheetah", "grass", seed, observer_style(observer))
        return float(draw(replace(spec, light="day")).pixels.mean())

    values = np.array([[brightness(observer, 100 * observer + k) for k in range(8)] for observer in range(12)])
    between, within = values.mean(1).var(), values.var(1).mean() / 8
    assert between > 1.5 * within


def test_frames_of_a_burst_are_nearly_equal() -> None:
    spec = usual_spec("red_fox", "rock", 9, observer_style(4))
    first, third = draw(spec), draw(replace(spec, frame=3))
    other = draw(replace(spec, scene_id=10, animal_id=10))
    assert not np.array_equal(first.pixels, third.pixels)

    def far(one: Picture, two: Picture) -> float:
        return float(np.abs(one.pixels.astype(int) - two.pixels.astype(int)).mean())

    assert far(first, third) < 0.6 * far(first, other)
    assert (first.mask & third.mask).sum() > 0.6 * first.mask.sum(), "the mask moves along"
