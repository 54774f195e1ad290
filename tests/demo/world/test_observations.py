"""The world's catalogue, whose truth holds, and its files, which are what they say."""

from __future__ import annotations

import collections
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from counterset.classes import load_classes
from counterset.demo.server.api import Api
from counterset.demo.server.catalog import Catalog
from counterset.demo.world.classes import CLASS_NAMES, CLASS_TAXA, HABITS, TIES
from counterset.demo.world.files import FileSpec, file_size, render
from counterset.demo.world.observations import DECK, DECK_SIZE, TRUTH_SCHEMA, demo_boxes, demo_catalog
from counterset.demo.world.scenes import BACKGROUNDS
from counterset.sources.inaturalist.observations import PHOTO_URL

PHOTOS_PER_CLASS = 150
OPEN_LICENSES = {"cc0", "cc-by", "cc-by-sa", "cc-by-nc", "cc-by-nc-sa"}


@pytest.fixture(scope="module")
def world() -> tuple[Catalog, pa.Table]:
    return demo_catalog(PHOTOS_PER_CLASS, seed=3)


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


def texts(catalog: Catalog) -> str:
    return " ".join(f"{o.description} {o.user_name} {o.tags}" for o in catalog.observations)


def test_hostile_texts_are_in_the_hostile_world_only(world: tuple[Catalog, pa.Table]) -> None:
    hostile, truth = demo_catalog(PHOTOS_PER_CLASS, seed=3, world="hostile")
    signs = ("<script>", "\u202e", "onerror=", "javascript:", "<b>", "<i>", "{{")
    assert all(sign in texts(hostile) for sign in signs)
    assert not any(sign in texts(world[0]) for sign in signs)
    assert truth == world[1], "the same photos"


def test_the_hard_world_has_the_same_photos_drawn_hard(world: tuple[Catalog, pa.Table]) -> None:
    hard, truth = demo_catalog(PHOTOS_PER_CLASS, seed=3, world="hard")
    assert truth == world[1] and hard.observations == world[0].observations
    good = [row["photo_id"] for row in truth.to_pylist() if row["fault"] is None][:4]
    assert all(hard.original_bytes(number) != world[0].original_bytes(number) for number in good)


def test_photos_lie_where_nobody_can_have_a_host(world: tuple[Catalog, pa.Table]) -> None:
    api = Api(world[0])
    _, body = api.observations({"per_page": "200"})
    urls = [photo["url"] for row in body["results"] for photo in row["photos"]]
    generated = [url for url in urls if "/assets/" not in url]
    assert len(generated) > 200
    assert {urlsplit(url).hostname for url in generated} == {"photos.counterset-demo.invalid"}
    assert all(PHOTO_URL.fullmatch(url) for url in generated)


def test_the_common_background_is_the_more_frequent_one() -> None:
    for class_id, (home, counter, strength) in TIES.items():
        share = dict(zip(BACKGROUNDS, HABITS[class_id], strict=True))
        assert share[home] == max(share.values()) > 1.5 * share[counter] and 0 < strength < 1, class_id
    assert TIES["ice_bear"][:2] == ("snow", "grass")


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


def test_in_the_world_of_causes_animals_away_from_home_are_mostly_far_away() -> None:
    """The same observations as the showcase's; the boxes say how large the animals are."""
    few = 10
    truth = {row["photo_id"]: row for row in demo_catalog(few, seed=3, world="causes")[1].to_pylist()}
    tall = [
        {row["photo_id"]: row["height"] for row in demo_boxes(few, 3, world).to_pylist()}
        for world in ("showcase", "causes")
    ]
    shares = {True: [], False: []}  # type: dict[bool, list[bool]]
    for photo_id in tall[0].keys() & tall[1].keys():
        row = truth[photo_id]
        home = BACKGROUNDS[int(np.argmax(HABITS[row["class_id"]]))]
        shares[row["background"] == home].append(tall[1][photo_id] < 0.75 * tall[0][photo_id])
    assert sum(map(len, shares.values())) > 0.9 * few * len(CLASS_NAMES)
    assert np.mean(shares[True]) < 0.4 < 0.6 < np.mean(shares[False])
