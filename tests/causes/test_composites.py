"""Composites: one thing is changed, and the rest is not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from counterset.causes import composites
from counterset.causes.composites import GREY, SIDE_PX, Subject, take_apart
from counterset.demo.world.photo import draw
from counterset.demo.world.spec import PhotoSpec
from counterset.pictures import rgb

BEAR = PhotoSpec("ice_bear", "grass", scene_id=3, animal_id=4, scale=0.4, position=(0.2, 0.85))
FOX = PhotoSpec("red_fox", "snow", scene_id=5, animal_id=6, size_px=(240, 320), scale=0.4)


def taken_apart(spec: PhotoSpec) -> Subject:
    picture = draw(spec)
    return take_apart(picture.pixels, picture.mask.astype(np.float32))


@pytest.fixture(scope="module")
def bear() -> Subject:
    return taken_apart(BEAR)


@pytest.fixture(scope="module")
def fox() -> Subject:
    return taken_apart(FOX)


def distance(first: composites.Pixels, second: composites.Pixels, where: np.ndarray) -> float:
    return float(np.abs(first[where].astype(float) - second[where]).mean())


def test_the_animal_alone_keeps_its_pixels_and_nothing_else(bear: Subject) -> None:
    alone = composites.animal_alone(bear, bear)
    assert (alone[bear.cover == 0] == GREY).all()
    assert distance(alone, bear.pixels, bear.cover > 0.999) < 1


def test_the_place_alone_looks_as_if_the_animal_had_never_been_there(bear: Subject) -> None:
    empty = draw(replace(BEAR, subject="nothing")).pixels
    animal = bear.cover > 0.9
    assert distance(bear.place, empty, animal) < 0.45 * distance(bear.pixels, empty, animal)
    far = np.ones(animal.shape, bool)
    far[(rows := np.flatnonzero(animal.any(1)))[0] - 30 : rows[-1] + 30] = False
    np.testing.assert_array_equal(bear.place[far], bear.pixels[far])
    assert composites.background_alone(bear, bear) is bear.place


@pytest.mark.parametrize("scale", [0.25, 0.6])
def test_what_is_filled_is_as_busy_as_the_place(scale: float) -> None:
    """A small animal's hole takes what lies beside it, a wide one's what is reflected at its rim."""
    spec = replace(BEAR, scale=scale, position=(0.5, 0.85))
    subject, empty = taken_apart(spec), draw(replace(spec, subject="nothing")).pixels
    inside = cv2.erode((subject.cover > 0.9).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    busy = [
        np.abs(cv2.Laplacian(each.astype(np.float32), cv2.CV_32F))[inside].mean() for each in (subject.place, empty)
    ]
    assert inside.any() and 0.6 < busy[0] / busy[1] < 1.6


def test_a_hole_of_any_shape_is_filled() -> None:
    pixels = draw(BEAR).pixels
    for cover in (np.zeros(pixels.shape[:2], np.float32), np.ones(pixels.shape[:2], np.float32)):
        assert take_apart(pixels, cover).place.shape == pixels.shape
    np.testing.assert_array_equal(take_apart(pixels, np.zeros(pixels.shape[:2], np.float32)).place, pixels)
    corner = np.zeros(pixels.shape[:2], np.float32)
    corner[60:, 40:] = 1  # reflected at the rim, most of it is outside the frame or in the hole again
    assert take_apart(pixels, corner).place[100:, 100:].std() > 5


def test_an_animal_is_pasted_where_it_was_before_another_photos_place(bear: Subject, fox: Subject) -> None:
    pasted = composites.pasted(bear, fox)
    assert pasted.shape == bear.pixels.shape, "the frame is the animal's, whatever the donor's is"
    assert distance(pasted, bear.pixels, bear.cover > 0.999) < 1
    snow = pasted[bear.cover == 0].mean(0)
    assert np.abs(snow - fox.place.mean((0, 1))).max() < np.abs(snow - bear.place.mean((0, 1))).max()
    middle = fox.place[80:240]  # as wide as the donor, 4 to 3
    top = pasted[: pasted.shape[0] // 8].mean((0, 1))
    assert np.abs(top - middle[: len(middle) // 8].mean((0, 1))).max() < 8


def test_what_is_made_smaller_or_moved_is_else_the_same(bear: Subject) -> None:
    white = Subject(bear.pixels, bear.cover, np.full_like(bear.place, 255))
    black = Subject(np.zeros_like(bear.pixels), bear.cover, bear.place)
    area = (composites.pasted(black, white)[..., 0] < 128).sum()
    small, moved = (draw(black, white)[..., 0] < 128 for draw in (composites.smaller, composites.moved))
    assert small.sum() == pytest.approx(area / 4, rel=0.08) and moved.sum() == pytest.approx(area, rel=0.02)
    before = bear.cover > 0.5
    feet = [np.flatnonzero(where.any(1))[-1] for where in (before, small, moved)]
    assert max(feet) - min(feet) <= 2
    across = [np.flatnonzero(where.any(0)).mean() for where in (before, small, moved)]
    assert across[1] == pytest.approx(across[0], abs=3) and across[2] > across[0] + 60


def test_which_animals_can_be_cut_out() -> None:
    cover = np.zeros((100, 100), np.float32)
    assert "(0.0%)" in composites.why_not(cover)
    cover[:70] = 1
    assert "(70.0%)" in composites.why_not(cover)
    cover[30:] = 0
    assert composites.why_not(cover) == ""


def test_large_photos_are_made_smaller_and_small_ones_are_not() -> None:
    assert composites.size_of(4000, 3000) == (512, SIDE_PX)
    assert composites.size_of(300, 5000) == (300, 5000)
    large = np.repeat(np.repeat(draw(BEAR).pixels, 4, 0), 4, 1)
    cover = np.zeros((384, 512), np.float32)
    cover[100:200, 100:200] = 1
    assert take_apart(large, cover).place.shape == (384, 512, 3)


def test_files_hold_what_was_drawn(bear: Subject) -> None:
    read = np.asarray(rgb(composites.encoded(bear.pixels)))
    assert distance(read, bear.pixels, np.ones(bear.cover.shape, bool)) < 4
    np.testing.assert_allclose(composites.unpacked(composites.packed(bear.cover)), bear.cover, atol=0.003)
