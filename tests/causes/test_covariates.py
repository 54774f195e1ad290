"""Covariates of photos: each against a count by hand, and null where the source tells nothing."""

from __future__ import annotations

import datetime
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageFilter

from counterset.causes.appearance import appearance
from counterset.causes.covariates import SHRINKAGE, known_covariates, mean_outcomes
from counterset.causes.schemas import APPEARANCE, COVARIATES
from counterset.errors import PictureError

from .whole_tables import whole_covariates


def photos(*rows: tuple[str, str, str, str | None]) -> pa.Table:
    """photo_id, class_id, observer, group."""
    names = ("photo_id", "class_id", "observer", "group")
    fixed: dict[str, Any] = {
        "width_px": 400, "height_px": 200, "size_bytes": 9, "observed_on": datetime.date(2024, 5, 1),
        "taxon_name": "Ursus arctos",
    }  # fmt: skip
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) | fixed for row in rows])


def answers(right: dict[str, int], model: str = "m") -> pa.Table:
    return pa.table(
        {
            "photo_id": list(right),
            "model": [model] * len(right),
            "is_correct": [bool(value) for value in right.values()],
        }
    )


def test_an_observers_other_classes() -> None:
    """Ann's bears are judged by her lions alone, less what lions on that ground usually give."""
    table = photos(
        ("1", "bear", "ann", "snow"), ("2", "lion", "ann", "sand"), ("3", "lion", "ann", "sand"),
        ("4", "lion", "bob", "sand"), ("5", "lion", "bob", "sand"), ("6", "bear", "cid", None),
    )  # fmt: skip
    found = whole_covariates(table, answers({"1": 0, "2": 1, "3": 1, "4": 0, "5": 1, "6": 1}), ["m"]).to_pylist()
    assert [row["observer_photos"] for row in found] == [2, 1, 1, 0, 0, 0]
    assert found[0]["observer_accuracy"] == pytest.approx((0.25 + 0.25) / (2 + SHRINKAGE), abs=1e-6)
    assert found[1]["observer_accuracy"] == 0.0, "her bear is alone on snow, so it is as easy as usual there"
    assert found[3]["observer_accuracy"] == 0.0


def test_a_backgrounds_effect_is_not_taken_for_an_observers() -> None:
    """Everyone photographs one ground, which is hard in every class: nobody's skill differs."""
    rng = np.random.default_rng(0)
    rows, right = [], {}
    for number in range(4000):
        observer = int(rng.integers(40))
        ground = "grass" if observer % 2 else "snow"
        class_id, photo_id = f"c{rng.integers(4)}", f"{number:05d}"
        rows.append((photo_id, class_id, f"o{observer}", ground))
        right[photo_id] = int(rng.random() < (0.4 if ground == "grass" else 0.8))
    found = whole_covariates(photos(*rows), answers(right), ["m"])
    skill = np.array(found["observer_accuracy"].to_pylist())
    is_grass = np.array([row[3] == "grass" for row in rows])
    assert abs(skill[is_grass].mean() - skill[~is_grass].mean()) < 0.01


def test_what_the_source_does_not_tell_is_null() -> None:
    table = photos(("1", "bear", "ann", "snow")).set_column(7, "observed_on", pa.array([None], pa.date32()))
    [row] = whole_covariates(table, answers({}), ["m"]).to_pylist()
    names = ("month", "subspecies", "observer_accuracy", "place_photos", "sharpness", "luminance")
    for name in (*names, "hour", "life_stage", "sex", "animal_share", "animal_offset", "num_animals"):
        assert row[name] is None, name
    assert (row["megapixels"], row["aspect"], row["size_bytes"]) == (0.08, 2.0, 9)


def test_places_and_subspecies_are_counted() -> None:
    table = photos(*((str(number), "bear", "ann", "snow") for number in range(3)))
    names = pa.array(["Ursus arctos horribilis", "Ursus arctos", None])
    table = table.set_column(table.column_names.index("taxon_name"), "taxon_name", names)
    places = pa.table({"photo_id": ["0", "1", "2"], "place": ["here", "here", None]})
    found = whole_covariates(table, answers({}), ["m"], places=places).to_pylist()
    assert [row["place_photos"] for row in found] == [2, 2, None]
    assert [row["subspecies"] for row in found] == ["Ursus arctos horribilis", None, None]
    assert [row["month"] for row in found] == [5, 5, 5]


def test_boxes_and_what_the_source_tells_are_taken_over_by_photo() -> None:
    table = photos(*((str(number), "bear", "ann", "snow") for number in range(3)))
    animals = pa.table({"photo_id": ["2", "0"], "animal_share": [0.2, 0.1], "animal_offset": [0.0, 0.5]})
    animals = animals.append_column("num_animals", pa.array([1, None], pa.int64()))
    told = pa.table({"photo_id": ["1", "0"], "hour": [0, 9], "life_stage": [None, "adult"], "sex": ["male", None]})
    found = whole_covariates(table, answers({}), ["m"], animals=animals, told=told)
    assert found["animal_share"].to_pylist() == [0.1, None, 0.2]
    assert found["num_animals"].to_pylist() == [None, None, 1]
    assert found["hour"].to_pylist() == [9, 0, None]
    assert found["life_stage"].to_pylist() == ["adult", None, None]
    assert found["sex"].to_pylist() == [None, "male", None]


def test_an_outcome_needs_every_selector() -> None:
    predictions = pa.concat_tables([answers({"1": 1, "2": 1}), answers({"1": 0}, "n"), answers({"1": 1}, "other")])
    outcome = mean_outcomes(["1", "2", "3"], predictions, ["m", "n"])
    assert outcome[0] == 0.5 and np.isnan(outcome[1:]).all()


def test_every_covariate_is_a_column_with_a_role() -> None:
    columns = set(COVARIATES.arrow().names) - {"photo_id", "class_id"}
    assert columns == {covariate.name for covariate in known_covariates()}
    for covariate in known_covariates():
        assert covariate.role in ("adjust", "apart") and covariate.reason, covariate.name
        assert covariate.scale in ("number", "log", "month", "hour", "category", "label"), covariate.name
    apart = {covariate.name for covariate in known_covariates() if covariate.role == "apart"}
    assert apart == {*APPEARANCE.arrow().names[1:], "size_bytes"}, "the ground's own look may be in these"


def encoded(image: Image.Image, quality: int = 95) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).resize((640, 480), Image.Resampling.NEAREST)
    return rough.filter(ImageFilter.GaussianBlur(1))


def test_appearance_follows_what_is_seen(scene: Image.Image) -> None:
    usual = appearance(encoded(scene))
    blurred = appearance(encoded(scene.filter(ImageFilter.GaussianBlur(6))))
    assert blurred["sharpness"] < usual["sharpness"] - 0.5
    dark = appearance(encoded(scene.point(lambda value: value // 3)))
    assert dark["luminance"] == pytest.approx(usual["luminance"] / 3, abs=0.02)
    assert dark["contrast"] < 0.5 * usual["contrast"]
    grey = appearance(encoded(scene.convert("L")))
    assert grey["colourfulness"] < 0.01 < usual["colourfulness"]
    assert grey["luminance"] == pytest.approx(usual["luminance"], abs=0.02)


def test_a_large_file_is_not_sharper_by_its_size(scene: Image.Image) -> None:
    large = scene.resize((2560, 1920), Image.Resampling.BICUBIC)
    assert appearance(encoded(large))["sharpness"] == pytest.approx(appearance(encoded(scene))["sharpness"], abs=0.15)


def test_by_hand() -> None:
    """One white and one black half: brightness 0.5 with a deviation of 0.5, no colour."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    found = appearance(buffer.getvalue())
    assert (found["luminance"], found["contrast"], found["colourfulness"]) == pytest.approx((0.5, 0.5, 0.0), abs=1e-6)
    assert found["sharpness"] == pytest.approx(np.log10(2 / 62), abs=1e-4), "two of 62 inner columns have a step of 1"
    plain = Image.new("RGB", (2, 2), (9, 9, 9))
    buffer = io.BytesIO()
    plain.save(buffer, "PNG")
    assert appearance(buffer.getvalue())["sharpness"] == -8


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(PictureError):
        appearance(b"<html>")
