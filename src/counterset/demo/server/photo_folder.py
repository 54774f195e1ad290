"""A catalogue from a folder of photos `<class>/*.jpg`, one observation a photo, with generated observers."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from PIL import Image

from counterset.classes import ClassSpec, id_of_name, tidy_name
from counterset.demo.server.catalog import Catalog, Observation, Photo, Taxon
from counterset.errors import SourceError

SUFFIXES = {".jpg", ".jpeg", ".png"}
ROOT, ANIMALIA = Taxon(48460, "Life", "stateofmatter", 100, (48460,)), Taxon(1, "Animalia", "kingdom", 70, (48460, 1))

TAXA: dict[str, tuple[str, str, int, int]] = {
    "ape": ("Hominoidea", "superfamily", 33, 990_001),
    "bear": ("Ursidae", "family", 30, 990_002),
    "bison": ("Bison", "genus", 20, 990_003),
    "cat": ("Felis catus", "species", 10, 990_004),
    "chicken": ("Gallus domesticus", "species", 10, 990_005),
    "cow": ("Bos taurus", "species", 10, 990_006),
    "deer": ("Cervidae", "family", 30, 990_007),
    "dog": ("Canis familiaris", "species", 10, 990_008),
    "dolphin": ("Delphinidae", "family", 30, 990_009),
    "duck": ("Anatidae", "family", 30, 6912),
    "eagle": ("Accipitridae", "family", 30, 5067),
    "fish": ("Actinopterygii", "class", 50, 990_010),
    "horse": ("Equus caballus", "species", 10, 990_011),
    "lion": ("Panthera leo", "species", 10, 41964),
    "lobster": ("Nephropidae", "family", 30, 990_012),
    "pig": ("Sus domesticus", "species", 10, 990_013),
    "rabbit": ("Leporidae", "family", 30, 990_014),
    "shark": ("Selachii", "infraclass", 45, 990_015),
    "snake": ("Serpentes", "suborder", 35, 85553),
    "spider": ("Araneae", "order", 40, 990_016),
    "turkey": ("Meleagris gallopavo", "species", 10, 990_017),
    "wolf": ("Canis lupus", "species", 10, 990_018),
}
"""Name, rank, level and id by folder name; ids from 990,000 are this server's own, not the real service's."""

FIRST_OWN_TAXON_ID = 995_001
MAX_PHOTOS_PER_OBSERVER = 4


def folder_classes(folder: Path) -> tuple[ClassSpec, ...]:
    """One class per sub-folder that holds photos, by name.

    Raises:
        SourceError: the folder has no such sub-folder.
    """
    names = (
        sorted(path.name for path in folder.iterdir() if path.is_dir() and _photos_of(path)) if folder.is_dir() else []
    )
    if not names:
        raise SourceError(f"{folder} holds no photos; put them there as <class>/<name>.jpg")
    specs = []
    for offset, name in enumerate(names):
        taxon = _taxon(name, offset)
        class_id = id_of_name(name) or f"class_{offset}"
        shown = tidy_name(name.replace("_", " "))
        specs.append(ClassSpec(class_id, shown, None, (taxon.taxon_id,), taxon.name, taxon.rank))
    return tuple(specs)


def folder_catalog(folder: Path, seed: int = 0) -> Catalog:
    """The catalogue of a photo folder: observers have 1 to 4 photos of one class each.

    Raises:
        SourceError: the folder has no photos.
    """
    generator = random.Random(seed)
    files: dict[int, Path] = {}
    taxa = [ROOT, ANIMALIA]
    observations: list[Observation] = []
    start = datetime(2022, 1, 1, 9, tzinfo=UTC)
    user_id = 100_000
    for offset, spec in enumerate(folder_classes(folder)):
        taxa.append(_taxon(spec.name.replace(" ", "_"), offset))
        paths = _photos_of(folder / _folder_name(folder, spec))
        generator.shuffle(paths)
        left = 0
        for path in paths:
            if left == 0:
                user_id += 1
                left = generator.randint(1, MAX_PHOTOS_PER_OBSERVER)
            left -= 1
            number = len(observations) + 1
            with Image.open(path) as image:
                width, height = image.size
            photo = Photo(5_000_000 + number, "cc-by-nc", width, height, path.suffix.removeprefix("."))
            files[photo.photo_id] = path
            observed_on = date(2022, 1, 1) + timedelta(days=generator.randrange(900))
            observations.append(
                Observation(
                    observation_id=1_000_000 + number,
                    uuid=str(uuid.UUID(int=generator.getrandbits(128), version=4)),
                    taxon_id=spec.taxon_ids[0],
                    user_id=user_id,
                    user_login=f"observer_{user_id}",
                    user_name=f"Observer {user_id}",
                    observed_on=observed_on,
                    created_at=start + timedelta(days=900, minutes=number),
                    photos=(photo,),
                )
            )
    return Catalog(tuple(taxa), tuple(observations), lambda photo_id: files[photo_id].read_bytes())


def _folder_name(folder: Path, spec: ClassSpec) -> str:
    return next(path.name for path in folder.iterdir() if path.is_dir() and path.name.replace("_", " ") == spec.name)


def _photos_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _taxon(name: str, offset: int) -> Taxon:
    own = name.replace("_", " ").capitalize(), "species", 10, FIRST_OWN_TAXON_ID + offset
    scientific_name, rank, level, taxon_id = TAXA.get(name, own)
    return Taxon(taxon_id, scientific_name, rank, level, (*ANIMALIA.ancestor_ids, taxon_id), name.replace("_", " "))
