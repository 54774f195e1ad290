"""A folder of photos as a catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterset.demo.server.photo_folder import folder_catalog, folder_classes

PHOTO_FOLDER = Path(__file__).resolve().parents[3] / "../shared/photos"


def test_a_folder_becomes_a_catalogue(small_folder: Path) -> None:
    lion, newt = folder_classes(small_folder)
    assert (lion.class_id, lion.taxon_ids, lion.scientific_name) == ("lion", (41964,), "Panthera leo")
    assert (newt.name, newt.rank) == ("my newt", "species")
    made = folder_catalog(small_folder, seed=3)
    again = folder_catalog(small_folder, seed=3)
    assert made.observations == again.observations
    assert len({row.observation_id for row in made.observations}) == 12
    observers = [row.user_id for row in made.observations]
    assert max(observers.count(user) for user in observers) <= 4
    assert made.original_bytes(made.observations[0].photos[0].photo_id)[:2] == b"\xff\xd8"


@pytest.mark.skipif(not PHOTO_FOLDER.is_dir(), reason="no photo folder beside the checkout")
def test_the_shared_photos_become_a_catalogue() -> None:
    made = folder_catalog(PHOTO_FOLDER)
    assert len(made.observations) == 1_911
    assert len({row.taxon_id for row in made.observations}) == 22
