"""Where a photo has a place, and which photos share one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from counterset.sources.places import KM_PER_DEGREE, place_of


def test_near_photos_share_a_place_and_far_ones_do_not() -> None:
    here = at(52.50005, 13.40005, 10, 1)
    assert here is not None and len(here) == 16
    assert at(52.5003, 13.4003, 500, 1) == here
    assert at(52.53, 13.40, 10, 1) != here
    assert at(52.50, 13.43, 10, 1) != here
    assert at(52.50005, 13.40005, 10, 2) != here


def at(
    latitude: float | None, longitude: float | None, accuracy_m: float | None, cell_km: float, is_obscured: bool = False
) -> str | None:
    return place_of(latitude, longitude, accuracy_m, cell_km=cell_km, is_obscured=is_obscured)


@pytest.mark.parametrize("latitude", [-90, -60, -0.001, 0, 45, 75, 89.9, 90])
def test_a_cell_is_about_as_wide_as_high(latitude: float) -> None:
    """Along a line of 40 km there are about 40 cells, wherever it lies and whichever way it goes."""
    degrees = 40 / KM_PER_DEGREE
    south = latitude - degrees if latitude > 0 else latitude
    up = {at(south + step * degrees, 7, 1, 1) for step in np.linspace(0, 1, 2000)}
    assert 39 <= len(up) <= 42
    wide = degrees / max(math.cos(math.radians(latitude)), 1e-9)
    if wide < 180:
        along = {at(latitude, -100 + step * wide, 1, 1) for step in np.linspace(0, 1, 2000)}
        assert 38 <= len(along) <= 43


def test_the_date_line_is_no_border_and_the_pole_has_a_cell() -> None:
    assert at(10, 180, 1, 1) == at(10, -180, 1, 1)
    assert at(90, 20, 1, 1) == at(90, 20, 1, 1) != at(-90, 20, 1, 1)


@pytest.mark.parametrize(
    ("latitude", "longitude", "accuracy_m"),
    [
        (None, 13.4, 10),
        (52.5, None, 10),
        (52.5, 13.4, None),
        (52.5, 13.4, 1001),
        (52.5, 13.4, -1),
        (91, 13.4, 10),
        (52.5, 181, 10),
        (math.nan, 13.4, 10),
        (52.5, math.inf, 10),
        (52.5, 13.4, math.nan),
    ],
)
def test_what_is_missing_coarse_or_impossible_is_no_place(
    latitude: float | None, longitude: float | None, accuracy_m: float | None
) -> None:
    assert at(latitude, longitude, accuracy_m, 1) is None


def test_obscured_coordinates_are_no_place_however_exact_they_look() -> None:
    assert at(52.5, 13.4, 10, 1) is not None
    assert at(52.5, 13.4, 10, 1, is_obscured=True) is None
    assert at(52.5, 13.4, 10, 0) is None
