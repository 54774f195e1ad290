"""Galleries of workspaces and releases hold what they should, and ask the network for nothing by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

import counterset
from counterset.errors import ReviewError
from counterset.release.photo_store import PhotoStore
from counterset.review import log
from counterset.review.desk import Desk, Said
from counterset.review.gallery import LEFT, REJECTS, Use
from counterset.review.opening import audit_gallery, browse_release, is_workspace, review_gallery
from counterset.steps.label_steps import audit_sample
from counterset.workspace import Workspace

from .looked_at import HOSTILE, make_workspace

RELEASE = "counterset-demo"


def test_a_review_shows_every_photo_of_every_class(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 400, shard_size=150)
    assert is_workspace(workspace.root)
    shown = review_gallery(workspace)
    assert shown.use is Use.REVIEW and len(shown.photos) == 400
    assert sum(len(shown.on_sheet(class_id, LEFT, "")) for class_id in shown.classes) == 400
    for class_id in shown.classes:
        sheets = [sheet for sheet in shown.sheets(class_id) if sheet.kind != LEFT]
        assert sum(len(shown.on_sheet(class_id, sheet.kind, sheet.name)) for sheet in sheets) == 100
        margins = [shown.photos[number].margin for number in shown.on_sheet(class_id, sheets[0].kind, sheets[0].name)]
        assert margins == sorted(margins)  # type: ignore[type-var]
    photo = shown.photos[-1].photo_id
    assert (shown.read(photo, False) or b"").startswith(b"\xff\xd8")
    assert shown.read("../../etc/passwd", False) is None
    assert shown.about(photo)["title"] in HOSTILE


def test_a_folder_without_a_finished_build_is_one_sentence(tmp_path: Path) -> None:
    assert not is_workspace(tmp_path)
    with pytest.raises(ReviewError, match="so there are no photos to show; finish one"):
        review_gallery(Workspace(tmp_path))


def test_browsing_a_release_fetches_only_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    def read(self: PhotoStore, place: str, size_bytes: int, is_mirror: bool) -> tuple[None, str]:
        fetched.append(place)
        return None, "no network here"

    monkeypatch.setattr(PhotoStore, "_read", read)
    release = counterset.load(RELEASE)
    shown = browse_release(release)
    assert shown.use is Use.BROWSE
    assert len(shown.photos) == release.all_photos.num_rows + release.rejects.num_rows
    assert set(shown.notes) == set(release.pairs["class_id"].to_pylist())
    groups = {(row["class_id"], row["group"]) for row in release.all_photos.to_pylist() if row["group"] is not None}
    on_sheets = {(photo.class_id, photo.name) for photo in shown.photos if photo.name is not None}
    assert on_sheets == groups
    rejects = [sheet for class_id in shown.classes for sheet in shown.sheets(class_id) if sheet.kind == REJECTS]
    assert sum(sheet.num_photos for sheet in rejects) == release.rejects.num_rows
    kept = [photo.photo_id for photo in shown.photos if not photo.rejected]
    missing = [photo_id for photo_id in kept if shown.read(photo_id, False) is None]
    assert not fetched
    with pytest.raises(ReviewError, match="could not be fetched"):
        shown.read(missing[0], True)
    assert len(fetched) == 1
    assert shown.about(kept[0])["link"]


def test_an_audit_shows_the_sample_without_names_and_keeps_its_probabilities(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 400)
    sample = audit_sample(workspace, photos_per_group=5)
    shown = audit_gallery(workspace, sample.to_pylist())
    assert shown.use is Use.AUDIT and [photo.name for photo in shown.photos] == [None] * sample.num_rows
    assert [photo.photo_id for photo in shown.photos] == sample["photo_id"].to_pylist()
    assert (shown.read(shown.photos[0].photo_id, False) or b"").startswith(b"\xff\xd8")
    desk = Desk(shown, workspace)
    desk.say("ada", [Said(0, "0" * 32, "other", said_name="snow")])
    [row] = log.read(workspace).to_pylist()
    assert (row["mode"], row["probability"], row["sample_id"]) == (
        "audit",
        sample["probability"][0].as_py(),
        sample["sample_id"][0].as_py(),
    )
    with pytest.raises(ReviewError, match="holds no photo; ask for more"):
        audit_gallery(workspace, [])
