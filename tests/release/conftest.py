"""One published release for the whole session; tests that change it make a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from counterset.load import Release, load
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.writer import publish

from .build_inputs import build_config, build_inputs, with_tables


@pytest.fixture(scope="session")
def inputs() -> ReleaseInputs:
    return build_inputs()


@pytest.fixture(scope="session")
def release_folder(inputs: ReleaseInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    releases = tmp_path_factory.mktemp("releases")
    config = build_config().model_copy(update={"releases": str(releases)})
    return publish(with_tables(inputs, config=config)).path


@pytest.fixture
def copied(release_folder: Path, tmp_path: Path) -> Path:
    """A release that a test may damage."""
    target = tmp_path / "copied"
    shutil.copytree(release_folder, target)
    return target


@pytest.fixture(scope="session")
def photo_folder(inputs: ReleaseInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world's photos, named by sha256, as a mirror."""
    folder = tmp_path_factory.mktemp("mirror")
    for row in inputs.photos.to_pylist():
        content = inputs.photo_bytes(row["photo_id"])
        assert content is not None
        (folder / row["sha256"]).write_bytes(content)
    return folder


@pytest.fixture
def release(release_folder: Path, photo_folder: Path, tmp_path: Path) -> Release:
    return load(release_folder, mirrors=(str(photo_folder),), cache=tmp_path / "cache")
