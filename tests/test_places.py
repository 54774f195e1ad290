"""Which places of a photo are around the animal, from files as their tools write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counterset.demo.world.photo import draw
from counterset.demo.world.spec import PhotoSpec
from counterset.errors import ConfigError
from counterset.places import EDGE, GRID, Places


def written(folder: Path, text: str, name: str = "animals.csv") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_without_a_file_the_edges_count() -> None:
    weights = Places.read("").weights("any")
    assert weights.shape == (GRID, GRID) and weights.dtype == np.float32
    assert weights[:EDGE].all() and weights[:, -EDGE:].all() and not weights[EDGE:-EDGE, EDGE:-EDGE].any()


def test_boxes_take_their_share_of_each_cell(tmp_path: Path) -> None:
    places = Places.read(
        written(tmp_path, "photo_id,x,y,width,height\na,0.25,0.5,0.5,0.5\na,0,0,0.1,0.1\nb,0,0,1,1\nc,0.5,0,0.9,1\n")
    )
    free = places.weights("a")
    assert not free[GRID // 2 :, GRID // 4 : GRID // 4 * 3].any() and free[GRID // 4 : GRID // 2].all()
    np.testing.assert_allclose(free[5, 5], 1 - 0.6 * 0.6, atol=1e-6)  # the second box ends 0.6 into the sixth cell
    np.testing.assert_allclose(free.mean(), 1 - 0.25 - 0.01, atol=1e-4)
    assert not places.weights("c")[:, GRID // 2 :].any()  # cut off at the frame
    for photo_id in ("b", "other"):  # nothing is left free, or nothing is said
        np.testing.assert_array_equal(places.weights(photo_id), Places.read("").weights(""))


def test_masks_are_exact(tmp_path: Path) -> None:
    picture = draw(PhotoSpec("ice_bear", "grass", scene_id=1, animal_id=2, scale=0.5, position=(0.5, 0.85)))
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.asarray(picture.mask > 0, np.uint8) * 255).save(tmp_path / "masks/1.png")
    places = Places.read(written(tmp_path, "photo_id,mask\nbear,masks/1.png\n"))
    np.testing.assert_allclose(places.weights("bear").mean(), 1 - (picture.mask > 0).mean(), atol=0.002)


def test_a_folder_of_masks_and_covers_of_any_size(tmp_path: Path) -> None:
    picture = draw(PhotoSpec("ice_bear", "grass", scene_id=1, animal_id=2, scale=0.5, position=(0.5, 0.85)))
    Image.fromarray(np.asarray(picture.mask > 0, np.uint8) * 255).save(tmp_path / "bear.png")
    (tmp_path / "notes.txt").write_text("no mask")
    places = Places.read(str(tmp_path))
    assert list(places.masks) == ["bear"] and places.cover("other", 9, 9) is None
    height, width = picture.mask.shape
    np.testing.assert_array_equal(places.cover("bear", width, height), picture.mask)
    half = places.cover("bear", width // 2, height // 2)
    assert half is not None and half.shape == (height // 2, width // 2)
    assert half.mean() == pytest.approx(picture.mask.mean(), abs=0.001)
    boxes = Places.read(written(tmp_path, "photo_id,x,y,width,height\na,0.5,0.5,0.25,0.5\na,0,0,0.5,0.5\n"))
    expected = np.zeros((8, 16), np.float32)
    expected[4:, 8:12] = expected[:4, :8] = 1
    np.testing.assert_array_equal(boxes.cover("a", 16, 8), expected)


def test_the_share_of_the_frame_and_the_way_from_its_centre(tmp_path: Path) -> None:
    """By hand: one box in a corner, two beside each other, masks of whole pictures."""
    text = "photo_id,x,y,width,height\na,0,0,0.25,0.25\nb,0.25,0.25,0.25,0.5\nb,0.5,0.25,0.25,0.5\nc,0,0,1,1\n"
    boxes = Places.read(written(tmp_path, text))
    assert boxes.extent("a") == pytest.approx((1 / 16, 0.75, 1), abs=1e-6)
    assert boxes.extent("b") == pytest.approx((1 / 4, 0, 2), abs=1e-6)
    assert boxes.extent("c") == pytest.approx((1, 0, 1), abs=1e-6)
    assert boxes.extent("other") is None
    for name, share in (("one", 0.5), ("two", 0.25), ("none", 0.0)):
        picture = np.zeros((80, 120), np.uint8)
        picture[:, : round(120 * share)] = 255
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    masks = Places.read(str(tmp_path))
    found = masks.extent("one")
    assert found is not None and found[:2] == pytest.approx((0.5, 0.25 / np.sqrt(0.5)), abs=1e-3)
    assert found.number is None, "one mask may be of many animals"
    assert masks.extent("none") is None, "a mask that shows nothing says nothing"
    several = written(tmp_path, "photo_id,mask\na,one.png\na,two.png\nb,one.png\n", "several.csv")
    assert [Places.read(several).extent(name) for name in "ab"] == [pytest.approx((*found[:2], n)) for n in (2, 1)]


def test_what_megadetector_writes(tmp_path: Path) -> None:
    found = [
        {"category": "1", "conf": 0.9, "bbox": [0.5, 0, 0.5, 1]},
        {"category": "1", "conf": 0.1, "bbox": [0, 0, 0.5, 0.5]},
        {"category": "2", "conf": 0.9, "bbox": [0, 0.5, 0.5, 0.5]},
    ]
    stated = {
        "images": [{"file": "photos\\x-1.jpg", "detections": found}, {"file": "x-2.jpg", "failure": "unreadable"}],
        "detection_categories": {"1": "animal", "2": "person"},
    }
    free = Places.read(written(tmp_path, json.dumps(stated), "found.json")).weights("x-1")
    assert free[:, : GRID // 2].all() and not free[:, GRID // 2 :].any()


def test_the_digest_knows_each_box_and_each_masks_content(tmp_path: Path) -> None:
    def of(text: str) -> str:
        return Places.read(written(tmp_path, text)).digest

    head = "photo_id,x,y,width,height\n"
    boxes = [of(head + row) for row in ("a,0,0,1,0.5\n", "a,0,0,1,0.4\n", "b,0,0,1,0.5\n")]
    assert len({*boxes, Places.read("").digest}) == 4
    Image.new("L", (8, 8)).save(tmp_path / "1.png")
    before = of("photo_id,mask\na,1.png\n")
    Image.new("L", (8, 8), 255).save(tmp_path / "1.png")
    assert of("photo_id,mask\na,1.png\n") != before


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "photo,x\n1,2\n", "needs the columns photo_id and mask, or photo_id, x, y, width and height"),
        (
            "a.csv",
            "photo_id,x,y,width,height\na,10,20,50,50\n",
            "as fractions of the frame .* write numbers from 0 to 1",
        ),
        ("a.csv", "photo_id,x,y,width,height\na,,,,\n", "has a box of a that is not"),
        ("a.csv", "photo_id,mask\na,none.png\n", "cannot read the mask .*none.png"),
        ("a.json", "[]", "is not JSON as MegaDetector writes it"),
        ("a.json", "{", "is not JSON as MegaDetector writes it"),
        ("a.json", '{"images": [{"file": "a"}]}', "convert it to CSV"),
    ],
)
def test_a_users_mistake_is_one_sentence(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Places.read(written(tmp_path, text, name))


def test_a_file_that_is_not_there_and_a_mask_that_is_no_picture(tmp_path: Path) -> None:
    for name in ("none.csv", "none.json"):
        with pytest.raises(ConfigError, match="cannot read the animals' places"):
            Places.read(str(tmp_path / name))
    written(tmp_path, "no picture", "1.png")
    places: Any = Places.read(written(tmp_path, "photo_id,mask\na,1.png\n"))
    with pytest.raises(ConfigError, match=r"cannot read the mask .*1\.png"):
        places.weights("a")
