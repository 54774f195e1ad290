"""CounterAnimal's published folders become a release that loads like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterset.errors import ReleaseError
from counterset.load import Release, load
from counterset.release.counteranimal import IMPORTED_VERDICTS, read_counteranimal
from counterset.release.diff import diff_releases
from counterset.release.exports import export_imagefolder
from counterset.stages.publish import Published, publish

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


def test_there_and_back_again(published_folder: Path, tmp_path: Path) -> None:
    def opened(folder: Path, origin: Path) -> Release:
        return load(folder, mirrors=(f"{origin}/{{path}}",), cache=tmp_path / "cache")

    first = opened(imported(published_folder, tmp_path / "one").path, published_folder)
    exported = export_imagefolder(first, tmp_path / "exported")
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
