"""The demo's world: pictures that are what they say, and a catalogue whose truth holds."""

from __future__ import annotations

import collections
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from counterset.classes import load_classes
from counterset.demo.server.catalog import Catalog
from counterset.demo.world.animals import ANIMALS
from counterset.demo.world.classes import CLASS_NAMES, CLASS_TAXA, HABITS
from counterset.demo.world.files import FileSpec, file_size, render
from counterset.demo.world.observations import DECK, DECK_SIZE, TRUTH_SCHEMA, demo_catalog
from counterset.demo.world.photo import Style, draw_photo, draw_pixels, observer_style, photo_size
from counterset.demo.world.scenes import BACKGROUNDS

PHOTOS_PER_CLASS = 150
OPEN_LICENSES = {"cc0", "cc-by", "cc-by-sa", "cc-by-nc", "cc-by-nc-sa"}


@pytest.fixture(scope="module")
def world() -> tuple[Catalog, pa.Table]:
    return demo_catalog(PHOTOS_PER_CLASS, seed=3)


def test_same_seed_same_pixels_and_another_seed_others() -> None:
    first = draw_pixels("lion", "sand", 5)
    assert np.array_equal(first, draw_pixels("lion", "sand", 5))
    assert not np.array_equal(first, draw_pixels("lion", "sand", 6))
    assert draw_photo("lion", "sand", 5).size == photo_size(5) == (first.shape[1], first.shape[0])


def test_every_class_draws_on_every_background_with_an_animal_in_it() -> None:
    for number, class_id in enumerate(ANIMALS):
        for background in BACKGROUNDS:
            seed = 40 + number
            style = Style(distance=0.8, blur_px=0.1, noise=0.0)
            with_animal = draw_pixels(class_id, background, seed, style).astype(int)
            with_track = draw_pixels(class_id, background, seed, style, subject="egg").astype(int)
            changed = (np.abs(with_animal - with_track).sum(2) > 40).mean()
            assert 0.01 < changed < 0.9, (class_id, background, changed)


def test_backgrounds_differ_in_colour_as_their_names_say() -> None:
    style = Style(noise=0.0)
    mean = {
        b: np.mean([draw_pixels("red_fox", b, s, style).reshape(-1, 3).mean(0) for s in range(12)], axis=0)
        for b in BACKGROUNDS
    }
    assert mean["snow"].min() > max(mean[b].mean() for b in ("grass", "water", "rock", "tree"))
    assert mean["grass"][1] > mean["grass"][0] and mean["grass"][1] > mean["grass"][2]
    assert mean["water"][2] > mean["water"][0]
    assert mean["sand"][0] > mean["sand"][2] + 30
    assert mean["tree"].mean() < mean["rock"].mean()


def test_an_observers_photos_share_their_light() -> None:
    def brightness(observer: int, seed: int) -> float:
        return float(draw_pixels("cheetah", "grass", seed, observer_style(observer)).mean())

    values = np.array([[brightness(observer, 100 * observer + k) for k in range(8)] for observer in range(12)])
    between, within = values.mean(1).var(), values.var(1).mean() / 8
    assert between > 1.5 * within


def test_frames_of_a_burst_are_nearly_equal() -> None:
    first, second = (draw_pixels("red_fox", "rock", 9, observer_style(4), frame=k).astype(int) for k in (0, 3))
    other = draw_pixels("red_fox", "rock", 10, observer_style(4)).astype(int)
    assert not np.array_equal(first, second)
    smaller = tuple(min(a, b) for a, b in zip(first.shape, other.shape, strict=True))
    cut = tuple(slice(0, n) for n in smaller)
    assert np.abs(first - second).mean() < 0.6 * np.abs(first[cut] - other[cut]).mean()


def test_truth_has_as_many_good_photos_as_asked_for(world: tuple[Catalog, pa.Table]) -> None:
    catalog, truth = world
    assert truth.schema == TRUTH_SCHEMA
    rows = truth.to_pylist()
    ids = [row["photo_id"] for row in rows]
    assert ids == sorted(set(ids))
    good = collections.Counter(row["class_id"] for row in rows if row["fault"] is None)
    assert good == dict.fromkeys(CLASS_NAMES, PHOTOS_PER_CLASS)
    assert {photo.photo_id for o in catalog.observations for photo in o.photos} == set(ids)


def test_good_photos_pass_the_default_rules_and_the_others_do_not(world: tuple[Catalog, pa.Table]) -> None:
    catalog, truth = world
    fault = dict(zip(truth["photo_id"].to_pylist(), truth["fault"].to_pylist(), strict=True))
    signs = {(17, 19), (22, 25), (22, 26), (1, 6), (1, 7)}
    for observation in catalog.observations:
        is_open = (
            observation.quality_grade == "research"
            and not observation.is_captive
            and not signs & set(observation.annotations)
            and observation.taxon_id is not None
        )
        acceptable = [
            photo
            for photo in observation.photos
            if is_open and photo.license_code in OPEN_LICENSES and not photo.is_hidden and not photo.placeholder
        ]
        for photo in observation.photos:
            if fault[photo.photo_id] is None:
                assert photo == acceptable[0] and not photo.gone_status
        if not acceptable:
            assert all(fault[photo.photo_id] for photo in observation.photos)


def test_no_observer_has_more_good_photos_a_day_than_the_cap(world: tuple[Catalog, pa.Table]) -> None:
    catalog, truth = world
    fault = dict(zip(truth["photo_id"].to_pylist(), truth["fault"].to_pylist(), strict=True))
    kind = dict(zip(truth["photo_id"].to_pylist(), truth["class_id"].to_pylist(), strict=True))
    days = collections.Counter(
        (o.user_id, o.observed_on, kind[photo.photo_id])
        for o in catalog.observations
        for photo in o.photos
        if fault[photo.photo_id] is None
    )
    assert max(days.values()) <= 2


def test_every_fault_happens_about_as_often_as_its_share(world: tuple[Catalog, pa.Table]) -> None:
    catalog, truth = world
    faults = collections.Counter(truth["fault"].to_pylist())
    assert set(DECK) - {"burst", "mixed_license", "shared_photo"} <= set(faults)
    assert sum(DECK.values()) < DECK_SIZE // 2
    expected = DECK["needs_id"] / DECK_SIZE * len(catalog.observations)
    assert 0.4 * expected < faults["needs_id"] < 2 * expected
    times = collections.Counter(photo.photo_id for o in catalog.observations for photo in o.photos)
    assert max(times.values()) == 2


def test_backgrounds_come_as_often_as_the_habits_say() -> None:
    _, truth = demo_catalog(1500, seed=1)
    rows = [row for row in truth.to_pylist() if row["fault"] is None]
    for class_id, shares in HABITS.items():
        assert abs(sum(shares) - 1) < 1e-9 and min(shares) >= 0.1
        found = collections.Counter(row["background"] for row in rows if row["class_id"] == class_id)
        for background, share in zip(BACKGROUNDS, shares, strict=True):
            assert abs(found[background] / 1500 - share) < 0.05, (class_id, background)
    per_observer = collections.Counter((row["class_id"], row["observer_id"]) for row in rows)
    assert 2 <= np.mean(list(per_observer.values())) <= 4
    assert max(per_observer.values()) >= 15


def test_a_larger_world_contains_the_smaller_one(world: tuple[Catalog, pa.Table]) -> None:
    small, _ = demo_catalog(60, seed=3)
    large = {o.observation_id: o for o in world[0].observations}
    assert all(large[o.observation_id] == o for o in small.observations)
    photo_id = small.observations[11].photos[0].photo_id
    assert small.original_bytes(photo_id) == world[0].original_bytes(photo_id)


def test_files_are_equal_from_any_thread_and_of_the_stated_size(world: tuple[Catalog, pa.Table]) -> None:
    catalog, truth = world
    fault = dict(zip(truth["photo_id"].to_pylist(), truth["fault"].to_pylist(), strict=True))
    photos = [photo for o in catalog.observations[:48] for photo in o.photos]
    again, _ = demo_catalog(PHOTOS_PER_CLASS, seed=3)
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(catalog.original_bytes, [photo.photo_id for photo in photos]))
    for photo, content in zip(photos, files, strict=True):
        assert content == again.original_bytes(photo.photo_id)
        if fault[photo.photo_id] is None:
            image = Image.open(io.BytesIO(content))
            image.load()
            assert image.size == (photo.width, photo.height)


def test_damaged_files_are_damaged_as_stated() -> None:
    plain = FileSpec("ice_bear", "snow", 77, 1001)
    files = {
        kind: render(FileSpec("ice_bear", "snow", 77, 1001, damage=kind))
        for kind in ("truncated", "html", "bomb", "tiny", "panorama", "near_duplicate")
    }
    assert render(plain).startswith(files["truncated"])
    with pytest.raises(OSError):
        Image.open(io.BytesIO(files["truncated"])).load()
    assert files["html"].startswith(b"<!DOCTYPE html>")
    with pytest.raises((Image.DecompressionBombError, Image.DecompressionBombWarning)):
        Image.open(io.BytesIO(files["bomb"]))
    assert len(files["bomb"]) < 200_000
    for kind in ("tiny", "panorama", "near_duplicate"):
        size = Image.open(io.BytesIO(files[kind])).size
        assert size == file_size(FileSpec("ice_bear", "snow", 77, 1001, damage=kind))
    assert hashlib.sha256(files["near_duplicate"]).digest() != hashlib.sha256(render(plain)).digest()


def test_duplicates_are_equal_to_a_good_photo(world: tuple[Catalog, pa.Table]) -> None:
    catalog, truth = world
    rows = truth.to_pylist()
    copy = next(row for row in rows if row["fault"] == "exact_duplicate")
    content = catalog.original_bytes(copy["photo_id"])
    candidates = [r for r in rows if r["observer_id"] == copy["observer_id"] and r["class_id"] == copy["class_id"]]
    assert any(r["fault"] is None and catalog.original_bytes(r["photo_id"]) == content for r in candidates)


def test_texts_hold_hostile_ones(world: tuple[Catalog, pa.Table]) -> None:
    text = " ".join(f"{o.description} {o.user_name} {o.tags}" for o in world[0].observations)
    assert "<script>" in text and "\u202e" in text and '"' in text


def test_class_list_taxa_and_names_agree(world: tuple[Catalog, pa.Table]) -> None:
    specs = load_classes("demo")
    assert {spec.class_id: spec.name for spec in specs} == CLASS_NAMES
    taxa = {taxon.taxon_id: taxon for taxon in world[0].taxa}
    for spec in specs:
        assert spec.taxon_ids == (CLASS_TAXA[spec.class_id],)
        taxon = taxa[spec.taxon_ids[0]]
        assert (taxon.name, taxon.rank, taxon.is_active) == (spec.scientific_name, spec.rank, True)
        assert taxon.ancestor_ids[0] == 48460 and taxon.ancestor_ids[-1] == taxon.taxon_id
    for observation in world[0].observations:
        assert observation.taxon_id is None or observation.taxon_id in taxa
