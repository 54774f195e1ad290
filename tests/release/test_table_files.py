"""Tables of more rows than one file may have: every reader gives the same of their parts."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from counterset.load import Release, load
from counterset.release import table_files
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.writer import publish
from counterset.release.schemas import TABLES
from counterset.release.table_files import file_names, file_pattern, files_of
from counterset.release.versions.diff import diff_releases
from counterset.release.versions.followed import newest_release
from counterset.release.versions.last import read_last
from counterset.storage import place

from .build_inputs import build_config, drop_photos, with_tables

ROWS = 130
LARGE = {"all_photos", "predictions", "covariates", "captions", "attribution"}


@pytest.fixture(scope="module")
def home(inputs: ReleaseInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a release whose tables lie in files of at most ROWS rows; the second lacks some photos."""
    releases = tmp_path_factory.mktemp("parts")
    config = build_config(thumbnails_per_group=0, max_removed_share=1.0)
    config = config.model_copy(update={"releases": str(releases)})
    gone = set(inputs.members["photo_id"].to_pylist()[:ROWS])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_files, "ROWS_PER_FILE", ROWS)
        publish(with_tables(inputs, config=config))
        publish(with_tables(drop_photos(inputs, gone), config=config))
        publish(with_tables(inputs, config=config))
    return releases / config.name


@pytest.fixture(scope="module")
def parts(home: Path) -> Release:
    return load(home, version="1.0.0")


def test_tables_are_those_of_one_file(parts: Release, release: Release) -> None:
    found = {entry["table"] for path, entry in parts.metadata["files"].items() if path.startswith("data/")}
    assert found >= LARGE
    for name in ("common", "counter", *TABLES):
        assert parts.table(name).equals(release.table(name)), name
    sizes = [entry["num_rows"] for entry in parts.metadata["files"].values() if entry.get("table") in LARGE]
    assert max(sizes) == ROWS


def test_a_photo_is_known_from_whichever_part(parts: Release) -> None:
    rows = parts.photos._rows
    assert list(rows) == parts.all_photos["photo_id"].to_pylist()
    for row in parts.all_photos.select(["photo_id", "url", "sha256", "size_bytes", "phash"]).to_pylist()[:: ROWS // 3]:
        assert rows[row.pop("photo_id")] == tuple(row.values())


def test_versions_follow_and_compare_as_those_of_one_file(home: Path, parts: Release, inputs: ReleaseInputs) -> None:
    assert [path.name for path in sorted(home.glob("*.*.*"))] == ["1.0.0", "2.0.0", "2.1.0"]
    diff = diff_releases(parts, load(home, version="2.0.0"))
    assert diff.counts["removed"] == ROWS and diff.counts["edited"] == 0
    last = read_last(home, parts.name)
    assert last is not None
    assert last.num_rows("all_photos") == last.table("all_photos").num_rows == parts.all_photos.num_rows
    gone = load(home, version="2.0.0").tombstones
    assert gone.num_rows == ROWS and last.table("tombstones").num_rows == 0, "those that came back have none"
    newest = newest_release(place(str(home)))
    assert newest is not None
    photos = newest.table("all_photos")
    assert photos is not None and photos.equals(parts.all_photos)


def test_a_missing_part_is_told(home: Path, tmp_path: Path) -> None:
    import shutil

    from counterset.errors import ReleaseError

    folder = shutil.copytree(home / "1.0.0", tmp_path / "1.0.0")
    part = files_of("captions", load(folder).metadata["files"])[1]
    (folder / part).unlink()
    with pytest.raises(ReleaseError, match=part):
        load(folder)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_croissant_and_the_card_name_all_parts(parts: Release, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CROISSANT_CACHE", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlcroissant
    dataset = mlcroissant.Dataset(str(parts.path / "croissant.json"))
    assert list(dataset.metadata.issues.errors) == list(dataset.metadata.issues.warnings) == []
    records: list[dict[str, Any]] = list(dataset.records("attribution"))
    found = [record["attribution/photo_id"].decode() for record in records]
    assert found == parts.attribution["photo_id"].to_pylist()
    described = json.loads((parts.path / "croissant.json").read_text())["distribution"]
    listed = {entry["contentUrl"] for entry in described if "contentUrl" in entry}
    assert listed == {path for path in parts.metadata["files"] if path.endswith(".parquet")}
    card = (parts.path / "README.md").read_text()
    assert "    path: data/all_photos-*.parquet\n" in card and "| `data/captions-*.parquet` |" in card
    assert "    path: pairs.parquet\n" in card


def test_names() -> None:
    assert file_names("pairs", 0, 10) == file_names("pairs", 10, 10) == ["pairs.parquet"]
    assert file_names("common", 0, 10, is_split=True) == ["data/common-00000-of-00001.parquet"]
    names = file_names("wrong_answers", 21, 10)
    assert names == [f"data/wrong_answers-{number:05d}-of-00003.parquet" for number in range(3)]
    both = [*reversed(names), "data/wrong_answers_by_model-00000-of-00001.parquet", "wrong_answers_by_model.parquet"]
    assert files_of("wrong_answers", both) == names and file_pattern("wrong_answers", names) == (
        "data/wrong_answers-*.parquet"
    )
