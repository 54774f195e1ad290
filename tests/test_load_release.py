"""What an opened release holds: the packaged one, which has confirmed and unconfirmed classes, beside its own files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from counterset.errors import ReleaseError
from counterset.load import Release, load
from counterset.manifests import manifest_path
from counterset.release.photo_store import PhotoStore

from .release.forging import restate

TABLES = (
    "all_photos", "groups", "pairs", "predictions", "captions", "rejects", "attribution", "tombstones",
)  # fmt: skip


@pytest.fixture(scope="module")
def packaged() -> Path:
    [folder] = manifest_path("releases").glob("*/1.0.0")
    return folder


@pytest.fixture
def copied(packaged: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packaged, tmp_path / "copied"))


def rows_of(folder: Path, split: str) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob(f"data/{split}-*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (None, {"confirmed"}),
        (("confirmed",), {"confirmed"}),
        (("unconfirmed",), {"unconfirmed"}),
        (["unconfirmed", "confirmed"], {"confirmed", "unconfirmed"}),
        (("too_small",), set()),
        ((), set()),
    ],
)
def test_photos_are_of_the_classes_with_exactly_these_verdicts(packaged: Path, asked: Any, wanted: set[str]) -> None:
    """`unconfirmed` holds `confirmed` as a word: neither may bring the other."""
    release = load(packaged, verdicts=asked)
    for split, found in (("common", release.common), ("counter", release.counter)):
        rows = rows_of(packaged, split)
        assert {row["verdict"] for row in rows} == {"confirmed", "unconfirmed"}
        expected = [row["photo_id"] for row in rows if row["verdict"] in wanted]
        assert found["photo_id"].to_pylist() == expected
        assert release.table(split)["photo_id"].to_pylist() == [row["photo_id"] for row in rows]
    assert release.verdicts == tuple(asked if asked is not None else ("confirmed",))


def test_a_release_says_which_verdicts_it_shows(copied: Path) -> None:
    restate(copied, default_verdicts=["unconfirmed"])
    assert set(load(copied).common["verdict"].to_pylist()) == {"unconfirmed"}
    with pytest.raises(ReleaseError, match="unknown verdict 'maybe'; use confirmed, unconfirmed, too_small"):
        load(copied, verdicts=("confirmed", "maybe"))


@pytest.mark.parametrize("name", TABLES)
def test_each_table_is_its_file(packaged: Path, name: str) -> None:
    release = load(packaged)
    columns = dict.fromkeys(release.table(name).column_names)  # those that came later are null
    rows = [columns | row for row in pq.read_table(packaged / f"{name}.parquet").to_pylist()]
    assert release.table(name).to_pylist() == rows
    assert getattr(release, name) is release.table(name), "read once"


def test_name_version_and_counts(packaged: Path) -> None:
    release, said = load(packaged), json.loads((packaged / "release.json").read_text())
    assert (release.name, release.version, release.path) == (said["name"], said["version"], packaged)
    common, counter = release.common.num_rows, release.counter.num_rows
    assert 0 < common < said["counts"]["common"], "some pairs are not confirmed"
    counted = f"{common} common and {counter} counter photos of confirmed classes"
    assert repr(release) == f"<Release {said['name']} 1.0.0: {counted}, names {release.named}>"
    every = load(packaged, verdicts=("confirmed", "unconfirmed", "too_small"))
    counts = said["counts"]
    counted = f"{counts['common']} common and {counts['counter']} counter photos"
    assert repr(every).endswith(f": {counted}, names {every.named}>")
    assert release.class_names == {row["class_id"]: row["name"] for row in said["classes"]}
    with pytest.raises(ReleaseError, match="has no table 'common-'"):
        release.table("common-")


def test_labels_are_imagenet_indices_only_where_every_class_has_one(copied: Path) -> None:
    classes = load(copied).metadata["classes"]
    assert load(copied).labels == {row["class_id"]: row["imagenet_index"] for row in classes}
    classes[2]["imagenet_index"] = None
    restate(copied, classes=classes)
    assert load(copied).labels == {row["class_id"]: place for place, row in enumerate(classes)}


def test_files_are_checked_unless_told_otherwise(copied: Path) -> None:
    path = copied / "report.html"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ReleaseError, match=r"report\.html does not match SHA256SUMS"):
        load(copied)
    assert load(copied, verify=False).version == "1.0.0"


def test_a_class_that_release_json_does_not_name_is_refused(copied: Path) -> None:
    classes = load(copied).metadata["classes"]
    left_out = classes.pop(3)["class_id"]
    restate(copied, classes=classes)
    release = load(copied)
    with pytest.raises(ReleaseError, match=f"has photos of the class '{left_out}', which its release.json"):
        release.table("common")
    assert release.pairs.num_rows, "other tables may be looked at"


def test_the_version_that_was_asked_for(packaged: Path) -> None:
    assert load(packaged, "1.0.0").version == load(packaged.parent, "1.0.0").version == "1.0.0"
    with pytest.raises(ReleaseError, match=r"is version 1\.0\.0, not 1\.0\.1; give the folder that holds"):
        load(packaged, "1.0.1")


class Asked:
    """A photo store that notes how it was made and what it was asked for."""

    def __init__(self, rows: Any, cache: Path, mirrors: Any, allowed_hosts: Any, bundled: Any, **options: Any) -> None:
        self.rows, self.made_with, self.options = rows, (cache, mirrors, allowed_hosts), options
        self.fetched: list[Any] = []

    def get(self, photo_id: str) -> bytes:
        return photo_id.encode()

    def fetch(self, photo_ids: Iterable[str], threads: int) -> dict[str, str]:
        self.fetched.append((list(photo_ids), threads))
        return {"some": "reason"}


@pytest.fixture
def opened(packaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    monkeypatch.setattr("counterset.release.photo_store.PhotoStore", Asked)
    return load(packaged, cache=tmp_path / "c", mirrors=["https://m.example"], allowed_hosts=["photos.local"])


def test_photos_know_every_photo_of_the_release(opened: Release, packaged: Path, tmp_path: Path) -> None:
    photos: Any = opened.photos
    assert photos.made_with == (tmp_path / "c", ("https://m.example",), ("photos.local",))
    rows = pq.read_table(packaged / "all_photos.parquet").to_pylist()
    columns = ("url", "sha256", "size_bytes", "phash")
    assert dict(photos.rows) == {row["photo_id"]: tuple(row[name] for name in columns) for row in rows}
    assert not photos.options["own_mirrors"] and photos.options["max_bits"] is None
    assert opened.photo("a") == b"a"
    assert opened.photos is photos


def test_fetch_brings_the_photos_of_the_wanted_verdicts(opened: Release) -> None:
    photos: Any = opened.photos
    wanted = [*opened.common["photo_id"].to_pylist(), *opened.counter["photo_id"].to_pylist()]
    assert opened.fetch() == {"some": "reason"}
    assert opened.fetch(threads=9) == {"some": "reason"}
    assert photos.fetched == [(wanted, 4), (wanted, 9)]


def test_torch_data_sets_are_of_the_wanted_verdicts(opened: Release) -> None:
    for split, data_set in opened.to_torch(lambda image: image).items():
        table = getattr(opened, split)
        assert len(data_set) == table.num_rows
    assert set(opened.to_torch()) == {"common", "counter"}


def test_frames_are_of_the_wanted_verdicts(packaged: Path) -> None:
    release = load(packaged)
    for frames in (release.to_polars(), release.to_hf()):
        assert set(frames) == {"common", "counter"}
        assert list(frames["common"]["photo_id"]) == release.common["photo_id"].to_pylist()
        assert list(frames["counter"]["verdict"]) == release.counter["verdict"].to_pylist()


def test_the_real_store_is_made_of_the_same(packaged: Path, tmp_path: Path) -> None:
    assert isinstance(load(packaged, cache=tmp_path).photos, PhotoStore)
