"""What decisions do to a build's tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from counterset.review import log
from counterset.review.applying import apply, outcomes, whole_classes, words_of
from counterset.review.citing import cite
from counterset.review.log import Decision
from counterset.schemas import BACKGROUNDS, MEMBERS
from counterset.tables import table_of
from counterset.workspace import Workspace

NAMES = ("grass", "snow", "water")


def members(**classes: int) -> pa.Table:
    """`fox=3` is the photos fox-0, fox-1 and fox-2."""
    rows = [
        {
            "photo_id": f"{class_id}-{number}",
            "class_id": class_id,
            "observation_id": f"{class_id}-{number}",
            "observer": "0" * 16,
            "unit": "0" * 16,
            "half": "confirm",
            "shard": "s",
        }
        for class_id, count in classes.items()
        for number in range(count)
    ]
    return table_of(MEMBERS, rows)


def backgrounds(photos: pa.Table, group: str | None = "snow") -> pa.Table:
    rows = [
        {
            "photo_id": row["photo_id"],
            "class_id": row["class_id"],
            "profile": [0.1, 0.2, 0.3],
            "background": "snow",
            "margin": 0.1,
            "group": group,
            "is_confident": group is not None,
        }
        for row in photos.to_pylist()
    ]
    return table_of(BACKGROUNDS, rows)


def words(folder: Path, *said: tuple[str, str, str, str | None], **more: str) -> pa.Table:
    """Reviewer, photo, answer, and its name or reason."""
    part = {"right": "shown_name", "other": "said_name", "reject": "reason"}
    decisions = [
        Decision(photo.split("-")[0], photo, answer, reviewer, **({part[answer]: text} if text else {}), **more)  # type: ignore[arg-type]
        for reviewer, photo, answer, text in said
    ]
    workspace = Workspace(folder)
    log.append(workspace, decisions)
    return log.last_words(log.read(workspace))


def test_a_class_counts_once_every_photo_of_it_was_decided_on(tmp_path: Path) -> None:
    photos = members(fox=2, lion=1)
    said = words(tmp_path, ("ada", "fox-0", "none", None), ("bea", "lion-0", "right", "snow"))
    assert whole_classes(photos, outcomes(said)) == ["lion"]
    assert words_of(said, photos, ["lion"])["photo_id"].to_pylist() == ["lion-0"]
    said = words(tmp_path, ("bea", "fox-1", "none", None))  # by whomever
    assert whole_classes(photos, outcomes(said)) == ["fox", "lion"]


def test_names_are_corrected_and_photos_turned_away(tmp_path: Path) -> None:
    photos = members(fox=5)
    said = words(
        tmp_path,
        ("ada", "fox-0", "right", "snow"),
        ("ada", "fox-1", "other", "water"),
        ("ada", "fox-2", "none", None),
        ("ada", "fox-3", "reject", "feature_noise"),
        ("ada", "fox-4", "other", "fog"),
    )
    applied = apply(photos, backgrounds(photos), said, NAMES)
    assert applied.members["photo_id"].to_pylist() == ["fox-0", "fox-1", "fox-2", "fox-4"]
    rows = applied.backgrounds.to_pylist()
    assert [(row["group"], row["is_confident"]) for row in rows] == [
        ("snow", True),
        ("water", True),
        (None, False),
        (None, False),
    ]
    assert {row["background"] for row in rows} == {"snow"}  # the annotator's word stays
    assert applied.rejects.to_pylist() == [
        {
            "photo_id": "fox-3",
            "class_id": "fox",
            "stage": "review",
            "reason": "feature_noise",
            "detail": "ada: it is corrupted",
        }
    ]
    assert applied.unknown_names == {"fog": 1}


def test_a_photo_without_a_name_can_be_given_one(tmp_path: Path) -> None:
    photos = members(fox=1)
    applied = apply(photos, backgrounds(photos, None), words(tmp_path, ("ada", "fox-0", "other", "water")), NAMES)
    assert applied.backgrounds["group"].to_pylist() == ["water"]


@pytest.mark.parametrize(
    ("said", "answer", "name"),
    [
        ([("right", "snow"), ("other", "snow")], "name", "snow"),
        ([("right", "snow"), ("other", "water"), ("other", "water")], "name", "water"),
        ([("right", "snow"), ("other", "water")], "none", None),
        ([("reject", "clarity"), ("right", "snow")], "none", None),
        ([("reject", "clarity"), ("reject", "ambiguity"), ("none", None)], "reject", None),
        ([("none", None), ("none", None)], "none", None),
    ],
)
def test_most_decide_and_where_nothing_has_most_there_is_no_name(
    tmp_path: Path, said: list[tuple[str, str | None]], answer: str, name: str | None
) -> None:
    table = words(tmp_path, *((f"r{number}", "fox-0", *each) for number, each in enumerate(said)))
    outcome = outcomes(table)["fox-0"]
    assert (outcome.answer, outcome.name) == (answer, name)


def test_blind_labels_change_nothing(tmp_path: Path) -> None:
    assert outcomes(words(tmp_path, ("ada", "fox-0", "other", "water"), mode="audit")) == {}


def test_a_photo_counts_for_the_class_it_is_of_now(tmp_path: Path) -> None:
    said = words(tmp_path, ("ada", "fox-0", "none", None))
    moved = members(fox=1).set_column(1, "class_id", pa.array(["lion"]))
    assert words_of(said, moved, ["lion"])["class_id"].to_pylist() == ["lion"]


def test_a_release_cites_who_looked_and_how_far_they_agree(tmp_path: Path) -> None:
    said = words(
        tmp_path,
        ("ada", "fox-0", "right", "snow"),
        ("bea", "fox-0", "right", "snow"),
        ("ada", "fox-1", "none", None),
        ("bea", "fox-1", "right", "snow"),
        ("ada", "fox-2", "reject", "clarity"),
    )
    record = cite(said)
    assert record.reviewers == {"ada": 3, "bea": 2}
    assert (record.num_photos, record.num_named, record.num_unnamed, record.num_rejected) == (3, 1, 1, 1)
    assert (record.per_photo, record.num_shared, record.agreement) == (1.667, 2, 0.5)
    assert record.alpha == 0.0  # by hand: 2 of 4 coincidences differ, by chance 6 of 12
    assert record.metadata()["classes"] == ["fox"]
    assert record.platforms == ("counterset review",)
