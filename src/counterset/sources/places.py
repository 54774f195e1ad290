"""From a photo's coordinates to its place: a salted hash of a cell of the globe.

Neither coordinates nor cells are kept: who has the hash of a cell could try all cells, so the hash
itself is for the workspace only, and a release holds units' numbers.
"""

from __future__ import annotations

import hashlib
import math

import pyarrow as pa

KM_PER_DEGREE = 111.195
"""Of a great circle, on a sphere of the Earth's mean radius."""
SALT = "counterset place"


def place_of(
    latitude: float | None,
    longitude: float | None,
    accuracy_m: float | None,
    *,
    cell_km: float,
    is_obscured: bool = False,
) -> str | None:
    """16 hex digits that stand for the cell in which a photo was taken; None = it has no place.

    Cells are `cell_km` high and about as wide: bands of latitude, each cut into equal parts of longitude.
    A photo has no place where its coordinates are obscured (random within 0.2 degrees), where their accuracy is
    unknown or coarser than a cell, or where they are missing or none on Earth.

    Args:
        latitude: degrees, WGS 84.
        longitude: degrees, WGS 84.
        accuracy_m: radius of uncertainty, metres.
        cell_km: height of a cell, kilometres; 0 = no photo has a place.
        is_obscured: whether the coordinates were changed to protect the observer or the animal.
    """
    if is_obscured or cell_km <= 0 or latitude is None or longitude is None or accuracy_m is None:
        return None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180 and 0 <= accuracy_m <= 1000 * cell_km):  # NaN is none
        return None
    num_bands = max(round(180 * KM_PER_DEGREE / cell_km), 1)
    band = min(math.floor((latitude + 90) / 180 * num_bands), num_bands - 1)
    middle = math.radians((band + 0.5) * 180 / num_bands - 90)
    num_parts = max(round(360 * KM_PER_DEGREE * math.cos(middle) / cell_km), 1)
    part = math.floor((longitude + 180) / 360 * num_parts) % num_parts
    return hashlib.sha256(f"{SALT}\x00{num_bands}\x00{band}\x00{part}".encode()).hexdigest()[:16]


def with_places(photos: pa.Table, cell_km: float) -> pa.Table:
    """Photos with the column `place` instead of `point`, a list of latitude, longitude and accuracy in metres each."""
    places = [place_of(*point, cell_km=cell_km) for point in photos["point"].to_pylist()]
    return photos.drop_columns(["point"]).append_column("place", pa.array(places, pa.string()))
