"""Multiple-choice questions: of the photos that figures are read from, with options in an order that says nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest

from counterset.errors import ReleaseError
from counterset.evaluation.photos import default_half, in_half, pair_photos
from counterset.load import Release
from counterset.release.questions import LETTERS, Candidates, Questions, options_of


def test_questions_are_asked_of_the_photos_of_figures(release: Release) -> None:
    photos = pair_photos(release)
    photos = photos.only(in_half(photos, default_half(photos)))
    asked = Questions(release)
    sides = dict(zip(photos.photo_id.tolist(), photos.side.tolist(), strict=True))
    assert {one.photo_id: ("common", "counter").index(one.split) for one in asked} == sides
    assert {one.row["half"] for one in asked} == {"confirm"}
    units = dict(zip(photos.photo_id.tolist(), photos.unit.tolist(), strict=True))
    assert {one.photo_id: one.unit for one in asked} == units
    for one in asked:
        assert one.options[LETTERS.index(one.answer)] == release.class_names[one.row["class_id"]]
        assert sorted(one.options) == sorted(release.class_names.values())


def test_a_class_without_photos_on_one_side_is_asked_nothing(release: Release) -> None:
    gone = release.common["class_id"][0].as_py()
    read = release.parts

    def parts(name: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        for part in read(name, columns):
            kept = [name != "common" or class_id != gone for class_id in part["class_id"].to_pylist()]
            yield part.filter(pa.array(kept, pa.bool_()))

    release.__dict__["parts"] = parts
    assert gone not in {one.row["class_id"] for one in Questions(release)}


def test_the_order_of_options_says_nothing_of_the_truth(release: Release) -> None:
    labels = [f"animal {number}" for number in range(10)]
    places = Counter(options_of(str(photo), labels).index("animal 3") for photo in range(2_000))
    assert set(places) == set(range(10))
    assert max(places.values()) < 260, places  # 200 are expected, with a standard deviation of 13
    few = options_of("7", labels[:5])
    assert few == tuple(label for label in options_of("7", labels) if label in few)


def test_candidates_of_an_evaluation(release: Release) -> None:
    own = {class_id: Candidates((name, "teapot"), name) for class_id, name in release.class_names.items()}
    assert {frozenset(one.options) - {"teapot"} for one in Questions(release, own)} == {
        frozenset([own[class_id].truth]) for class_id in release.common["class_id"].unique().to_pylist()
    }
    with pytest.raises(ReleaseError, match="the candidates say nothing of the class"):
        Questions(release, {})
    many = {class_id: Candidates(tuple(map(str, range(27))), "0") for class_id in own}
    with pytest.raises(ReleaseError, match=r"letters at most 26 options and .* has 27; .* --label-space top20"):
        Questions(release, many)
