"""CounterAnimal's published folders become a release that loads like any other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from counterset.errors import ReleaseError
from counterset.load import Release, load
from counterset.release import counteranimal
from counterset.release.counteranimal import IMPORTED_VERDICTS, read_counteranimal
from counterset.release.exports import EXPORTS
from counterset.release.publish.writer import Published, publish
from counterset.release.versions.diff import diff_releases

from .build_inputs import draw_photo


@pytest.fixture
def published_folder(tmp_path: Path) -> Path:
    """Three classes in the published layout, named in three ways, with one broken file."""
    root = tmp_path / "CounterAnimal"
    for class_folder, common, counter in (
        ("ostrich", "ground", "water"),
        ("10 brambling", "grass", "sky"),
        ("Zebu", "a", "b"),
    ):
        for split, background in (("common", common), ("counter", counter)):
            side = root / class_folder / f"{split}-{background}"
            side.mkdir(parents=True)
            for number in range(4 if split == "common" else 3):
                (side / f"{number}.jpg").write_bytes(draw_photo(f"{class_folder}{split}{number}"))
    (root / "ostrich" / "common-ground" / "broken.jpg").write_bytes(b"<html>")
    (root / "ostrich" / "common-ground" / "0.jpeg").write_bytes(draw_photo("same stem"))
    (root / "ostrich" / "notes.txt").write_text("x")
    (root / "empty").mkdir()
    return root


def imported(folder: Path, releases: Path) -> Published:
    inputs = read_counteranimal(folder, releases=str(releases))
    return publish(inputs, kind="imported", default_verdicts=IMPORTED_VERDICTS)


def test_it_loads_with_its_pairs(published_folder: Path, tmp_path: Path) -> None:
    folder = imported(published_folder, tmp_path / "releases").path
    release = load(folder, mirrors=(f"{published_folder}/{{path}}",), cache=tmp_path / "cache")
    pairs = {row["class_id"]: (row["common"], row["counter"], row["verdict"]) for row in release.pairs.to_pylist()}
    assert pairs == {
        "brambling": ("grass", "sky", "unconfirmed"),
        "ostrich": ("ground", "water", "unconfirmed"),
        "zebu": ("a", "b", "unconfirmed"),
    }
    assert (release.common.num_rows, release.counter.num_rows) == (13, 9)
    indices = {row["class_id"]: row["imagenet_index"] for row in release.metadata["classes"]}
    assert indices == {"ostrich": 9, "brambling": 10, "zebu": None}
    assert [row["reason"] for row in release.rejects.to_pylist()] == ["undecodable"]
    for row in release.common.to_pylist():
        assert release.photo(row["photo_id"]).startswith(b"\xff\xd8")
    assert set(release.common["half"].to_pylist()) == {"all"}
    assert "as published" in (folder / "report.html").read_text()
    assert "<img" not in (folder / "report.html").read_text()


def test_hostile_folders_are_rejects(published_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counteranimal, "MAX_FILE_BYTES", 1_000_000)
    side = published_folder / "ostrich" / "common-ground"
    (tmp_path / "secret.jpg").write_bytes(draw_photo("secret"))
    (side / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (side / "loop.jpg").symlink_to(side / "loop.jpg")
    (side / "folder.jpg").mkdir()
    os.mkfifo(side / "pipe.jpg")
    (side / "large.jpg").write_bytes(draw_photo("large") + bytes(1_000_000))
    (side / "page.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 300 300\nshowpage\n")
    (side / "photo.jfif").write_bytes(draw_photo("jfif"))
    (side / os.fsdecode(b"l\xf6we.jpg")).write_bytes(draw_photo("latin"))
    (side / ".hidden").write_bytes(b"")
    inputs = read_counteranimal(published_folder, releases=str(tmp_path / "releases"))
    details = {row["detail"].partition(":")[0]: row["reason"] for row in inputs.rejects.to_pylist()}
    assert details == {
        "broken.jpg": "undecodable",
        "link.jpg": "url_refused",
        "loop.jpg": "undecodable",
        "folder.jpg": "undecodable",
        "pipe.jpg": "undecodable",
        "large.jpg": "too_large",
        "page.eps": "undecodable",
        "l\ufffdwe.jpg": "url_refused",
    }
    assert any(row["url"].endswith("photo.jfif") for row in inputs.candidates.to_pylist())
    assert inputs.funnel["in the folder"] == inputs.photos.num_rows + inputs.rejects.num_rows == 31


def test_there_and_back_again(published_folder: Path, tmp_path: Path) -> None:
    def opened(folder: Path, origin: Path) -> Release:
        return load(folder, mirrors=(f"{origin}/{{path}}",), cache=tmp_path / "cache")

    first = opened(imported(published_folder, tmp_path / "one").path, published_folder)
    exported = EXPORTS["imagefolder"](first, tmp_path / "exported")
    assert exported.num_photos == 22
    second = opened(imported(exported.path, tmp_path / "two").path, exported.path)
    assert sorted(second.common["sha256"].to_pylist()) == sorted(first.common["sha256"].to_pylist())
    assert second.pairs.select(["class_id", "common", "counter"]).equals(
        first.pairs.select(["class_id", "common", "counter"])
    )


def test_two_imports_can_be_compared(published_folder: Path, tmp_path: Path) -> None:
    old = load(imported(published_folder, tmp_path / "releases").path)
    (published_folder / "ostrich" / "common-ground" / "1.jpg").unlink()
    new = load(imported(published_folder, tmp_path / "releases").path)
    assert (old.version, new.version) == ("1.0.0", "2.0.0")
    assert diff_releases(old, new).counts["removed"] == 1


@pytest.mark.parametrize("place", ["Zebu", "ostrich/common-ground", "new", "ostrich/counter-new"])
def test_a_folder_that_leads_elsewhere_is_refused(published_folder: Path, tmp_path: Path, place: str) -> None:
    """Nothing of where it leads is looked at."""
    linked = published_folder / place
    outside = tmp_path / "outside"
    if linked.exists():
        linked.rename(outside)
    else:
        (outside / "common-secret").mkdir(parents=True)
    linked.symlink_to(outside)
    with pytest.raises(ReleaseError, match=r"is a link out of .*; copy the folder itself there"):
        read_counteranimal(published_folder)
    linked.unlink()
    inside = published_folder / "ostrich" / "kept"
    outside.rename(inside)
    linked.symlink_to(inside)  # within the folder it is as good as any
    if "/" not in place and place != "new":
        assert read_counteranimal(published_folder).members.num_rows


def test_what_is_no_photo_is_a_reject(published_folder: Path, tmp_path: Path) -> None:
    """A pipe is not waited for, a folder is no photo, links are followed within the folder only."""
    side = published_folder / "ostrich" / "common-ground"
    before = read_counteranimal(published_folder)
    os.mkfifo(side / "pipe.jpg")
    (side / "folder.jpg").mkdir()
    (tmp_path / "secret.jpg").write_bytes(draw_photo("secret"))
    (side / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (side / "loop.jpg").symlink_to(side / "loop.jpg")
    (side / "gone.jpg").symlink_to(side / "nowhere.jpg")
    (side / "device.jpg").symlink_to("/dev/zero")
    (side / "within.jpg").symlink_to(side / "0.jpg")
    found = read_counteranimal(published_folder)
    assert found.members.num_rows == before.members.num_rows + 1
    rejects = {row["detail"].partition(":")[0]: row["reason"] for row in found.rejects.to_pylist()}
    refused = {"link.jpg": "url_refused", "device.jpg": "url_refused"}
    names = ("pipe.jpg", "folder.jpg", "loop.jpg", "gone.jpg")
    assert rejects.items() >= (refused | dict.fromkeys(names, "undecodable")).items()


@pytest.mark.parametrize("name", ["a\nb", os.fsdecode(b"\xff"), "\u202egnp"])
def test_names_that_no_table_can_hold(published_folder: Path, name: str) -> None:
    for place in (published_folder / name, published_folder / "ostrich" / f"common-{name}"):
        place.mkdir()
        with pytest.raises(ReleaseError, match=r"has a folder named .*; rename it in plain UTF-8"):
            read_counteranimal(published_folder)
        place.rmdir()


def test_a_class_twice_is_refused(published_folder: Path) -> None:
    for name in ("01 ostrich", "Ostrich"):
        (published_folder / name / "common-a").mkdir(parents=True)
        with pytest.raises(ReleaseError, match="has two folders of the class 'ostrich'"):
            read_counteranimal(published_folder)
        (published_folder / name / "common-a").rmdir()
        (published_folder / name).rmdir()


def test_a_name_that_no_release_may_hold(published_folder: Path, tmp_path: Path) -> None:
    (published_folder / "Zebu").rename(published_folder / ("z" * 230))
    with pytest.raises(ReleaseError, match=r"may not name a folder.*at most 200"):
        imported(published_folder, tmp_path / "releases")


def test_wrong_folders_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="give the folder that holds the class folders"):
        read_counteranimal(tmp_path / "nowhere")
    (tmp_path / "ostrich" / "photos").mkdir(parents=True)
    with pytest.raises(ReleaseError, match=r"holds no class folder with common-\.\.\. and counter-"):
        read_counteranimal(tmp_path)
    (tmp_path / "ostrich" / "common-a").mkdir()
    (tmp_path / "ostrich" / "common-b").mkdir()
    with pytest.raises(ReleaseError, match=r"has two common-\.\.\. folders"):
        read_counteranimal(tmp_path)
