"""What a release keeps of the figures of the version before it when photos were withdrawn."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from counterset.load import Release, load
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.writer import publish
from counterset.schemas import REJECTS
from counterset.tables import table_of

from ..build_inputs import build_config, build_inputs, drop_photos


@pytest.fixture(scope="module")
def small() -> ReleaseInputs:
    return build_inputs(4, 60, with_photos=False)


def published(inputs: ReleaseInputs, folder: Path) -> Release:
    config = build_config(thumbnails_per_group=0).model_copy(update={"releases": str(folder)})
    return load(publish(replace(inputs, config=config)).path)


def without(inputs: ReleaseInputs, photo_ids: set[str], reason: str = "withdrawn") -> ReleaseInputs:
    told = [{"photo_id": one, "class_id": "x", "stage": "publish", "reason": reason, "detail": ""} for one in photo_ids]
    return replace(drop_photos(inputs, photo_ids), rejects=table_of(REJECTS, [*inputs.rejects.to_pylist(), *told]))


def some_of_pairs(release: Release) -> set[str]:
    """Two photos of each side, and three of no pair."""
    found: dict[Any, list[str]] = defaultdict(list)
    for row in release.all_photos.to_pylist():
        found[row["split"] and (row["class_id"], row["split"])].append(row["photo_id"])
    return {photo_id for key, own in found.items() for photo_id in own[: 2 if key else 3]}


def drops(release: Release, gone: set[str], right: tuple[bool, bool] | None) -> dict[str, float]:
    """Each model's class-balanced drop, by plain loops; the photos that are gone count as `right` on their side."""
    photos = {row["photo_id"]: row for row in release.all_photos.to_pylist() if row["half"] == "confirm"}
    answers: dict[Any, list[bool]] = defaultdict(list)
    for row in release.predictions.to_pylist():
        photo = photos.get(row["photo_id"], {"split": None})
        if photo["split"]:
            is_known = right is None or row["photo_id"] not in gone
            answer = row["is_correct"] if is_known else right[photo["split"] == "counter"]  # type: ignore[index]
            answers[row["model"], photo["class_id"], photo["split"]].append(answer)
    by_model: dict[str, list[float]] = defaultdict(list)
    for model, class_id, split in answers:
        if split == "common" and (model, class_id, "counter") in answers:
            common, counter = (np.mean(answers[model, class_id, side]) for side in ("common", "counter"))
            by_model[model].append(float(common - counter))
    return {model: float(np.mean(own)) for model, own in by_model.items()}


def test_the_drops_of_the_version_before_stay_bounded(small: ReleaseInputs, tmp_path: Path) -> None:
    first = published(small, tmp_path)
    assert "takedowns" not in first.metadata
    gone = some_of_pairs(first)
    second = published(without(small, gone), tmp_path)
    photos = [row for row in first.all_photos.to_pylist() if row["photo_id"] in gone and row["split"]]
    told = second.metadata["takedowns"]
    assert Counter((row["class_id"], row["split"], row["half"]) for row in photos) == {
        (row["class_id"], row["split"], row["half"]): row["num_photos"] for row in told["withdrawn"]
    }
    before = drops(first, gone, None)
    extremes = [drops(first, gone, each) for each in itertools.product([True, False], repeat=2)]
    assert [row["model"] for row in told["bounds"]] == sorted(before)
    for row in told["bounds"]:
        values = [of[row["model"]] for of in extremes]
        assert row["version"] == "1.0.0" and row["num_removed"] == sum(one["half"] == "confirm" for one in photos)
        assert (row["lowest"], row["highest"]) == pytest.approx((min(values), max(values)))
        assert row["lowest"] < row["drop"] < row["highest"] and row["drop"] == pytest.approx(before[row["model"]])
    assert not [one for one in gone if one in json.dumps(told)], "no photo is named"
    lowest = f"{told['bounds'][0]['lowest'] * 100:+.1f}".replace("-", "\N{MINUS SIGN}")
    card, log = ((second.path / name).read_text(encoding="utf-8") for name in ("README.md", "CHANGELOG.md"))
    assert lowest in card.partition("## Photos that were withdrawn")[2].partition("## Files")[0]
    assert lowest in log.partition("### Drops of 1.0.0 from the photos that are left")[2].partition("## 1.0.0")[0]


def test_numbers_are_carried_on_until_the_pair_is_another(small: ReleaseInputs, tmp_path: Path) -> None:
    gone = some_of_pairs(published(small, tmp_path))
    fewer = without(small, gone)
    told = published(fewer, tmp_path).metadata["takedowns"]
    more = replace(fewer, classes=(replace(fewer.classes[0], scientific_name="Another name"), *fewer.classes[1:]))
    assert published(more, tmp_path).metadata["takedowns"] == told, "nothing else was withdrawn"
    changed = told["withdrawn"][0]["class_id"]
    pairs = fewer.pairs.to_pylist()
    for row in pairs:
        if row["class_id"] == changed:
            row["common"], row["counter"] = row["counter"], row["common"]
    swapped = replace(fewer, pairs=pa.Table.from_pylist(pairs, schema=fewer.pairs.schema))
    after = published(swapped, tmp_path).metadata["takedowns"]
    assert after["bounds"] == told["bounds"]
    assert after["withdrawn"] == [row for row in told["withdrawn"] if row["class_id"] != changed]


def test_what_left_for_another_reason_is_no_takedown(small: ReleaseInputs, tmp_path: Path) -> None:
    gone = some_of_pairs(published(small, tmp_path))
    assert "takedowns" not in published(without(small, gone, "near_duplicate"), tmp_path).metadata
